//! Denials, from a follower's ring to values that the output knows.

mod decode;
mod dns;
mod follow;

use std::{net::IpAddr, time::SystemTime};

pub use self::{
    decode::{REASONS, decode},
    dns::question,
    follow::{Event, Follower, POLL},
};

/// One refused attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When.
    pub time: SystemTime,
    /// Seal number.
    pub seal: u64,
    /// Name of the program that refused.
    pub hook: &'static str,
    /// Why, a stable word.
    pub reason: &'static str,
    /// Who; `None`: not known.
    pub process: Option<Process>,
    /// IP protocol number; `None`: not known.
    pub protocol: Option<u8>,
    /// Kind of a refused `socket`: `AF_*` and `SOCK_*`.
    pub socket: Option<(u16, u16)>,
    /// Source address and port.
    pub source: Option<(IpAddr, u16)>,
    /// Destination address and port; port 0: the protocol has none.
    pub destination: Option<(IpAddr, u16)>,
    /// Index of the interface: in the container's network namespace, for
    /// frames in the one of their far side; 0: not known.
    pub interface: u32,
    /// The name that was to be looked up, and the type of record.
    pub question: Option<(String, String)>,
    /// Address of a unix socket outside; an abstract one starts with `@`. Its
    /// owner chose it: not safe for terminals.
    pub unix_peer: Option<String>,
}

/// Who made the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id on the host.
    pub pid: u32,
    /// Thread id on the host.
    pub tid: u32,
    /// User id on the host.
    pub uid: u32,
    /// `comm`, as the container chose it: not safe for terminals.
    pub name: String,
    /// The task is the one that last used the socket, not the one that sent.
    pub by_socket: bool,
}
