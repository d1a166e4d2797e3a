//! What is in force for one container, gathered from the kernel.

use std::os::unix::fs::MetadataExt as _;

use airgap_common::map::{Counters, Seal, SealNumber};
use anyhow::Result;
use serde::Serialize;

use super::{Existing, existing::Layers};
use crate::{
    clock,
    container::{Cgroup, Container, Interface, Look, find_cgroups, interfaces_of, strayed},
    coverage::{
        self, CONFIGURATION, Evidence, OLDER, REBOOT, SealState, Vector, When, coverage, summary,
    },
    events::{REASONS, is_silent},
    gate::{FrameGuard, Gate, Security, Standing, likely_security, seal_id, seal_name},
    policy::{Cidr, Rules},
    preflight::{self, Facts, Risk},
    state::{Entry, Own},
};

/// State of one seal.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// Who.
    pub container: ContainerRef,
    /// How much of it is sealed.
    pub state: SealState,
    /// What line one says after the state.
    pub summary: String,
    /// With the state `opened`, where it is known: open since, seconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_since: Option<u64>,
    /// Seal number.
    pub seal: SealNumber,
    /// Sealed since, seconds since 1970-01-01 UTC.
    pub since: u64,
    /// The container has processes now.
    pub running: bool,
    /// What a reboot of the host does with the seal.
    pub reboot: String,
    /// Service ports, as `5060/tcp`.
    pub ports: Vec<String>,
    /// Right after attach: nobody named a port, so it has the default one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ports_by_default: bool,
    /// Clients, as prefixes; empty: any client, and each is an exit.
    pub clients: Vec<String>,
    /// Risks accepted by name.
    pub accepted: Vec<&'static str>,
    /// Cgroups that are sealed now.
    pub cgroups: Vec<CgroupRef>,
    /// Links of the gate that should be alive; those that are not are problems.
    pub links: usize,
    /// Refused attempts.
    pub denials: Denials,
    /// By vector.
    pub coverage: Vec<Vector>,
    /// Sockets older than the seal, right after attach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub existing: Vec<Existing>,
    /// Labels of the container that do not count, and why; only for a seal that
    /// came by label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels_ignored: Vec<String>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// A container in a report.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerRef {
    /// 64 hex digits.
    pub id: String,
    /// Name now; where the engine does not say, name when it was sealed.
    pub name: String,
}

/// A cgroup in a report.
#[derive(Clone, Debug, Serialize)]
pub struct CgroupRef {
    /// Cgroup id.
    pub id: u64,
    /// Path on this host; absent for one that is gone and not yet released by the kernel:
    /// sockets or page cache still hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Refused attempts of a seal.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Denials {
    /// All that the container asked for.
    pub total: u64,
    /// By reason; reasons that never occurred are absent.
    pub by_reason: Vec<(&'static str, u64)>,
    /// What `airgap verify` tried besides: in neither of the two.
    #[serde(skip_serializing_if = "is_zero")]
    pub by_verify: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Denials {
    /// Without what `airgap verify` tried itself.
    #[must_use]
    pub fn without(mut self, own: &Own) -> Self {
        for (reason, count) in &mut self.by_reason {
            let own = own.get(*reason).copied().unwrap_or(0).min(*count);
            *count -= own;
            // What is in no sum is taken out of none.
            if !is_silent(reason) {
                self.by_verify += own;
            }
        }
        self.by_reason.retain(|(_, count)| *count > 0);
        self.total = self.total.saturating_sub(self.by_verify);
        self
    }
}

impl From<&Counters> for Denials {
    fn from(counters: &Counters) -> Self {
        let by_reason = REASONS.iter().zip(&counters.by_reason);
        Self {
            total: counters.refused(),
            by_reason: by_reason
                .filter(|(_, n)| **n > 0)
                .map(|(name, n)| (*name, *n))
                .collect(),
            by_verify: 0,
        }
    }
}

/// What a look at the container has found already.
pub(super) struct Seen<'a> {
    /// `None`: it does not run.
    pub(super) look: Option<&'a Look>,
    pub(super) facts: &'a Facts,
}

impl Report {
    /// Gathers it. `container` adds what only the engine knows, `entry` is what
    /// is recorded of the seal.
    ///
    /// # Errors
    /// If the gate's maps cannot be read.
    pub fn gather(
        gate: &Gate,
        number: SealNumber,
        seal: &Seal,
        container: Option<&Container>,
        entry: Option<&Entry>,
    ) -> Result<Self> {
        let Some(known) = container else {
            return Self::with(gate, number, seal, None, entry, None);
        };
        let mut look = Look::live(&gate.place().cgroup, known);
        let clients = gate.clients_of(number)?;
        let facts = Facts::gather(known, look.as_mut()).with_clients(known, &clients);
        let seen = Seen {
            look: look.as_ref(),
            facts: &facts,
        };
        Self::with(gate, number, seal, container, entry, Some(&seen))
    }

