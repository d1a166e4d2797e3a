//! Exceptions: where a sealed container may connect, or send datagrams to. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use airgap_common::{
    addr::Addr,
    map::Slot,
    packet::{TCP, UDP},
};

mod ceiling;
mod exception;
mod hold;
mod lease;
mod lists;
mod places;
mod suggest;
mod target;

pub use self::{
    exception::{Exception, parse_reason},
    hold::Hold,
    lease::{Lease, unions},
    lists::{earlier, narrower, settled, with_room, within},
    suggest::{suggested, suggested_name},
    target::Target,
};
use self::{
    places::{LOOPBACK, METADATA, NEVER},
    target::CONTAINER,
};
use super::Cidr;

/// How an exception is written.
const FORM: &str = "write ADDRESS:PORT, CIDR:PORT, [IPv6]:PORT, NAME:PORT or container:NAME:PORT, such as 198.51.100.10:443";

/// Transport protocol of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its number (IANA).
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }
}

/// Ports of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ports {
    /// From the first to the last.
    Range(u16, u16),
    /// All but 53 and 853.
    All,
}

impl Ports {
    /// Ports of DNS, plain and encrypted.
    pub const DNS: [u16; 2] = [53, 853];

    /// Those of DNS that are among them.
    pub fn of_dns(self) -> Option<u16> {
        let Self::Range(first, last) = self else {
            return None;
        };
        Self::DNS
            .into_iter()
            .find(|port| (first..=last).contains(port))
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| match text.parse::<u16>() {
            Ok(0) => Err("port 0 stands for no port".to_owned()),
            Ok(port) if !text.starts_with('+') => Ok(port),
            _ => Err(format!(
                "'{text}' is no port between 1 and 65535, no range such as 8000-8010, and not *"
            )),
        };
        if text == "*" {
            return Ok(Self::All);
        }
        let Some((first, last)) = text.split_once('-') else {
            let port = port(text)?;
            return Ok(Self::Range(port, port));
        };
        match (port(first)?, port(last)?) {
            (first, last) if first > last => Err(format!(
                "the ports {text} run backwards; did you mean {last}-{first}?"
            )),
            (first, last) => Ok(Self::Range(first, last)),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) if first == last => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::All => f.write_str("*"),
        }
    }
}

/// Where an exception leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// Who it leads to.
    pub target: Target,
    /// Ports.
    pub ports: Ports,
    /// Protocol.
    pub protocol: Protocol,
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let to = Self::near_or_far(text)?;
        match to.is_near() {
            true => Err(format!("'{text}' {LOOPBACK}")),
            false => Ok(to),
        }
    }
}

/// Where an exception leads of what has the host's network: one address of loopback is
/// such a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearTo(pub To);

impl FromStr for NearTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        To::near_or_far(text).map(Self)
    }
}

impl To {
    pub(crate) fn near_or_far(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("an exception must lead somewhere; {FORM}"));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "'{}' has a blank or a control character in it; {FORM}, and repeat --to for more",
                text.escape_debug()
            ));
        }
        if text.contains("://") {
            return Err(format!("'{text}' is a URL; {FORM}"));
        }
        let (target, rest) = apart(text)?;
        let (ports, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => {
                return Err(format!(
                    "'{other}' is no protocol of an exception; write PORT, PORT/tcp or PORT/udp"
                ));
            }
        };
        let ports = ports.parse()?;
        let to = Self {
            target: target.parse()?,
            ports,
            protocol,
        };
        match to.never() {
            Some(why) => Err(format!("'{text}' {why}")),
            None => Ok(to),
        }
    }
}

/// Addresses, and what is behind the colon after them.
fn apart(text: &str) -> Result<(&str, &str), String> {
    let no_port = |target: &str| {
        format!("'{text}' names no port; write {target}:443, or {target}:* for all but 53 and 853")
    };
    if let Some(inner) = text.strip_prefix('[') {
        let (target, rest) = inner
            .split_once(']')
            .ok_or_else(|| format!("'{text}' has no ] after its address; {FORM}"))?;
        if !target.contains(':') {
            return Err(format!(
                "brackets are for IPv6 addresses, and '{target}' is none; {FORM}"
            ));
        }
        return match rest.strip_prefix(':') {
            Some(rest) if !rest.is_empty() => Ok((target, rest)),
            _ if rest.is_empty() || rest == ":" => Err(no_port(&format!("[{target}]"))),
            _ => Err(format!(
                "'{rest}' does not belong behind [{target}]; the prefix length goes into the brackets, as [2001:db8::/48]:443"
            )),
        };
    }
    if let Some(name) = text.strip_prefix(CONTAINER) {
        let (name, rest) = name.split_once(':').unwrap_or((name, ""));
        return match rest {
            "" => Err(format!(
                "'{text}' names no port; write {CONTAINER}{name}:5432, or {CONTAINER}{name}:* for all but 53 and 853"
            )),
            rest => Ok((&text[..CONTAINER.len() + name.len()], rest)),
        };
    }
    match text.split_once(':') {
        None => Err(no_port(text)),
        Some((target, "")) => Err(no_port(target)),
        Some((_, rest)) if rest.contains(':') => Err(format!(
            "'{text}' has no brackets around its IPv6 address; write [2001:db8::10]:443"
        )),
        Some((target, rest)) => Ok((target, rest)),
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.target, self.ports, self.protocol.name())
    }
}

