//! Vectors: kinds of ways out, by the names that `status` and `verify` share.

pub const TCP: &str = "TCP connections";
pub const UDP: &str = "UDP datagrams";
pub const DNS: &str = "DNS, embedded resolver included";
pub const IP_SOCKETS: &str = "raw, ping and other IP sockets";
pub const SOURCE_ROUTES: &str = "source routes";
pub const REFLECTION: &str = "reflection over loopback";
/// The embedded resolver is one of them.
pub const STRANGERS: &str = "loopback listeners outside the seal";
pub const RAW_FRAMES: &str = "raw frames (AF_PACKET, AF_XDP)";
/// Kernel-made, on the link: IGMP and MLD joins, echo replies, RSTs.
pub const LINK_SIGNALS: &str = "link signals (multicast joins, echo replies)";
