//! From what is wanted to a seal that was read back. Shared by `attach`, `run` and
//! `watch`.
//!
//! What the operator and the engine say is judged before anything changes. Then the
//! cgroup is marked, with the full policy. Only then comes what the container's own
//! making can prolong, with a budget and without the gate's lock, so that one container
//! delays no other. Nothing is cut until all is judged.

use std::{
    os::fd::AsRawFd as _,
    time::{SystemTime, UNIX_EPOCH},
};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use super::{
    existing::{self, Found, Layers, Terms, cut_exits},
    exit_change::ExitChange,
    marking::{Marked, mark},
    refusing::{not_accepted, refuse, refuse_gaps, refuse_removed},
    report::Seen,
    taking_back::{take_back, withdraw_pending},
};
use crate::{
    container::{Container, Engine, Look, interfaces_of},
    coverage::SealState,
    failure::Failure,
    gate::{Gate, Lock, Place, Reading, Standing, UnderWay},
    output,
    policy::{Errno, Rules},
    preflight::{Facts, Risk},
    seal::{Existing, Report},
    state::{Entry, Origin, State},
};

/// Whose containers, in which gate, recorded where.
pub(super) struct Site<'a> {
    pub(super) engine: &'a Engine,
    pub(super) place: &'a Place,
    pub(super) state: &'a State,
    /// For a gate that does not stand yet.
    pub(super) kernel: &'a Reading,
}

/// What a seal is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) rules: Rules,
    /// What was not named stays as it is: "attach again" must not widen a seal.
    pub(super) ports_named: bool,
    pub(super) from_named: bool,
    pub(super) exits: ExitChange,
    pub(super) accept: Vec<Risk>,
    /// Refuse to seal unless every vector is covered.
    pub(super) full: bool,
    /// Lift the seal again if a risk is found that was not accepted. A label asks for a
    /// seal whatever is found: one that could be left is better than none.
    pub(super) refuse: bool,
    pub(super) by: Origin,
}

impl Wanted {
    pub(super) fn keeps(&self) -> bool {
        self.accept.contains(&Risk::ExistingConnections)
    }

    pub(super) fn shares(&self) -> bool {
        self.accept.contains(&Risk::SharedNetwork) || self.accept.contains(&Risk::HostNetwork)
    }

    pub(super) fn rules_after(&self, before: Option<&Rules>) -> Rules {
        // What nobody said is not written down either.
        let errno = self.rules.errno.or(before.and_then(|before| before.errno));
        let errno = errno.filter(|errno| *errno != Errno::default());
        let Some(before) = before else {
            return self.rules.clone().failing_with(errno);
        };
        let named = |named: bool| if named { &self.rules } else { before };
        Rules {
            ports: named(self.ports_named).ports.clone(),
            clients: named(self.from_named).clients.clone(),
            exits: self.exits.of(&before.exits, &self.rules.exits),
            errno,
        }
    }
}

/// Seals one container, or renews its seal. On an error everything, kernel and
/// record, is as before, but for a seal that a label asked for: that stays.
pub(super) async fn seal(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
) -> Result<Report> {
    let _under_way = UnderWay::begin(&container.id)?;
    let marked = mark(site, container, wanted)?;
    match settle(site, &marked, wanted).await {
        Ok(report) => Ok(report),
        Err(error) if marked.narrows => {
            log::warn!("what was taken back stays so, whatever failed after it");
            Err(error)
        }
        // Where its end was not seen, the seal is the safe side of a label's wish.
        Err(error) if !wanted.refuse && site.engine.has(&container.id).await.unwrap_or(true) => {
            Err(error)
        }
        Err(error) => Err(take_back(site, marked, error)),
    }
}

