//! Vectors: kinds of ways out. `status` and `verify` share a name where they
//! mean the same; where `verify` tries less, its name says less.

pub const TCP: &str = "TCP connections";
pub const UDP: &str = "UDP datagrams";
pub const DNS: &str = "DNS, embedded resolver included";
pub const DNS_SERVERS: &str = "DNS servers outside";
pub const IP_SOCKETS: &str = "raw, ping and other IP sockets";
pub const SOURCE_ROUTES: &str = "source routes";
/// An own or loopback address, aimed out of a device.
pub const DEVICES: &str = "loopback addresses sent out of a device";
pub const REFLECTION: &str = "reflection over loopback";
/// The embedded resolver is one of them.
pub const STRANGERS: &str = "loopback listeners outside the seal";
pub const RAW_FRAMES: &str = "raw frames (AF_PACKET, AF_XDP)";
pub const PACKET_SOCKETS: &str = "raw frames (AF_PACKET)";
/// Announced by the kernel, on the link.
pub const JOINS: &str = "multicast joins (IGMP, MLD)";
