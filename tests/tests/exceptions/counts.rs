//! What uses of exceptions come to, and when they end.

use airgap_tests::kernel;

use super::*;

#[test]
fn what_is_allowed_for_a_time_ends_by_itself() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let udp = format!("{v4}/udp");
    let web = world.sealed("web", &["--to", &v6]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp stays {v6}"));
    reach.is_refused(&format!("tcp x {v4}"));
    let allowed = airgap(&[
        "allow",
        &web.name,
        "--to",
        &v4,
        "--to",
        &udp,
        "--for",
        "6s",
        "--reason",
        "ticket 42",
    ]);
    assert!(matches!(allowed.code, 0 | 4), "{}", allowed.describe());
    assert!(
        allowed.stdout.contains("ticket 42"),
        "{}",
        allowed.describe()
    );
    reach.does(&format!("tcp open {v4}"));
    reach.does("udp datagrams 4");
    reach.does(&format!("peer datagrams {v4}"));
    echoes(&mut reach, "datagrams", "one");
    let record = std::fs::read_to_string(format!(
        "{}/seals/{}.json",
        airgap_tests::airgap::STATE,
        web.id
    ));
    let record = record.expect("a record");
    assert!(
        record.contains("boottime") && record.contains("ticket 42"),
        "{record}"
    );
    // Nobody is there to end it.
    wait::until("the exception is over", wait::SOON, || {
        (reach.say(&format!("tcp new {v4}")) == Err(kernel::refused())).then_some(())
    });
    echoes(&mut reach, "open", "goes-on");
    reach.is_refused("send datagrams late");
    echoes(&mut reach, "stays", "goes-on");
    assert_eq!(refused(&web, "exit-lapsed"), 2, "{}", status(&web));
    let report = status(&web);
    let exits = report["exits"].as_array().cloned().unwrap_or_default();
    let states: Vec<_> = exits.iter().map(|exit| exit["state"].clone()).collect();
    assert_eq!(states, ["in-force", "ended", "ended"], "{report:#}");
    assert_eq!(exits[1]["refused_after_end"], 1, "{report:#}");
    assert_eq!(exits[2]["refused_after_end"], 1, "{report:#}");
    // Over as it was written: nothing is wrong.
    let text = airgap(&["status", &web.name]);
    assert!(
        !text.stdout.contains("EXCEPTION CLOSED"),
        "{}",
        text.describe()
    );
    assert!(text.stdout.contains("ENDED"), "{}", text.describe());
    // Allowed anew, with another time, it is in force again; taken back, it cuts.
    airgap(&["allow", &web.name, "--to", &v4]);
    reach.does(&format!("tcp again {v4}"));
    let gone = airgap(&["disallow", &web.name, "--to", &v4]);
    assert!(matches!(gone.code, 0 | 4), "{}", gone.describe());
    for name in ["open", "again"] {
        let cut = wait::within(wait::SOON, || reach.say(&format!("send {name} x")).err());
        assert!(cut.is_some(), "{name} outlived its exception");
    }
    reach.is_refused(&format!("tcp x {v4}"));
    echoes(&mut reach, "stays", "goes-on");
    let unknown = airgap(&["disallow", &web.name, "--to", &v4]).expect_code(2);
    assert!(unknown.stderr.contains(&v6), "{}", unknown.describe());
    wait::until("the far side hears of the end", wait::SOON, || {
        (world.established() == 1).then_some(())
    });
    airgap(&["disallow", &web.name, "--all"]);
    reach.is_refused(&format!("tcp x {v6}"));
    wait::until("the far side hears of the end", wait::SOON, || {
        (world.established() == 0).then_some(())
    });
    // The seal's own work is no attempt of the container's.
    assert_eq!(refused(&web, "stale-provenance"), 0, "{}", status(&web));
}

