//! Where exceptions lead that is not just an address outside: to this host, to a
//! gateway, to the container's own networks, to metadata, to half the world.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Finding, Risk, finding, listener};
use crate::{
    container::Container,
    host::interfaces::addresses,
    policy::{Cidr, Exception, Hold, Ports, To},
};

/// What is around a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Addresses of this host.
    host: Vec<IpAddr>,
    /// Routers of this host and of the container's networks.
    routers: Vec<IpAddr>,
    /// The container's networks: name and prefix.
    networks: Vec<(String, Cidr)>,
}

impl Surroundings {
    /// Those of a container, now.
    pub fn of(container: &Container) -> Self {
        let own = addresses();
        let mut networks = container.prefixes();
        for gateway in &container.gateways {
            // That of a container which does not run: by the bridge that is its gateway.
            let link = own
                .iter()
                .find(|link| gateway.addresses.overlaps(&Cidr::single(link.0)));
            let link = link.and_then(|(addr, len)| Cidr::around(*addr, *len));
            networks.extend(link.map(|net| (gateway.network.clone(), net)));
        }
        networks.dedup();
        let gateways = container.gateways.iter().map(|g| g.addresses.addr);
        Self {
            host: own.iter().map(|(addr, _)| *addr).collect(),
            routers: gateways.chain(next_hops()).collect(),
            networks,
        }
    }

    /// Those of a command, which has the host's network.
    pub fn of_host() -> Self {
        Self {
            host: addresses().iter().map(|(addr, _)| *addr).collect(),
            routers: next_hops(),
            networks: Vec::new(),
        }
    }

    /// Prefixes of clients that hold an address of this host, in words: kube-proxy, and
    /// whoever else forwards, puts it in the place of a client's own. One that holds every
    /// address means everybody.
    pub fn stand_for_others(&self, clients: &[Cidr]) -> Vec<String> {
        let own = |client: &&Cidr| {
            let own = self.host.iter().find(|addr| client.holds(**addr))?;
            Some(format!(
                "{client} holds {own}, an address of this node: whoever it forwards comes from there, and probes of the kubelet do"
            ))
        };
        let narrow = clients.iter().filter(|client| client.len > 0);
        narrow.filter_map(|client| own(&client)).collect()
    }

    /// What of it an exception opens, in words, and what mends that where the exception
    /// is for that one address.
    fn opened_by(&self, exception: &Exception) -> Option<(String, Option<&'static str>)> {
        let to = &exception.to;
        let net = to.target.net()?;
        let most = if net.addr.is_ipv4() { 32 } else { 128 };
        let single = |mend| (net.len == most).then_some(mend);
        let held = |list: &[IpAddr]| list.iter().copied().find(|addr| to.holds(*addr));
        if to.is_near() {
            let who = match listener::of(to) {
                Some(who) => format!("{who} of this host"),
                None => "whoever listens there on this host".into(),
            };
            let mend = "name in --to the address of the service itself, not one of this host";
            return Some((format!("{to} leads to {who}"), Some(mend)));
        }
        if let Some(what) = to.metadata() {
            let what = format!("{to} holds {what}");
            return Some((what, single("leave that address out of --to")));
        }
        if let Some(addr) = held(&self.host) {
            let what = format!("{to} holds {addr}, an address of this host");
            let mend = "name in --to the address of the service itself, not one of this host";
            return Some((what, single(mend)));
        }
        if let Some(addr) = held(&self.routers) {
            let what = format!("{to} holds {addr}, a gateway");
            let mend = "name in --to the address of the service itself, not its gateway";
            return Some((what, single(mend)));
        }
        let within = self.networks.iter().find(|(_, own)| own.overlaps(&net));
        within.filter(|_| net.len < most).map(|(name, net)| {
            let what = format!(
                "{to} holds more than one address of the container's own network '{name}' ({net})"
            );
            (what, None)
        })
    }
}

/// A resolver is asked for names of anybody's domains: each question is a message to whoever
/// has that.
fn dns_exit(to: &To) -> Option<Finding> {
    let port = to.ports.of_dns()?;
    let what = format!(
        "{to} is a DNS exit: a resolver at port {port} passes what it is asked on to the servers of any domain"
    );
    let single = matches!(to.ports, Ports::Range(first, last) if first == last);
    Some(Finding {
        mend: (!single).then_some("leave ports 53 and 853 out of --to, as * does"),
        ..finding(Risk::DnsExit, what)
    })
}

/// What has to be accepted by name.
pub fn judge(exceptions: &[Exception], around: &Surroundings) -> Vec<Finding> {
    let mut found = Vec::new();
    for exception in exceptions {
        let to = &exception.to;
        if to.is_wide() {
            let what = format!("{to} is wider than /16, or /32 of IPv6");
            found.push(finding(Risk::WideException, what));
        }
        if exception.hold == Some(Hold::Forever) {
            let what = format!(
                "{to} keeps its addresses until somebody looks again, also where they have become somebody else's"
            );
            found.push(finding(Risk::EndlessLease, what));
        }
        found.extend(dns_exit(to));
        found.extend(around.opened_by(exception).map(|(what, mend)| Finding {
            mend,
            ..finding(Risk::HostExit, what)
        }));
    }
    found
}

