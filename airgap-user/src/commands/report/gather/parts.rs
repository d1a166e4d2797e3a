//! Parts of a report that are read by themselves.

use airgap_common::map::{Seal, SealNumber};

use crate::{
    container::{Cgroup, Look},
    gate::Gate,
    policy::{Port, Rules},
    seal::CgroupRef,
};

/// Capabilities that a task of it has, or may come to by what it runs.
pub(super) fn reach(look: &Look) -> u64 {
    let all = look.members.credentials.iter();
    all.fold(0, |set, who| {
        set | who.capabilities | if who.no_new_privs { 0 } else { who.bounding }
    })
}

/// Whether seal and security hooks are older than every process of the container, by
/// clocks that nobody sets.
pub(super) fn is_born_sealed(seal: &Seal, gate: &Gate, look: &Look) -> bool {
    let since = u64::from(seal.boot.max(gate.lsm_since()));
    seal.boot != 0 && look.members.oldest.is_some_and(|seconds| seconds > since)
}

pub(super) fn cgroup_refs(ids: &[u64], live: &[Cgroup]) -> Vec<CgroupRef> {
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

pub(super) fn ports_of(gate: &Gate, number: SealNumber) -> Vec<Port> {
    let state = gate.state(number);
    state.map_or_else(Vec::new, |(policy, _)| Rules::ports_of(&policy))
}