    /// The same, with what a look has found: one that takes time needs no lock.
    ///
    /// # Errors
    /// As there.
    pub(super) fn with(
        gate: &Gate,
        number: SealNumber,
        seal: &Seal,
        container: Option<&Container>,
        entry: Option<&Entry>,
        seen: Option<&Seen<'_>>,
    ) -> Result<Self> {
        let id = seal_id(seal);
        let live = find_cgroups(&gate.place().cgroup, &id);
        let marked_ids = gate.cgroups_of(number)?;
        let broken_links = gate.broken_links();
        let name = container.map_or_else(|| seal_name(seal), |c| c.name.clone());
        let mend = format!("airgap attach {name} mends it");
        let mut problems: Vec<_> = broken_links
            .iter()
            .map(|link| format!("{link}: {mend}"))
            .collect();
        let mut missing_hooks = Vec::new();
        let mut marked = true;
        for cgroup in &live {
            match gate.missing_hooks(&cgroup.path) {
                Ok(missing) => missing_hooks.extend(missing.into_iter().map(str::to_owned)),
                // Gone since we looked; the next start is the kernel's to mark.
                Err(_) if !cgroup.path.exists() => continue,
                Err(error) => problems.push(format!("{error:#}")),
            }
            if !gate.is_marked(cgroup.id, cgroup.level, number)? && cgroup.path.exists() {
                marked = false;
                problems.push(format!(
                    "the cgroup {} is not in the gate's maps: {mend}",
                    cgroup.path.display()
                ));
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
        if seal.complete != 1 {
            problems.push("the attach was not finished: run airgap attach again".into());
        }
        let frames = seen
            .and_then(|seen| seen.look)
            .and_then(|look| frames(gate, number, look, container));
        problems.extend(silenced(frames.as_deref().unwrap_or_default()));
        let facts = seen.map(|seen| seen.facts);
        let look = seen.and_then(|seen| seen.look);
        let unseen = facts.map_or_else(Vec::new, |facts| facts.unseen.clone());
        let bare = frames.iter().flatten().any(|guard| guard.missing.is_some());
        let evidence = Evidence {
            name: name.clone(),
            // Trying costs an interface: only where it matters.
            frame_layer: !bare || Layers::has_frames(),
            broken_links,
            missing_hooks,
            capabilities: match &unseen[..] {
                [] => facts.map_or(u64::MAX, Facts::all_capabilities),
                _ => u64::MAX,
            },
            running: !live.is_empty(),
            marked,
            frames,
            security: if marked {
                gate.security()
            } else {
                Security::Absent
            },
            arrivals: super::install::arrivals(),
            born_sealed: look.is_some_and(|look| is_born_sealed(seal, gate, look)),
            shared: facts
                .filter(|_| unseen.is_empty())
                .map(Facts::meeting_places),
            held: facts.map_or_else(Vec::new, |facts| facts.held.clone()),
        };
        let mut coverage = coverage(&evidence);
        coverage.push(configuration(facts, seal.accepted));
        let standing = gate.standing(&seal.id)?;
        let reboot = reboot(entry, standing.as_ref(), &name);
        coverage.push(reboot.clone());
        let opened_since = opened_since(seal, look, &evidence, &coverage);
        let (policy, counters) = state.map_or((None, None), |(p, c)| (Some(p), Some(c)));
        let mut report = Self {
            schema: 1,
            container: ContainerRef { id, name },
            state: SealState::Unknown,
            summary: String::new(),
            opened_since,
            seal: number,
            since: seal.since,
            running: !live.is_empty(),
            reboot: reboot.by,
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
            accepted: Risk::names(seal.accepted),
            cgroups: cgroup_refs(&marked_ids, &live),
            links: gate.link_count(),
            denials: counters
                .as_ref()
                .map_or_else(Denials::default, Denials::from),
            coverage,
            existing: Vec::new(),
            labels_ignored: Vec::new(),
            problems,
        };
        report.conclude();
        Ok(report)
    }

    /// Nothing seals it again after a reboot.
    pub(crate) fn opened_by_reboot(by: String, mend: String) -> Vector {
        Vector {
            effect: Some("a reboot of this host opens it".into()),
            ..Vector::open(REBOOT, When::Later, by, Some(mend))
        }
    }

    /// Makes state and line one of what is in the report.
    fn conclude(&mut self) {
        self.set_state(match &self.problems[..] {
            [] => SealState::of(&self.coverage, !self.accepted.is_empty()),
            _ => SealState::Broken,
        });
        if self.state != SealState::Opened {
            self.opened_since = None;
        }
    }

    /// Sets the state, and line one with it.
    pub fn set_state(&mut self, state: SealState) {
        let name = match state {
            // Nobody else may have the name.
            SealState::Gone => &self.container.id[..12.min(self.container.id.len())],
            _ => &self.container.name,
        };
        self.summary = match (state, &self.problems[..]) {
            // Each problem says what mends it, and not all are mended alike.
            (SealState::Broken, [first, ..]) => first.clone(),
            _ => summary(state, &self.coverage, &self.accepted, name),
        };
        self.state = state;
    }

    /// Takes in what became of the sockets that are older than the seal.
    pub(super) fn with_existing(mut self, existing: Vec<Existing>) -> Self {
        if let Some(row) = older(&existing, &self.accepted, &self.container.name) {
            self.coverage.push(row);
            self.conclude();
        }
        self.existing = existing;
        self
    }

    /// A seal that is recorded and not in force.
    pub fn of_entry(entry: &Entry) -> Self {
        let (known, what) = match entry {
            Entry::Known(record) => (Some(record), "recorded but not in force".to_owned()),
            Entry::Unreadable { why, .. } => (
                None,
                format!("not in force, and its record cannot be read: {why}"),
            ),
        };
        Self {
            schema: 1,
            container: ContainerRef {
                id: entry.id().to_owned(),
                name: entry.name().to_owned(),
            },
            state: SealState::NotSealed,
            summary: summary(SealState::NotSealed, &[], &[], entry.name()),
            opened_since: None,
            seal: 0,
            since: known.map_or(0, |r| r.since),
            running: false,
            reboot: "airgap restore seals it".into(),
            ports: known.map_or_else(Vec::new, |r| texts(&r.rules.ports)),
            ports_by_default: false,
            // Empty would say that any client may connect.
            clients: known.map_or_else(|| texts(&[Cidr::NOBODY]), |r| texts(&r.rules.clients)),
            accepted: known.map_or_else(Vec::new, |r| Risk::names(r.accepted)),
            cgroups: Vec::new(),
            links: 0,
            denials: Denials::default(),
            coverage: Vec::new(),
            existing: Vec::new(),
            labels_ignored: Vec::new(),
            problems: vec![format!("{what}: airgap restore")],
        }
    }

    /// Exit code that this state stands for.
    pub fn code(&self) -> u8 {
        self.state.code()
    }
}

/// Sockets that are older than the seal and lead out past it, if there are any.
pub(super) fn older(existing: &[Existing], accepted: &[&str], name: &str) -> Option<Vector> {
    let foreign = accepted.contains(&Risk::ForeignSocket.name());
    let open: Vec<_> = existing
        .iter()
        .filter(|socket| socket.leads_out(foreign))
        .map(|socket| socket.kind)
        .collect();
    let by = format!("nothing stands in the way of: {}", open.join(", "));
    let mend = format!("docker restart {name}");
    (!open.is_empty()).then(|| Vector::open(OLDER, When::Now, by, Some(mend)))
}

/// What a reboot of the host does with the seal as it is now.
fn reboot(entry: Option<&Entry>, standing: Option<&Standing>, name: &str) -> Vector {
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
        (Some(Entry::Known(_)), _) => restored_at_boot(),
    }
}

/// A state of the host: whether anything restores what is recorded.
fn restored_at_boot() -> Vector {
    if super::install::is_installed() {
        let by = "sealed again before the engine starts (airgap-restore.service)";
        return Vector::covered(REBOOT, When::Later, by);
    }
    let by = "recorded, but nothing runs airgap restore at boot: airgap install";
    Report::opened_by_reboot(by.into(), "airgap install".into())
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
    Some(super::sealing::now().saturating_sub(ago))
}

/// Whether they allow the same, in whatever order.
fn same(a: &Rules, b: &Rules) -> bool {
    let sorted = |rules: &Rules| {
        let (mut ports, mut clients) = (texts(&rules.ports), texts(&rules.clients));
        ports.sort_unstable();
        clients.sort_unstable();
        clients.dedup();
        (ports, clients)
    };
    sorted(a) == sorted(b)
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
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

/// Interfaces where the frame layer cannot tell who sends, so that nothing is answered.
fn silenced(frames: &[FrameGuard]) -> Vec<String> {
    let ends = frames
        .iter()
        .filter_map(|guard| guard.interface.host.as_ref());
    ends.filter(|end| end.native_xdp)
        .map(|end| {
            format!(
                "an XDP program in the driver of {0} takes the sender from each frame, and the service is not answered (ip link set dev {0} xdpdrv off, or use xdpgeneric)",
                end.name
            )
        })
        .collect()
}

/// Coverage as it would be right after an attach.
pub(super) fn expected(
    gate: Option<&Gate>,
    look: Option<&Look>,
    facts: &Facts,
    layers: Layers,
    name: &str,
) -> Vec<Vector> {
    let found = look.map(|look| interfaces_of(&look.networks));
    let guard = |interface: Interface| FrameGuard {
        missing: match (&interface.host, layers.frames) {
            (Some(_), true) => None,
            (Some(_), false) => Some("this kernel has no frame layer".into()),
            (None, _) => Some(format!(
                "{} is no veth with its other end on this host",
                interface.name
            )),
        },
        interface,
    };
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
        arrivals: super::install::arrivals(),
        ..Evidence::default()
    };
    let mut coverage = coverage(&evidence);
    let accepted = Risk::ALL.iter().fold(0, |set, risk| set | risk.bit());
    coverage.push(configuration(Some(facts), accepted));
    coverage.push(restored_at_boot());
    coverage
}

/// The cgroup of the container's first process, if nothing is refused to it there. Not
/// where the engine's number means another process here: then the cgroups of its id hold
/// the container, and that process shares nothing with it.
fn astray(container: &Container, look: Option<&Look>) -> Option<String> {
    let pid = container.pid?;
    let path = strayed(&container.id, pid)?;
    let Some(look) = look else {
        return Some(path);
    };
    let shares = |kind: &str, known: &[u64]| {
        let inode = std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|about| about.ino());
        inode.is_ok_and(|inode| known.contains(&inode))
    };
    let networks: Vec<_> = look.networks.iter().map(|network| network.inode).collect();
    let mounts: Vec<_> = look
        .members
        .mounts
        .iter()
        .map(|(inode, ..)| *inode)
        .collect();
    (shares("net", &networks) || shares("mnt", &mounts)).then_some(path)
}

/// Whether seal and security hooks are older than every process of the container, by
/// clocks that nobody sets.
fn is_born_sealed(seal: &Seal, gate: &Gate, look: &Look) -> bool {
    let since = u64::from(seal.boot.max(gate.lsm_since()));
    seal.boot != 0 && look.members.oldest.is_some_and(|seconds| seconds > since)
}

/// What preflight finds now: a mount, a neighbour in the network namespace or
/// a capability may have come after the attach.
fn configuration(facts: Option<&Facts>, accepted: u64) -> Vector {
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

fn cgroup_refs(ids: &[u64], live: &[Cgroup]) -> Vec<CgroupRef> {
    ids.iter()
        .map(|id| CgroupRef {
            id: *id,
            path: live
                .iter()
                .find(|c| c.id == *id)
                .map(|c| c.path.display().to_string()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_verify_tried_is_taken_out_and_named() {
        let counted = || Denials {
            total: 95,
            by_reason: vec![("egress", 85), ("dns", 10), ("inbound", 3)],
            by_verify: 0,
        };
        let own = |pairs: &[(&str, u64)]| -> Own {
            pairs.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect()
        };
        let rest = counted().without(&own(&[("egress", 80), ("dns", 10)]));
        assert_eq!((rest.total, rest.by_verify), (5, 90));
        assert_eq!(rest.by_reason, [("egress", 5), ("inbound", 3)]);
        // Never more than there was.
        let rest = counted().without(&own(&[("egress", 1000), ("frame", 7)]));
        assert_eq!((rest.total, rest.by_verify), (10, 85));
        let rest = counted().without(&Own::new());
        assert_eq!((rest.total, rest.by_verify), (95, 0));
        // Clients refused are in no sum, so they are taken out of none.
        let rest = counted().without(&own(&[("inbound", 2), ("dns", 1)]));
        assert_eq!((rest.total, rest.by_verify), (94, 1));
        assert_eq!(rest.by_reason, [("egress", 85), ("dns", 9), ("inbound", 1)]);
    }

    #[test]
    fn sockets_that_lead_out_open_a_seal() {
        let socket = |kind, action| Existing {
            kind,
            local: None,
            peer: None,
            container: None,
            pid: None,
            name: None,
            action,
        };
        let found = |kind, action, accepted: &[&str]| {
            older(&[socket(kind, action)], accepted, "web").is_some()
        };
        for kind in ["packet", "unix", "xdp", "ip"] {
            assert!(found(kind, "open", &[]), "{kind}");
            assert!(!found(kind, "cut", &[]), "{kind}");
        }
        // To no network; accepted by name.
        assert!(!found("vsock", "open", &[]));
        assert!(!found("ip", "open", &["foreign-socket"]));
        assert!(found("packet", "open", &["foreign-socket"]));
    }

    #[test]
    fn what_cannot_be_read_is_not_open_to_any_client() {
        let entry = Entry::Unreadable {
            id: "ab".repeat(32),
            why: "test".into(),
        };
        assert_eq!(Report::of_entry(&entry).clients, ["::/128"]);
    }
}
