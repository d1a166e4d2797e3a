//! What the user allows, and its form in the maps. Pure.

mod common;
mod errno;
mod exit;
mod port;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use airgap_common::{
    addr::Addr,
    map::{MAX_PORTS, Policy, PortRange},
};

use self::port::{Protocols, is_covered};
pub use self::{
    common::clients_of_both,
    errno::Errno,
    exit::{
        Exception, Hold, Lease, NearTo, Ports, Protocol, Target, To, earlier, narrower,
        parse_reason, settled, suggested, suggested_name, unions, with_room, within,
    },
    port::{Port, merged, serves},
};

/// Clients that may connect: an address or a prefix, IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Network address; host bits are zero.
    pub addr: IpAddr,
    /// Prefix length in bits.
    pub len: u8,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr
            .parse()
            .map_err(|e| format!("'{addr}' is no IP address: {e}"))?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let len = match len {
            None => most,
            Some(len) => len
                .parse()
                .ok()
                .filter(|len| *len <= most)
                .ok_or_else(|| format!("'/{len}' is no prefix length up to {most}"))?,
        };
        let network = Self::around(addr, len).map_or(addr, |net| net.addr);
        if let IpAddr::V6(v6) = network
            && let Some(v4) = v6.to_ipv4_mapped()
            && len >= MAPPED_BITS
        {
            return Err(format!(
                "'{text}' is IPv4 written as IPv6; write {v4}/{}",
                len - MAPPED_BITS
            ));
        }
        if network != addr {
            return Err(format!(
                "'{text}' has host bits set; did you mean {network}/{len}?"
            ));
        }
        Ok(Self { addr, len })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// Bits before an IPv4 address that is mapped into IPv6.
const MAPPED_BITS: u8 = 96;

impl Cidr {
    /// Its first address behind that of the network itself, alone; `None` if it is one
    /// address.
    pub fn first(&self) -> Option<Self> {
        let (addr, len, most) = match self.addr {
            IpAddr::V4(a) => (IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | 1)), 32, 31),
            IpAddr::V6(a) => (IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | 1)), 128, 127),
        };
        (self.len < most).then_some(Self { addr, len })
    }

    /// One address.
    pub const fn single(addr: IpAddr) -> Self {
        let len = if addr.is_ipv4() { 32 } else { 128 };
        Self { addr, len }
    }

    /// Whether some address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let len = self.len.min(other.len);
        let same = |one: u128, other: u128, bits: u32| {
            let shift = bits - u32::from(len);
            one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
        };
        match (self.addr, other.addr) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }

    /// Whether an address is in it.
    pub fn holds(&self, addr: IpAddr) -> bool {
        let len = if addr.is_ipv4() { 32 } else { 128 };
        self.overlaps(&Self { addr, len })
    }

    /// The network of this prefix length that an address is in; `None` if it has fewer bits.
    pub fn around(addr: IpAddr, len: u8) -> Option<Self> {
        let most = if addr.is_ipv4() { 32 } else { 128 };
        if len > most {
            return None;
        }
        let addr = match addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(
                a.to_bits() & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0),
            )),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(
                a.to_bits() & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0),
            )),
        };
        Some(Self { addr, len })
    }

    /// IPv4's loopback.
    pub const LOOPBACK4: Self = Self {
        addr: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
        len: 8,
    };
    /// IPv6's loopback.
    pub const LOOPBACK6: Self = Self {
        addr: IpAddr::V6(Ipv6Addr::LOCALHOST),
        len: 128,
    };
    /// Every IPv4 address.
    pub const ANY4: Self = Self {
        addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        len: 0,
    };
    /// Every IPv6 address.
    pub const ANY6: Self = Self {
        addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        len: 0,
    };

    /// No client: nobody connects from `::`.
    pub const NOBODY: Self = Self {
        addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        len: 128,
    };

    /// Address and prefix length as the map has them: IPv4 mapped into IPv6.
    /// Which version it is goes into the key by the address, see
    /// [`airgap_common::map::Client::new`].
    pub fn key(self) -> (Addr, u32) {
        match self.addr {
            IpAddr::V4(a) => (
                Addr::from_v4(a.octets()),
                u32::from(MAPPED_BITS) + u32::from(self.len),
            ),
            IpAddr::V6(a) => (Addr::from_octets(a.octets()), u32::from(self.len)),
        }
    }

    /// The reverse of [`Self::key`].
    pub fn from_key(addr: Addr, bits: u32) -> Self {
        let v6 = Ipv6Addr::from(addr.octets());
        match v6.to_ipv4_mapped() {
            Some(v4) => Self {
                addr: v4.into(),
                len: bits.saturating_sub(MAPPED_BITS.into()) as u8,
            },
            None => Self {
                addr: v6.into(),
                len: bits as u8,
            },
        }
    }
}

/// What a sealed container may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Service ports, sorted, none twice.
    pub ports: Vec<Port>,
    /// Clients; empty: any.
    pub clients: Vec<Cidr>,
    /// Exceptions, each destination once.
    pub exits: Vec<Exception>,
    /// How refused calls fail; `None`: nobody said, so as [`Errno::Offline`].
    pub errno: Option<Errno>,
    /// Nothing is refused by them: they are judged, and what they would refuse is told.
    pub audit: bool,
}

/// Default service port.
pub const DEFAULT_PORT: Port = Port::tcp(5060);
/// The kernel sends a handful when an address appears; a busy service with
/// many neighbours a few dozen.
const ND_PER_SECOND: u32 = 64;

impl Rules {
    /// Nobody connects, and nothing is reached: without a port clients do not matter.
    pub const NOTHING: Self = Self {
        ports: Vec::new(),
        clients: Vec::new(),
        exits: Vec::new(),
        errno: None,
        audit: false,
    };

