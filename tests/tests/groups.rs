//! Promise: a sealed service stays reachable over IPv6 on a bridge that snoops on multicast: what
//! its kernel has to say for that passes, and no other group does.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, SERVICE_PORT, cmd, wait};
use std::fs;
use std::net::Ipv6Addr;
use std::time::Duration;

/// A querier asks at once, and then the bridge floods until every answer is due.
const PATIENCE: Duration = Duration::from_secs(60);
/// A group of the same kind that is no address's here.
const OTHER: &str = "ff02::1:ff12:3456";

/// Each second, for answers within one; what nobody reports is gone after three.
fn ask_for_groups(bridge: &str) {
    for (file, value) in [
        ("multicast_snooping", "1"),
        ("multicast_membership_interval", "300"),
        ("multicast_query_interval", "100"),
        ("multicast_startup_query_interval", "100"),
        ("multicast_query_response_interval", "100"),
        ("multicast_querier", "1"),
    ] {
        let path = format!("/sys/class/net/{bridge}/bridge/{file}");
        fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

/// The solicited-node group of an address (RFC 4291 §2.7.1).
fn group_of(address: Ipv6Addr) -> String {
    let [.., a, b, c] = address.octets();
    let low = [0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c)];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, low[0], low[1]).to_string()
}

/// Groups that the bridge passes on to a container, by its word.
fn groups(bridge: &str, container: &Container) -> Vec<String> {
    let port = container.veth();
    let text = cmd::ok(&format!("bridge mdb show dev {bridge}"));
    let of = |line: &str| -> Option<String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |word| {
            words
                .iter()
                .position(|w| *w == word)
                .map(|at| words[at + 1])
        };
        (after("port")? == port).then(|| after("grp").map(str::to_owned))?
    };
    text.lines().filter_map(of).collect()
}

/// Once `member`'s own group has run out, all that is there still was reported under the seal.
#[test]
fn it_is_found_where_a_bridge_snoops_and_reports_no_other_group() {
    let outside = Outside::new();
    let bridge = outside.plan.bridge.clone();
    let (v4, v6) = (outside.plan.outside4, outside.plan.outside6);
    let line = format!("airgap-probe hold node6? --v4 {v4} --v6 {v6} --port 20000");
    let line: Vec<_> = line.split(' ').collect();
    let other = outside.container("other").command(&line).run();
    ask_for_groups(&bridge);
    let member = outside.container("member").command(&line).run();
    let (plain, again) = (
        outside.container("plain").run(),
        outside.container("again").run(),
    );
    let web = outside.container("web").create();
    seal(&web.id, &[]);
    web.start();
    let has =
        |container: &Container, group: &str| groups(&bridge, container).iter().any(|g| g == group);
    let own = |container: &Container| has(container, &group_of(container.ip6()));
    for (what, container) in [("other", &other), ("member", &member)] {
        wait::until(what, PATIENCE, || has(container, OTHER).then_some(()));
    }
    for container in [&web, &again, &member] {
        seal(&container.id, &[]);
    }
    wait::until("what is nobody's address runs out", PATIENCE, || {
        (!has(&member, OTHER) && has(&other, OTHER)).then_some(())
    });
    for (what, container) in [
        ("the control: unsealed", &plain),
        ("sealed before its start", &web),
        ("sealed while it ran", &again),
    ] {
        wait::until(what, PATIENCE, || own(container).then_some(()));
        cmd::ok(&format!("ip -6 neigh flush dev {bridge}"));
        let body = outside.get(container.ip6(), SERVICE_PORT, "/");
        body.unwrap_or_else(|e| panic!("{what}: {e:#}"));
    }
}
