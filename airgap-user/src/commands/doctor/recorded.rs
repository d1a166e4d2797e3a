//! Whether what is recorded is in force, as what it was recorded.

use crate::{
    gate::{Gate, seal_name},
    seal::Check,
    state::{Entry, State},
};

/// What is recorded must be in force: pins that are gone, or a bpffs that is
/// not mounted any more, show here.
pub(super) fn seals(state: &State) -> Check {
    const NAME: &str = "recorded seals";
    const MEND: &str = "airgap restore";
    let entries = match state.entries() {
        Ok(entries) => entries,
        Err(error) => return Check::open(NAME, format!("{error:#}"), MEND),
    };
    let Ok(gate) = super::super::standing() else {
        return Check::open(
            NAME,
            format!("{} recorded, no gate to read", entries.len()),
            MEND,
        );
    };
    let on = match gate.as_ref().map_or(Ok(false), Gate::quarantine) {
        Ok(on) => on,
        Err(error) => return Check::open(NAME, format!("{error:#}"), MEND),
    };
    if state.quarantine() && !on {
        return Check::open(NAME, "quarantine ought to be on and is NOT in force", MEND);
    }
    let in_force = |entry: &&Entry| {
        let id = entry.id().as_bytes().try_into();
        id.is_ok_and(|id| {
            gate.as_ref()
                .is_some_and(|g| matches!(g.standing(id), Ok(Some(_))))
        })
    };
    let open = entries.len() - entries.iter().filter(in_force).count();
    if open > 0 {
        let seen = format!(
            "{open} of {} recorded seals are NOT in force",
            entries.len()
        );
        return Check::open(NAME, seen, MEND);
    }
    let audited = gate.as_ref().map_or_else(Vec::new, audited);
    if !audited.is_empty() {
        let seen = format!("under audit, NOT SEALED: {}", audited.join(", "));
        return Check::open(
            NAME,
            seen,
            "airgap attach seals them, airgap detach ends an audit",
        );
    }
    let bad = |entry: &&Entry| matches!(entry, Entry::Unreadable { .. });
    match entries.iter().filter(bad).count() {
        0 => Check::ok(
            NAME,
            format!(
                "{} in {}, all in force",
                entries.len(),
                state.dir().display()
            ),
        ),
        bad => Check::limited(
            NAME,
            format!(
                "{bad} of {} records cannot be read: a reboot denies those everything",
                entries.len()
            ),
            "airgap attach those containers again (airgap list)",
        ),
    }
}

/// Names of what is under audit.
fn audited(gate: &Gate) -> Vec<String> {
    let seals = gate.seals().unwrap_or_default().into_iter();
    let audited = seals.filter(|(number, _)| gate.is_audit(*number));
    audited.map(|(_, seal)| seal_name(&seal)).collect()
}
