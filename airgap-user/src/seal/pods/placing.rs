//! Where a pod is on this host: by the kernel's word where a process of it runs.

use std::fs;

use airgap_common::cgroup::container_id;
use airgap_nri::PodSandbox;
use anyhow::{Context as _, Result};

use crate::{
    container::{Cgroup, locate, v2_path},
    failure::Failure,
    gate::{Gate, Lock, Place},
    pod::{is_cgroup, path_of},
};

/// The path, from the root of the hierarchy, of the cgroup that is a pod's alone.
///
/// # Errors
/// If there is none: a seal of what it is in would be of others, too.
pub(super) fn path(pod: &PodSandbox) -> Result<String> {
    let said = || {
        let linux = pod.linux.as_ref()?;
        path_of(&linux.cgroup_parent)
    };
    let at = match pod.pid {
        0 => said().context("where its cgroup is, is not told")?,
        pid => cgroup_of(pid)?,
    };
    own_part(&at, &pod.uid).ok_or_else(|| {
        Failure::new(
            format!(
                "its cgroup is not in one of its own: {at} has no pod{}",
                pod.uid
            ),
            "the kubelet makes one for each pod, unless it runs with --cgroups-per-qos=false",
        )
        .into()
    })
}

/// The cgroup of a process, from the root of the hierarchy.
fn cgroup_of(pid: u32) -> Result<String> {
    let file = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let path = v2_path(&text).map(str::to_owned);
    path.with_context(|| {
        Failure::new(
            format!("its process {pid} is in no cgroup v2 that can be named"),
            "a node with cgroup v2, and airgap nri in the host's pid and cgroup namespaces",
        )
    })
}

/// The beginning of a path that ends with the pod's own cgroup. Pure.
fn own_part(path: &str, uid: &str) -> Option<String> {
    let mut own = String::new();
    for part in path.split('/').skip(1) {
        own = format!("{own}/{part}");
        if is_cgroup(part, uid) {
            return Some(own);
        }
    }
    None
}

/// Refuses a process that is not below the pod's cgroup: nothing would be refused to it.
///
/// # Errors
/// Then.
pub(super) fn refuse_elsewhere(pid: u32, path: &str) -> Result<()> {
    let at = cgroup_of(pid)?;
    let rest = at.strip_prefix(path);
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Ok(());
    }
    let what = format!("its cgroup is {at}, and not in the pod's, {path}");
    Err(Failure::new(what, "see how the runtime is told to make cgroups").into())
}

/// The cgroup of a container that nobody asks to be sealed, if it is there.
pub(super) fn cgroups_of(place: &Place, id: &str, pid: u32) -> Vec<Cgroup> {
    let known = (pid != 0).then(|| locate(&place.cgroup, id, pid).ok());
    known.flatten().into_iter().collect()
}

/// This process may be in a container that nobody has judged, as after a reboot under
/// quarantine: who has the gate in his hands is no stranger to it, and could ask no runtime.
///
/// # Errors
/// If the gate's maps cannot be read or written.
pub(crate) fn let_go_of_itself(place: &Place) -> Result<()> {
    let Some(path) = cgroup_of(std::process::id()).ok() else {
        return Ok(());
    };
    let Some(id) = path.split('/').find_map(container_id) else {
        return Ok(());
    };
    let lock = Lock::take()?;
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(());
    };
    if gate.quarantine()? {
        let cgroups = cgroups_of(place, id, std::process::id());
        gate.let_go(id.as_bytes().try_into()?, &cgroups, &lock)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::own_part;

    #[test]
    fn a_pod_s_own_cgroup_is_told_from_what_it_is_in() {
        let uid = "0f6d2c1a-58b1-4f0e-9a77-0c5d1e2f3a4b";
        let slice = uid.replace('-', "_");
        for (path, own) in [
            (
                format!("/kubepods/burstable/pod{uid}/0123"),
                Some(format!("/kubepods/burstable/pod{uid}")),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-1.scope"),
                Some(format!("/kubepods.slice/kubepods-pod{slice}.slice")),
            ),
            ("/kubepods/burstable/0123".to_owned(), None),
            (format!("/k8s.io/{uid}"), None),
        ] {
            assert_eq!(own_part(&path, uid), own, "{path}");
        }
    }
}
