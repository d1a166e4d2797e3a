//! Service ports: how they are written, and which are among others. Pure.

use std::{fmt, str::FromStr};

use airgap_common::map::PortRange;

use super::Protocol;

/// A service port, or all from one to another: `5060`, `5060/tcp`, `8000-8010` or
/// `10000-10100/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Protocol.
    pub protocol: Protocol,
    /// The first; never 0.
    pub first: u16,
    /// The last; not below the first.
    pub last: u16,
}

impl Port {
    /// A port of TCP.
    pub const fn tcp(port: u16) -> Self {
        Self {
            protocol: Protocol::Tcp,
            first: port,
            last: port,
        }
    }

    /// A port of UDP.
    pub const fn udp(port: u16) -> Self {
        Self {
            protocol: Protocol::Udp,
            first: port,
            last: port,
        }
    }

    /// As the map has it.
    pub const fn range(self) -> PortRange {
        PortRange {
            first: self.first,
            last: self.last,
        }
    }

    /// The reverse of [`Self::range`].
    pub const fn of(protocol: Protocol, range: PortRange) -> Self {
        Self {
            protocol,
            first: range.first,
            last: range.last,
        }
    }

    /// Whether it is this port, or has it between its ends.
    pub fn holds(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol && (self.first..=self.last).contains(&port)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => {
                return Err(format!(
                    "'{other}' is no protocol; write PORT, PORT/tcp or PORT/udp"
                ));
            }
        };
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!(
                "the ports {numbers} run backwards; did you mean {last}-{first}?"
            ));
        }
        Ok(Self {
            protocol,
            first,
            last,
        })
    }
}

fn number(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Err("port 0 stands for no port".into()),
        Ok(port) if !text.starts_with('+') => Ok(port),
        _ => Err(format!(
            "'{text}' is no port between 1 and 65535, and no range such as 8000-8010"
        )),
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.name();
        match self.first == self.last {
            true => write!(f, "{}/{protocol}", self.first),
            false => write!(f, "{}-{}/{protocol}", self.first, self.last),
        }
    }
}

/// Whether one of them is this port, or holds it.
pub fn serves(ports: &[Port], protocol: Protocol, port: u16) -> bool {
    ports.iter().any(|one| one.holds(protocol, port))
}

/// The same ports, sorted; those that overlap as one.
pub fn merged(mut ports: Vec<Port>) -> Vec<Port> {
    ports.sort_unstable();
    let mut merged: Vec<Port> = Vec::new();
    for port in ports {
        match merged.last_mut() {
            Some(before) if before.protocol == port.protocol && port.first <= before.last => {
                before.last = before.last.max(port.last);
            }
            _ => merged.push(port),
        }
    }
    merged
}

/// Whether all of a port's numbers are among others.
pub(super) fn is_covered(port: &Port, others: &[Port]) -> bool {
    let mut next = u32::from(port.first);
    for other in merged(others.to_vec()) {
        let here = other.protocol == port.protocol;
        if here && u32::from(other.first) <= next {
            next = next.max(u32::from(other.last) + 1);
        }
    }
    next > u32::from(port.last)
}

/// How many of each protocol.
pub(super) struct Protocols {
    tcp: usize,
    udp: usize,
}

impl Protocols {
    pub(super) fn of(ports: &[Port]) -> Self {
        let count = |protocol| ports.iter().filter(|p| p.protocol == protocol).count();
        Self {
            tcp: count(Protocol::Tcp),
            udp: count(Protocol::Udp),
        }
    }

    pub(super) const fn counts(&self) -> [(Protocol, usize); 2] {
        [(Protocol::Tcp, self.tcp), (Protocol::Udp, self.udp)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> Port {
        Port {
            first,
            last,
            ..Port::tcp(0)
        }
    }

    #[test]
    fn parses_ports() {
        assert_eq!("5060".parse(), Ok(Port::tcp(5060)));
        assert_eq!("80/tcp".parse(), Ok(Port::tcp(80)));
        assert_eq!("5060/udp".parse(), Ok(Port::udp(5060)));
        let media = "10000-10100/udp".parse::<Port>().unwrap();
        assert!(media.holds(Protocol::Udp, 10_100) && !media.holds(Protocol::Tcp, 10_100));
        assert_eq!("8000-8010".parse(), Ok(range(8000, 8010)));
        assert_eq!("1-65535/tcp".parse(), Ok(range(1, 65_535)));
        assert_eq!("80-80".parse(), Ok(Port::tcp(80)));
        for bad in [
            "", "0", "65536", "-1", "80/", "80/sctp", "80/icmp", "http", "80/tcp/x", "+80", "80-",
            "-80", "80-0", "0-80", "80-81-82", "81-80", "80-http", "*",
        ] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
        let backwards = "8010-8000".parse::<Port>().unwrap_err();
        assert!(
            backwards.ends_with("did you mean 8000-8010?"),
            "{backwards}"
        );
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in [
            "5060/tcp",
            "8000-8010/tcp",
            "1-65535/tcp",
            "53/udp",
            "2-3/udp",
        ] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_overlaps_is_one() {
        let all = vec![
            range(8005, 8020),
            range(80, 80),
            range(8000, 8010),
            range(81, 81),
            range(80, 80),
        ];
        let one = merged(all);
        assert_eq!(one, [range(80, 80), range(81, 81), range(8000, 8020)]);
        assert!(serves(&one, Protocol::Tcp, 8020) && !serves(&one, Protocol::Tcp, 8021));
        assert!(!serves(&one, Protocol::Udp, 80));
        let apart = vec![Port::udp(80), Port::tcp(80), Port::udp(80)];
        assert_eq!(merged(apart), [Port::tcp(80), Port::udp(80)]);
    }

    #[test]
    fn what_others_hold_together_is_among_them() {
        let others = [range(81, 90), range(80, 80), range(95, 65_535)];
        for (port, covered) in [
            (range(80, 90), true),
            (range(80, 91), false),
            (range(79, 80), false),
            (range(94, 95), false),
            (range(95, 65_535), true),
            (range(85, 85), true),
        ] {
            assert_eq!(is_covered(&port, &others), covered, "{port}");
        }
        assert!(!is_covered(&range(1, 1), &[]));
        assert!(!is_covered(&Port::udp(80), &others));
    }
}
