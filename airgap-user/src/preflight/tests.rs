use super::*;
use crate::container::Grant;

fn names(facts: &Facts) -> Vec<&'static str> {
    judge(facts).iter().map(|f| f.risk.name()).collect()
}

fn mount(fstype: &str, source: &str, target: &str, writable: bool) -> Mount {
    Mount {
        fstype: fstype.into(),
        source: source.into(),
        target: target.into(),
        writable,
        foreign: true,
        root: String::new(),
    }
}

fn it(set: u64) -> Grant {
    Grant {
        set,
        who: "it".into(),
    }
}

#[test]
fn a_plain_container_is_clean() {
    // Docker's default set.
    let facts = Facts {
        capabilities: vec![it(0xa804_25fb)],
        seccomp: true,
        ..Facts::default()
    };
    assert_eq!(names(&facts), Vec::<&str>::new());
}

#[test]
fn finds_each_risk() {
    let table: Vec<(Facts, &str)> = vec![
        (
            Facts {
                privileged: true,
                ..Facts::default()
            },
            "privileged",
        ),
        (
            Facts {
                capabilities: vec![it(1 << 21)],
                ..Facts::default()
            },
            "capability",
        ),
        (
            Facts {
                capabilities: vec![it(1 << 39)],
                ..Facts::default()
            },
            "capability",
        ),
        (
            Facts {
                host_network: Some("x".into()),
                ..Facts::default()
            },
            "host-network",
        ),
        (
            Facts {
                network_sharers: vec!["x".into()],
                ..Facts::default()
            },
            "shared-network",
        ),
        (
            Facts {
                host_pid: Some("x".into()),
                ..Facts::default()
            },
            "host-pid",
        ),
        (
            Facts {
                log_driver: Some("gelf".into()),
                ..Facts::default()
            },
            "log-driver",
        ),
        (
            Facts {
                devices: vec!["/dev/kvm".into()],
                ..Facts::default()
            },
            "device",
        ),
        (
            Facts {
                runtime: Some("kata".into()),
                ..Facts::default()
            },
            "runtime",
        ),
        (
            Facts {
                mounts: vec![mount("ext4", "/var/run/docker.sock", "/d.sock", false)],
                ..Facts::default()
            },
            "engine-socket",
        ),
        (
            Facts {
                mounts: vec![mount("ext4", "/", "/host", false)],
                ..Facts::default()
            },
            "engine-socket",
        ),
        (
            Facts {
                seccomp: true,
                mounts: vec![mount("cgroup2", "", "/cg", true)],
                ..Facts::default()
            },
            "control-fs",
        ),
        (
            // clone3(CLONE_INTO_CGROUP) needs no writable mount.
            Facts {
                seccomp: false,
                mounts: vec![mount("cgroup2", "", "/cg", false)],
                ..Facts::default()
            },
            "control-fs",
        ),
        (
            Facts {
                seccomp: true,
                mounts: vec![mount("bpf", "", "/bpf", false)],
                ..Facts::default()
            },
            "control-fs",
        ),
        (
            Facts {
                mounts: vec![mount("nfs4", "srv:/x", "/data", false)],
                ..Facts::default()
            },
            "network-fs",
        ),
    ];
    for (facts, risk) in table {
        assert_eq!(names(&facts), [risk], "{facts:?}");
    }
}

#[test]
fn a_read_only_cgroup_view_behind_seccomp_is_docker_s_default() {
    let facts = Facts {
        seccomp: true,
        mounts: vec![mount("cgroup2", "", "/sys/fs/cgroup", false)],
        ..Facts::default()
    };
    assert_eq!(names(&facts), Vec::<&str>::new());
}

#[test]
fn what_any_task_has_counts() {
    let facts = Facts {
        capabilities: vec![
            it(0),
            Grant {
                set: 1 << 21,
                who: "its process 'x' (7)".into(),
            },
        ],
        ..Facts::default()
    };
    let found = judge(&facts);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].what, "its process 'x' (7) has CAP_SYS_ADMIN");
}

#[test]
fn a_runtime_is_judged_by_its_binary() {
    let facts = |runtime: &str, binary: Option<&str>| Facts {
        runtime: Some(runtime.into()),
        runtime_binary: binary.map(str::to_owned),
        ..Facts::default()
    };
    for (runtime, binary, risky) in [
        ("runc", None, false),
        ("nvidia", Some("/usr/bin/nvidia-container-runtime"), false),
        ("fast", Some("/opt/none/runc"), false),
        ("runc-custom", Some("/opt/none/runsc"), true),
        ("runsc", Some("runsc"), true),
        ("kata", None, true),
    ] {
        let found = names(&facts(runtime, binary));
        assert_eq!(!found.is_empty(), risky, "{runtime} {binary:?}");
    }
}

#[test]
fn names_parse_back() {
    for risk in Risk::ALL {
        assert_eq!(risk.name().parse::<Risk>(), Ok(*risk));
    }
    assert!("everything".parse::<Risk>().is_err());
    let set = Risk::Privileged.bit() | Risk::Device.bit();
    assert_eq!(Risk::names(set), ["privileged", "device"]);
}

/// A pod's containers have no network of their own to give: they are sealed as one.
#[test]
fn a_pod_is_told_how_it_is_sealed() {
    for (other, is_pod) in [
        (
            "'catatonit' of the cgroup /machine.slice/machine-libpod_pod_ab.slice/libpod-cd.scope shares its network namespace",
            true,
        ),
        (
            "it joins another's network namespace, container:ab in machine-libpod_pod_ab.slice",
            true,
        ),
        ("it joins another's network namespace, container:ab", false),
    ] {
        let facts = Facts {
            network_sharers: vec![other.into()],
            ..Facts::default()
        };
        let found = judge(&facts);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].risk, Risk::SharedNetwork);
        assert_eq!(found[0].mend().contains("pod:NAME"), is_pod, "{other}");
    }
}

/// Whatever a container, an engine or a kernel writes there is survived.
#[test]
fn any_text_is_survived() {
    const SEEDS: [&str; 6] = [
        "1 2 0:3 /sys /proc/sys ro,nosuid - proc proc rw\n2 1 0:9 / /cg rw - cgroup2 cgroup rw\n",
        "c 10:200 rwm",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["keyctl"],"action":"SCMP_ACT_ERRNO","args":[{}]}]}"#,
        "Character devices:\n  1 mem\n195 nvidia\n\nBlock devices:\n  8 sd\n",
        "200 tun\n232 kvm\n",
        "seccomp=unconfined",
    ];
    let mut state = 0x5eed_u64;
    let mut below = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };
    for _ in 0..30_000 {
        let mut bytes = SEEDS[below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..below(5) {
            let at = below(bytes.len().max(1));
            match below(3) {
                0 if at < bytes.len() => bytes[at] = b"\n\"{}[]:,*/ -0\xff"[below(14)],
                1 => drop(bytes.drain(at..(at + below(20)).min(bytes.len()))),
                _ => bytes.splice(at..at, *b" 99999999999 ").for_each(drop),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mounts = mounts::parse_mounts(&text, &["/docker/x".into()]);
        let _ = mounts::writable_settings(&mounts, &mounts::SETTINGS);
        let drivers = devices::Drivers::parse(&text, &text);
        for device in devices::rule(&text) {
            let _ = device.risk(&drivers);
        }
        let _ = seccomp::filter(&[format!("seccomp={{{text}"), text]);
    }
}