impl To {
    /// Whether it leads to loopback, where others of the same network namespace are.
    pub const fn is_near(&self) -> bool {
        match self.target.net() {
            Some(net) => net.addr.is_loopback(),
            None => false,
        }
    }

    /// Whether it is one host by its name.
    pub fn is_of_host(&self) -> bool {
        matches!(self.target, Target::Name(_))
    }

    /// The same ports of a neighbour, by its name; `None`: no container is called so.
    #[must_use]
    pub fn of_neighbour(&self, name: &str) -> Option<Self> {
        let text = format!("container:{name}:{}/{}", self.ports, self.protocol.name());
        text.parse().ok()
    }

    /// Why no exception leads there, whatever is accepted.
    fn never(&self) -> Option<&'static str> {
        let own = self.target.net()?;
        let most = if own.addr.is_ipv4() { 32 } else { 128 };
        if self.is_near() {
            return (own.len < most).then_some(LOOPBACK);
        }
        let within = |(net, _): &&(Cidr, &str)| own.len >= net.len && net.overlaps(&own);
        NEVER.iter().find(within).map(|(_, why)| *why)
    }

    /// Whether it holds more than one network of an organization: IPv4 below /16,
    /// IPv6 below /32.
    pub fn is_wide(&self) -> bool {
        match &self.target {
            Target::Net(net) if net.addr.is_ipv4() => net.len < 16,
            Target::Net(net) => net.len < 32,
            Target::Container(_) | Target::Name(_) => false,
        }
    }

    /// What of link-local and metadata addresses it holds, in words.
    pub fn metadata(&self) -> Option<&'static str> {
        let own = self.target.net()?;
        let held = METADATA.iter().find(|(net, _)| net.overlaps(&own));
        held.map(|(_, what)| *what)
    }

    /// Whether it allows this destination, by addresses alone.
    pub fn holds(&self, addr: IpAddr) -> bool {
        self.target.net().is_some_and(|net| net.holds(addr))
    }

    /// What it opens, in a sentence.
    pub fn opens(&self) -> String {
        let what = match (self.protocol, self.ports) {
            (Protocol::Tcp, Ports::All) => "anything over TCP but ports 53 and 853",
            (Protocol::Tcp, _) => "anything over TCP on that port",
            (Protocol::Udp, Ports::All) => "every datagram but to ports 53 and 853",
            (Protocol::Udp, _) => "every datagram to that port",
        };
        match &self.target {
            Target::Net(_) => format!("{what}, and its answers"),
            Target::Container(name) => format!(
                "{what} of '{name}', and its answers; by address: a neighbour on their link that keeps CAP_NET_RAW can pose as it"
            ),
            Target::Name(name) => format!(
                "{what} at the addresses of '{name}', whoever else is served there, and its answers"
            ),
        }
    }

    /// Its slot, for the exception of this number.
    fn slot(&self, number: u32, until: u64, neighbour: u64) -> Slot {
        let (from, to, not_dns) = match self.ports {
            Ports::Range(first, last) => (first, last, 0),
            Ports::All => (1, u16::MAX, 1),
        };
        Slot {
            until,
            neighbour,
            number,
            from,
            to,
            protocol: self.protocol.number(),
            not_dns,
            _pad: [0; 6],
        }
    }

    /// What is in the map, read back.
    pub fn of_map(addr: Addr, bits: u32, slot: &Slot) -> Self {
        Self::of_slot(Target::Net(Cidr::from_key(addr, bits)), slot)
    }

    /// The same for one that leads to `target`.
    pub fn of_slot(target: Target, slot: &Slot) -> Self {
        Self {
            target,
            ports: match (slot.not_dns, slot.from, slot.to) {
                (1, ..) => Ports::All,
                (_, from, to) => Ports::Range(from, to),
            },
            protocol: match slot.protocol {
                UDP => Protocol::Udp,
                _ => Protocol::Tcp,
            },
        }
    }
}

#[cfg(test)]
mod tests;
