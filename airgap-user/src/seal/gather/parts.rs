//! Parts of a report that are read by themselves.

use std::os::unix::fs::MetadataExt as _;

use airgap_common::map::{Policy, Seal, SealNumber};

use crate::{
    container::{Cgroup, Container, Look, strayed},
    gate::{FrameGuard, Gate},
    policy::{Port, Rules},
    seal::CgroupRef,
};

/// Capabilities that a task of it has, or may come to by what it runs.
pub(crate) fn reach(look: &Look) -> u64 {
    let all = look.members.credentials.iter();
    all.fold(0, |set, who| {
        set | who.capabilities | if who.no_new_privs { 0 } else { who.bounding }
    })
}

/// Whether seal and security hooks are older than every process of the container, by
/// clocks that nobody sets.
pub(crate) fn is_born_sealed(seal: &Seal, gate: &Gate, look: &Look) -> bool {
    let since = u64::from(seal.boot.max(gate.lsm_since()));
    seal.boot != 0 && look.members.oldest.is_some_and(|seconds| seconds > since)
}

pub(crate) fn cgroup_refs(ids: &[u64], live: &[Cgroup]) -> Vec<CgroupRef> {
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

pub(crate) fn ports_of(gate: &Gate, number: SealNumber) -> Vec<Port> {
    let state = gate.state(number);
    state.map_or_else(Vec::new, |(policy, _)| Rules::ports_of(&policy))
}

/// Whether what is for a client elsewhere may go to a neighbour of a link: on an interface
/// where nothing tells whom a frame is sent to, or, where the host's network is shared,
/// over UDP, as a neighbour may ask in that client's name there.
pub(crate) fn misroutes(frames: Option<&[FrameGuard]>, policy: Option<&Policy>) -> bool {
    const SHARED: u32 = Policy::SHARED_NETWORK;
    let tcp_alone =
        |policy: &Policy| policy.flags & SHARED != 0 && policy.flags & Policy::SERVES_UDP == 0;
    match frames {
        Some(guards) => guards.iter().any(|guard| guard.misroutes),
        None => !policy.is_some_and(tcp_alone),
    }
}

/// Interfaces where the frame layer cannot tell who sends, so that nothing is answered.
pub(crate) fn silenced(frames: &[FrameGuard]) -> Vec<String> {
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

/// The cgroup of the container's first process, if nothing is refused to it there. Not
/// where the engine's number means another process here: then the cgroups of its id hold
/// the container, and that process shares nothing with it.
pub(crate) fn astray(container: &Container, look: Option<&Look>) -> Option<String> {
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
