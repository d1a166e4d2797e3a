//! The verdict under test: tables of single packets and frames, and random
//! socket life cycles against the one invariant.

mod exits;
mod frames;
mod life;
mod local;
mod older;
mod packets;
mod service;
mod short;

use crate::{
    addr::Addr,
    map::{Ended, Exit, Flow, MAX_PORTS, Policy, PortRange, Tag, UdpPeer},
    packet::{Ip, Kind, Transport},
    verdict::{Kernel, Peer, Socket, exit::Passage, state},
};

const SEAL: u64 = 7;
/// When all is settled.
const EPOCH: u32 = 4;
const OWN: Addr = Addr::from_v4([198, 51, 100, 2]);
const CLIENT: Addr = Addr::from_v4([198, 51, 100, 9]);
const EVIL: Addr = Addr::from_v4([198, 51, 100, 66]);

#[derive(Clone, Copy)]
struct World {
    peer: Peer,
    allowed: bool,
    kernel_socket: bool,
    budget: bool,
    groups: bool,
    owed: bool,
    opened: bool,
    older: Ended,
    exit: Exit,
    remembered: bool,
    /// Who has sent to a UDP service port, and whether others may.
    asked: Option<UdpPeer>,
    asks: bool,
}

const WORLD: World = World {
    peer: Peer::Inside,
    allowed: true,
    kernel_socket: false,
    budget: true,
    groups: false,
    owed: false,
    opened: true,
    older: Ended::Unknown,
    exit: Exit::None,
    remembered: false,
    asked: None,
    asks: true,
};

/// The exception that [`World::exit`] is about, and the far side that it names.
const EXIT: u32 = 9;
const FAR: Addr = Addr::from_v4([198, 51, 100, 10]);
const FAR_PORT: u16 = 443;

fn is_far(flow: &Flow) -> bool {
    flow.seal == SEAL && flow.peer == FAR && flow.peer_port == FAR_PORT
}

impl Kernel for World {
    fn peer(&self, _: &Ip, _: &Transport) -> Peer {
        self.peer
    }
    fn client_allowed(&self, client: Addr) -> bool {
        self.allowed && client != EVIL
    }
    fn kernel_socket(&self) -> bool {
        self.kernel_socket
    }
    fn answer_owed(&self) -> bool {
        self.owed
    }
    fn neighbour_budget(&self) -> bool {
        self.budget
    }
    fn own_groups(&self) -> bool {
        self.groups
    }
    fn client_opened(&self, _: &Ip, _: &Transport, _: bool) -> bool {
        self.opened
    }
    fn older(&self, _: &Ip, _: &Transport) -> Ended {
        self.older
    }
    fn was_cut(&self, _: &Ip, _: &Transport) -> bool {
        self.older == Ended::Answered
    }
    fn exit_segment(&self, flow: &Flow, _: &Ip, _: &Transport, number: u32, way: Passage) -> Exit {
        match self.exit {
            _ if !is_far(flow) || number != EXIT => Exit::None,
            Exit::Lapsed if way == Passage::Opens => Exit::Lapsed,
            Exit::Open | Exit::Lapsed => Exit::Open,
            Exit::Port | Exit::None => Exit::None,
        }
    }
    fn exit_datagram(&self, flow: &Flow, _: &Ip) -> Exit {
        match is_far(flow) {
            true => self.exit,
            false if flow.peer == FAR => self.exit.min(Exit::Port),
            false => Exit::None,
        }
    }
    fn exit_reply(&self, flow: &Flow, _: &Ip, connected: bool) -> bool {
        is_far(flow) && self.exit >= Exit::Lapsed && (connected || self.remembered)
    }
    fn udp_peer(&self, peer: &UdpPeer) -> bool {
        self.asked == Some(*peer)
    }
    fn udp_ask(&self, _: &UdpPeer) -> bool {
        self.asks
    }
    fn exit_cut(&self, _: &Flow) -> Ended {
        self.older
    }
    fn exit_remembered(&self, flow: &Flow) -> bool {
        is_far(flow) && self.exit >= Exit::Lapsed && self.remembered
    }
}

fn policy(ports: &[u16]) -> Policy {
    let mut tcp = [PortRange::NONE; MAX_PORTS];
    for (range, port) in tcp.iter_mut().zip(ports) {
        *range = PortRange::one(*port);
    }
    Policy {
        flags: Policy::CLIENTS_ANY,
        nd_per_second: 1,
        tcp,
        udp: [PortRange::NONE; MAX_PORTS],
    }
}

fn ip(src: Addr, dst: Addr, protocol: u8) -> Ip {
    let version = if dst.is_v4() { 4 } else { 6 };
    Ip {
        src,
        dst,
        version,
        protocol,
        ttl: 64,
        plain: true,
        payload: 20,
    }
}

fn tcp(sport: u16, dport: u16, flags: u8) -> Transport {
    Transport {
        kind: Kind::Tcp,
        sport,
        dport,
        flags,
        ..Transport::OTHER
    }
}

fn tag(seal: u64, port: u16) -> Tag {
    Tag {
        seal,
        epoch: EPOCH,
        port,
        peer_only: 0,
        told: 0,
    }
}

fn accepted() -> Socket {
    Socket {
        exists: true,
        bound: false,
        kind: 1,
        protocol: 6,
        state: state::ESTABLISHED,
        sport: 5060,
        dport: 4000,
        peer: CLIENT,
        tag: tag(SEAL, 5060),
    }
}
