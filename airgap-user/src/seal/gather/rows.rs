//! The rows of the coverage that are no way out of the packets': what is older than the
//! seal, what a reboot does, what the configuration lets out, what an attach would bring.

use crate::{
    container::{Look, interfaces_of},
    coverage::{CONFIGURATION, Evidence, REBOOT, Vector, When, coverage},
    gate::{FrameGuard, Gate, Standing, likely_security},
    host::{
        installed,
        systemd::{self, Order},
        units::{Boot, RESTORE_NAME},
    },
    policy::Rules,
    preflight::{self, Facts, Risk},
    seal::{Report, attach::older_sockets::Layers, texts},
    state::Entry,
};

impl Report {
    /// Nothing seals it again after a reboot.
    pub(crate) fn opened_by_reboot(by: String, mend: String) -> Vector {
        Vector {
            effect: Some("a reboot of this host opens it".into()),
            ..Vector::open(REBOOT, When::Later, by, Some(mend))
        }
    }
}

/// What a reboot of the host does with the seal as it is now.
/// `of_engine`: an engine starts it.
pub(crate) fn reboot(
    entry: Option<&Entry>,
    standing: Option<&Standing>,
    name: &str,
    of_engine: bool,
) -> Vector {
    let attach = || Some(format!("airgap attach {name}"));
    let open = |by: String, mend| Vector::open(REBOOT, When::Later, by, mend);
    match (entry, standing) {
        (None, _) => Report::opened_by_reboot(
            "not recorded: a reboot would open it; airgap attach records it".into(),
            format!("airgap attach {name}"),
        ),
        (Some(Entry::Unreadable { why, .. }), _) => open(
            format!(
                "its record cannot be read, and restore would deny it everything: {why}; airgap attach records it again"
            ),
            attach(),
        ),
        (Some(Entry::Known(record)), Some(standing))
            if !same(&record.rules, &standing.rules()) || record.accepted != standing.accepted =>
        {
            let by = "its record differs from what is in force: airgap restore, or airgap attach";
            open(by.into(), attach())
        }
        (Some(Entry::Known(_)), _) => restored_at_boot(of_engine),
    }
}

/// A state of the host: whether anything restores what is recorded.
fn restored_at_boot(of_engine: bool) -> Vector {
    let boot = match installed::boot() {
        Boot::Unbound(_) | Boot::Unordered(_) if !of_engine => Boot::Ready,
        boot => boot,
    };
    let (by, mend) = match boot {
        Boot::Ready => {
            let by = "sealed again before the engine starts (airgap-restore.service)";
            return Vector::covered(REBOOT, When::Later, by);
        }
        Boot::Missing => (
            "recorded, but nothing runs airgap restore at boot: airgap install".to_owned(),
            "airgap install",
        ),
        Boot::Disabled => (
            "recorded, but nothing starts airgap-restore.service at boot: systemctl enable airgap-restore.service".to_owned(),
            "systemctl enable airgap-restore.service",
        ),
        Boot::Unordered(engine) => (
            format!(
                "sealed again at boot, but {engine} is here, of which no unit is known that starts it"
            ),
            "Requires=airgap-restore.service and After=airgap-restore.service in its unit",
        ),
        Boot::Unbound(units) => (
            format!(
                "sealed again at boot, but these start containers although that has failed: {}: airgap install",
                units.join(", ")
            ),
            "airgap install",
        ),
    };
    Report::opened_by_reboot(by, mend.into())
}

/// Of what no engine starts. `unit`: what systemd says of it, if it is a unit.
pub(crate) fn ordered(unit: Option<&systemd::Now>) -> Vector {
    match unit.and_then(|unit| unit.order(RESTORE_NAME, "basic.target")) {
        Some(Order::Bound) => {
            let by = "sealed again before it starts (airgap-restore.service)";
            Vector::covered(REBOOT, When::Later, by)
        }
        Some(Order::After) => Report::opened_by_reboot(
            "sealed again before it starts, and it starts also where that has failed".into(),
            format!("Requires={RESTORE_NAME} in its unit"),
        ),
        None => unordered(),
    }
}

