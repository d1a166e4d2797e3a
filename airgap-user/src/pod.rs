//! Pods of Kubernetes: containers that share one network, in one cgroup that the kubelet makes
//! for them. A pod is sealed as one, by its UID and that cgroup, with all of its containers
//! below. Pure.
//!
//! Podman's are something else, which Podman is asked about ([`crate::container::Pod`]).

use crate::notation::Kind;

const KIND: Kind = Kind("9c2e6b41d70f38a5b4c1e62");

/// What mends a seal of a pod's: nobody but its manifest asks for one.
pub const AGAIN: &str =
    "systemctl restart airgap-nri, or start airgap nri anew: it seals all pods again";

/// Whether this id is a pod's.
pub fn is_pod(id: &str) -> bool {
    KIND.has(id)
}

/// The id of the seal of the pod with this UID, always the same: a sandbox that is made anew
/// is the same pod's.
pub fn id_of(uid: &str) -> String {
    KIND.id_of(uid)
}

/// What a pod is called.
pub fn name_of(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Whether a text is such a name: no container's, unit's or command's has a slash where a
/// namespace ends.
pub fn is_name(text: &str) -> bool {
    let word = |text: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        !text.is_empty() && text.chars().all(plain)
    };
    text.split_once('/')
        .is_some_and(|(namespace, name)| word(namespace) && word(name))
}

/// Whether a cgroup of this name is that of the pod with this UID alone, in either spelling:
/// `pod<UID>`, or of systemd's `…-pod<UID with _ for ->.slice`.
pub fn is_cgroup(cgroup: &str, uid: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if uid.is_empty() || !uid.chars().all(plain) {
        return false;
    }
    let slice = format!("-pod{}.slice", uid.replace('-', "_"));
    cgroup == format!("pod{uid}") || cgroup.ends_with(&slice)
}

/// Where a cgroup is that the kubelet has named, from the root of the hierarchy: a path, or
/// the name of a slice, which says by its dashes what it is in (systemd.slice(5)).
pub fn path_of(parent: &str) -> Option<String> {
    let last = parent.trim_matches('/').rsplit('/').next()?;
    let path = match last.strip_suffix(".slice") {
        Some(slice) => {
            let ends = slice.match_indices('-').map(|(at, _)| at);
            let above: Vec<_> = ends.map(|at| format!("{}.slice", &slice[..at])).collect();
            let names = above.iter().map(String::as_str).chain([last]);
            names.collect::<Vec<_>>().join("/")
        }
        None => parent.trim_matches('/').to_owned(),
    };
    let sound = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(sound).then(|| format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::is_command, state::is_id, subtree::is_subtree};

    const UID: &str = "0f6d2c1a-58b1-4f0e-9a77-0c5d1e2f3a4b";

    #[test]
    fn ids_say_what_they_are() {
        let id = id_of(UID);
        assert!(is_id(&id) && is_pod(&id), "{id}");
        assert!(!is_command(&id) && !is_subtree(&id));
        assert_eq!(id, id_of(UID));
        assert_ne!(id, id_of(&UID.replace('0', "1")));
        assert!(!is_pod("") && !is_pod(&"9c2e".repeat(16)) && !is_pod("é"));
    }

    #[test]
    fn both_spellings_of_the_cgroup_are_the_pod_s() {
        let slice = UID.replace('-', "_");
        for (cgroup, is_its) in [
            (format!("pod{UID}"), true),
            (format!("kubepods-pod{slice}.slice"), true),
            (format!("kubepods-burstable-pod{slice}.slice"), true),
            (format!("kubepods-besteffort-pod{UID}.slice"), false),
            (format!("pod{slice}"), false),
            (format!("xpod{UID}"), false),
            (format!("pod{UID}x"), false),
            ("kubepods-burstable.slice".into(), false),
            ("burstable".into(), false),
        ] {
            assert_eq!(is_cgroup(&cgroup, UID), is_its, "{cgroup}");
        }
        // That of a static pod has no dashes.
        let fixed = "0123456789abcdef0123456789abcdef";
        assert!(is_cgroup(&format!("pod{fixed}"), fixed));
        assert!(is_cgroup(&format!("kubepods-pod{fixed}.slice"), fixed));
        for bad in ["", "../x", "a/b"] {
            assert!(!is_cgroup(&format!("pod{bad}"), bad), "{bad}");
        }
    }

    #[test]
    fn a_slice_says_where_it_is() {
        for (parent, path) in [
            ("/kubepods/burstable/podx", Some("/kubepods/burstable/podx")),
            (
                "kubepods-burstable-pod1_2.slice",
                Some("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"),
            ),
            (
                "/kubepods.slice/kubepods-pod1_2.slice",
                Some("/kubepods.slice/kubepods-pod1_2.slice"),
            ),
            ("", None),
            ("/", None),
            ("/a/../b", None),
        ] {
            assert_eq!(path_of(parent).as_deref(), path, "{parent}");
        }
    }

    #[test]
    fn a_name_is_no_container_s() {
        assert!(is_name(&name_of("shop", "web-0")));
        for other in ["web", "unit:x", "cgroup:/a/b", "/a", "a/", "a/b/c", "A/b"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