/// Looks at what is marked, judges it, reads the seal back, and ends what is older.
async fn settle(site: &Site<'_>, marked: &Marked, wanted: &Wanted) -> Result<Report> {
    let container = site.engine.find(&marked.record.id).await?;
    let mut look = Look::live(&site.place.cgroup, &container, Look::TIME);
    let facts = Facts::gather(&container, look.as_mut());
    let rules = &marked.record.rules;
    let refuses = wanted.refuse && !marked.narrows;
    let facts = facts
        .with_clients(&container, &rules.clients)
        .with_exits(&container, &rules.exits);
    let found = not_accepted(&facts, marked.record.accepted);
    if refuses {
        refuse(&container, &found)?;
    }
    let sockets = match &mut look {
        Some(look) if marked.fresh => {
            let gate = open(site.place)?;
            let storage = gate.storage()?;
            Found::now(
                look,
                Some(storage.as_raw_fd()),
                marked.number,
                wanted.shares(),
            )?
        }
        _ => Found::default(),
    };
    let sockets = match sockets.is_empty() {
        true => sockets,
        false => sockets.knowing(site.engine.neighbours().await),
    };
    let seen = Seen {
        look: look.as_ref(),
        facts: &facts,
    };
    let first = marked.pending.as_ref().unwrap_or(rules);
    let mut report = read_back(site, marked, &container, &seen, first)?;
    report.ports_by_default = marked.ports_by_default;
    if wanted.full {
        refuse_gaps(&report.coverage)?;
    }
    if marked.pending.is_some() {
        refuse_removed(site, &container).await?;
        withdraw_pending(site, marked)?;
        report = read_back(site, marked, &container, &seen, &marked.record.rules)?;
    }
    // Before they were allowed nothing was: only a renewal can have taken any back.
    if let Some(look) = look.as_ref().filter(|_| !marked.fresh) {
        cut_exits(&open(site.place)?, marked.number, look)?;
    }
    if let Some(look) = look.as_mut().filter(|_| marked.fresh) {
        let tell = |peer: &Existing| output::peer(&container.name, peer);
        let ended = end_older(site, marked, wanted, look, &sockets, tell)?;
        report = report.with_existing(ended);
    }
    // Removed meanwhile: nobody would lift it.
    refuse_removed(site, &container).await?;
    for finding in found.iter().filter(|_| !refuses) {
        let level = match marked.narrows {
            true => log::Level::Warn,
            false => log::Level::Error,
        };
        log::log!(
            level,
            "{} is sealed although {} ({})",
            container.name,
            finding.what,
            finding.risk
        );
    }
    Ok(report)
}

/// Guards what was found since, and reads all of the seal back, as one with the lock;
/// `rules` are in force now.
fn read_back(
    site: &Site<'_>,
    marked: &Marked,
    container: &Container,
    seen: &Seen<'_>,
    rules: &Rules,
) -> Result<Report> {
    let lock = Lock::take()?;
    let mut gate = open(site.place)?;
    if gate.number_of(&container.key()?) != Some(marked.number) {
        return Err(Failure::new(
            "another airgap has lifted or replaced the seal meanwhile",
            "attach again",
        )
        .into());
    }
    if let Some(look) = seen.look {
        guard(&mut gate, marked.number, look, &lock)?;
    }
    gate.complete(marked.number, &lock)?;
    let seal = gate.seal(marked.number)?;
    let mut entry = site.state.entry(&container.id);
    // The record has what is to be in the end.
    if let Some(Entry::Known(record)) = &mut entry
        && record.rules == marked.record.rules
    {
        record.rules = rules.clone();
    }
    let report = Report::with(
        &gate,
        marked.number,
        &seal,
        Some(container),
        entry.as_ref(),
        Some(seen),
    )?;
    if report.state == SealState::Broken {
        return Err(Failure::new(
            format!(
                "the kernel does not show the seal in force: {}",
                report.problems.join("; ")
            ),
            "airgap status shows what is there; detach and attach again",
        )
        .into());
    }
    Ok(report)
}

/// Guards every interface of its networks; one that has gone with its cgroup is none.
fn guard(gate: &mut Gate, number: SealNumber, look: &Look, lock: &Lock) -> Result<()> {
    let found = match interfaces_of(&look.networks) {
        Ok(found) => found,
        // Said by the report: what is not known is not covered.
        Err(error) => {
            log::warn!("the container's interfaces are not known: {error:#}");
            return Ok(());
        }
    };
    match gate.guard_frames(number, &found, lock) {
        Err(_) if look.cgroups.iter().all(|cgroup| !cgroup.path.exists()) => Ok(()),
        done => done,
    }
}

fn open(place: &Place) -> Result<Gate> {
    Gate::open(place)?.context("the gate is gone again")
}

