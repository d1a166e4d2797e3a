//! Promise: nothing leaves, also not through a container that joins the sealed one's network
//! namespace afterwards: loopback leads to nobody but the sealed container itself.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, airgap, wait};
use std::time::Duration;

const PORT: u16 = 7000;

/// Where to say something so that everybody in the namespace may hear it, and through which
/// device groups go. ADDRESS4 and ADDRESS6 are the container's own.
const WAYS: &[(&str, &str)] = &[
    ("127.0.0.1", "lo"),
    ("127.9.9.9", "lo"),
    ("[::1]", "lo"),
    ("ADDRESS4", "eth0"),
    ("[ADDRESS6]", "eth0"),
    ("239.1.2.3", "lo"),
    ("239.1.2.3", "eth0"),
    ("[ff05::5060]", "eth0"),
    ("127.255.255.255", "lo"),
    ("255.255.255.255", "eth0"),
];

/// A container in the other one's namespace that prints what it hears.
fn guest(outside: &Outside, host: &Container, name: &str) -> Container {
    let guest = outside
        .container(name)
        .network(&format!("container:{}", host.id))
        .command(&["airgap-probe", "hear", &PORT.to_string()])
        .run();
    wait::until("the guest listens", wait::SOON, || {
        guest.logs().contains("hears").then_some(())
    });
    guest
}

/// Says it on every way; what was said on each.
fn say_all(container: &Container, prefix: &str) -> Vec<(String, String)> {
    let (own4, own6) = (container.ip4().to_string(), container.ip6().to_string());
    let each = WAYS.iter().enumerate().map(|(i, (address, device))| {
        let address = address
            .replace("ADDRESS4", &own4)
            .replace("ADDRESS6", &own6);
        let (at, text) = (format!("{address}:{PORT}"), format!("{prefix}-{i}-end"));
        container.exec(&["airgap-probe", "say", &at, device, &text]);
        (format!("{at} through {device}"), text)
    });
    each.collect()
}

#[test]
fn datagrams_do_not_reach_a_later_guest() {
    let outside = Outside::new();
    let sealed = outside.container("host").run();
    let older = guest(&outside, &sealed, "older");
    let said = say_all(&sealed, "control");
    wait::within(Duration::from_secs(1), || {
        let log = older.logs();
        said.iter()
            .all(|(_, text)| log.contains(text))
            .then_some(())
    });
    let log = older.logs();
    let deaf: Vec<_> = said.iter().filter(|(_, t)| !log.contains(t)).collect();
    assert!(deaf.is_empty(), "controls not heard: {deaf:?}\n{log}");
    drop(older);

    seal(&sealed.name, &[]);
    let younger = guest(&outside, &sealed, "younger");
    let said = say_all(&sealed, "sealed");
    // The kernel shares a port between its owners: one may be the guest, one the sealed container.
    own_receiver(&sealed);
    let shared = say_all(&sealed, "shared");
    let spread = sealed.exec(&["sh", "-c", &spread()]);
    assert_eq!(spread.code, 0, "{}", spread.describe());
    let own = wait::within(wait::SOON, || {
        heard_by_own(&sealed).contains("spread").then_some(())
    });
    assert!(own.is_some(), "the container does not hear itself any more");
    let log = younger.logs();
    let said: Vec<_> = said.iter().chain(&shared).collect();
    let heard: Vec<_> = said.iter().filter(|(_, t)| log.contains(t)).collect();
    assert!(heard.is_empty(), "the guest heard {heard:?}\n{log}");
    assert!(!log.contains("spread"), "the guest heard its share\n{log}");
}

const OWN_LOG: &str = "/tmp/heard";

/// A process of the container's own that listens on the guest's port.
fn own_receiver(container: &Container) {
    let line = format!("airgap-probe hear {PORT} >{OWN_LOG} 2>&1 &");
    container.exec(&["sh", "-c", &line]).expect_code(0);
    wait::until("the own receiver listens", wait::SOON, || {
        heard_by_own(container).contains("hears").then_some(())
    });
}

fn heard_by_own(container: &Container) -> String {
    container.exec(&["cat", OWN_LOG]).stdout
}

/// Datagrams from many sockets: each is for one of the port's owners, by a hash of its port.
fn spread() -> String {
    let numbers: Vec<_> = (0..32).map(|n| n.to_string()).collect();
    format!(
        "for n in {}; do airgap-probe say 127.0.0.1:{PORT} lo spread-$n || true; done",
        numbers.join(" ")
    )
}

#[test]
fn a_later_guest_is_reported() {
    let outside = Outside::new();
    let sealed = outside.container("host").run();
    let attach = seal(&sealed.name, &[]).code;
    let before = airgap(&["status", "--json", &sealed.name]);
    assert_eq!(before.code, attach, "{}", before.describe());
    assert!(
        !before.stdout.contains("shared-network"),
        "{}",
        before.describe()
    );
    let guest = guest(&outside, &sealed, "guest");
    let after = airgap(&["status", "--json", &sealed.name]);
    assert_eq!(after.code, 4, "opened\n{}", after.describe());
    let named = after.stdout.contains("shared-network") && after.stdout.contains("airgap-probe");
    assert!(named, "the guest is not named\n{}", after.describe());
    drop(guest);
    let gone = airgap(&["status", "--json", &sealed.name]);
    assert!(
        !gone.stdout.contains("shared-network"),
        "{}",
        gone.describe()
    );
}
