//! The exception that would have let an attempt out. Pure.

use std::net::IpAddr;

use super::To;

/// For one address and port over an IP protocol, 6 or 17; `None` where no exception leads:
/// other protocols, loopback, groups, the link alone. Nor for DNS, which would let out whatever
/// is asked for: an exception for the name does.
pub fn suggested(ip: IpAddr, port: u16, protocol: u8) -> Option<To> {
    let ip = ip.to_canonical();
    let suffix = match protocol {
        6 => "",
        17 => "/udp",
        _ => return None,
    };
    let nowhere = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if nowhere
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unspecified()
        || matches!(port, 0 | 53 | 853)
    {
        return None;
    }
    let text = match ip {
        IpAddr::V4(v4) => format!("{v4}:{port}{suffix}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}{suffix}"),
    };
    text.parse().ok()
}

/// The name of a question, as an exception takes it; its port nobody knows yet. `None` where
/// none may lead there: single words, what is no name of a host.
pub fn suggested_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let to: To = format!("{name}:443").parse().ok()?;
    // What was written is what is meant: no address, no neighbour.
    to.is_of_host().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str, port: u16, protocol: u8) -> Option<String> {
        suggested(ip.parse().unwrap(), port, protocol).map(|to| to.to_string())
    }

    #[test]
    fn what_an_exception_can_let_out_is_written_as_one() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("198.51.100.7", 443, 6), some("198.51.100.7:443/tcp"));
        assert_eq!(of("198.51.100.7", 123, 17), some("198.51.100.7:123/udp"));
        assert_eq!(of("2001:db8::7", 443, 6), some("[2001:db8::7]:443/tcp"));
        let mapped = of("::ffff:198.51.100.7", 80, 6);
        assert_eq!(mapped, some("198.51.100.7:80/tcp"));
        for (ip, port, protocol) in [
            ("127.0.0.11", 53, 17),
            ("198.51.100.7", 53, 6),
            ("198.51.100.7", 853, 6),
            ("198.51.100.7", 0, 6),
            ("198.51.100.7", 7, 1),
            ("169.254.169.254", 80, 6),
            ("fe80::1", 80, 6),
            ("224.0.0.251", 5353, 17),
            ("ff02::fb", 5353, 17),
            ("255.255.255.255", 67, 17),
            ("0.0.0.0", 80, 6),
            ("::", 80, 6),
            ("::1", 80, 6),
        ] {
            assert_eq!(of(ip, port, protocol), None, "{ip} {port} {protocol}");
        }
    }

    #[test]
    fn a_name_is_taken_as_it_was_asked_for() {
        let of = |name| suggested_name(name);
        assert_eq!(of("Api.Example.com.").as_deref(), Some("api.example.com"));
        for no in [
            "",
            "db",
            "198.51.100.7",
            "*.example.com",
            "a b.example",
            "a.example\u{1b}[2J",
            "container:db",
            "x.local",
        ] {
            assert_eq!(of(no), None, "{no}");
        }
    }
}
