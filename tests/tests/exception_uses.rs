//! Promise: `tail --allowed` tells each connection that an exception lets out, and each far
//! side of datagrams, with who it was and by which exception; without it, nothing of that is
//! told, and no refusal is lost beside it.

use std::net::SocketAddr;

use airgap_tests::airgap::{airgap_ok, seal};
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::{Outside, Tail, wait};
use serde_json::{Value, json};

const PORT: u16 = 7443;

fn action<'a>(wanted: &'a str, to: &'a Value) -> impl Fn(&Value) -> bool + 'a {
    move |event| {
        event["event"]["action"] == wanted
            && event["destination"]["ip"] == to["ip"]
            && event["destination"]["port"] == to["port"]
    }
}

#[track_caller]
fn told(tail: &Tail, wanted: &str, to: &Value, times: usize) -> Vec<Value> {
    wait::until(&format!("{wanted} {to} {times} times"), wait::SOON, || {
        let found: Vec<_> = tail
            .events()
            .into_iter()
            .filter(action(wanted, to))
            .collect();
        (found.len() >= times).then_some(found)
    })
}

#[test]
fn each_use_is_told_with_its_process_and_exception() {
    let outside = Outside::new();
    let _echo = Echo::on(&outside.netns, PORT);
    let v4 = SocketAddr::new(outside.plan.outside4.into(), PORT);
    let v6 = SocketAddr::new(outside.plan.outside6.into(), PORT);
    let at = |end: SocketAddr| json!({ "ip": end.ip().to_string(), "port": end.port() });
    let web = outside.container("web").run();
    let datagrams = format!("{v4}/udp");
    let options = [
        "--to",
        &v4.to_string(),
        "--to",
        &v6.to_string(),
        "--to",
        &datagrams,
    ];
    seal(&web.name, &options);
    let plain = Tail::json(&[&web.name]);
    let tail = Tail::json(&["--allowed", &web.name]);
    let text = Tail::start(&["tail", "--allowed", &web.name]);
    let mut reach = Reach::new(&web);
    for name in ["a", "b", "c"] {
        reach.does(&format!("tcp {name} {v4}"));
    }
    reach.does(&format!("tcp d {v6}"));
    let found = told(&tail, "allowed", &at(v4), 3);
    assert_eq!(found.len(), 3, "{found:#?}");
    let number = &found[0]["airgap"]["exception"]["number"];
    for event in &found {
        assert_eq!(event["event"]["type"], json!(["allowed"]));
        let exception = &event["airgap"]["exception"];
        assert_eq!(exception["to"], format!("{v4}/tcp"), "{event:#}");
        assert_eq!(&exception["number"], number);
        assert_eq!(event["process"]["name"], "airgap-probe");
        assert_eq!(event["container"]["name"], web.name.as_str());
    }
    assert_eq!(told(&tail, "allowed", &at(v6), 1).len(), 1);
    // Datagrams: one line for a far side, however many there are.
    reach.does("udp e 4");
    for _ in 0..5 {
        reach.does(&format!("to e {v4} datagram"));
    }
    reach.does("udp f 4");
    reach.does(&format!("peer f {v4}"));
    let end = at(v4);
    let udp = wait::until("datagrams are told", wait::SOON, || {
        let mut all = tail.events().into_iter().filter(action("allowed", &end));
        all.find(|event| event["network"]["transport"] == "udp")
    });
    assert_eq!(udp["airgap"]["exception"]["to"], format!("{v4}/udp"));
    // What is refused is told beside it, and no use is told after it that was before.
    let other = SocketAddr::new(v4.ip(), 444);
    reach.is_refused(&format!("tcp x {other}"));
    told(&tail, "denied", &at(other), 1);
    told(&plain, "denied", &at(other), 1);
    let all = tail.events();
    let uses = all.iter().filter(|e| e["event"]["action"] == "allowed");
    assert_eq!(uses.count(), 5, "{all:#?}");
    // The control: who did not ask for uses gets none.
    let plain = plain.events();
    assert!(plain.iter().all(|e| e["event"]["action"] == "denied"));
    let schema = airgap_ok(&["schema", "event"]).stdout;
    let schema: Value = serde_json::from_str(&schema).expect("a schema");
    for event in &all {
        let wrong = airgap_tests::schema::violations(&schema, event);
        assert_eq!(wrong, Vec::<String>::new(), "{event:#}");
    }
    text.await_line("a use in words", wait::SOON, |line| {
        line.contains("ALLOWED") && line.contains(&format!("by --to {v6}/tcp"))
    });
    airgap_ok(&["detach", &web.name]);
}

/// Uses that a display has told, and those that it says it could not tell.
fn counted(tail: &Tail) -> (u64, u64) {
    let lines = tail.lines();
    let told = lines.iter().filter(|line| line.contains("  ALLOWED "));
    let lost = lines.iter().filter_map(|line| {
        let (before, _) = line.split_once(" uses of exceptions came too fast")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    (told.count() as u64, lost.sum())
}

/// More than a ring has room for while nobody reads it: no use is missing in the sum.
#[test]
fn what_comes_too_fast_is_said() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let v4 = outside.plan.outside4.to_string();
    // Nobody listens there: the far side refuses at once.
    seal(&web.name, &["--to", &format!("{v4}:{PORT}-{}", PORT + 7)]);
    let args = ["tail", "--allowed", &web.name];
    let (slow, quick) = (Tail::start(&args), Tail::start(&args));
    // SAFETY: sends a signal to a child of this test.
    let signal = |signal| unsafe { libc::kill(slow.pid() as i32, signal) };
    assert_eq!(signal(libc::SIGSTOP), 0);
    let (port, milliseconds) = (PORT.to_string(), "6000");
    let phone = ["airgap-probe", "phone", "tcp", milliseconds];
    let phone = [&phone[..], &["--v4", &v4, "--port", &port]].concat();
    web.exec(&phone).expect_code(0);
    assert_eq!(signal(libc::SIGCONT), 0);
    wait::until("both have the same sum", wait::SOON, || {
        let ((told, lost), (all, late)) = (counted(&slow), counted(&quick));
        (told + lost == all + late && lost > 0).then_some(())
    });
    airgap_ok(&["detach", &web.name]);
}
