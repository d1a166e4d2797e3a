//! Promise: an exception that is over lets nothing new out, and what comes in by one comes from
//! its far side.

use std::net::SocketAddr;

use airgap_tests::airgap::{airgap, airgap_ok, seal};
use airgap_tests::kernel;
use airgap_tests::reach::{Echo, Reach};
use airgap_tests::{Container, Outside, wait};
use serde_json::Value;

const PORT: u16 = 7443;

#[track_caller]
fn exits(container: &Container) -> Value {
    let out = airgap(&["status", "--json", &container.id]);
    let report: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    report["exits"].clone()
}

/// A connect that was put off is one that comes then.
#[test]
fn a_connect_that_was_put_off_is_refused_once_its_exception_is_over() {
    let outside = Outside::new();
    let _echo = Echo::on(&outside.netns, PORT);
    let web = outside.container("web").run();
    seal(&web.name, &[]);
    let far = SocketAddr::new(outside.plan.outside4.into(), PORT).to_string();
    airgap_ok(&["allow", &web.id, "--to", &far, "--for", "3s"]);
    let mut reach = Reach::new(&web);
    reach.does(&format!("later late {far}"));
    reach.does(&format!("later soon {far}"));
    // The control: before the end it is a connection.
    reach.does("send soon hello");
    assert_eq!(reach.does("receive soon"), "hello");
    wait::until("the exception is over", wait::SOON, || {
        (reach.say(&format!("tcp x {far}")) == Err(kernel::refused())).then_some(())
    });
    let before = exits(&web);
    // The call may say what it likes: the segment is refused.
    let _ = reach.say("send late leak");
    outside.tap.barrier();
    let leaked = outside
        .arrivals()
        .iter()
        .any(|frame| frame.contains("leak"));
    assert!(!leaked, "it was opened after the end");
    let after = exits(&web);
    assert_eq!(
        after[0]["connections"], before[0]["connections"],
        "{after:#}"
    );
    let late = |exits: &Value| exits[0]["refused_after_end"].as_u64().expect("a number");
    assert!(late(&after) > late(&before), "{after:#}");
    // What is open goes on, and is named until it is closed.
    reach.does("send soon again");
    assert_eq!(reach.does("receive soon"), "again");
    assert_eq!(after[0]["open_after_end"], serde_json::json!([far]));
    for name in ["soon", "late", "x"] {
        reach.does(&format!("close {name}"));
    }
    wait::until("nothing is connected", wait::SOON, || {
        exits(&web)[0]["open_after_end"].is_null().then_some(())
    });
}

/// A neighbour on the bridge can write any source; the host knows where that one is.
#[test]
fn a_neighbour_answers_under_no_far_address() {
    let outside = Outside::new();
    let _echo = Echo::on(&outside.netns, PORT);
    let web = outside.container("web").run();
    let neighbour = outside.container("neighbour").run();
    let far = SocketAddr::new(outside.plan.outside4.into(), PORT).to_string();
    seal(&web.name, &["--to", &format!("{far}/udp")]);
    let mut reach = Reach::new(&web);
    let own = reach.does("udp u 4");
    reach.does(&format!("to u {far} hello"));
    assert_eq!(reach.does("receive u"), "hello", "the control");
    let mut other = Reach::new(&neighbour);
    let to = format!("{}:{own}", web.ip4());
    other.does(&format!("spoof {far} {to} forged"));
    // The next that comes is the far side's own.
    reach.does(&format!("to u {far} real"));
    assert_eq!(reach.does("receive u"), "real");
}
