//! Gathers what is in force for one seal, from the kernel.

mod parts;
mod pods;
mod rows;

use std::time::Duration;

use airgap_common::map::{Seal, SealNumber};
use anyhow::{Context as _, Result};

pub(crate) use self::{parts::reach, rows::expected};
use self::{
    parts::{astray, cgroup_refs, is_born_sealed, misroutes, ports_of, silenced},
    pods::{cgroup_of_pod, of_manifest},
    rows::{configuration, not_looked_at, ordered, reboot},
};
use super::{
    ContainerRef, Denials, Report, attach::older_sockets::Layers, exit_rows, failing, withdrawn,
};
use crate::{
    command::Confined,
    container::{Container, Look, find_cgroups, interfaces_of},
    coverage::{self, Evidence, REBOOT, SealState, Vector, When, coverage},
    failure::Failure,
    gate::{FrameGuard, Gate, Security, UnderWay, seal_id, seal_name},
    host::{clock, installed, systemd},
    pod::{self, is_pod},
    policy::Rules,
    preflight::{Facts, Risk},
    state::Entry,
    subtree::{self, Subtree, is_subtree},
};

/// What a look at the container has found already.
pub(crate) struct Seen<'a> {
    /// `None`: it does not run.
    pub(crate) look: Option<&'a Look>,
    pub(crate) facts: &'a Facts,
}

impl Report {
    /// Gathers it. `container` adds what only the engine knows, and may be looked at for
    /// `time`; `entry` is what is recorded of the seal.
    ///
    /// # Errors
    /// If the gate's maps cannot be read.
    pub fn gather(
        gate: &Gate,
        number: SealNumber,
        seal: &Seal,
        container: Option<&Container>,
        entry: Option<&Entry>,
        time: Duration,
    ) -> Result<Self> {
        if let Some(subtree) = subtree_of(gate, number, &seal_id(seal))? {
            return Self::of_subtree(gate, number, seal, entry, &subtree);
        }
        if is_pod(&seal_id(seal)) {
            return Self::of_pod(gate, number, seal, entry, time);
        }
        let Some(known) = container else {
            return Self::with(gate, number, seal, None, entry, None);
        };
        let mut look = Look::live(&gate.place().cgroup, known, time);
        let clients = gate.clients_of(number)?;
        let ports = ports_of(gate, number);
        let exits = gate.exits_of(number)?.into_iter();
        let exits: Vec<_> = exits.map(|exit| exit.exception).collect();
        let facts = Facts::gather(known, look.as_mut())
            .with_clients(known, &ports, &clients)
            .with_exits(known, &exits);
        let seen = Seen {
            look: look.as_ref(),
            facts: &facts,
        };
        Self::with(gate, number, seal, container, entry, Some(&seen))
    }

    /// The same of a subtree of the cgroup tree.
    fn of_subtree(
        gate: &Gate,
        number: SealNumber,
        seal: &Seal,
        entry: Option<&Entry>,
        subtree: &Subtree,
    ) -> Result<Self> {
        let running = subtree.cgroup.as_ref();
        let running = running.filter(|cgroup| cgroup.first_process().is_some());
        let mut look = running
            .map(|cgroup| Look::at_subtree(cgroup.clone()))
            .transpose()?;
        let exits = gate.exits_of(number)?.into_iter();
        let exits: Vec<_> = exits.map(|exit| exit.exception).collect();
        let facts = subtree::gather(
            &gate.place().cgroup,
            subtree,
            look.as_mut(),
            gate.security().in_force().is_some(),
            &exits,
        )
        .serving(&ports_of(gate, number), &gate.clients_of(number)?);
        let seen = Seen {
            look: look.as_ref(),
            facts: &facts,
        };
        Self::with(gate, number, seal, None, entry, Some(&seen))
    }

