//! Promise: no unprotected instant. What a container can make long is read after its cgroup is
//! marked, and an attach under load never hurts the service that it seals.

use airgap_tests::airgap::{STATE, binary, seal};
use airgap_tests::{Container, Outside, SERVICE_PORT, airgap, cmd, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// Processes of the container, as the kernel lists them.
fn processes(container: &Container) -> BTreeSet<String> {
    let procs = container.cgroup().join("cgroup.procs");
    let text =
        std::fs::read_to_string(&procs).unwrap_or_else(|e| panic!("{}: {e}", procs.display()));
    text.lines().map(str::to_owned).collect()
}

/// Whether a line of a trace names something whose length the container chooses.
fn is_look(line: &str, processes: &BTreeSet<String>, cgroup: &str) -> bool {
    if line.contains("cgroup.procs") && line.contains(cgroup) {
        return true;
    }
    let Some((_, rest)) = line.split_once("\"/proc/") else {
        return false;
    };
    let path = rest.split('"').next().unwrap_or_default();
    let (pid, below) = path.split_once('/').unwrap_or((path, ""));
    // Where a process is, is one line that the engine's driver chose.
    processes.contains(pid) && below != "cgroup"
}

#[test]
fn nothing_that_the_container_can_prolong_is_read_before_the_mark() {
    let outside = Outside::new();
    let command = ["airgap-probe", "hide", "tables", "serve"];
    let container = outside.container("long").command(&command).run();
    let many = wait::within(wait::SOON, || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", container.pid())).ok()?;
        (tasks.count() > 500).then_some(())
    });
    many.expect("the control: hundreds of threads");
    let log = PathBuf::from(format!("/run/airgap-test-order-{}", std::process::id()));
    let out = cmd::run_command(
        Command::new("strace")
            .args([
                "-f",
                "-s",
                "256",
                "-e",
                "trace=%file,readlink,readlinkat,write",
                "-o",
            ])
            .arg(&log)
            .arg("--")
            .arg(binary())
            .args(["attach", "-d", &container.id])
            .env("AIRGAP_BPF_LOG", "debug")
            .env("AIRGAP_STATE", STATE),
    );
    let trace = std::fs::read_to_string(&log).expect("strace's log");
    drop(std::fs::remove_file(&log));
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let (processes, id) = (processes(&container), container.id.as_str());
    let marked = trace.lines().position(|line| line.contains(" is marked"));
    let marked = marked.unwrap_or_else(|| panic!("no mark in the trace of {}", out.describe()));
    let looks: Vec<_> = trace
        .lines()
        .enumerate()
        .filter(|(_, line)| is_look(line, &processes, id))
        .collect();
    let early: Vec<_> = looks.iter().filter(|(at, _)| *at < marked).collect();
    assert!(early.is_empty(), "before the mark: {early:#?}");
    assert!(
        looks.len() > 100,
        "the control: it looks afterwards, {} times",
        looks.len()
    );
}

/// The kernel prints all that waits in a ring before it hands out the first byte, which can be a
/// second for each descriptor.
#[test]
fn a_ring_of_which_the_kernel_says_much_holds_up_nobody() {
    const DESCRIPTORS: usize = 100;
    let outside = Outside::new();
    let command = ["airgap-probe", "rings", "200000", "100", "serve"];
    let container = outside.container("rings").command(&command).run();
    let log = PathBuf::from(format!("/run/airgap-test-rings-{}", std::process::id()));
    let out = cmd::run_command(
        Command::new("strace")
            .args(["-f", "-e", "trace=open,openat", "-o"])
            .arg(&log)
            .arg("--")
            .arg(binary())
            .args(["attach", "-d", "--json", &container.id])
            .env("AIRGAP_STATE", STATE),
    );
    let trace = std::fs::read_to_string(&log).expect("strace's log");
    drop(std::fs::remove_file(&log));
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let fds = format!("/proc/{}/fd", container.pid());
    let held = std::fs::read_dir(&fds).expect("its descriptors").flatten();
    let held = held
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .filter(|to| to.as_os_str() == "anon_inode:[io_uring]")
        .count();
    assert_eq!(held, DESCRIPTORS, "the control: it has them");
    let asked = trace
        .lines()
        .filter(|line| line.contains("/fdinfo/"))
        .count();
    assert!((1..20).contains(&asked), "it was asked {asked} times");
    assert!(
        out.stdout.contains("io_uring") || out.stdout.contains("not known"),
        "{}",
        out.describe()
    );
}