    /// Sorts, removes repetitions, and fills in the default port.
    ///
    /// # Errors
    /// If there are more ports and ranges than a policy holds, or UDP ports without clients.
    pub fn new(ports: Vec<Port>, clients: Vec<Cidr>) -> Result<Self, String> {
        let rules = Self::named(ports, clients)?;
        match rules.forgeable() {
            Some(why) => Err(why),
            None => Ok(rules),
        }
    }

    /// The same of what is named: whose clients those of UDP ports are may be known already.
    ///
    /// # Errors
    /// If there are more ports and ranges than a policy holds.
    pub fn named(mut ports: Vec<Port>, clients: Vec<Cidr>) -> Result<Self, String> {
        if ports.is_empty() {
            ports.push(DEFAULT_PORT);
        }
        let ports = merged(ports);
        for (protocol, count) in Protocols::of(&ports).counts() {
            if count > MAX_PORTS {
                return Err(format!(
                    "{count} {} service ports, at most {MAX_PORTS} are possible; a range such as 8000-8010 counts as one",
                    protocol.name()
                ));
            }
        }
        Ok(Self {
            ports,
            clients,
            exits: Vec::new(),
            errno: None,
            audit: false,
        })
    }

    /// Why its UDP ports are not served: anybody could forge a datagram, and choose with
    /// its source where the answer goes. `None`: they are, or there are none.
    pub fn forgeable(&self) -> Option<String> {
        let udp = |port: &&Port| port.protocol == Protocol::Udp;
        let port = self.ports.iter().find(udp)?;
        self.clients.is_empty().then(|| {
            format!(
                "{port} is served to those alone that --from names: the source of a datagram can be forged, and would choose who gets the answer"
            )
        })
    }

    /// The same, where refused calls fail so.
    #[must_use]
    pub fn failing_with(mut self, errno: Option<Errno>) -> Self {
        self.errno = errno;
        self
    }

    /// The same, for an audit or for a seal.
    #[must_use]
    pub fn audited(mut self, audit: bool) -> Self {
        self.audit = audit;
        self
    }

    /// The same with these exceptions.
    ///
    /// # Errors
    /// If there are more than a policy holds, or more than the maps have room for at
    /// one address.
    pub fn with_exits(mut self, exits: Vec<Exception>) -> Result<Self, String> {
        self.exits = settled(exits)?;
        Ok(self)
    }

    /// Whether nothing gets out or in by them that does not by `other`; never of an audit and
    /// a seal, which are not compared.
    pub fn is_within(&self, other: &Self) -> bool {
        let held = |client: &Cidr| client.is_within(&other.clients);
        let clients =
            other.clients.is_empty() || !self.clients.is_empty() && self.clients.iter().all(held);
        clients
            && self.audit == other.audit
            && self.ports.iter().all(|port| is_covered(port, &other.ports))
            && within(&self.exits, &other.exits)
    }

    /// Whether they are within `other`, and less than that.
    pub fn is_narrower_than(&self, other: &Self) -> bool {
        self.is_within(other) && !other.is_within(self)
    }

    /// The value for the map.
    pub fn compile(&self) -> Policy {
        let list = |protocol| {
            let mut list = [PortRange::NONE; MAX_PORTS];
            let ports = self.ports.iter().filter(|port| port.protocol == protocol);
            for (slot, port) in list.iter_mut().zip(ports) {
                *slot = port.range();
            }
            list
        };
        let mut flags = if self.clients.is_empty() {
            Policy::CLIENTS_ANY
        } else {
            0
        };
        if !self.exits.is_empty() {
            flags |= Policy::HAS_EXITS;
        }
        if self.exits.iter().any(|exit| exit.to.is_near()) {
            flags |= Policy::LOOPBACK_EXITS;
        }
        if self.ports.iter().any(|p| p.protocol == Protocol::Udp) {
            flags |= Policy::SERVES_UDP;
        }
        if self.errno == Some(Errno::Eperm) {
            flags |= Policy::NOT_PERMITTED;
        }
        if self.audit {
            flags |= Policy::AUDIT;
        }
        Policy {
            flags,
            nd_per_second: ND_PER_SECOND,
            tcp: list(Protocol::Tcp),
            udp: list(Protocol::Udp),
        }
    }

    /// The same for what has `shared` its network namespace with others.
    pub fn compile_in(&self, shared: bool) -> Policy {
        let mut policy = self.compile();
        if shared {
            policy.flags |= Policy::SHARED_NETWORK;
        }
        policy
    }

    /// The same for a cgroup of this host: a unit of systemd's, as far as anybody can tell.
    pub fn compile_on_host(&self) -> Policy {
        let mut policy = self.compile_in(true);
        policy.flags |= Policy::OF_SYSTEMD;
        policy
    }

    /// How calls fail by a policy read back from the map; `None`: as nobody said.
    pub fn errno_of(policy: &Policy) -> Option<Errno> {
        (policy.flags & Policy::NOT_PERMITTED != 0).then_some(Errno::Eperm)
    }

    /// Whether a policy read back from the map is an audit's.
    pub const fn is_audit(policy: &Policy) -> bool {
        policy.flags & Policy::AUDIT != 0
    }

    /// Ports of a policy read back from the map.
    pub fn ports_of(policy: &Policy) -> Vec<Port> {
        let of = |protocol, list: &[PortRange]| -> Vec<Port> {
            let ranges = list.iter().take_while(|range| range.first != 0);
            ranges.map(|range| Port::of(protocol, *range)).collect()
        };
        let mut ports = of(Protocol::Tcp, &policy.tcp);
        ports.extend(of(Protocol::Udp, &policy.udp));
        ports
    }
}

#[cfg(test)]
mod tests;