    /// The same, with what a look has found: one that takes time needs no lock.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn with(
        gate: &Gate,
        number: SealNumber,
        seal: &Seal,
        container: Option<&Container>,
        entry: Option<&Entry>,
        seen: Option<&Seen<'_>>,
    ) -> Result<Self> {
        let id = seal_id(seal);
        let subtree = subtree_of(gate, number, &id)?;
        let live = match &subtree {
            Some(subtree) => subtree.cgroup.iter().cloned().collect(),
            None if is_pod(&id) => cgroup_of_pod(gate, number)?.into_iter().collect(),
            None => find_cgroups(&gate.place().cgroup, &id),
        };
        let running = match subtree.is_some() || gate.path_of(number)?.is_some() {
            // That of a unit or a pod is made before it starts, and stays after it.
            true => live.iter().any(|cgroup| cgroup.first_process().is_some()),
            false => !live.is_empty(),
        };
        let marked_ids = gate.cgroups_of(number)?;
        let broken_links = gate.broken_links();
        let name = match (&subtree, container) {
            // The kernel keeps only the beginning of a long one.
            (Some(subtree), _) => match entry {
                Some(Entry::Known(record)) => record.name.clone(),
                _ => subtree.name.clone(),
            },
            (None, Some(container)) => container.name.clone(),
            (None, None) => match entry {
                Some(Entry::Known(record)) if is_pod(&id) => record.name.clone(),
                _ => seal_name(seal),
            },
        };
        let command = Confined::of(&id);
        // What attach takes.
        let target = match &subtree {
            Some(subtree) => match name.strip_prefix(systemd::PREFIX) {
                Some(unit) => format!("--unit {unit}"),
                None => format!("--cgroup {}", subtree.path),
            },
            None => name.clone(),
        };
        let mend = match command {
            Some(_) => "end the command, and run it again".to_owned(),
            None if is_pod(&id) => pod::AGAIN.to_owned(),
            None => format!("airgap attach {target} mends it"),
        };
        let mut problems: Vec<_> = broken_links
            .iter()
            .map(|link| format!("{link}: {mend}"))
            .collect();
        let mut missing_hooks = Vec::new();
        let mut marked = true;
        let unguarded: Vec<u64> = gate.unguarded()?.into_iter().map(|(id, _)| id).collect();
        for cgroup in &live {
            match gate.missing_hooks(&cgroup.path) {
                // Without sockets nothing of it comes to them.
                Ok(_) if unguarded.contains(&cgroup.id) => {}
                Ok(missing) => missing_hooks.extend(missing.into_iter().map(str::to_owned)),
                // Gone since we looked; the next start is the kernel's to mark.
                Err(_) if !cgroup.path.exists() => continue,
                Err(error) => problems.push(format!("{error:#}")),
            }
            if !gate.is_marked(cgroup.id, cgroup.level, number)? && cgroup.path.exists() {
                marked = false;
                let path = cgroup.path.display();
                problems.push(match unguarded.contains(&cgroup.id) {
                    true => format!(
                        "the cgroup {path} was made where the hooks are not attached, and gets no network socket: {mend}"
                    ),
                    false => format!("the cgroup {path} is not in the gate's maps: {mend}"),
                });
            }
        }
        if let Some(container) = container
            && let Some(path) = astray(container, seen.and_then(|seen| seen.look))
        {
            problems.push(format!(
                "the container's process {} is in the cgroup {path}, which is none of the container's: nothing is refused to it (runc 1.1 or newer makes a cgroup v2 for each container)",
                container.pid.unwrap_or_default()
            ));
        }
        problems.extend(
            missing_hooks
                .iter()
                .map(|h| format!("{h}: does not run for the container's cgroup: {mend}")),
        );
        let state = gate.state(number);
        if state.is_none() {
            problems.push(format!("the policy is gone, everything is denied: {mend}"));
        }
        let under_way = seal.complete != 1 && UnderWay::is(&id);
        if seal.complete != 1 && !under_way {
            problems.push("the attach was not finished: run airgap attach again".into());
        }
        // Asked once: it may be slow.
        let unit = systemd::unit_of(&name).filter(|_| subtree.is_some());
        let told = unit.and_then(systemd::Now::of);
        if let (Some(subtree), Some(unit), false) = (&subtree, unit, running) {
            let at = match &told {
                Some(now) => now.path.clone(),
                None => subtree::elsewhere(&gate.place().cgroup, &subtree.path),
            };
            problems.extend(moved(unit, at.as_deref(), &subtree.path));
        }
        let frames = seen
            .and_then(|seen| seen.look)
            .filter(|_| subtree.is_none())
            .and_then(|look| frames(gate, number, look, container));
        problems.extend(silenced(frames.as_deref().unwrap_or_default()));
        let mut facts = seen.map(|seen| seen.facts.clone());
        if let Some(facts) = facts.as_mut().filter(|_| under_way) {
            facts
                .unseen
                .push("what is older than the seal (an attach is under way)".into());
        }
        let facts = facts.as_ref();
        let look = seen.and_then(|seen| seen.look);
        let unseen = facts.map_or_else(Vec::new, |facts| facts.unseen.clone());
        let bare = frames.iter().flatten().any(|guard| guard.missing.is_some());
        let evidence = Evidence {
            name: target.clone(),
            // Trying costs an interface: only where it matters.
            frame_layer: subtree.is_some() || frames.is_some() && !bare || Layers::has_frames(),
            broken_links,
            missing_hooks,
            silent_apart: gate.is_apart()? && gate.security().in_force().is_none(),
            capabilities: match &unseen[..] {
                [] if subtree.is_some() => look.map_or(0, reach),
                [] => facts.map_or(u64::MAX, Facts::all_capabilities),
                _ => u64::MAX,
            },
            running,
            marked,
            frames,
            security: if marked {
                gate.security()
            } else {
                Security::Absent
            },
            arrivals: installed::arrivals(),
            born_sealed: look.is_some_and(|look| is_born_sealed(seal, gate, look)),
            shared: facts
                .filter(|_| unseen.is_empty())
                .map(Facts::meeting_places),
            held: facts.map_or_else(Vec::new, |facts| facts.held.clone()),
            command,
            subtree: subtree.is_some(),
        };
        let mut coverage = coverage(&evidence);
        let standing = gate.standing(&seal.id)?;
        let reboot = if command.is_some() {
            Vector::covered(REBOOT, When::Later, "a reboot ends the command")
        } else {
            coverage.push(match subtree.is_some() && look.is_none() {
                true => not_looked_at(&target),
                false => configuration(facts, seal.accepted),
            });
            match reboot(entry, standing.as_ref(), &target, subtree.is_none()) {
                restored if restored.covered && subtree.is_some() => ordered(told.as_ref()),
                row => row,
            }
        };
        coverage.push(reboot.clone());
        if is_pod(&id) {
            coverage = coverage.into_iter().map(of_manifest).collect();
        }
        let opened_since = opened_since(seal, look, &evidence, &coverage);
        let (exits, wrong) = exit_rows(gate, number, look, entry, &mend)?;
        problems.extend(wrong);
        let (policy, counters) = state.map_or((None, None), |(p, c)| (Some(p), Some(c)));
        let audit = policy.as_ref().is_some_and(Rules::is_audit);
        if audit {
            coverage = coverage.iter().map(|row| unrefused(row, &target)).collect();
        }
        let mut report = Self {
            schema: 1,
            container: ContainerRef { id, name },
            state: SealState::Unknown,
            audit,
            summary: String::new(),
            opened_since,
            seal: number,
            since: seal.since,
            running,
            reboot: match audit {
                true => "recorded: airgap restore puts it under audit again".into(),
                false => reboot.by,
            },
            ports: policy
                .iter()
                .flat_map(Rules::ports_of)
                .map(|p| p.to_string())
                .collect(),
            ports_by_default: false,
            clients: gate
                .clients_of(number)?
                .iter()
                .map(ToString::to_string)
                .collect(),
            misroutes: misroutes(evidence.frames.as_deref(), policy.as_ref()),
            errno: failing(policy.as_ref().and_then(Rules::errno_of)),
            exits,
            withdrawn: withdrawn(entry),
            accepted: Risk::names(seal.accepted),
            cgroups: cgroup_refs(&marked_ids, &live),
            links: gate.link_count(),
            attached_to: gate.attached_below()?,
            denials: counters
                .as_ref()
                .map_or_else(Denials::default, Denials::from),
            coverage,
            existing: Vec::new(),
            labels_ignored: Vec::new(),
            above_ceiling: Vec::new(),
            problems,
        };
        report.conclude();
        Ok(report)
    }
}

