//! Connections that are older than the seal. Nothing tells whether a client
//! opened them or the container did, so all are cut unless the operator says
//! otherwise; then those on service ports stay.

mod exits;
mod listeners;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::RawFd,
};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

pub(crate) use self::exits::cut_exits;
use self::listeners::Listeners;
use crate::{
    container::{
        Carried, Holder, Leads, Look, OpenSocket, SocketKind, apart, cgroup_ids, destroy,
        disconnect, holders, is_own, open_sockets,
    },
    gate::{Fate, FrameLayer, Gate, KernelVersion, OlderConnection},
    policy::{Port, Protocol, serves},
    seal::Existing,
};

/// A container's sockets that reach beyond it, and who holds each.
#[derive(Debug, Default)]
pub(crate) struct Found {
    sockets: Vec<Socket>,
    /// Containers of the engine, by address.
    neighbours: HashMap<IpAddr, String>,
    listeners: Listeners,
}

/// One of them.
#[derive(Clone, Debug)]
struct Socket {
    socket: OpenSocket,
    /// Some of its holders: one may end any time.
    holders: Vec<Holder>,
    /// Inode of its network namespace.
    network: u64,
}

impl Found {
    /// Finds them, but for those whose tag says that a client opened them under the seal
    /// `number`. `storage`: the gate's map of socket storage. `shared`: others live in
    /// its network namespace.
    ///
    /// # Errors
    /// If one of its namespaces cannot be entered.
    pub(crate) fn now(
        look: &mut Look,
        storage: Option<RawFd>,
        number: SealNumber,
        shared: bool,
    ) -> Result<Self> {
        let holders = holders(&look.cgroups, &mut look.budget);
        let cgroups = cgroup_ids(&look.cgroups, &mut look.budget);
        let mut found = Vec::new();
        for network in &look.networks {
            let sockets = open_sockets(&network.netns, storage)?.into_iter();
            let older = sockets
                .filter(|socket| socket.seal != Some(number))
                .filter(|socket| is_own(socket, &cgroups, &holders, shared));
            found.extend(older.map(|socket| Socket {
                holders: holders.get(&socket.inode).cloned().unwrap_or_default(),
                network: network.inode,
                socket,
            }));
        }
        Ok(Self {
            sockets: found,
            neighbours: HashMap::new(),
            listeners: Listeners::now(look),
        })
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The same, with the containers that peers may be.
    #[must_use]
    pub(crate) fn knowing(mut self, neighbours: HashMap<IpAddr, String>) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// In words for the report.
    fn described(&self, one: &Socket, action: &'static str) -> Existing {
        let container = self.name_of(&one.socket);
        let own = one.socket.local.map_or(0, |(_, port)| port);
        let served = self.listeners.of(one.network)(own);
        let to = container
            .as_deref()
            .filter(|_| !served && matches!(action, "cut" | "blocked" | "kept"))
            .and_then(|name| kept_by(&one.socket, name));
        Existing {
            to,
            ..describe(&one.socket, one.holders.first(), container, action)
        }
    }

    fn name_of(&self, socket: &OpenSocket) -> Option<String> {
        socket
            .peer
            .and_then(|(ip, _)| self.neighbours.get(&ip).cloned())
    }

    /// Those TCP connections that are not among `known`.
    pub(crate) fn without(mut self, known: &Self) -> Self {
        self.sockets.retain(|one| {
            let cookie = one.socket.cookie;
            cookie.is_some()
                && !known
                    .sockets
                    .iter()
                    .any(|other| other.socket.cookie == cookie)
        });
        self
    }

    /// What a seal does with each.
    pub(crate) fn judged(&self, terms: &Terms<'_>) -> Vec<Existing> {
        let judged = self.sockets.iter();
        judged
            .map(|one| self.described(one, action(&one.socket, terms)))
            .collect()
    }
}

/// What a seal goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// Connections on service ports stay.
    pub(crate) keep: bool,
    /// Nothing is cut.
    pub(crate) audit: bool,
    /// Service ports.
    pub(crate) ports: &'a [Port],
    pub(crate) layers: Layers,
}

