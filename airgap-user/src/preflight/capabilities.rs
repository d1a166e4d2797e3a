//! Capabilities that engines grant (capabilities(7), linux/capability.h).

/// What Docker grants a container unless told otherwise.
const DOCKER: u64 = 0xa804_25fb;
/// What Podman does (containers-common; neither NET_RAW nor MKNOD nor AUDIT_WRITE).
const PODMAN: u64 = 0x8004_05fb;
/// Every capability there is a name for.
pub(super) const ALL: u64 = u64::MAX >> (64 - NAMES.len());

/// By bit.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What the engine grants at each start: its default set, changed as configured.
pub(super) fn granted(podman: bool, add: Option<&[String]>, drop: Option<&[String]>) -> u64 {
    let bits = |names: Option<&[String]>| {
        names.unwrap_or_default().iter().fold(0u64, |set, name| {
            let name = name.to_ascii_uppercase();
            let name = name.trim_start_matches("CAP_");
            if name == "ALL" {
                return ALL;
            }
            NAMES
                .iter()
                .position(|n| *n == name)
                .map_or(set, |bit| set | 1 << bit)
        })
    };
    let default = if podman { PODMAN } else { DOCKER };
    let (add, drop) = (bits(add), bits(drop));
    // What is added by name stays although ALL is dropped.
    if drop == ALL {
        add
    } else {
        (default | add) & !drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn reads_what_is_added_and_dropped() {
        let changed =
            |add: &[&str], drop: &[&str]| granted(false, Some(&names(add)), Some(&names(drop)));
        assert_eq!(granted(false, None, None), DOCKER);
        assert_eq!(changed(&[], &["NET_RAW"]), DOCKER & !(1 << 13));
        assert_eq!(changed(&["cap_bpf"], &["ALL"]), 1 << 39);
        assert_ne!(changed(&["ALL"], &[]) & (1 << 21), 0);
        assert_eq!(changed(&["NO_SUCH"], &["ALL"]), 0);
    }

    #[test]
    fn podman_grants_no_raw_sockets() {
        let has = |name: &str| {
            let bit = NAMES.iter().position(|n| *n == name).unwrap();
            granted(true, None, None) & (1 << bit) != 0
        };
        for name in [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "NET_BIND_SERVICE",
            "SETFCAP",
            "SETGID",
            "SETPCAP",
            "SETUID",
        ] {
            assert!(has(name), "{name}");
        }
        for name in [
            "NET_RAW",
            "MKNOD",
            "AUDIT_WRITE",
            "SYS_ADMIN",
            "NET_ADMIN",
            "LINUX_IMMUTABLE",
        ] {
            assert!(!has(name), "{name}");
        }
    }
}
