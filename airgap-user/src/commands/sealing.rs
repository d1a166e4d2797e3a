//! From what is wanted to a seal that was read back: record, gate, cgroup,
//! interfaces, older sockets. Shared by `attach`, `run` and `watch`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::{
    Existing, Report,
    existing::{self, Found, Layers, Terms},
};
use crate::{
    container::{Cgroup, Container, Engine, interfaces, locate},
    failure::Failure,
    gate::{Gate, Lock, Place, Reading, Sealed, Sealing, Standing},
    output,
    policy::Rules,
    preflight::Risk,
    state::{Entry, Origin, Record, State},
};

/// How often a container may restart under our hands before we give up.
const TRIES: u32 = 20;

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
    pub(super) accept: Vec<Risk>,
    /// Refuse to seal unless every vector is covered.
    pub(super) full: bool,
    pub(super) by: Origin,
}

impl Wanted {
    pub(super) fn keeps(&self) -> bool {
        self.accept.contains(&Risk::ExistingConnections)
    }

    pub(super) fn shares(&self) -> bool {
        self.accept.contains(&Risk::SharedNetwork) || self.accept.contains(&Risk::HostNetwork)
    }

    fn rules_after(&self, before: Option<&Rules>) -> Rules {
        let Some(before) = before else {
            return self.rules.clone();
        };
        let named = |named: bool| if named { &self.rules } else { before };
        Rules {
            ports: named(self.ports_named).ports.clone(),
            clients: named(self.from_named).clients.clone(),
        }
    }
}

/// Seals one container, or renews its seal. On an error everything, kernel and
/// record, is as before.
pub(super) async fn seal(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
) -> Result<Report> {
    let lock = Lock::take()?;
    Gate::clear_remains(site.place, &lock)?;
    let before = in_force(site.place, container)?;
    let earlier = site.state.raw(&container.id)?;
    let recorded = match site.state.entry(&container.id) {
        Some(Entry::Known(record)) => Some(record),
        _ => None,
    };
    // The kernel knows best; a record counts where the seal was not restored.
    let rules_before = before.as_ref().map(Standing::rules);
    let rules_before = rules_before.or_else(|| recorded.as_ref().map(|r| r.rules.clone()));
    let accepted_before = match (&before, &recorded) {
        (Some(before), _) => before.accepted,
        (None, Some(recorded)) => recorded.accepted,
        (None, None) => 0,
    };
    let record = Record {
        id: container.id.clone(),
        name: container.name.clone(),
        engine: site.engine.host().to_owned(),
        rules: wanted.rules_after(rules_before.as_ref()),
        accepted: wanted.accept.iter().fold(0, |set, risk| set | risk.bit()) | accepted_before,
        since: recorded.map_or_else(now, |r| r.since),
        by: wanted.by,
    };
    let torn = before.is_none() && earlier.is_some();
    // First of all: from here on a reboot comes up sealed, whatever happens.
    let done = match site.state.write(&record, &lock) {
        Ok(()) => in_kernel(site, container, wanted, &record, before.as_ref(), &lock).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        Gate::clear_remains(site.place, &lock)?;
    } else if torn && let Err(error) = drop_replaced(site.place, &lock) {
        log::warn!("what is left of an earlier attach is listed still: {error:#}");
    }
    // Where the kernel could not be put back, the record stays: it is the narrower of the two.
    if done.is_err() && in_force(site.place, container).is_ok_and(|now| now == before) {
        let back = site
            .state
            .put_back(&container.id, earlier.as_deref(), &lock);
        if let Err(error) = back {
            log::debug!("the record stays: {error:#}");
        }
    }
    done
}

fn drop_replaced(place: &Place, lock: &Lock) -> Result<()> {
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(());
    };
    gate.drop_replaced(lock).map(drop)
}

/// Risks that the container's seal or its record has accepted.
pub(super) fn accepted_before(place: &Place, state: &State, container: &Container) -> Result<u64> {
    let lock = Lock::take()?;
    Gate::clear_remains(place, &lock)?;
    Ok(
        match (in_force(place, container)?, state.entry(&container.id)) {
            (Some(standing), _) => standing.accepted,
            (None, Some(Entry::Known(record))) => record.accepted,
            _ => 0,
        },
    )
}

