//! The way to the far side may be narrower than the container's link.

use super::{PORT, World};
use airgap_tests::cmd;
use airgap_tests::reach::Reach;
use std::net::IpAddr;

/// On the way out alone, as of a tunnel: the host says so by ICMP, and the far side is not heard
/// to have small segments itself.
const NARROW: u32 = 1_280;
const LENGTH: usize = 60_000;

#[test]
fn what_is_too_big_for_the_way_is_sent_in_smaller_parts() {
    let world = World::new();
    let plan = &world.outside.plan;
    for (family, bits, address) in [
        (4, 32, IpAddr::from(plan.outside4)),
        (6, 128, IpAddr::from(plan.outside6)),
    ] {
        // Goes with the link.
        let uplink = &plan.uplink;
        cmd::ok(&format!(
            "ip -{family} route add {address}/{bits} dev {uplink} mtu lock {NARROW}"
        ));
    }
    let (v4, v6) = (world.v4(PORT), world.v6(PORT));
    let web = world.sealed("web", &["--to", &v4, "--to", &v6]);
    let mut reach = Reach::new(&web);
    let text = "0123456789".repeat(LENGTH / 10);
    for (name, to) in [("a", &v4), ("b", &v6)] {
        reach.does(&format!("tcp {name} {to}"));
        reach.does(&format!("send {name} {text}"));
        let mut back = String::new();
        while back.len() < LENGTH {
            let part = reach.does(&format!("receive {name}"));
            let part = part.as_str().unwrap_or_default();
            assert!(!part.is_empty(), "it ended after {} bytes", back.len());
            back.push_str(part);
        }
        assert_eq!(back, text);
        // The control: it was told, and has learnt it.
        let address = to
            .rsplit_once(':')
            .map(|(ip, _)| ip.trim_matches(['[', ']']));
        let route = format!("ip route get {}", address.unwrap_or_default());
        let route = web.netns().run(|| cmd::ok(&route));
        assert!(route.contains(&format!("mtu {NARROW}")), "{route}");
    }
}
