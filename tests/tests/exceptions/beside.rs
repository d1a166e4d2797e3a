//! What is beside an exception: risks by name, verify, the corpus, labels.

use airgap_tests::bench::Bench;
use airgap_tests::image::Labelled;
use airgap_tests::session::Session;
use airgap_tests::techniques;
use airgap_tests::watch::Watch;

use super::*;

#[test]
fn overlapping_prefixes_hide_nothing_and_families_are_apart() {
    let world = World::new();
    let out = world.outside.plan.outside4;
    let wide = format!("{out}/31:{OTHER}");
    let (v6, four) = (world.v6(PORT), world.v4(PORT));
    let web = world.sealed("web", &["--to", &wide, "--to", &four]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {four}"));
    reach.does(&format!("tcp b {}", world.v4(OTHER)));
    reach.is_refused(&format!("tcp x {v6}"));
    // All of IPv6 is none of IPv4.
    let all = format!("[::/0]:{PORT}");
    let refusal = airgap(&["attach", "-d", "--to", &all, &web.name]).expect_code(1);
    assert!(
        refusal.stderr.contains("wide-exception"),
        "{}",
        refusal.describe()
    );
    reach.does(&format!("tcp c {four}"));
    seal(
        &web.name,
        &[
            "--to",
            &all,
            "--accept",
            "wide-exception",
            "--accept",
            "host-exit",
        ],
    );
    reach.does(&format!("tcp d {v6}"));
    reach.is_refused(&format!("tcp x {four}"));
}

#[test]
fn what_is_near_is_accepted_by_name_and_what_is_wrong_changes_nothing() {
    let world = World::new();
    let plan = world.outside.plan.clone();
    let web = world.outside.container("web").run();
    for (to, what) in [
        (format!("{}:80", plan.gateway4), "host-exit"),
        (format!("{}:80", plan.host4), "host-exit"),
        (format!("{}:80", plan.net4), "host-exit"),
        ("169.254.169.254:80".to_owned(), "host-exit"),
        ("10.0.0.0/8:80".to_owned(), "wide-exception"),
        (format!("{}:53/udp", plan.outside4), "dns-exit"),
        (format!("{}:53", plan.outside4), "dns-exit"),
        (format!("[{}]:853", plan.outside6), "dns-exit"),
        (format!("{}:1-65535", plan.outside4), "dns-exit"),
    ] {
        let out = airgap(&["attach", "-d", "--to", &to, &web.name]).expect_code(1);
        assert!(out.stderr.contains(what), "{to}: {}", out.describe());
    }
    for (to, hint) in [
        ("198.51.100.10/32", ":443"),
        ("198.51.100.10/24:443", "198.51.100.0/24"),
        ("198.51.100.10:0", "port 0"),
        ("198.51.100.10:443-80", "80-443"),
        ("198.51.100.10:443/icmp", "PORT/udp"),
        ("", "198.51.100.10:443"),
        ("a b", "blank"),
        ("https://x", "URL"),
        ("127.0.0.0/8:80", "loopback"),
        ("224.0.0.0/4:80/udp", "multicast"),
    ] {
        let out = airgap(&["attach", "-d", "--to", to, &web.name]).expect_code(2);
        assert!(out.stderr.contains(hint), "{to}: {}", out.describe());
    }
    let allow = ["allow", web.name.as_str(), "--to", "198.51.100.10:443"];
    let out = airgap(&allow).expect_code(3);
    assert!(out.stderr.contains("not sealed"), "{}", out.describe());
    assert!(
        airgap(&["list", "--json"])
            .stdout
            .contains("\"containers\":[]")
    );
    // One neighbour is nobody else.
    let neighbour = format!("{}:{PORT}", world.outside.container("db").run().ip4());
    seal(&web.name, &["--to", &neighbour]);
    assert_eq!(status(&web)["accepted"], serde_json::json!([]));
}

#[test]
fn verify_tries_what_no_exception_leads_to() {
    let world = World::new();
    let web = world.sealed(
        "web",
        &["--to", &world.v4(PORT), "--to", "198.51.100.240/28:*"],
    );
    let out = airgap(&["verify", "--json", &web.name]).expect_code(0);
    let proof: Value = serde_json::from_str(&out.stdout).expect("JSON");
    assert_eq!(proof["verdict"], "PROVEN", "{proof:#}");
    let accept = ["--accept", "wide-exception", "--accept", "host-exit"];
    seal(
        &web.name,
        &[&["--to", "[2001:db8::/32]:*"], &accept[..]].concat(),
    );
    let out = airgap(&["verify", "--json", &web.name]).expect_code(4);
    assert!(out.stderr.contains("UNKNOWN"), "{}", out.describe());
}

/// The whole corpus, from a container that has exceptions for other ports of the target.
#[test]
fn no_way_out_beside_an_exception() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let both = [
        v4.clone(),
        v6.clone(),
        format!("{v4}/udp"),
        format!("{v6}/udp"),
    ];
    let options: Vec<&str> = both.iter().flat_map(|to| ["--to", to.as_str()]).collect();
    let web = world.sealed("web", &options);
    let mut reach = Reach::new(&web);
    // Control: the exceptions are in force.
    reach.does(&format!("tcp a {v4}"));
    reach.does(&format!("tcp b {v6}"));
    let mut bench = Bench::new(&world.outside, &web);
    bench.clear();
    let mut leaks = Vec::new();
    for way in techniques::cgroup_level().chain(techniques::frame_level()) {
        let attempt = bench.reach(way.name, way.reach, Duration::from_millis(100));
        if attempt.reach.is_some() {
            leaks.push(format!("{}: {attempt:?}", way.name));
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    echoes(&mut reach, "a", "still");
}

/// What merely looks like what an exception allows: frames and packets that no socket of the
/// container's own sends to the far side, and datagrams where connections are allowed.
#[test]
fn what_looks_like_an_exception_is_none() {
    let world = World::new();
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let web = world.sealed("web", &["--to", &v4, "--to", &v6]);
    let mut session = Session::new(&web);
    // Control: a connection that asks for it carries its marker out.
    let order = web.order("tcp4", PORT, "agxcontrol");
    session.attempt(&order);
    let left = world.outside.arrivals();
    assert!(left.iter().any(|frame| frame.contains("agxcontrol")));
    world.outside.clear();
    let forged = techniques::all().filter(|way| {
        let name = way.name;
        let other = [
            "raw",
            "packet",
            "udp",
            "xdp",
            "uring-raw",
            "uring-udp",
            "lo-",
            "ping",
        ];
        other.iter().any(|start| name.starts_with(start)) && !name.ends_with("tcp4")
    });
    let mut tried = 0;
    for way in forged {
        session.attempt(&web.order(way.name, PORT, "agxforged"));
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
    let left = world.outside.arrivals();
    let leak = left
        .iter()
        .find(|frame| frame.contains("agxforged") || frame.ip().is_some_and(|ip| ip.protocol != 6));
    assert!(leak.is_none(), "{leak:?}");
}

/// Only the operator's words are an exception; what a label must have accepted and has not is
/// none either.
#[test]
fn labels_open_what_the_operator_said_and_no_image_does() {
    let world = World::new();
    let to = format!("airgap.to={}", world.v4(PORT));
    let image = Labelled::new(&[&to]);
    let seal = ["--label", "airgap.seal=true"];
    let by_image = world.outside.container("image").image(&image.reference);
    let by_image = by_image.options(&seal).run();
    let more = format!("{to},{},169.254.169.254:80", world.v6(PORT));
    let caller = world.outside.container("caller").options(&seal);
    let caller = caller.options(&["--label", &more]).run();
    let watch = Watch::start(&[]);
    let sealed = |container: &Container| {
        wait::until("it is sealed by its label", wait::SOON, || {
            let out = airgap(&["status", "--json", &container.id]);
            let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
            json.filter(|_| matches!(out.code, 0 | 4))
        })
    };
    let report = sealed(&by_image);
    assert!(report["exits"].is_null(), "{report:#}");
    assert!(
        report["labels_ignored"].to_string().contains(&to),
        "{report:#}"
    );
    let mut reach = Reach::new(&by_image);
    reach.is_refused(&format!("tcp a {}", world.v4(PORT)));
    let report = sealed(&caller);
    assert_eq!(
        report["exits"].as_array().map(Vec::len),
        Some(2),
        "{report:#}"
    );
    assert!(
        report["labels_ignored"].to_string().contains("host-exit"),
        "{report:#}"
    );
    let mut reach = Reach::new(&caller);
    reach.does(&format!("tcp a {}", world.v4(PORT)));
    reach.does(&format!("tcp b {}", world.v6(PORT)));
    // By hand, beside the label: neither watch nor a restart takes it back.
    airgap(&["allow", &caller.name, "--to", &world.v4(OTHER)]);
    caller.restart();
    drop(watch);
    let _watch = Watch::start(&[]);
    let report = sealed(&caller);
    assert_eq!(
        report["exits"].as_array().map(Vec::len),
        Some(3),
        "{report:#}"
    );
    let mut reach = Reach::new(&caller);
    reach.does(&format!("tcp a {}", world.v4(OTHER)));
    airgap_tests::airgap_ok(&["detach", "--all"]);
}

#[test]
fn what_was_refused_is_told_as_the_exceptions_that_let_it_out() {
    let world = World::new();
    let container = &world.sealed("learnt", &[]);
    let v4 = world.outside.plan.outside4;
    container.attempt("tcp4", OTHER, "learnt");
    container.attempt("udp6", OTHER, "learnt");
    container.attempt("raw4-udp", OTHER, "learnt");
    let learn = |form: &str| {
        let out = airgap(&["learn", "--format", form, &container.name]).expect_code(0);
        out.stdout
    };
    let options = learn("options");
    let v6 = world.outside.plan.outside6;
    let (tcp, udp) = (format!("{v4}:{OTHER}/tcp"), format!("[{v6}]:{OTHER}/udp"));
    for line in [format!("\n--to {tcp}\n"), format!("\n--to '{udp}'\n")] {
        assert!(options.contains(&line), "{line:?}: {options}");
    }
    // Taken as they are, they open what was refused.
    let out = airgap(&["allow", &container.name, "--to", &tcp, "--to", &udp]);
    out.expect_code(0);
    let label = learn("label");
    assert!(
        label
            .lines()
            .any(|line| line.starts_with("airgap.to=") && line.contains(&tcp))
    );
    let compose = learn("compose");
    assert!(compose.contains("labels:\n  airgap.to: \""), "{compose}");
    let out = airgap(&["learn", "--json", &container.name]).expect_code(0);
    let learned: Value = serde_json::from_str(&out.stdout).expect("JSON");
    let to: Vec<_> = learned["exceptions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| &e["to"])
        .collect();
    assert!(
        to.contains(&&Value::from(&*tcp)) && to.contains(&&Value::from(&*udp)),
        "{learned}"
    );
}