/// What is to become of one. Pure.
fn action(socket: &OpenSocket, terms: &Terms<'_>) -> &'static str {
    let served = |protocol| {
        let own = socket.local;
        own.is_some_and(|(_, port)| serves(terms.ports, protocol, port))
    };
    match socket.kind {
        _ if terms.audit => "kept",
        SocketKind::Tcp if terms.keep && served(Protocol::Tcp) => "kept",
        // It has no connection: it answers who asks from now on.
        SocketKind::Udp if served(Protocol::Udp) => "kept",
        SocketKind::Tcp => "cut",
        // These cannot send any more; they can be ended by their owner only.
        SocketKind::Packet if !terms.layers.lsm && !terms.layers.frames => "open",
        SocketKind::Udp | SocketKind::Raw | SocketKind::Packet => "blocked",
    }
}

/// What stands beside the cgroup hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layers {
    /// The security hooks are in force.
    pub(crate) lsm: bool,
    /// Frame programs can stand on veths.
    pub(crate) frames: bool,
    /// All that is written to a socket passes a security hook (Linux 6.5);
    /// before, pages of sendfile and splice did not.
    pub(crate) pages: bool,
}

impl Layers {
    pub(crate) fn now(gate: Option<&Gate>) -> Self {
        let since = |minor| {
            let first = KernelVersion::new(6, minor, 0);
            KernelVersion::current().is_ok_and(|version| version >= first)
        };
        Self {
            lsm: gate.is_some_and(|gate| gate.security().in_force().is_some()),
            frames: Self::has_frames(),
            pages: since(5),
        }
    }

    /// Of what has the host's network: no veth is between it and the link.
    pub(crate) fn without_frames(gate: &Gate) -> Self {
        Self {
            frames: false,
            ..Self::now(Some(gate))
        }
    }

    /// Whether frame programs can stand on veths.
    pub(crate) fn has_frames() -> bool {
        // tcx is no module that could be missing.
        FrameLayer::of_kernel() == FrameLayer::Tcx || FrameLayer::attempt().is_ok()
    }
}

/// Sockets that lead elsewhere than to the network, and what becomes of them; `cut`
/// them, once the seal is in force. Without the security hooks nothing else sees these.
pub(crate) fn carried_in(look: &mut Look, layers: Layers, cut: bool) -> Vec<Existing> {
    let mut found = Vec::new();
    look.carried(|socket, descriptor| {
        let mut action = carried_action(&socket, layers);
        if cut
            && action == "cut"
            && let Err(error) = descriptor
                .ok_or_else(|| io::Error::other("nobody can borrow it"))
                .and_then(disconnect)
        {
            log::warn!("a unix connection is not cut: {error}");
            action = "open";
        }
        found.push(Existing {
            kind: socket.family,
            local: None,
            peer: None,
            container: None,
            pid: Some(socket.holder.pid),
            name: Some(socket.holder.name),
            to: None,
            action,
        });
    });
    found
}

/// What is to become of a socket that leads elsewhere. Pure.
fn carried_action(socket: &Carried, layers: Layers) -> &'static str {
    match socket.leads {
        Leads::Outside if socket.is_stdio() => "kept",
        // Without the hooks it would be back at once.
        Leads::Outside if layers.lsm => "cut",
        Leads::Elsewhere if layers.lsm && layers.pages => "blocked",
        // Waiting for it makes the kernel send, past every hook.
        Leads::Around if socket.family == "xdp" && !layers.frames => "open",
        // What is taken out of a queue passes a hook, and so does what a ring sends.
        Leads::Queued if layers.lsm && (socket.family == "unix" || layers.pages) => "blocked",
        Leads::Around if layers.lsm => "blocked",
        _ => "open",
    }
}

/// The exception that would let a socket to a neighbour be. Pure.
fn kept_by(socket: &OpenSocket, name: &str) -> Option<String> {
    let (_, port) = socket.peer?;
    match socket.kind {
        SocketKind::Tcp => Some(format!("container:{name}:{port}")),
        SocketKind::Udp => Some(format!("container:{name}:{port}/udp")),
        SocketKind::Raw | SocketKind::Packet => None,
    }
}