fn in_force(place: &Place, container: &Container) -> Result<Option<Standing>> {
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

async fn in_kernel(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
    record: &Record,
    before: Option<&Standing>,
    lock: &Lock,
) -> Result<Report> {
    let mut gate = Gate::arm_for(container.pid, site.kernel, site.place, lock)?;
    let sealing = Sealing {
        id: &container.key()?,
        name: &container.name,
        policy: record.rules.compile(),
        clients: &record.rules.clients,
        accepted: record.accepted,
        since: record.since,
    };
    let open = gate.open_unjudged(sealing.id);
    let sealed = open.and_then(|open| Ok((gate.seal_id(&sealing, lock)?, open)));
    let (sealed, open) = match sealed {
        Ok(sealed) => sealed,
        Err(error) => {
            gate.disarm_if_idle(lock)?;
            return Err(error);
        }
    };
    match finish(site, &mut gate, container, sealed, record, wanted, lock).await {
        Ok(report) => Ok(report),
        // What was in force before comes back; what is new and unfinished goes.
        Err(error) if let Some(before) = before => {
            gate.seal_id(
                &Sealing {
                    policy: before.policy,
                    clients: &before.clients,
                    accepted: before.accepted,
                    ..sealing
                },
                lock,
            )?;
            Err(error)
        }
        Err(error) => {
            gate.withdraw(sealed.number, open.as_deref(), lock)?;
            gate.disarm_if_idle(lock)?;
            Err(error)
        }
    }
}

async fn finish(
    site: &Site<'_>,
    gate: &mut Gate,
    container: &Container,
    sealed: Sealed,
    record: &Record,
    wanted: &Wanted,
    lock: &Lock,
) -> Result<Report> {
    let engine = site.engine;
    // From here on the kernel marks each new cgroup of this id, so only the
    // one that exists now is left to do, and it may end at any moment.
    let mut container = engine.find(&container.id).await?;
    let layers = (!sealed.renewed).then(|| Layers::now(Some(gate)));
    let mut found = Found::default();
    for _ in 0..TRIES {
        let Some(pid) = container.pid else { break };
        match locate(&gate.place().cgroup, &container.id, pid) {
            Ok(cgroup) => match seal_running(gate, sealed, pid, &cgroup, wanted.shares(), lock) {
                Err(_) if !cgroup.path.exists() => {}
                done => {
                    found = done?;
                    break;
                }
            },
            Err(error) => {
                let now = engine.find(&container.id).await?;
                if now.pid == container.pid
                    && std::path::Path::new(&format!("/proc/{pid}")).exists()
                {
                    return Err(error);
                }
            }
        }
        container = engine.find(&container.id).await?;
    }
    gate.complete(sealed.number, lock)?;
    let seal = gate.seal(sealed.number)?;
    let entry = site.state.entry(&container.id);
    let mut report = Report::gather(gate, sealed.number, &seal, Some(&container), entry.as_ref())?;
    if report.state == "broken" {
        return Err(Failure::new(
            format!(
                "the kernel does not show the seal in force: {}",
                report.problems.join("; ")
            ),
            "airgap status shows what is there; detach and attach again",
        )
        .into());
    }
    if wanted.full && report.coverage.iter().any(|v| !v.covered) {
        let open: Vec<_> = report
            .coverage
            .iter()
            .filter(|v| !v.covered)
            .map(|v| format!("{}: {}", v.vector, v.by))
            .collect();
        return Err(Failure::new(
            format!("--require full: not covered: {}", open.join("; ")),
            "close it as said, or attach without --require full",
        )
        .into());
    }
    // A renewal judges no socket again: clients may have come since.
    if let (Some(pid), Some(layers)) = (container.pid, layers) {
        let terms = Terms {
            keep: wanted.keeps(),
            ports: &record.rules.ports,
            layers,
        };
        let tell = |peer: &Existing| output::peer(&container.name, peer);
        report.existing = existing::settle(gate, sealed.number, pid, &found, &terms, tell);
        if let Ok(cgroup) = locate(&gate.place().cgroup, &container.id, pid) {
            let carried = existing::carried_in(pid, &cgroup, layers, true);
            carried.iter().for_each(tell);
            report.existing.extend(carried);
        }
    }
    Ok(report)
}

/// Seals the cgroup and guards the interfaces that exist; returns the sockets
/// older than the seal. A renewal finds none: what lives was judged.
pub(super) fn seal_running(
    gate: &mut Gate,
    sealed: Sealed,
    pid: u32,
    cgroup: &Cgroup,
    shared: bool,
    lock: &Lock,
) -> Result<Found> {
    // Nothing that takes time comes between the two: what opens meanwhile is refused,
    // and not cut.
    let found = match sealed.renewed {
        true => Found::default(),
        false => Found::now(pid, cgroup, shared)?,
    };
    gate.seal_cgroup(sealed.number, cgroup, lock)?;
    gate.guard_frames(sealed.number, &interfaces(pid)?, lock)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Origin, Wanted};
    use crate::policy::{Port, Rules};

    #[test]
    fn a_renewal_keeps_what_it_does_not_name() {
        let rules = |ports: &[u16], from: &[&str]| Rules {
            ports: ports.iter().map(|p| Port(*p)).collect(),
            clients: from.iter().map(|c| c.parse().unwrap()).collect(),
        };
        let wanted = |ports_named, from_named| Wanted {
            rules: rules(&[80], &["10.0.0.0/8"]),
            ports_named,
            from_named,
            accept: vec![],
            full: false,
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
    }
}