/// Gateways in this host's routing tables, by `/proc/net/route` and `ipv6_route`.
fn next_hops() -> Vec<IpAddr> {
    let text = |file: &str| fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
    let v4 = text("route");
    let v4 = v4.lines().skip(1).filter_map(|line| {
        let word = u32::from_str_radix(line.split_ascii_whitespace().nth(2)?, 16).ok()?;
        (word != 0).then(|| IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())))
    });
    let v6 = text("ipv6_route");
    let v6 = v6.lines().filter_map(|line| {
        let bits = u128::from_str_radix(line.split_ascii_whitespace().nth(4)?, 16).ok()?;
        (bits != 0).then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
    });
    v4.chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            host: vec![
                "198.51.100.1".parse().unwrap(),
                "2001:db8:1::1".parse().unwrap(),
            ],
            routers: vec!["198.51.100.254".parse().unwrap()],
            networks: vec![("web".into(), "198.51.100.64/27".parse().unwrap())],
        }
    }

    #[test]
    fn a_client_that_stands_for_others_is_told() {
        let of = |text: &str| around().stand_for_others(&[text.parse().unwrap()]).len();
        for (client, told) in [
            ("198.51.100.1/32", 1),
            ("198.51.100.0/24", 1),
            ("2001:db8:1::/64", 1),
            ("198.51.100.254/32", 0),
            ("10.0.0.0/8", 0),
            ("0.0.0.0/0", 0),
        ] {
            assert_eq!(of(client), told, "{client}");
        }
    }

    #[test]
    fn what_is_near_is_accepted_by_name() {
        for (text, risks) in [
            ("198.51.100.10:443", &[][..]),
            ("198.51.100.66:5432", &[]),
            ("198.51.100.64/28:5432", &[Risk::HostExit]),
            ("198.51.100.64/27:5432", &[Risk::HostExit]),
            ("198.51.100.1:22", &[Risk::HostExit]),
            ("198.51.100.0/30:22", &[Risk::HostExit]),
            ("198.51.100.254:53/udp", &[Risk::DnsExit, Risk::HostExit]),
            ("198.51.100.10:53", &[Risk::DnsExit]),
            ("198.51.100.10:53/udp", &[Risk::DnsExit]),
            ("198.51.100.10:853", &[Risk::DnsExit]),
            ("198.51.100.10:50-60", &[Risk::DnsExit]),
            ("198.51.100.10:1-65535", &[Risk::DnsExit]),
            ("container:pihole:53/udp", &[Risk::DnsExit]),
            ("dns.example.com:853", &[Risk::DnsExit]),
            ("198.51.100.10:*", &[]),
            ("198.51.100.10:54-852", &[]),
            ("169.254.169.254:80", &[Risk::HostExit]),
            ("[2001:db8:1::/64]:443", &[Risk::HostExit]),
            ("[2001:db8:2::/64]:443", &[]),
            ("10.0.0.0/8:443", &[Risk::WideException]),
            ("0.0.0.0/0:443", &[Risk::WideException, Risk::HostExit]),
        ] {
            let exception = Exception::from(text.parse::<To>().unwrap());
            let found: Vec<_> = judge(&[exception], &around())
                .into_iter()
                .map(|finding| finding.risk)
                .collect();
            assert_eq!(found, risks, "{text}");
        }
    }

    #[test]
    fn who_keeps_an_address_for_ever_has_to_say_so() {
        let db = Exception::from("container:db:5432".parse::<To>().unwrap());
        assert!(judge(std::slice::from_ref(&db), &around()).is_empty());
        let found = judge(&[db.held(Some(Hold::Forever))], &around());
        assert_eq!(found[0].risk, Risk::EndlessLease);
    }

    #[test]
    fn the_hint_is_by_what_was_found() {
        for (text, hint) in [
            ("198.51.100.1:22", "not one of this host"),
            ("198.51.100.254:22", "not its gateway"),
            ("169.254.169.254:80", "leave that address out"),
            ("127.0.0.1:1", "not one of this host"),
            ("198.51.100.0/30:22", "the one address that is meant"),
            ("198.51.100.64/28:22", "the one address that is meant"),
            ("198.51.100.10:53/udp", "name in --to the host"),
            ("198.51.100.10:1-1000", "leave ports 53 and 853 out"),
        ] {
            let exception = Exception::from(To::near_or_far(text).unwrap());
            let found = judge(&[exception], &around());
            assert!(
                found[0].mend().contains(hint),
                "{text}: {}",
                found[0].mend()
            );
        }
    }
}
