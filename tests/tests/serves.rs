//! Promise: the sealed service answers as before, over IPv4 and IPv6, through a published port
//! and directly.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, SERVICE_PORT, airgap, airgap_ok, cmd};
use std::net::IpAddr;

const REQUESTS: usize = 200;
/// Larger than any MTU and than the initial congestion window.
const LARGE: usize = 100_000;

/// Every way to the service that exists on this host.
fn ask(outside: &Outside, web: &Container, requests: usize, when: &str) {
    let port = web.published(SERVICE_PORT);
    let ways = [
        ("direct IPv4", web.ip4().into(), SERVICE_PORT),
        ("direct IPv6", web.ip6().into(), SERVICE_PORT),
        ("published IPv4", outside.plan.host4.into(), port),
        ("published IPv6", IpAddr::from(outside.plan.host6), port),
    ];
    for (way, address, port) in ways {
        for number in 0..requests {
            let path = format!("/request/{number}");
            let body = outside.get(address, port, &path);
            let body = body.unwrap_or_else(|e| panic!("{when}, {way}, request {number}: {e:#}"));
            assert_eq!(body, path.as_bytes(), "{when}, {way}, request {number}");
        }
        let large = outside.get(address, port, &format!("/bytes/{LARGE}"));
        let large = large.unwrap_or_else(|e| panic!("{when}, {way}, large answer: {e:#}"));
        assert_eq!(large.len(), LARGE, "{when}, {way}, large answer");
    }
}

#[test]
fn sealed_service_answers() {
    let outside = Outside::new();
    let web = outside.container("web").publish(SERVICE_PORT).run();
    ask(&outside, &web, 3, "before the seal");
    seal(&web.name, &[]);
    ask(&outside, &web, REQUESTS, "sealed");
    airgap_ok(&["detach", &web.name]);
    ask(&outside, &web, 3, "after detach");
}

#[test]
fn other_ports_stay_shut_and_chosen_ports_open() {
    let outside = Outside::new();
    let web = outside
        .container("web")
        .command(&["airgap-probe", "serve", "--port", "8080"])
        .run();
    let get = || outside.get(web.ip4(), 8080, "/hello");
    get().expect("the control: unsealed, port 8080 answers");
    seal(&web.name, &["-p", "5060"]);
    outside.clear();
    assert!(
        get().is_err(),
        "port 8080 answers although the seal opens 5060 only"
    );
    assert_eq!(
        outside.arrivals().len(),
        0,
        "the shut port answered: {:?}",
        outside.arrivals()
    );
    seal(&web.name, &["-p", "8080"]);
    get().expect("port 8080 is open after attach -p 8080");
}

/// As a routing mesh and the sidecars of service meshes have it: the port behind is served,
/// and so are those who come by another, which are not the container's doing.
#[test]
fn a_port_that_is_translated_inside_its_network_is_served() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    for table in ["iptables", "ip6tables"] {
        let rule = format!(
            "nsenter -t {} -n {table} -w -t nat -A PREROUTING -p tcp --dport 8088 -j REDIRECT --to-ports {SERVICE_PORT}",
            web.pid()
        );
        cmd::ok(&rule);
    }
    let ways: [IpAddr; 2] = [web.ip4().into(), web.ip6().into()];
    let ask = |when: &str| {
        for way in ways {
            for path in ["/one", "/bytes/100000"] {
                let answer = outside.get(way, 8088, path);
                answer.unwrap_or_else(|e| panic!("{when}, {way}{path}: {e:#}"));
            }
        }
    };
    ask("the control: unsealed");
    let from = [
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    ];
    seal(&web.name, &["--from", &from[0], "--from", &from[1]]);
    ask("sealed");
    let status = airgap(&["status", "--json", &web.name]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(
        status["denials"]["total"], 0,
        "answers to clients are no attempts: {status:#}"
    );
    seal(&web.name, &["--from", &from[0]]);
    let refused = outside.get(ways[1], 8088, "/");
    assert!(refused.is_err(), "--from holds for translated ports, too");
    // The port behind is what is chosen: without it the other leads nowhere.
    seal(&web.name, &["-p", "8088"]);
    assert!(outside.get(ways[0], 8088, "/").is_err(), "5060 is shut");
}