/// A way out under audit: whatever sees it, nothing is refused there. Pure.
fn unrefused(row: &Vector, target: &str) -> Vector {
    let mend = Some(format!("airgap attach {target} seals it"));
    let by = "audit: it is told, and not refused";
    Vector::open(row.vector, When::Now, by, mend)
}

/// The subtree that this seal is of; `None`: it is a container's or a command's.
pub(crate) fn subtree_of(gate: &Gate, number: SealNumber, id: &str) -> Result<Option<Subtree>> {
    if !is_subtree(id) {
        return Ok(None);
    }
    let path = gate.path_of(number)?.with_context(|| {
        let what = format!("the path that the seal {number} is of is not in the gate's maps");
        Failure::new(what, "airgap restore")
    })?;
    Ok(Some(Subtree::at(&gate.place().cgroup, &path)))
}

/// Whether a unit runs elsewhere than where it is sealed: somebody has moved it to another slice.
fn moved(unit: &str, at: Option<&str>, path: &str) -> Option<String> {
    let at = at.filter(|at| *at != path)?;
    Some(format!(
        "{unit} runs in the cgroup {at}, and its seal is of {path}: nothing is refused to it: airgap detach unit:{unit}, then airgap attach --unit {unit}"
    ))
}

/// Since when the container is open: since its start, where that is younger than the seal
/// and what is open is an interface that nobody has guarded since.
fn opened_since(
    seal: &Seal,
    look: Option<&Look>,
    evidence: &Evidence,
    coverage: &[Vector],
) -> Option<u64> {
    let guards = evidence.frames.as_deref()?;
    let mut open = coverage.iter().filter(|vector| vector.is_open_now());
    let bare = guards.iter().all(|guard| guard.missing.is_some())
        && open.all(|vector| coverage::is_of_the_veth(vector.vector));
    let start = look?.members.oldest?;
    if !bare || seal.boot == 0 || start <= u64::from(seal.boot) {
        return None;
    }
    let ago = clock::since_boot().as_secs().saturating_sub(start);
    Some(clock::now().saturating_sub(ago))
}

/// What guards the container's interfaces; `None`: not all of its networks are known. That
/// it has none but lo is believed only if its engine made none, either.
fn frames(
    gate: &Gate,
    number: SealNumber,
    look: &Look,
    container: Option<&Container>,
) -> Option<Vec<FrameGuard>> {
    if !look.budget.skipped().is_empty() {
        return None;
    }
    let found = interfaces_of(&look.networks).ok()?;
    if found.is_empty() && container.is_some_and(Container::has_network) {
        return None;
    }
    Some(gate.frame_guards(number, found))
}