fn describe(
    socket: &OpenSocket,
    holder: Option<&Holder>,
    container: Option<String>,
    action: &'static str,
) -> Existing {
    let endpoint = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip, port).to_string();
    Existing {
        kind: socket.kind.name(),
        local: socket.local.map(endpoint),
        peer: socket.peer.map(endpoint),
        container,
        pid: holder.map(|h| h.pid),
        name: holder.map(|h| h.name.clone()),
        to: None,
        action,
    }
}

/// Keeps and cuts, once the seal is in force; `tell` hears of each before any is
/// cut, and after those that stay can go on.
pub(crate) fn settle(
    gate: &Gate,
    seal: SealNumber,
    look: &Look,
    found: &Found,
    terms: &Terms<'_>,
    tell: impl FnMut(&Existing),
) -> Vec<Existing> {
    let mut cut = Vec::new();
    let mut out = Vec::new();
    let mut older = Vec::new();
    let listeners = Listeners::now(look);
    for one in &found.sockets {
        let Socket {
            socket,
            holders,
            network,
        } = one;
        let mut what = action(socket, terms);
        // One that the container itself opened is nothing of a service's.
        let of_service = !terms.audit
            || socket
                .local
                .is_some_and(|(_, port)| serves(terms.ports, Protocol::Tcp, port));
        if what == "kept"
            && of_service
            && socket.kind == SocketKind::Tcp
            && let Err(error) = adopt(gate, seal, socket, holders)
        {
            let peer = socket
                .peer
                .map(|(ip, _)| ip.to_string())
                .unwrap_or_default();
            match terms.audit {
                true => log::warn!(
                    "what the connection of {peer} sends is told, although a service's: {error:#}"
                ),
                false => {
                    log::warn!("cannot keep the connection of {peer}, it is cut: {error:#}");
                    what = "cut";
                }
            }
        }
        if what == "cut" {
            cut.push((*network, socket.clone()));
        }
        if of_service {
            older.extend(connection(socket, what, listeners.of(*network)));
        }
        out.push(found.described(one, what));
    }
    out.iter().for_each(tell);
    if let Err(error) = gate.tell_older(seal, &older) {
        log::warn!("peers of existing connections do not hear of their end: {error:#}");
    }
    // The gate blocks them anyhow; this tells the programs at once.
    for network in &look.networks {
        let here = cut.iter().filter(|(inode, _)| *inode == network.inode);
        let here: Vec<_> = here.map(|(_, socket)| socket.clone()).collect();
        if !here.is_empty()
            && let Err(error) = destroy(&network.netns, &here)
        {
            log::warn!("existing connections are blocked but not closed: {error:#}");
        }
    }
    out
}

/// Has the gate keep a connection on a service port.
fn adopt(gate: &Gate, seal: SealNumber, socket: &OpenSocket, holders: &[Holder]) -> Result<()> {
    let (_, port) = socket.local.context("it has no port")?;
    apart(|table| {
        let borrowed = holders
            .iter()
            .map(|holder| table.borrow_same(holder, socket.inode));
        let borrowed = borrowed.reduce(io::Result::or);
        let borrowed = borrowed.context("no process of the container holds it")?;
        gate.adopt(&*borrowed.context("cannot reach it")?, seal, port)
    })?
}

/// What the gate is told of a connection. Pure.
fn connection(
    socket: &OpenSocket,
    action: &str,
    listens: impl Fn(u16) -> bool,
) -> Option<OlderConnection> {
    let (own, peer) = (socket.local?, socket.peer?);
    let fate = match (socket.kind, action) {
        (SocketKind::Tcp, "kept") => Fate::Kept,
        (SocketKind::Tcp, "cut") => Fate::Cut {
            served: listens(own.1),
        },
        _ => return None,
    };
    Some(OlderConnection {
        own: SocketAddr::from(own),
        peer: SocketAddr::from(peer),
        fate,
    })
}

#[cfg(test)]
mod tests;
