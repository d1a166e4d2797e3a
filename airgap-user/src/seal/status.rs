//! What is in force for one container, as every command and page shows it.

use airgap_common::map::{Counters, SealNumber};
use serde::Serialize;

use super::{
    Existing, ExitRow,
    existing::older,
    exits::{recorded, withdrawn},
};
use crate::{
    coverage::{SealState, Vector, summary},
    events::{REASONS, is_silent},
    gate::has_set_retval,
    policy::{Cidr, Errno},
    preflight::Risk,
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
    /// All is judged and told, and nothing refused (`airgap attach --audit`): what is counted
    /// as denials was let through.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
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
    /// What is sent to a client elsewhere may go to a neighbour on a link of the container's,
    /// as nothing tells there whom a frame is sent to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub misroutes: bool,
    /// How refused `connect` and `sendmsg` fail: `offline` or `eperm` (`airgap attach
    /// --errno`); before Linux 5.18 always `eperm`.
    pub errno: String,
    /// Exceptions: where it may connect or send to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<ExitRow>,
    /// Exceptions of the container's label that an operator took back, and that `watch`
    /// does not open again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<String>,
    /// Risks accepted by name.
    pub accepted: Vec<&'static str>,
    /// Cgroups that are sealed now.
    pub cgroups: Vec<CgroupRef>,
    /// Links of the gate that should be alive; those that are not are problems.
    pub links: usize,
    /// Cgroups just below the root that the hooks on packets and calls are attached to; none:
    /// they are attached to the root.
    pub attached_to: Vec<String>,
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
    /// What it has that is above this host's ceiling, with the file and its line: the next
    /// attach, apply or watch does not renew it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub above_ceiling: Vec<String>,
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

impl Report {
    /// Makes state and line one of what is in the report.
    pub(crate) fn conclude(&mut self) {
        self.set_state(match &self.problems[..] {
            _ if self.audit => SealState::NotSealed,
            [] => match SealState::of(&self.coverage, !self.accepted.is_empty()) {
                SealState::Opened => SealState::Opened,
                _ if self.exits.iter().any(ExitRow::is_closed) => SealState::ExceptionClosed,
                state => state,
            },
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
            (SealState::NotSealed, _) if self.audit && self.seal != 0 => audited(name),
            // Each problem says what mends it, and not all are mended alike.
            (SealState::Broken, [first, ..]) => first.clone(),
            (SealState::ExceptionClosed, _) if let Some(line) = self.shut_name() => line,
            _ => summary(
                state,
                &self.coverage,
                &self.accepted,
                self.exits.iter().filter(|exit| exit.is_open()).count(),
                name,
            ),
        };
        self.state = state;
    }

    /// What is said of an exception by name that is shut, if there is one.
    fn shut_name(&self) -> Option<String> {
        let shut = self
            .exits
            .iter()
            .find_map(|exit| Some((exit, exit.why.as_ref()?)));
        shut.map(|(exit, why)| {
            format!(
                "{} is shut: {why}; run: airgap attach {}",
                exit.to, self.container.name
            )
        })
    }

    /// Takes in what became of the sockets that are older than the seal.
    pub(crate) fn with_existing(mut self, existing: Vec<Existing>) -> Self {
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
            audit: known.is_some_and(|record| record.rules.audit),
            summary: summary(SealState::NotSealed, &[], &[], 0, entry.name()),
            opened_since: None,
            seal: 0,
            since: known.map_or(0, |r| r.since),
            running: false,
            reboot: match known.is_some_and(|record| record.rules.audit) {
                true => "airgap restore puts it under audit again".into(),
                false => "airgap restore seals it".into(),
            },
            ports: known.map_or_else(Vec::new, |r| texts(&r.rules.ports)),
            ports_by_default: false,
            // Empty would say that any client may connect.
            clients: known.map_or_else(|| texts(&[Cidr::NOBODY]), |r| texts(&r.rules.clients)),
            misroutes: false,
            errno: failing(known.and_then(|r| r.rules.errno)),
            exits: known.map_or_else(Vec::new, recorded),
            withdrawn: withdrawn(Some(entry)),
            accepted: known.map_or_else(Vec::new, |r| Risk::names(r.accepted)),
            cgroups: Vec::new(),
            links: 0,
            attached_to: Vec::new(),
            denials: Denials::default(),
            coverage: Vec::new(),
            existing: Vec::new(),
            labels_ignored: Vec::new(),
            above_ceiling: Vec::new(),
            problems: vec![format!("{what}: airgap restore")],
        }
    }

    /// The words that line one begins with.
    pub const fn headline(&self) -> &'static str {
        match self.audit && self.seal != 0 && matches!(self.state, SealState::NotSealed) {
            true => SealState::AUDIT,
            false => self.state.headline(),
        }
    }

    /// Exit code that this state stands for.
    pub fn code(&self) -> u8 {
        self.state.code()
    }
}

/// What line one says of an audit: what it has told, and what comes after it.
fn audited(name: &str) -> String {
    format!(
        "what a seal would refuse is told by airgap tail {name}, and as exceptions by airgap learn {name}; airgap attach {name} seals it"
    )
}

pub(crate) fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// How refused calls fail on this kernel.
pub(crate) fn failing(asked: Option<Errno>) -> String {
    let errno = match has_set_retval() {
        true => asked.unwrap_or_default(),
        false => Errno::Eperm,
    };
    errno.to_string()
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
            to: None,
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