#[test]
fn clients_outside_from_are_refused() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    seal(
        &web.name,
        &["--from", &format!("{}/32", outside.plan.outside4)],
    );
    outside
        .get(web.ip4(), SERVICE_PORT, "/")
        .expect("the allowed client is served");
    outside.clear();
    let other = outside.get(web.ip6(), SERVICE_PORT, "/");
    assert!(other.is_err(), "a client outside --from was served");
    assert_eq!(
        outside.arrivals().len(),
        0,
        "the refused client got {:?}",
        outside.arrivals()
    );
    seal(&web.name, &["--from", "198.51.100.254/32"]);
    outside.clear();
    let narrowed = outside.get(web.ip4(), SERVICE_PORT, "/");
    assert!(narrowed.is_err(), "a client no longer in --from was served");
}

/// The service listens on `::` for both: its IPv4 clients are mapped.
#[test]
fn client_prefixes_are_of_one_version() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let served = |address: IpAddr| outside.get(address, SERVICE_PORT, "/").is_ok();
    let ask = || (served(web.ip4().into()), served(web.ip6().into()));
    assert_eq!(ask(), (true, true), "the control: unsealed");
    for (from, expected) in [
        (&["::/0"][..], (false, true)),
        (&["0.0.0.0/0"], (true, false)),
        (&["0.0.0.0/0", "::/0"], (true, true)),
        (&["::/80"], (false, false)),
        (&["2000::/3"], (false, true)),
        (&["198.51.100.0/24"], (true, false)),
        (&["::/1", "::/96"], (false, true)),
    ] {
        let options: Vec<_> = from.iter().flat_map(|from| ["--from", from]).collect();
        seal(&web.name, &options);
        assert_eq!(ask(), expected, "{from:?}");
        let status = airgap(&["status", "--json", &web.name]).stdout;
        let json: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        let mut clients: Vec<_> = json["clients"].as_array().expect("a list").to_vec();
        clients.sort_by_key(ToString::to_string);
        let mut asked: Vec<_> = from.to_vec();
        asked.sort_unstable();
        assert_eq!(clients, asked, "{status}");
    }
    let mapped = ["attach", "-d", &web.name, "--from", "::ffff:0:0/96"];
    let refused = airgap(&mapped).expect_code(2);
    assert!(
        refused.stderr.contains("write 0.0.0.0/0"),
        "{}",
        refused.describe()
    );
    assert_eq!(ask(), (false, true), "what is refused changes nothing");
}

#[test]
fn loopback_inside_the_container_stays_usable() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let addresses = [
        "127.0.0.1:5060".to_owned(),
        "[::1]:5060".to_owned(),
        format!("{}:5060", web.ip4()),
        format!("[{}]:5060", web.ip6()),
    ];
    let fetch = |when: &str| {
        for address in &addresses {
            let out = web.exec(&["airgap-probe", "get", address, "/own"]);
            assert_eq!(out.code, 0, "{when}: {}", out.describe());
        }
    };
    // A connection that meets the last one's TIME_WAIT is no slower than others.
    let again = |when: &str| {
        let out = web.exec(&["airgap-probe", "again"]).expect_code(0);
        let rounds: Vec<serde_json::Value> = out
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert!(
            rounds.len() == 3 && rounds.iter().all(|round| round["ok"] == true),
            "{when}: {rounds:?}"
        );
    };
    fetch("unsealed");
    again("unsealed");
    seal(&web.name, &[]);
    fetch("sealed");
    again("sealed");
}

/// TCP over lo makes packets longer than a length field can tell; over IPv6 the kernel puts a
/// header before them that is no container's.
#[test]
fn much_data_passes_over_loopback() {
    let outside = Outside::new();
    let options = ["all", "lo"].map(|of| format!("net.ipv6.conf.{of}.disable_ipv6=0"));
    let [all, lo] = &options;
    let alone = outside
        .container("bulk")
        .network("none")
        .options(&["--sysctl", all, "--sysctl", lo])
        .create();
    assert!(alone.try_start(), "Docker cannot start it");
    let bulk = |when: &str| {
        for address in ["127.0.0.1:7001", "[::1]:7001"] {
            let out = alone.exec(&["airgap-probe", "bulk", address]);
            assert_eq!(out.code, 0, "{when}, {address}: {}", out.describe());
            assert_eq!(out.stdout.trim(), (64 << 20).to_string(), "{when}");
        }
    };
    bulk("the control: unsealed");
    seal(&alone.name, &[]);
    bulk("sealed");
}
