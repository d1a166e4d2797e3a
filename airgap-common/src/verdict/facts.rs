//! What the verdict is given: the packet's socket, and a kernel to ask.

use super::exit::Passage;
use crate::{
    addr::Addr,
    map::{Ended, Exit, Flow, Tag, UdpPeer},
    packet::{Ip, TCP, Transport, UDP},
};

/// Kernel `TCP_*` states (include/net/tcp_states.h).
pub mod state {
    /// Three-way handshake done.
    pub const ESTABLISHED: u32 = 1;
    /// Our own SYN is out.
    pub const SYN_SENT: u32 = 2;
    /// A TCP Fast Open child that has not seen the client's ACK.
    pub const SYN_RECV: u32 = 3;
    /// Own end closed, not acknowledged yet.
    pub const FIN_WAIT1: u32 = 4;
    /// Own end closed.
    pub const FIN_WAIT2: u32 = 5;
    /// Closed.
    pub const CLOSE: u32 = 7;
    /// The peer's end closed.
    pub const CLOSE_WAIT: u32 = 8;
    /// Both ends closed, the peer's first.
    pub const LAST_ACK: u32 = 9;
    /// Listening.
    pub const LISTEN: u32 = 10;
    /// Both ends closed at once.
    pub const CLOSING: u32 = 11;
}

/// `SOCK_STREAM`.
pub const SOCK_STREAM: u32 = 1;
/// `SOCK_DGRAM`.
pub const SOCK_DGRAM: u32 = 2;
/// The full socket a packet belongs to, or [`Socket::NONE`]: always with all
/// fields set, as an `Option` leaves bytes unset, which the verifier refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Whether there is one.
    pub exists: bool,
    /// Whether it is bound to an interface.
    pub bound: bool,
    /// `SOCK_*`.
    pub kind: u32,
    /// IP protocol.
    pub protocol: u32,
    /// One of [`state`].
    pub state: u32,
    /// Local port, host byte order.
    pub sport: u16,
    /// Peer's port, host byte order.
    pub dport: u16,
    /// Peer's address, read in the packet's IP version.
    pub peer: Addr,
    /// Provenance, or [`Tag::NONE`].
    pub tag: Tag,
}

impl Socket {
    /// No full socket.
    pub const NONE: Self = Self {
        exists: false,
        bound: false,
        kind: 0,
        protocol: 0,
        state: 0,
        sport: 0,
        dport: 0,
        peer: Addr([0; 4]),
        tag: Tag::NONE,
    };

    pub(super) const fn is_udp(&self) -> bool {
        self.kind == SOCK_DGRAM && self.protocol == UDP as u32
    }

    pub(super) const fn is_tcp(&self) -> bool {
        self.kind == SOCK_STREAM && self.protocol == TCP as u32
    }
}

/// Who would receive a packet on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A socket of the same seal.
    Inside,
    /// A TCP socket of the same seal that is bound to an interface.
    Bound,
    /// A socket of another cgroup.
    Outside,
    /// A connection in TIME_WAIT: it delivers data to nobody.
    TimeWait,
    /// Nobody whom a look-up by the interface lo finds.
    None,
}

/// What the verdict has to ask the kernel; only asked where it matters.
pub trait Kernel {
    /// Who would receive this packet on loopback.
    fn peer(&self, ip: &Ip, transport: &Transport) -> Peer;
    /// Whether `--from` allows this client.
    fn client_allowed(&self, client: Addr) -> bool;
    /// Whether the packet's socket was made by the kernel for itself, or is
    /// what it keeps of a connection in TIME_WAIT.
    fn kernel_socket(&self) -> bool;
    /// Takes one from the answers that neighbours have paid for with a question.
    fn answer_owed(&self) -> bool;
    /// Takes one from the budget of the container's own neighbour discovery messages.
    fn neighbour_budget(&self) -> bool;
    /// Whether the packet reports groups of IPv6's own, of the container's addresses, and
    /// nothing else.
    fn own_groups(&self) -> bool;
    /// Whether a client's SYN for this flow was seen coming in, as far as can
    /// be told here; `answered` asks whether the packet acknowledges that SYN.
    fn client_opened(&self, ip: &Ip, transport: &Transport, answered: bool) -> bool;
    /// What this bare segment may do on a connection older than the seal; takes
    /// one from what may go out on it.
    fn older(&self, ip: &Ip, transport: &Transport) -> Ended;
    /// Whether this segment comes in for a connection that the seal has cut.
    fn was_cut(&self, ip: &Ip, transport: &Transport) -> bool;
    /// What the exception of this number says of the far side: `Open` while it names it,
    /// for what is no SYN also when it is over; `Lapsed` for a SYN when it is; `Port` for
    /// a SYN from an address that is not the container's. Counts it.
    fn exit_segment(
        &self,
        flow: &Flow,
        ip: &Ip,
        transport: &Transport,
        number: u32,
        passage: Passage,
    ) -> Exit;
    /// What exceptions say of a datagram that leaves; only from an address of the
    /// container, and from its own socket. Counts it and remembers its flow.
    fn exit_datagram(&self, flow: &Flow, ip: &Ip) -> Exit;
    /// Whether a datagram may come in as an answer: an exception names the far side,
    /// over or not, and the socket is `connected` to it or has sent to it a moment ago.
    /// Counts it.
    fn exit_reply(&self, flow: &Flow, ip: &Ip, connected: bool) -> bool;
    /// Whether who gets this datagram, which leaves a UDP service port, has sent to that
    /// port a moment ago; only from an address of the container.
    /// On the host's side that was judged: there, whether the socket is of this seal.
    fn udp_peer(&self, peer: &UdpPeer) -> bool;
    /// Remembers who sent this datagram to a UDP service port; false if it came in another
    /// way than to this host alone, or there are too many.
    fn udp_ask(&self, peer: &UdpPeer) -> bool;
    /// As `older`, for a connection that a removed exception let out.
    fn exit_cut(&self, flow: &Flow) -> Ended;
    /// Whether this flow went out by an exception that still names the far side.
    fn exit_remembered(&self, flow: &Flow) -> bool;
}