#[test]
fn every_use_is_counted_exactly() {
    const COUNT: u64 = 20_000;
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(OTHER));
    let web = world.sealed("web", &["--to", &v4, "--to", &format!("{v6}/udp")]);
    let mut reach = Reach::new(&web);
    for n in 0..25 {
        reach.does(&format!("tcp c{n} {v4}"));
        echoes(&mut reach, &format!("c{n}"), "12345");
        reach.does(&format!("close c{n}"));
    }
    // Questions go where an exception for port 53 leads.
    let dns = format!("{}/udp", world.v4(53));
    let unnamed = airgap(&["allow", &web.name, "--to", &dns]).expect_code(1);
    assert!(
        unnamed.stderr.contains("dns-exit"),
        "{}",
        unnamed.describe()
    );
    reach.does("udp asks 4");
    reach.is_refused(&format!("to asks {} question", world.v4(53)));
    airgap(&["allow", "--accept", "dns-exit", &web.name, "--to", &dns]);
    reach.does(&format!("to asks {} question", world.v4(53)));
    airgap(&["disallow", &web.name, "--to", &dns]);
    reach.is_refused(&format!("to asks {} question", world.v4(53)));
    assert!(refused(&web, "dns") > 0, "{}", status(&web));
    reach.does("udp many 6");
    reach.does(&format!("many many {v6} {COUNT}"));
    let report = status(&web);
    let exits = &report["exits"];
    assert_eq!(exits[0]["connections"], 25, "{report:#}");
    assert_eq!(exits[0]["bytes_out"], 125, "{report:#}");
    assert_eq!(exits[0]["bytes_in"], 125, "{report:#}");
    assert_eq!(exits[1]["packets_out"], COUNT, "{report:#}");
    assert_eq!(exits[1]["bytes_out"], 10 * COUNT, "{report:#}");
    assert_eq!(exits[1]["packets_in"], 0, "{report:#}");
    assert_eq!(exits[1]["connections"], 0, "{report:#}");
    assert!(exits[1]["last_used"].as_u64() > Some(0), "{report:#}");
    // The same for an auditor and a scraper.
    let document = airgap(&["report", "--json", &web.name]);
    let document: Value = serde_json::from_str(&document.stdout).expect("JSON");
    assert_eq!(document["status"]["exits"], *exits, "{document:#}");
    let schema = airgap_tests::airgap_ok(&["schema", "report"]).stdout;
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let violations = airgap_tests::schema::violations(&schema, &document);
    assert!(violations.is_empty(), "{violations:#?}");
    // A renewal counts on.
    seal(&web.name, &[]);
    assert_eq!(status(&web)["exits"][1]["packets_out"], COUNT);
    // What is counted is what left.
    let sent = wait::within(wait::SOON, || {
        let seen = world.outside.seen();
        let came = seen
            .iter()
            .filter(|s| matches!(s, Seen::Datagram { port: OTHER, .. }));
        (came.count() as u64 == COUNT).then_some(())
    });
    if sent.is_none() {
        // The receiver's own buffer may be full: never more than were counted.
        let seen = world.outside.seen();
        assert!((seen.len() as u64) < COUNT);
    }
}

/// From two processes at once, so that processors meet in one count.
#[test]
fn a_million_datagrams_are_a_million() {
    const EACH: u64 = 500_000;
    /// Nobody listens there.
    const NOBODY: u16 = 7444;
    let outside = Outside::unrecorded();
    let to = [outside.plan.outside4.into(), outside.plan.outside6.into()];
    let to = to.map(|ip| SocketAddr::new(ip, NOBODY).to_string());
    let web = outside.container("web").run();
    let exits = to.clone().map(|to| format!("{to}/udp"));
    seal(&web.name, &["--to", &exits[0], "--to", &exits[1]]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reach = Reach::new(&web);
                for (version, to) in [("4", &to[0]), ("6", &to[1])] {
                    reach.does(&format!("udp {version} {version}"));
                    reach.does(&format!("many {version} {to} {}", EACH / 2));
                }
            });
        }
    });
    let report = status(&web);
    for exit in [0, 1] {
        let used = &report["exits"][exit];
        assert_eq!(used["packets_out"], EACH, "{report:#}");
        assert_eq!(used["bytes_out"], 10 * EACH, "{report:#}");
    }
}

#[test]
fn an_exception_outlives_processes_restarts_and_the_kernel_side() {
    let world = World::new();
    let v4 = world.v4(PORT);
    let web = world.sealed("web", &["--to", &v4]);
    airgap(&["allow", &web.name, "--to", &world.v6(PORT), "--for", "1h"]);
    web.restart();
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {v4}"));
    echoes(&mut reach, "a", "restarted");
    reach.does(&format!("tcp b {}", world.v6(PORT)));
    reach.is_refused(&format!("tcp x {}", world.v4(OTHER)));
    // As a reboot leaves it: the record alone, of another boot.
    let path = format!("{}/seals/{}.json", airgap_tests::airgap::STATE, web.id);
    let text = std::fs::read_to_string(&path).expect("a record");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot_id");
    let other = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    assert_ne!(text, other, "the boot is recorded");
    std::fs::write(&path, other).expect("write");
    airgap_tests::cmd::ok(&format!(
        "rm -r /sys/fs/bpf/airgap/v{}",
        airgap_common::ABI_VERSION
    ));
    wait::until("the kernel side is gone", wait::SOON, || {
        reach.say(&format!("tcp open {}", world.v4(OTHER))).ok()
    });
    airgap_tests::airgap_ok(&["restore"]);
    reach.does(&format!("tcp c {v4}"));
    echoes(&mut reach, "c", "restored");
    reach.is_refused(&format!("tcp x {}", world.v6(PORT)));
    reach.is_refused(&format!("tcp x {}", world.v4(OTHER)));
    let report = status(&web);
    assert_eq!(
        report["exits"].as_array().map(Vec::len),
        Some(1),
        "{report:#}"
    );
    // One that is recorded and not in force is told, until it is.
    let text = std::fs::read_to_string(&path).expect("a record");
    let more = format!("\"to\":[{{\"to\":\"{}/tcp\"}},", world.v4(OTHER));
    std::fs::write(&path, text.replace("\"to\":[", &more)).expect("write");
    let out = airgap(&["status", &web.name]).expect_code(4);
    assert!(
        out.stdout.contains("EXCEPTION CLOSED"),
        "{}",
        out.describe()
    );
    assert_eq!(status(&web)["exits"][1]["state"], "closed");
    airgap_tests::airgap_ok(&["restore"]);
    reach.does(&format!("tcp d {}", world.v4(OTHER)));
    assert_eq!(status(&web)["exits"][1]["state"], "in-force");
}
