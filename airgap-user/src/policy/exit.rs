//! Exceptions: where a sealed container may connect, or send datagrams to. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use airgap_common::{
    addr::Addr,
    map::{REASON_LEN, Slot},
    packet::{TCP, UDP},
};

mod ceiling;
mod lists;
mod places;

pub use self::lists::{earlier, narrower, settled, unions, with_room, within};
use self::places::{METADATA, NEVER};
use super::Cidr;

/// How an exception is written.
const FORM: &str = "write ADDRESS:PORT, CIDR:PORT or [IPv6]:PORT, such as 198.51.100.10:443";

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    /// Addresses.
    pub net: Cidr,
    /// Ports.
    pub ports: Ports,
    /// Protocol.
    pub protocol: Protocol,
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
        let net: Cidr = match target.parse() {
            Ok(net) => net,
            Err(_) if is_name(target) => {
                return Err(format!(
                    "'{target}' is a name, and names come later: give the address, and have the container know it (--add-host {target}:ADDRESS)"
                ));
            }
            Err(error) => return Err(error),
        };
        let to = Self {
            net,
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
    if text.starts_with("container:") {
        return Err(format!(
            "'{text}' is a neighbour by name, and names come later: give its address"
        ));
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

/// Whether it looks like a name of a host rather than a bad address.
fn is_name(target: &str) -> bool {
    let last = target.rsplit('.').find(|label| !label.is_empty());
    target
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*'))
        && last.is_some_and(|label| label.chars().any(char::is_alphabetic))
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = match self.net.addr {
            IpAddr::V4(_) => self.net.len == 32,
            IpAddr::V6(_) => self.net.len == 128,
        };
        let net = match single {
            true => self.net.addr.to_string(),
            false => self.net.to_string(),
        };
        match self.net.addr {
            IpAddr::V4(_) => write!(f, "{net}")?,
            IpAddr::V6(_) => write!(f, "[{net}]")?,
        }
        write!(f, ":{}/{}", self.ports, self.protocol.name())
    }
}

impl To {
    /// Why no exception leads there, whatever is accepted.
    fn never(&self) -> Option<&'static str> {
        let within = |(net, _): &&(Cidr, &str)| self.net.len >= net.len && net.overlaps(&self.net);
        NEVER.iter().find(within).map(|(_, why)| *why)
    }

    /// Whether it holds more than one network of an organization: IPv4 below /16,
    /// IPv6 below /32.
    pub const fn is_wide(&self) -> bool {
        match self.net.addr {
            IpAddr::V4(_) => self.net.len < 16,
            IpAddr::V6(_) => self.net.len < 32,
        }
    }

    /// What of link-local and metadata addresses it holds, in words.
    pub fn metadata(&self) -> Option<&'static str> {
        let held = METADATA.iter().find(|(net, _)| net.overlaps(&self.net));
        held.map(|(_, what)| *what)
    }

    /// Whether it allows this destination, by addresses alone.
    pub fn holds(&self, addr: IpAddr) -> bool {
        self.net.holds(addr)
    }

    /// What it opens, in a sentence.
    pub fn opens(&self) -> String {
        let what = match (self.protocol, self.ports) {
            (Protocol::Tcp, Ports::All) => "anything over TCP but ports 53 and 853",
            (Protocol::Tcp, _) => "anything over TCP on that port",
            (Protocol::Udp, Ports::All) => "every datagram but to ports 53 and 853",
            (Protocol::Udp, _) => "every datagram to that port",
        };
        format!("{what}, and its answers")
    }

    /// Its slot, for the exception of this number.
    fn slot(&self, number: u32, until: u64) -> Slot {
        let (from, to, not_dns) = match self.ports {
            Ports::Range(first, last) => (first, last, 0),
            Ports::All => (1, u16::MAX, 1),
        };
        Slot {
            until,
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
        Self {
            net: Cidr::from_key(addr, bits),
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

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Where it leads.
    pub to: To,
    /// From when on it is over, `CLOCK_BOOTTIME`, nanoseconds; `None`: never.
    pub until: Option<u64>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// By `airgap allow`, and not with the whole policy: what labels say does not take it
    /// back.
    pub allowed: bool,
}

impl From<To> for Exception {
    fn from(to: To) -> Self {
        Self {
            to,
            until: None,
            reason: None,
            allowed: false,
        }
    }
}

impl Exception {
    /// Whether it is over at this time of the boot clock, nanoseconds.
    pub fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Its slot under this number.
    pub fn slot(&self, number: u32) -> Slot {
        self.to.slot(number, self.until.unwrap_or(0))
    }
}

/// Takes a reason as `--reason` has it.
///
/// # Errors
/// If it is empty, longer than the map's field, or has control characters.
pub fn parse_reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason has at least one word".into()),
        text if text.len() > REASON_LEN => Err(format!(
            "a reason has at most {REASON_LEN} bytes, this one has {}",
            text.len()
        )),
        text if text.contains(char::is_control) => {
            Err("a reason is one line without control characters".into())
        }
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