/// Nothing says when it starts.
fn unordered() -> Vector {
    Report::opened_by_reboot(
        "sealed again at boot by airgap-restore.service, and open until then: nothing says that it starts after that".into(),
        "Requires=airgap-restore.service and After=airgap-restore.service in its unit".into(),
    )
}

/// Whether they allow the same, in whatever order.
fn same(a: &Rules, b: &Rules) -> bool {
    let sorted = |rules: &Rules| {
        let (mut ports, mut clients) = (texts(&rules.ports), texts(&rules.clients));
        ports.sort_unstable();
        clients.sort_unstable();
        clients.dedup();
        let exits = rules.exits.iter();
        let mut exits: Vec<_> = exits.map(|exit| format!("{exit:?}")).collect();
        exits.sort_unstable();
        (ports, clients, exits)
    };
    sorted(a) == sorted(b)
}

/// Coverage as it would be right after an attach.
pub(crate) fn expected(
    gate: Option<&Gate>,
    look: Option<&Look>,
    facts: &Facts,
    layers: Layers,
    name: &str,
) -> Vec<Vector> {
    let found = look.map(|look| interfaces_of(&look.networks));
    let guard = |interface| FrameGuard::expected(interface, layers.frames);
    let whole = facts.unseen.is_empty();
    let evidence = Evidence {
        capabilities: if whole {
            facts.all_capabilities()
        } else {
            u64::MAX
        },
        running: look.is_some(),
        marked: true,
        name: name.to_owned(),
        frame_layer: layers.frames,
        frames: found
            .filter(|_| whole)
            .and_then(Result::ok)
            .map(|found| found.into_iter().map(guard).collect()),
        security: gate.map_or_else(|| likely_security().unwrap_or_default(), Gate::security),
        shared: whole.then(|| facts.meeting_places()),
        held: facts.held.clone(),
        arrivals: installed::arrivals(),
        ..Evidence::default()
    };
    let mut coverage = coverage(&evidence);
    let accepted = Risk::ALL.iter().fold(0, |set, risk| set | risk.bit());
    coverage.push(configuration(Some(facts), accepted));
    coverage.push(restored_at_boot(true));
    coverage
}

/// Of a cgroup that nothing runs in. Pure.
pub(crate) fn not_looked_at(target: &str) -> Vector {
    let why = "nothing runs in it, and what will was not looked at";
    let mend = format!("airgap attach {target}, once it runs");
    Vector {
        effect: Some("what comes to run in it may have rights that lead around the seal".into()),
        ..Vector::open(CONFIGURATION, When::Later, why, Some(mend))
    }
}

/// What preflight finds now: a mount, a neighbour in the network namespace or
/// a capability may have come after the attach.
pub(crate) fn configuration(facts: Option<&Facts>, accepted: u64) -> Vector {
    let found: Option<Vec<String>> = facts.map(|facts| {
        let found = preflight::judge(facts)
            .into_iter()
            .filter(|f| accepted & f.risk.bit() == 0)
            .map(|f| format!("{} ({})", f.what, f.risk));
        let unseen = facts.unseen.iter();
        let unseen = unseen
            .map(|what| format!("not known, treated as open: {what} (looking took too long)"));
        found.chain(unseen).collect()
    });
    match found {
        None => Vector::open(
            CONFIGURATION,
            When::Now,
            "not known, treated as open: the container engine does not say",
            Some("start the engine that has it, or name its socket with --host".into()),
        ),
        Some(found) if found.is_empty() => Vector::covered(
            CONFIGURATION,
            When::Now,
            "nothing found that leads around the seal",
        ),
        Some(found) => {
            let by = found.join("; ");
            let mend = "change it, or airgap attach --accept RISK";
            Vector {
                effect: Some(format!("its configuration leads around the seal: {by}")),
                ..Vector::open(CONFIGURATION, When::Now, by, Some(mend.into()))
            }
        }
    }
}
