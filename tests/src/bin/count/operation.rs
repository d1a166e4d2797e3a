//! What is measured, and how client and server speak of it.

use std::net::{IpAddr, Ipv6Addr};

/// Bytes of an answer.
pub(crate) const REPLY: usize = 1024;
pub(crate) const LARGE: usize = 64 * 1024;
pub(crate) const SMALL: usize = 128;

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A request and 1 KiB, on a connection that is kept.
    Kept,
    /// The same on a connection of its own, which the client closes first.
    FreshClient,
    /// The same, and the server closes first.
    FreshServer,
    /// A request and 64 KiB, on a connection that is kept.
    Large,
    /// 128 bytes, sent at once.
    Small,
    /// A datagram and its echo.
    Udp,
    /// `connect` outwards.
    Connect,
    /// `sendto` outwards.
    Send,
    /// `socket` and `close`.
    Socket,
    /// A byte and 1 KiB back over loopback.
    LoopKept,
    /// A connection over loopback: `connect`, `accept`, `close`.
    LoopFresh,
}

impl Operation {
    pub(crate) const ALL: [Self; 11] = [
        Self::Kept,
        Self::FreshClient,
        Self::FreshServer,
        Self::Large,
        Self::Small,
        Self::Udp,
        Self::Connect,
        Self::Send,
        Self::Socket,
        Self::LoopKept,
        Self::LoopFresh,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::FreshClient => "fresh-client",
            Self::FreshServer => "fresh-server",
            Self::Large => "large",
            Self::Small => "small",
            Self::Udp => "udp",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Socket => "socket",
            Self::LoopKept => "loop-kept",
            Self::LoopFresh => "loop-fresh",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Repetitions of one measurement.
    pub(crate) const fn times(self) -> u32 {
        match self {
            Self::Kept => 500,
            Self::FreshClient | Self::FreshServer | Self::Connect | Self::LoopFresh => 200,
            Self::Large => 100,
            Self::Small => 6000,
            Self::Udp | Self::Send | Self::Socket | Self::LoopKept => 400,
        }
    }
}

/// What a client asks of the server: the operation, and its own address.
pub(crate) const ASKED: usize = 1 + 16;

pub(crate) fn ask(operation: Operation, own: IpAddr) -> [u8; ASKED] {
    let mut asked = [0; ASKED];
    asked[0] = operation as u8;
    let own = match own {
        IpAddr::V4(own) => own.to_ipv6_mapped(),
        IpAddr::V6(own) => own,
    };
    asked[1..].copy_from_slice(&own.octets());
    asked
}

pub(crate) fn asked(bytes: [u8; ASKED]) -> Option<(Operation, IpAddr)> {
    let operation = Operation::ALL
        .into_iter()
        .find(|one| *one as u8 == bytes[0])?;
    let own: [u8; 16] = bytes[1..].try_into().ok()?;
    Some((operation, IpAddr::V6(Ipv6Addr::from(own)).to_canonical()))
}
