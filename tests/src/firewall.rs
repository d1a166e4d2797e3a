//! What the host needs to route between the containers and the outside, and nothing further.

use crate::cmd;
use crate::plan::Plan;
use std::fs;
use std::net::Ipv4Addr;

/// Name of an nftables table of a test, up to what tells runs apart.
pub const TABLE_PREFIX: &str = "airgap_test_";
const V4_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const V6_FORWARD: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Opens forwarding for one plan's two devices and pens them in: what they send can reach each
/// other or the host, never another device. Undone on drop.
#[derive(Debug)]
pub struct Firewall {
    rules: Vec<String>,
    routes: Vec<String>,
    sysctls: Vec<(&'static str, String)>,
}

impl Firewall {
    /// Installs catch-all unreachable routes first, so that no documentation address ever follows
    /// the default route, then the pen.
    ///
    /// # Panics
    /// When a rule cannot be installed.
    #[must_use]
    pub fn open(plan: &Plan) -> Self {
        let mut wall = Self {
            rules: Vec::new(),
            routes: Vec::new(),
            sysctls: Vec::new(),
        };
        for route in [
            "ip -4 route ROUTE unreachable 198.51.100.0/24 metric 4294967295",
            "ip -6 route ROUTE unreachable 2001:db8::/32 dev lo metric 4294967295",
        ] {
            // Another run may have it already; it then owns it.
            if cmd::attempt(&route.replace("ROUTE", "add")).code == 0 {
                wall.routes.push(route.replace("ROUTE", "del"));
            }
        }
        let Plan { bridge, uplink, .. } = plan;
        for (table, chain) in [("iptables", "DOCKER-USER"), ("ip6tables", "FORWARD")] {
            // Inserted at the top one by one, so the last one here is the first one asked.
            for rule in [
                format!("-i {bridge} -j DROP"),
                format!("-i {uplink} -j DROP"),
                format!("-i {bridge} -o {bridge} -j ACCEPT"),
                format!("-i {bridge} -o {uplink} -j ACCEPT"),
                format!("-i {uplink} -o {bridge} -j ACCEPT"),
            ] {
                cmd::ok(&format!("{table} -w -I {chain} {rule}"));
                wall.rules.push(format!("{table} -w -D {chain} {rule}"));
            }
        }
        for path in [V4_FORWARD, V6_FORWARD] {
            let before = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            if before.trim() == "0" {
                fs::write(path, "1").unwrap_or_else(|e| panic!("{path}: {e}"));
                wall.sysctls.push((path, before));
            }
        }
        wall
    }
}

impl Firewall {
    /// Pens a second network in, as [`Firewall::open`] does the first, without opening over IPv4
    /// what Docker closes.
    ///
    /// # Panics
    /// When a rule cannot be installed.
    #[must_use]
    pub fn open_internal(plan: &Plan) -> Self {
        let Plan { bridge, uplink, .. } = plan;
        Self::with_rules([
            format!("iptables -w -I DOCKER-USER -i {bridge} ! -o {uplink} -j DROP"),
            format!("ip6tables -w -I FORWARD -i {bridge} -j DROP"),
            format!("ip6tables -w -I FORWARD -i {bridge} -o {uplink} -j ACCEPT"),
            format!("ip6tables -w -I FORWARD -i {uplink} -o {bridge} -j ACCEPT"),
        ])
    }

    /// Pens in a bridge that the engine makes by itself, and opens it as [`Firewall::open`] does
    /// the test's own.
    ///
    /// # Panics
    /// When a rule cannot be installed.
    #[must_use]
    pub fn open_bridge(plan: &Plan, bridge: &str) -> Self {
        let uplink = &plan.uplink;
        Self::with_rules([
            format!("iptables -w -I DOCKER-USER -i {bridge} ! -o {uplink} -j DROP"),
            format!("iptables -w -I DOCKER-USER -i {bridge} -o {uplink} -j ACCEPT"),
            format!("iptables -w -I DOCKER-USER -i {uplink} -o {bridge} -j ACCEPT"),
            format!("ip6tables -w -I FORWARD -i {bridge} ! -o {uplink} -j DROP"),
            format!("ip6tables -w -I FORWARD -i {bridge} -o {uplink} -j ACCEPT"),
            format!("ip6tables -w -I FORWARD -i {uplink} -o {bridge} -j ACCEPT"),
        ])
    }

    /// What operators write to stop a container: only replies pass.
    ///
    /// # Panics
    /// When a rule cannot be installed.
    #[must_use]
    pub fn replies_only(plan: &Plan, container: Ipv4Addr) -> Self {
        // The comment lets a sweep find the rule.
        let bridge = &plan.bridge;
        Self::with_rules([format!(
            "iptables -w -I DOCKER-USER -s {container} -m conntrack ! --ctstate ESTABLISHED \
             -m comment --comment {bridge} -j DROP"
        )])
    }

    fn with_rules<const N: usize>(rules: [String; N]) -> Self {
        let mut wall = Self {
            rules: Vec::new(),
            routes: Vec::new(),
            sysctls: Vec::new(),
        };
        for rule in rules {
            cmd::ok(&rule);
            wall.rules.push(rule.replace(" -I ", " -D "));
        }
        wall
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        for (path, before) in &self.sysctls {
            if fs::write(path, before).is_err() {
                eprintln!("cannot restore {path}");
            }
        }
        for line in self.rules.iter().rev().chain(&self.routes) {
            let out = cmd::attempt(line);
            if out.code != 0 {
                eprintln!("cannot undo\n{}", out.describe());
            }
        }
    }
}