/// Cuts and keeps the sockets that are older than the seal, and names them.
fn end_older(
    site: &Site<'_>,
    marked: &Marked,
    wanted: &Wanted,
    look: &mut Look,
    sockets: &Found,
    tell: impl Fn(&Existing),
) -> Result<Vec<Existing>> {
    let gate = open(site.place)?;
    let layers = Layers::now(Some(&gate));
    let terms = Terms {
        keep: wanted.keeps(),
        ports: &marked.record.rules.ports,
        layers,
    };
    let mut ended = existing::settle(&gate, marked.number, look, sockets, &terms, &tell);
    let carried = existing::carried_in(look, layers, true);
    carried.iter().for_each(&tell);
    ended.extend(carried);
    // Handshakes that were under way when it was marked have ended by now.
    let storage = gate.storage()?;
    let late = Found::now(
        look,
        Some(storage.as_raw_fd()),
        marked.number,
        wanted.shares(),
    )?;
    let late = late.without(sockets);
    ended.extend(existing::settle(
        &gate,
        marked.number,
        look,
        &late,
        &terms,
        &tell,
    ));
    Ok(ended)
}

/// What its seal or its record allows already; `None`: it has neither.
pub(super) fn rules_before(site: &Site<'_>, container: &Container) -> Result<Option<Rules>> {
    let _lock = Lock::take()?;
    let standing = in_force(site.place, container)?.map(|standing| standing.rules());
    Ok(standing.or_else(|| match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => Some(record.rules),
        _ => None,
    }))
}

/// Risks that the container's seal or its record has accepted.
pub(super) fn accepted_before(place: &Place, state: &State, container: &Container) -> Result<u64> {
    let lock = Lock::take()?;
    Gate::clear_remains(place, &lock)?;
    Ok(
        match (in_force(place, container)?, state.entry(&container.id)) {
            (_, Some(Entry::Known(record))) if record.by == Origin::Label => {
                record.accepted_by_operator()
            }
            (Some(standing), _) => standing.accepted,
            (None, Some(Entry::Known(record))) => record.accepted,
            _ => 0,
        },
    )
}

pub(super) fn in_force(place: &Place, container: &Container) -> Result<Option<Standing>> {
    match Gate::open(place)? {
        Some(gate) => gate.standing(&container.key()?),
        None => Ok(None),
    }
}

/// Seconds since 1970-01-01 UTC.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::{ExitChange, Origin, Wanted};
    use crate::policy::{Errno, Port, Rules};

    #[test]
    fn a_renewal_keeps_what_it_does_not_name() {
        let rules = |ports: &[u16], from: &[&str]| Rules {
            ports: ports.iter().map(|p| Port(*p)).collect(),
            clients: from.iter().map(|c| c.parse().unwrap()).collect(),
            exits: vec![],
            errno: None,
        };
        let wanted = |ports_named, from_named| Wanted {
            rules: rules(&[80], &["10.0.0.0/8"]),
            ports_named,
            from_named,
            exits: ExitChange::Keep,
            accept: vec![],
            full: false,
            refuse: true,
            by: Origin::Operator,
        };
        let before = rules(&[443], &["::1"]);
        for (ports_named, from_named, ports, from) in [
            (true, true, 80, "10.0.0.0/8"),
            (true, false, 80, "::1"),
            (false, true, 443, "10.0.0.0/8"),
            (false, false, 443, "::1"),
        ] {
            let after = wanted(ports_named, from_named).rules_after(Some(&before));
            assert_eq!(after, rules(&[ports], &[from]));
        }
        let first = wanted(false, false);
        assert_eq!(first.rules_after(None), first.rules);
        for (before, named, after) in [
            (None, None, None),
            (Some(Errno::Eperm), None, Some(Errno::Eperm)),
            (Some(Errno::Eperm), Some(Errno::Offline), None),
            (None, Some(Errno::Eperm), Some(Errno::Eperm)),
        ] {
            let mut wanted = wanted(true, true);
            wanted.rules.errno = named;
            let before = rules(&[443], &["::1"]).failing_with(before);
            assert_eq!(wanted.rules_after(Some(&before)).errno, after);
        }
    }
}
