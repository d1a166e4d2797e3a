//! Pods of Kubernetes: no engine tells of them, their cgroup does.

use std::time::Duration;

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;

use super::Seen;
use crate::{
    container::{Cgroup, Look},
    coverage::{CONFIGURATION, Vector},
    gate::Gate,
    pod::AGAIN,
    policy::Rules,
    preflight::Facts,
    seal::Report,
    state::Entry,
    subtree::Subtree,
};

impl Report {
    /// The report of a pod, which may be looked at for `time`.
    pub(crate) fn of_pod(
        gate: &Gate,
        number: SealNumber,
        seal: &Seal,
        entry: Option<&Entry>,
        time: Duration,
    ) -> Result<Self> {
        let cgroup = cgroup_of_pod(gate, number)?;
        let running = cgroup.filter(|cgroup| cgroup.first_process().is_some());
        let mut look = running.map(|cgroup| Look::within_time(vec![cgroup], time, None));
        let exits = gate.exits_of(number)?.into_iter();
        let rules = Rules {
            ports: super::ports_of(gate, number),
            clients: gate.clients_of(number)?,
            exits: exits.map(|exit| exit.exception).collect(),
            ..Rules::NOTHING
        };
        let facts = Facts::of_pod(look.as_mut(), &rules);
        let seen = Seen {
            look: look.as_ref(),
            facts: &facts,
        };
        Self::with(gate, number, seal, None, entry, Some(&seen))
    }
}

/// The cgroup that a pod's seal is of, if it is there.
pub(crate) fn cgroup_of_pod(gate: &Gate, number: SealNumber) -> Result<Option<Cgroup>> {
    let path = gate.path_of(number)?;
    Ok(path.and_then(|path| Subtree::at(&gate.place().cgroup, &path).cgroup))
}

/// What a pod may do is said by its manifest, and put in force by nobody but its plugin.
pub(crate) fn of_manifest(row: Vector) -> Vector {
    let by_attach = |mend: &String| mend.contains("airgap attach");
    let mend = match row.mend {
        Some(mend) if by_attach(&mend) && row.vector == CONFIGURATION => {
            Some("change it in its manifest, or accept it there (airgap.dev/accept)".to_owned())
        }
        Some(mend) if by_attach(&mend) => Some(AGAIN.to_owned()),
        mend => mend,
    };
    Vector { mend, ..row }
}
