//! Promise: no pretend. Configurations that let a container undo its seal are refused by name,
//! and accepting one keeps showing it.

use airgap_tests::kernel::assert_comes_back;
use airgap_tests::{ContainerSpec, Outside, airgap, kernel_state};
use serde_json::Value;

type Configure = fn(ContainerSpec) -> ContainerSpec;

/// How to get there, and what `airgap` calls it.
const TABLE: &[(&str, Configure)] = &[
    ("privileged", |c| c.options(&["--privileged"])),
    ("capability", |c| c.options(&["--cap-add", "SYS_ADMIN"])),
    ("capability", |c| c.options(&["--cap-add", "SYS_MODULE"])),
    ("host-network", |c| c.network("host")),
    ("host-pid", |c| c.options(&["--pid", "host"])),
    ("engine-socket", |c| {
        c.options(&["-v", "/var/run/docker.sock:/d.sock"])
    }),
    ("engine-socket", |c| c.options(&["-v", "/run:/host-run:ro"])),
    ("control-fs", |c| c.options(&["-v", "/sys/fs/cgroup:/cg"])),
    ("control-fs", |c| c.options(&["-v", "/sys/fs/bpf:/b:ro"])),
    ("control-fs", |c| {
        let read_only = [
            "-v",
            "/sys/fs/cgroup:/cg:ro",
            "--security-opt",
            "seccomp=unconfined",
        ];
        c.options(&read_only)
    }),
    ("device", |c| c.options(&["--device", "/dev/net/tun"])),
    // By what they are, whatever they are called.
    ("device", |c| {
        c.options(&["--device", "/dev/net/tun:/dev/harmless"])
    }),
    ("device", |c| {
        c.options(&["--device-cgroup-rule", "b 7:* rwm"])
    }),
    ("device", |c| {
        c.options(&["--device", &format!("{}:/dev/null2", node("b 7 0"))])
    }),
    ("device", |c| {
        c.options(&["--device", &format!("{}:/dev/zero2", node("c 1 11"))])
    }),
    ("seccomp", |c| {
        c.options(&["--security-opt", "seccomp=unconfined"])
    }),
    ("seccomp", |c| {
        c.options(&["--security-opt", &format!("seccomp={}", profile("keyctl"))])
    }),
    ("user-namespaces", |c| {
        c.options(&["--security-opt", &format!("seccomp={}", profile("unshare"))])
    }),
    ("host-settings", |c| {
        c.options(&["--security-opt", "systempaths=unconfined"])
    }),
    ("log-driver", |c| {
        c.options(&[
            "--log-driver",
            "syslog",
            "--log-opt",
            "syslog-address=unixgram:///dev/null",
        ])
    }),
];

/// A device node of the host with a name that says nothing; in a place that ends with the machine.
fn node(what: &str) -> String {
    let path = format!("/run/airgap-test-node-{}", what.replace(' ', "-"));
    airgap_tests::cmd::attempt(&format!("mknod {path} {what}"));
    path
}

/// A seccomp profile that denies `keyctl` and its like, `unshare` and its like, but for one call.
fn profile(but_for: &str) -> String {
    let calls = ["keyctl", "add_key", "request_key", "unshare", "clone3"];
    let names: Vec<_> = calls.into_iter().filter(|call| *call != but_for).collect();
    // Threads and processes need clone; user namespaces by it are denied by its flags.
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": names, "action": "SCMP_ACT_ERRNO" },
        ],
    });
    let path = format!("/run/airgap-test-profile-{but_for}.json");
    std::fs::write(&path, profile.to_string()).unwrap_or_else(|e| panic!("{path}: {e}"));
    path
}

/// Created or running, the same risk is found; refusing leaves nothing behind.
fn judge(outside: &Outside, risk: &str, configure: Configure, running: bool) -> Result<(), String> {
    let spec = configure(outside.container("risky").command(&["sleep", "1000"]));
    let container = spec.create();
    if running && !container.try_start() {
        // This machine cannot run it (no such capability here): judged as it would start.
        eprintln!("{risk}: Docker cannot start it here");
    }
    let before = kernel_state();
    let refused = airgap(&["attach", "-d", &container.id]);
    if refused.code != 1 || !refused.stderr.contains(risk) {
        return Err(format!("want exit 1 and {risk:?}:\n{}", refused.describe()));
    }
    assert_comes_back(&before, &format!("after refusing {risk}"));
    let mut args = vec!["attach", "-d", &container.id];
    // Whatever else the same configuration brings along is named as well.
    for name in RISKS.iter().filter(|name| refused.stderr.contains(**name)) {
        args.extend(["--accept", name]);
    }
    let accepted = airgap(&args);
    if !matches!(accepted.code, 0 | 4) {
        return Err(format!(
            "not sealed although accepted:\n{}",
            accepted.describe()
        ));
    }
    let status = airgap(&["status", "--json", &container.id]);
    let shown: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    let listed = shown["accepted"]
        .as_array()
        .is_some_and(|all| all.iter().any(|r| r == risk));
    if listed {
        Ok(())
    } else {
        Err(format!("{risk} is not shown:\n{}", status.describe()))
    }
}

const RISKS: &[&str] = &[
    "privileged",
    "capability",
    "host-network",
    "host-pid",
    "engine-socket",
    "control-fs",
    "device",
    "log-driver",
    "seccomp",
    "host-settings",
    "user-namespaces",
];

fn judge_all(running: bool) {
    let outside = Outside::new();
    let mut problems = Vec::new();
    for &(risk, configure) in TABLE {
        problems.extend(judge(&outside, risk, configure, running).err());
    }
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn risky_running_containers_are_refused_by_name() {
    judge_all(true);
}

#[test]
fn risky_created_containers_are_refused_by_name() {
    judge_all(false);
}

/// A prefix that holds the gateway admits whoever comes by docker-proxy: strangers over IPv6 to an
/// IPv4 network, and everything over loopback.
#[test]
fn clients_that_stand_for_others_are_refused() {
    let outside = Outside::new();
    let gateway = format!("{}/32", outside.plan.gateway4);
    let net = outside.plan.net4.clone();
    for created in [false, true] {
        let spec = outside
            .container("proxied")
            .publish(airgap_tests::SERVICE_PORT);
        let container = spec.create();
        if !created {
            container.start();
        }
        for from in [&gateway, &net] {
            let refused = airgap(&["attach", "-d", "--from", from, &container.id]);
            assert_eq!(refused.code, 1, "{}", refused.describe());
            assert!(
                refused.stderr.contains("proxied-clients")
                    && refused.stderr.contains("published port"),
                "{}",
                refused.describe()
            );
        }
        assert_eq!(
            airgap(&["status", &container.id]).code,
            3,
            "nothing was changed"
        );
        let options = ["--from", &net, "--accept", "proxied-clients"];
        let accepted = airgap(&[&["attach", "-d"], &options[..], &[&container.id]].concat());
        assert!(matches!(accepted.code, 0 | 4), "{}", accepted.describe());
        // The control: a client's own address, and a network that nobody publishes.
        airgap(&["detach", &container.id]).expect_code(0);
        let own = format!("{}/32", outside.plan.outside4);
        let fine = airgap(&["attach", "-d", "--from", &own, &container.id]);
        assert!(matches!(fine.code, 0 | 4), "{}", fine.describe());
    }
    let unpublished = outside.container("unpublished").run();
    let fine = airgap(&["attach", "-d", "--from", &net, &unpublished.id]);
    assert!(matches!(fine.code, 0 | 4), "{}", fine.describe());
}
