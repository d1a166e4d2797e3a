//! The denial record, as it crosses from the kernel to a follower's ring.

use crate::addr::Addr;

/// Longest DNS question copied into a record, bytes of wire format: the longest
/// name (255) with its type and class, and one more byte to fill a word.
pub const QUESTION_LEN: usize = 260;

/// Program that refused. Numbers are stable.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub enum Hook {
    Connect4 = 1,
    Connect6 = 2,
    Sendmsg4 = 3,
    Sendmsg6 = 4,
    SockCreate = 5,
    Egress = 6,
    Ingress = 7,
    Frame = 8,
    Lsm = 9,
}

/// Why something was refused. Numbers are stable; index of the counters.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A connection or datagram from inside to the outside.
    Egress = 1,
    /// A DNS query: to port 53 or to Docker's embedded resolver.
    Dns = 2,
    /// A kind of socket that cannot be judged (raw, ping, MPTCP, UDP-Lite, …).
    SocketType = 3,
    /// A TCP SYN on its way out.
    Syn = 4,
    /// A packet that is no reply on a connection a client opened.
    NoProvenance = 5,
    /// A reply under an earlier seal, or from a port that is served no more.
    StaleProvenance = 6,
    /// A peer that `--from` does not allow.
    Client = 7,
    /// IP options, fragments, extension headers, or a malformed header.
    Header = 8,
    /// Forged loopback traffic, or a loopback peer outside the seal.
    Loopback = 9,
    /// Neighbour discovery that the kernel would not send.
    Neighbour = 10,
    /// Something from outside that is not for a service port (counted only).
    Inbound = 11,
    /// The container's cgroup did not fit into the maps: all is denied.
    Unrecorded = 12,
    /// A socket that was created outside the seal and carried in.
    ForeignSocket = 13,
    /// Link-local chatter of the container's own kernel, such as MLD reports
    /// and router solicitations, and frames of others in its network namespace
    /// (counted only).
    KernelChatter = 14,
    /// A frame that the container's own kernel did not make.
    Frame = 15,
    /// A unix socket of a process outside the seal.
    UnixPeer = 16,
    /// A socket option that makes the kernel speak on the link.
    SocketOption = 17,
    /// More questions and announcements of the container's own kernel than its
    /// budget has (counted only).
    NeighbourBudget = 18,
    /// An exception names the address, but not this port or protocol.
    ExitPort = 19,
    /// An exception allowed it, and is over.
    ExitLapsed = 20,
    /// A datagram from a UDP service port to somebody who has not sent to that port lately.
    Unasked = 21,
    /// Something for somebody behind the host, on its way to another on the link; or, in
    /// what shares the host's network, by an interface that the socket was bound to.
    NextHop = 22,
}

impl Reason {
    /// What is counted but makes no record: nothing inside the container asked
    /// for it.
    pub const SILENT: [Self; 3] = [Self::Inbound, Self::KernelChatter, Self::NeighbourBudget];
}

/// How sure the process fields of a record are. Numbers are stable.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Unknown: the packet has no socket, or one older than the seal.
    None = 0,
    /// The task that made the refused call.
    Task = 1,
    /// The task that last used, or created, the socket.
    Socket = 2,
}

/// One refused attempt.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// Size of this record in bytes.
    pub size: u16,
    /// [`Hook`].
    pub hook: u8,
    /// [`Reason`].
    pub reason: u8,
    /// [`Attribution`] of `tgid`, `tid`, `uid`, `gid`, `comm`.
    pub attribution: u8,
    /// IP protocol number; 0: not known.
    pub protocol: u8,
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub time: u64,
    /// Seal number.
    pub seal: u64,
    /// Cgroup id at which the seal was found.
    pub cgroup: u64,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// Group id in the initial user namespace.
    pub gid: u32,
    /// `task->comm`.
    pub comm: [u8; 16],
    /// Source; all zero: not known.
    pub src: Addr,
    /// Destination; all zero with `protocol` 0: not known.
    pub dst: Addr,
    /// Source port, host byte order; 0: not known.
    pub sport: u16,
    /// Destination port, host byte order; 0: none.
    pub dport: u16,
    /// `AF_*` of a refused `socket`, else 0.
    pub family: u16,
    /// `SOCK_*` of a refused `socket`, else 0.
    pub socket_type: u16,
    /// How many bytes of `question` are filled; more of the packet may follow.
    pub question_len: u32,
    /// Interface index in the container's (or, for frames, the host's) netns.
    pub ifindex: u32,
    /// When the process started, `CLOCK_BOOTTIME`, nanoseconds; 0: not known.
    pub start: u64,
    /// [`crate::map::AttemptKey::name`].
    pub name: u64,
    /// Process id in the process's own pid namespace; 0: not known.
    pub nspid: u32,
    /// Parent's process id in the initial pid namespace; 0: not known.
    pub ppid: u32,
    /// Parent's `comm`.
    pub parent: [u8; 16],
    /// DNS question section in wire format (RFC 1035 §4.1.2), cut at its size;
    /// with [`Reason::UnixPeer`] the address as `sun_path` has it (unix(7)).
    /// Bytes behind `question_len` mean nothing.
    pub question: [u8; QUESTION_LEN],
    /// 1: it was let through, as the seal is an audit; 0: it was refused.
    pub let_through: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

impl Denial {
    /// All zero; no valid record, as `abi` is 0.
    pub const EMPTY: Self = Self {
        abi: 0,
        size: 0,
        hook: 0,
        reason: 0,
        attribution: 0,
        protocol: 0,
        time: 0,
        seal: 0,
        cgroup: 0,
        tgid: 0,
        tid: 0,
        uid: 0,
        gid: 0,
        comm: [0; 16],
        src: Addr([0; 4]),
        dst: Addr([0; 4]),
        sport: 0,
        dport: 0,
        family: 0,
        socket_type: 0,
        question_len: 0,
        ifindex: 0,
        start: 0,
        name: 0,
        nspid: 0,
        ppid: 0,
        parent: [0; 16],
        question: [0; QUESTION_LEN],
        let_through: 0,
        _pad: [0; 3],
    };
}

const _: () = assert!(size_of::<Denial>() == 416);
const _: () = assert!(core::mem::offset_of!(Denial, src) == 64);
const _: () = assert!(core::mem::offset_of!(Denial, question) == 152);
const _: () = assert!(size_of::<Denial>().is_multiple_of(8));
