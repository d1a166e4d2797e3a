//! What could leave a sealed cgroup is refused by name, and nothing changes.

use super::*;

#[test]
fn what_could_leave_is_refused_and_nothing_changes() {
    let _turn = sweep::take_turn();
    let before = kernel_state();
    let subtrees = Subtrees::new();
    subtrees.make("web");
    let refused = |words: &[&str], said: &[&str]| {
        let out = airgap(words);
        assert!(matches!(out.code, 1 | 2), "{words:?}: {}", out.describe());
        for said in said {
            assert!(out.stderr.contains(said), "{said}: {}", out.describe());
        }
        assert!(out.stdout.is_empty(), "{}", out.describe());
    };
    let place = format!("/{TOP}/web");
    let attach = ["attach", "-d", "--cgroup", &place];
    let ordinary = Running::start(subtrees.plain("web", &["sleep", "1000"]));
    wait::until("it is inside", wait::SOON, || {
        let procs = fs::read_to_string(subtrees.0.join("web/cgroup.procs")).ok()?;
        (!procs.is_empty()).then_some(())
    });
    let all = [
        "CAP_SYS_ADMIN",
        "(capability)",
        "(root-user)",
        "(new-privileges)",
        "(control-fs)",
        "(host-pid)",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
    ];
    refused(&attach, &all);
    drop(ordinary);
    let confined = Running::start(subtrees.confined("web", &["sleep", "1000"]));
    wait::until("it is inside", wait::SOON, || {
        let procs = fs::read_to_string(subtrees.0.join("web/cgroup.procs")).ok()?;
        let comm = fs::read_to_string(format!("/proc/{}/comm", procs.trim())).ok()?;
        (comm == "sleep\n").then_some(())
    });
    let few = airgap(&attach);
    for said in &all[..6] {
        assert!(!few.stderr.contains(said), "{said}: {}", few.describe());
    }
    drop(confined);
    for (place, said) in [
        ("/", "the root of the cgroup tree"),
        (
            "/airgap-test-subtree/wep",
            "there are /airgap-test-subtree/web",
        ),
        ("../web", "no whole path"),
        ("/airgap/x", "there is no cgroup"),
        ("/docker", "an engine"),
    ] {
        refused(&["attach", "-d", "--cgroup", place], &[said]);
    }
    let id = "0123456789abcdef".repeat(4);
    subtrees.make(&id);
    let inner = format!("/{TOP}/{id}");
    refused(
        &["attach", "-d", "--cgroup", &inner],
        &["the container 0123456789ab"],
    );
    refused(&["attach", "-d", "--cgroup", TOP], &["holds the container"]);
    subtrees.remove(&id);
    // Itself.
    let mut own = subtrees.plain("web", &[]);
    own.arg(binary()).args(attach);
    let own = cmd::run_command(&mut own).expect_code(1);
    assert!(
        own.stderr.contains("holds this airgap"),
        "{}",
        own.describe()
    );
    // Threads.
    subtrees.make("threads");
    fs::write(subtrees.0.join("threads/cgroup.type"), "threaded").expect("write");
    let threads = format!("/{TOP}/threads");
    refused(
        &["attach", "-d", "--cgroup", &threads],
        &["a cgroup of threads"],
    );
    subtrees.remove("threads");
    for words in [
        &["attach", &path("web")][..],
        &["verify", &path("web")],
        &["allow", "--to", "198.51.100.10:443", &path("web")],
        &["attach", "--cgroup", &place, "web"],
        &["attach", "-p", "0", "--cgroup", &place],
    ] {
        let out = airgap(words);
        assert_ne!(out.code, 0, "{words:?}: {}", out.describe());
    }
    // What systemd does with units, `cargo xtask units` tries; here it does not run.
    for (words, said) in [
        (&["--unit", "nginx"][..], "systemd does not run this host"),
        (&["--slice", "user-1000"], "systemd does not run this host"),
        (&["--unit", "ngin*"], "no name of a unit"),
        (&["--unit", "web@"], "web@INSTANCE.service"),
        (&["--unit", "web.socket"], "name the service"),
        (&["--slice", "web.service"], "--unit web.service"),
    ] {
        refused(&[&["attach", "-d"], words].concat(), &[said]);
    }
    for words in [
        &["attach", "unit:nginx.service"][..],
        &["attach", "--unit", "nginx", "web"],
        &["attach", "--unit", "nginx", "--slice", "x"],
        &["attach", "-d", "--harden", "--cgroup", &place],
        &["attach", "-d", "--harden", "--slice", "x"],
    ] {
        let out = airgap(words);
        assert_ne!(out.code, 0, "{words:?}: {}", out.describe());
    }
    let mut dry = attach.to_vec();
    dry.push("--dry-run");
    airgap_ok(&dry);
    let mut full = attach.to_vec();
    full.extend(["--require", "full"]);
    refused(&full, &["--require full"]);
    drop(subtrees);
    assert_comes_back(&before, "after bad input");
}