/// One request on a connection that the client closes first; whether it was answered.
fn ask(outside: &Outside, at: (std::net::Ipv4Addr, u16)) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = outside.netns.run(|| TcpStream::connect(at))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        Ok(first.starts_with(b"HTTP/1."))
    };
    ask().unwrap_or(false)
}

/// Four attaches and a detach each: `AIRGAP_TEST_ATTACHES=50` for two hundred; a few otherwise.
fn rounds() -> usize {
    let wanted = std::env::var("AIRGAP_TEST_ATTACHES").ok();
    wanted.map_or(5, |n| {
        n.parse().expect("AIRGAP_TEST_ATTACHES must be a number")
    })
}

/// Attaches, and returns how many connections it says that it cut.
#[track_caller]
fn cut_by_attach(container: &Container, options: &[&str]) -> usize {
    let mut args = vec!["attach", "-d", "--json", &container.name];
    args.extend(options);
    let out = airgap(&args);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    let report: Value = serde_json::from_str(&out.stdout).expect("JSON");
    // Left out where there is none.
    let existing = report["existing"].as_array().into_iter().flatten();
    existing.filter(|e| e["action"] == "cut").count()
}

/// Clients that close first leave connections that are gone a moment later: cutting one of those
/// must not end the listener behind it. No request fails but on a connection that attach names.
#[test]
fn an_attach_under_load_fails_no_request_but_those_it_names() {
    let outside = Outside::unrecorded();
    let container = outside.container("loaded").run();
    let at = (container.ip4(), SERVICE_PORT);
    assert!(ask(&outside, at), "the control: it answers");
    let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let failed = AtomicUsize::new(0);
    let mut cut = 0;
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if ask(&outside, at) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for round in 0..rounds() {
            let before = answered.load(Ordering::Relaxed);
            for options in [
                &[][..],
                &["-p", "5060", "-p", "5061"],
                &["--to", "198.51.100.9:443"],
                &["-p", "5060"],
            ] {
                cut += cut_by_attach(&container, options);
            }
            let served = wait::within(wait::SOON, || {
                (answered.load(Ordering::Relaxed) > before + 20).then_some(())
            });
            if served.is_none() {
                stop.store(true, Ordering::Relaxed);
                panic!(
                    "round {round}: nobody is answered any more\n{}",
                    container.logs()
                );
            }
            airgap(&["detach", &container.id]).expect_code(0);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(ask(&outside, at), "it answers afterwards");
    let (failed, answered) = (failed.into_inner(), answered.into_inner());
    println!("{answered} requests answered, {failed} failed, {cut} connections cut by name");
    assert!(failed <= cut, "{failed} failed, and {cut} were named");
}

/// A connection in a queue is in no table of descriptors; it is cut all the same.
#[test]
fn a_connection_that_nobody_holds_is_cut() {
    let outside = Outside::new();
    let v4 = outside.plan.outside4.to_string();
    let line = ["airgap-probe", "queued", "--v4", &v4, "--port", "20000"];
    let container = outside.container("queued").command(&line).run();
    let lives = || {
        let path = format!("/proc/{}/net/tcp", container.pid());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // Port 20000, ESTABLISHED.
        text.lines().any(|line| line.contains(":4E20 01 "))
    };
    wait::until("the control: a connection in a queue", wait::SOON, || {
        lives().then_some(())
    });
    let out = seal(&container.name, &[]);
    assert!(out.stderr.contains("is cut"), "{}", out.describe());
    assert!(!lives(), "it lives on: {}", out.describe());
}

/// A container that goes away during its attach leaves no seal.
#[test]
fn a_container_removed_meanwhile_leaves_no_seal() {
    let outside = Outside::new();
    let (mut failed, mut sealed) = (0, 0);
    for pause in 0..12 {
        let container = outside.container(&format!("fleeting{pause}")).run();
        let mut attach = airgap::command()
            .args(["attach", "-d", &container.id])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("attach");
        // Each a little later in its way.
        let end = std::time::Instant::now() + Duration::from_millis(4 * pause);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        cmd::ok(&format!("docker rm -f {}", container.id));
        let code = attach.wait().expect("attach ends").code();
        let listed = airgap(&["list", "--json"]).stdout;
        match code {
            // It was over before.
            Some(0 | 4) => sealed += 1,
            _ => {
                failed += 1;
                assert!(
                    !listed.contains(&container.id),
                    "exit {code:?}, and a seal stays: {listed}"
                );
            }
        }
    }
    eprintln!("removed during the attach: {failed}, after it: {sealed}");
}

/// What will no longer answer is said before it stops, and a service on another port than the
/// default one is not cut by an attach that names none.
#[test]
fn what_stops_is_said_before_it_stops() {
    let outside = Outside::new();
    let serve = ["airgap-probe", "serve", "--port", "8080"];
    let web = outside
        .container("elsewhere")
        .publish(8080)
        .command(&serve)
        .run();
    let published = web.published(8080);
    wait::until("the control: it answers", wait::SOON, || {
        outside.get(web.ip4(), 8080, "/").ok()
    });
    let refused = airgap(&["attach", "-d", &web.id]);
    assert_eq!(refused.code, 2, "{}", refused.describe());
    assert!(
        refused.stderr.contains("8080/tcp listens, published as")
            && refused
                .stderr
                .contains(&format!("hint: airgap attach -p 8080 {}", web.name)),
        "{}",
        refused.describe()
    );
    assert_eq!(airgap(&["status", &web.id]).code, 3, "nothing was changed");
    let dry = airgap(&["attach", "--dry-run", &web.id]);
    assert_eq!(dry.code, 2, "{}", dry.describe());

    // The published number, taken for the container's.
    let number = published.to_string();
    let dry = airgap(&["attach", "--dry-run", "-p", &number, &web.id]);
    let mistaken = airgap(&["attach", "-d", "-p", &number, &web.id]);
    assert_eq!(dry.code, mistaken.code, "{}", dry.describe());
    let meant = format!("{number}/tcp is the published number; in the container it is 8080/tcp");
    for said in [&dry.stdout, &mistaken.stderr] {
        assert!(said.contains(&meant), "{said}");
        assert!(said.contains("8080/tcp listens"), "{said}");
    }
    airgap(&["detach", &web.id]).expect_code(0);

    let dry = airgap(&["attach", "--dry-run", "-p", "8080", &web.id]);
    let right = airgap(&["attach", "-d", "-p", "8080", &web.id]);
    assert_eq!(dry.code, right.code, "{}", dry.describe());
    assert!(matches!(right.code, 0 | 4), "{}", right.describe());
    assert!(
        !right.stderr.contains("will not answer"),
        "{}",
        right.describe()
    );
    outside.get(web.ip4(), 8080, "/").expect("it answers");

    // A port never keeps a created container, or one that is still loading, from its seal.
    let created = outside.container("created").publish(8080).create();
    let sealed = seal(&created.id, &[]);
    assert!(
        sealed
            .stdout
            .contains("5060/tcp (the default, as no -p was given)"),
        "{}",
        sealed.describe()
    );
    assert!(
        sealed.stderr.contains("8080/tcp is published as"),
        "{}",
        sealed.describe()
    );
}

/// A database beside the service is named as what it is, before and when its connection is cut; and
/// a container that will come back as another one is told so.
#[test]
fn peers_are_named_and_so_is_what_ends_with_a_stop() {
    let outside = Outside::new();
    let db = outside.container("db").run();
    let v4 = db.ip4().to_string();
    let line = [
        "airgap-probe",
        "hold",
        "tcp4",
        "--v4",
        &v4,
        "--port",
        "5060",
    ];
    let web = outside
        .container("web")
        .options(&["--rm"])
        .command(&line)
        .run();
    let named = format!("→ {v4}:5060 (the container {})", db.name);
    let dry = || airgap(&["attach", "--dry-run", &web.id]);
    let dry = wait::within(wait::SOON, || {
        Some(dry()).filter(|dry| dry.stdout.contains(&named))
    });
    let dry = dry.expect("the dry run names the peer");
    assert!(
        dry.stderr.contains("is removed when it stops"),
        "{}",
        dry.describe()
    );
    let out = seal(&web.id, &[]);
    assert!(out.stderr.contains(&named), "{}", out.describe());
    assert!(
        !seal(&db.id, &[])
            .stderr
            .contains("is removed when it stops"),
        "the control"
    );
}
