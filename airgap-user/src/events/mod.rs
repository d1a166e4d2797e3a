//! Denials, from a follower's ring to values that the output knows.

mod allowed;
mod decode;
mod dns;
mod explain;
mod follow;
mod ledger;
mod origin;
mod past;

use std::{net::IpAddr, time::SystemTime};

use crate::{
    gate::Gate,
    policy::{To, suggested},
};

pub use self::{
    allowed::{Allowed, Uses},
    decode::{REASONS, decode, is_silent},
    dns::question,
    explain::{EXPLANATIONS, Explanation},
    follow::{Follower, POLL, Refused, destinations, past},
    origin::{COMMAND_LINE, Origins},
};

/// What a follower gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Refused attempts.
    Denial(Box<Denial>),
    /// Refused attempts of which only the destination is known.
    Suppressed(Suppressed),
    /// Refused attempts of which nothing else is known.
    Lost(Lost),
    /// What an exception let out.
    Allowed(Box<Allowed>),
    /// Of that, what could not be told.
    Untold(Untold),
}

impl Event {
    /// Number of the seal; 0: not known.
    pub fn seal(&self) -> u64 {
        match self {
            Self::Denial(denial) => denial.seal,
            Self::Suppressed(suppressed) => suppressed.seal,
            Self::Lost(lost) => lost.seal.unwrap_or(0),
            Self::Allowed(allowed) => allowed.seal,
            Self::Untold(_) => 0,
        }
    }

    /// Adds what no count of the kernel's says: whether its seal is an audit.
    #[must_use]
    pub fn known_by(mut self, gate: &Gate) -> Self {
        if let Self::Suppressed(suppressed) = &mut self {
            suppressed.let_through = gate.is_audit(suppressed.seal);
        }
        self
    }

    /// When; the last, if there were several.
    pub fn time(&self) -> SystemTime {
        match self {
            Self::Denial(denial) => denial.time,
            Self::Suppressed(suppressed) => suppressed.time,
            Self::Lost(lost) => lost.time,
            Self::Allowed(allowed) => allowed.time,
            Self::Untold(untold) => untold.time,
        }
    }

    /// Whether it is of something that was refused.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Allowed(_) | Self::Untold(_))
    }
}

/// Refused attempts that were too many new ones at once to tell who made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// When; the last, if there were several.
    pub time: SystemTime,
    /// The first to this destination.
    pub first: SystemTime,
    /// How many.
    pub count: u64,
    /// Seal number.
    pub seal: u64,
    /// Name of the program that refused.
    pub hook: &'static str,
    /// Why, a stable word.
    pub reason: &'static str,
    /// IP protocol number; `None`: not known.
    pub protocol: Option<u8>,
    /// Destination address and port; port 0: the protocol has none.
    pub destination: Option<(IpAddr, u16)>,
    /// They were let through: the seal is an audit.
    pub let_through: bool,
}

/// Refused attempts beyond the room that a seal has for destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When that was noticed.
    pub time: SystemTime,
    /// How many.
    pub count: u64,
    /// Seal number; `None`: records that could not be read.
    pub seal: Option<u64>,
}

/// Uses of exceptions that came faster than they were read. They are counted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// When that was noticed.
    pub time: SystemTime,
    /// How many.
    pub count: u64,
}

/// Refused attempts that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When; the last, if there were several.
    pub time: SystemTime,
    /// The first of all that are alike, those in earlier events included.
    pub first: SystemTime,
    /// How many this event stands for.
    pub count: u64,
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
    /// Port of Docker's resolver behind the container's own DNAT, where the
    /// packet was refused; the destination then has port 53.
    pub translated_port: Option<u16>,
    /// Index of the interface: in the container's network namespace, for
    /// frames in the one of their far side; 0: not known.
    pub interface: u32,
    /// The name that was to be looked up, and the type of record.
    pub question: Option<(String, String)>,
    /// Address of a unix socket outside; an abstract one starts with `@`. Its
    /// owner chose it: not safe for terminals.
    pub unix_peer: Option<String>,
    /// It was let through: the seal is an audit.
    pub let_through: bool,
}

impl Denial {
    /// The exception that would have let it out, if there is one.
    pub fn exception(&self) -> Option<To> {
        if self.socket.is_some() || !matches!(self.reason, "egress" | "exit-port" | "exit-lapsed") {
            return None;
        }
        let (ip, port) = self.destination?;
        suggested(ip, port, self.protocol?)
    }
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
    /// Process id that the process itself sees.
    pub inner_pid: Option<u32>,
    /// When it started, nanoseconds of `CLOCK_BOOTTIME`.
    pub start: Option<u64>,
    /// Its parent's process id on the host, and `comm`.
    pub parent: Option<(u32, String)>,
    /// Path of its program in the container; `None`: not known any more.
    pub executable: Option<String>,
    /// Its arguments, cut at [`COMMAND_LINE`] bytes; `None`: not known any more.
    pub command_line: Option<String>,
    /// The task is the one that last used the socket, not the one that sent.
    pub by_socket: bool,
}

#[cfg(test)]
impl Denial {
    /// A refused connect of nobody to 198.51.100.7:443.
    pub(crate) fn example() -> Self {
        Self {
            time: std::time::UNIX_EPOCH,
            first: std::time::UNIX_EPOCH,
            count: 1,
            seal: 3,
            hook: "connect4",
            reason: "egress",
            process: None,
            protocol: Some(6),
            socket: None,
            source: None,
            destination: Some(([198, 51, 100, 7].into(), 443)),
            translated_port: None,
            interface: 0,
            question: None,
            unix_peer: None,
            let_through: false,
        }
    }
}

#[cfg(test)]
impl Process {
    /// A process of which the kernel told all, and /proc nothing.
    pub(crate) fn example(name: &str, pid: u32) -> Self {
        Self {
            pid,
            tid: pid,
            uid: 0,
            name: name.into(),
            inner_pid: Some(7),
            start: Some(1),
            parent: Some((1, "sh".into())),
            executable: None,
            command_line: None,
            by_socket: false,
        }
    }
}
