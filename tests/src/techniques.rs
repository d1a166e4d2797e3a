//! Ways out that the probe knows, and what must become of them.

/// How far a technique gets without a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Recorded outside.
    Outside,
    /// Recorded on the container's link; something else stops it there.
    Link,
}
use Reach::{Link, Outside as Out};

/// What a sealed attempt must come back with.
#[derive(Debug, Clone, Copy)]
pub enum Sealed {
    /// The call fails at once with this errno.
    Errno(i32),
    /// The call may succeed; the packet is dropped.
    Dropped,
}
use Sealed::{Dropped, Errno};

/// Refused by a connect or sendmsg hook.
pub const EPERM: Sealed = Errno(libc::EPERM);
/// Refused as a kind of socket: runtimes then fall back to plain TCP or UDP.
pub const NO_PROTOCOL: Sealed = Errno(libc::EPROTONOSUPPORT);

/// Technique, how far it gets unsealed, what a seal makes of it.
pub const TABLE: &[(&str, Reach, Sealed)] = &[
    ("tcp4", Out, EPERM),
    ("tcp6", Out, EPERM),
    ("tcp-mapped", Out, EPERM),
    ("tcp4-nonblocking", Out, EPERM),
    ("tcp4-fastopen", Out, EPERM),
    ("tcp6-fastopen", Out, EPERM),
    ("tcp4-fastopen-connect", Out, EPERM),
    ("tcp4-sport5060", Out, EPERM),
    ("tcp6-sport5060", Out, EPERM),
    ("tcp4-bindtodevice", Out, EPERM),
    ("tcp4-listener", Out, EPERM),
    ("tcp4-accepted", Out, EPERM),
    ("tcp4-gateway", Link, EPERM),
    ("mptcp4", Out, NO_PROTOCOL),
    ("mptcp6", Out, NO_PROTOCOL),
    ("udp4", Out, EPERM),
    ("udp6", Out, EPERM),
    ("udp-mapped", Out, EPERM),
    ("udp4-connected", Out, EPERM),
    ("udp6-connected", Out, EPERM),
    ("udp-mapped-connected", Out, EPERM),
    ("udp4-sendmmsg", Out, EPERM),
    ("udp4-corked", Out, EPERM),
    ("udp4-sport5060", Out, EPERM),
    ("udp4-gateway", Link, EPERM),
    ("udp4-broadcast", Link, EPERM),
    ("udp4-multicast", Link, EPERM),
    ("udp6-multicast", Link, EPERM),
    ("udplite4", Out, NO_PROTOCOL),
    ("udplite6", Out, NO_PROTOCOL),
    ("ping4", Out, NO_PROTOCOL),
    ("ping6", Out, NO_PROTOCOL),
    ("raw4-icmp", Out, EPERM),
    ("raw6-icmp", Out, EPERM),
    ("raw6-ns", Out, EPERM),
    ("raw4-udp", Out, EPERM),
    ("raw4-tcp-syn", Out, EPERM),
    ("raw4-tcp-data", Out, EPERM),
    ("raw4-tcp-rst", Out, EPERM),
    ("raw4-ipip", Out, EPERM),
    ("raw6-tcp", Out, EPERM),
    ("raw6-hdrincl", Out, EPERM),
    ("raw6-proto253", Out, EPERM),
    ("raw4-lo-echo", Out, EPERM),
    ("raw6-lo-echo", Out, EPERM),
    ("lo-lsrr-tcp4", Link, Dropped),
    ("lo-lsrr-udp4", Link, Dropped),
    ("lo-srh-udp6", Out, Dropped),
    ("lo-srh-tcp6", Out, Dropped),
    ("transparent-synack4", Out, Dropped),
    ("transparent-synack4-int80", Out, Dropped),
    ("transparent-unreach4", Out, Dropped),
    ("freebind-synack6", Out, Dropped),
    ("freebind-unreach6", Out, Dropped),
    ("dns-embedded", Out, EPERM),
    ("dns-embedded-connected", Out, EPERM),
    ("dns-embedded-mapped", Out, EPERM),
    ("dns-embedded-tcp", Out, EPERM),
    ("dns-embedded-port", Out, EPERM),
    ("dns-direct", Out, EPERM),
    ("dns-direct-tcp", Out, EPERM),
    ("uring-tcp4", Out, EPERM),
    ("uring-udp4", Out, EPERM),
];

/// What only a frame-level layer can see; with `--cap-drop NET_RAW` Docker refuses these.
pub const PACKET_SOCKETS: &[(&str, Reach)] = &[
    ("packet-raw", Out),
    ("packet-raw-sport5060", Out),
    ("packet-dgram", Out),
    ("packet-qdisc-bypass", Out),
    ("packet-lo-forward", Out),
    ("packet-arp-trailer", Link),
];

/// Announced by the kernel itself, from no socket.
pub const JOINS: &[(&str, Reach)] = &[
    ("igmp-join", Link),
    ("igmp-join-int80", Link),
    ("mld-join", Link),
];
