//! Connections older than a seal, told to the programs before they are cut or kept:
//! the peer hears of the end, and it is no attempt of the container's.

use std::net::{IpAddr, SocketAddr};

use airgap_common::{
    addr::Addr,
    map::{CUT_LIFE, MAX_OLDER, Older, SealNumber, Syn, name},
};
use anyhow::{Context as _, Result};

use super::{Gate, array};
use crate::host::clock::monotonic;

/// A connection by its ends, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OlderConnection {
    /// The container's end.
    pub own: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a connection older than its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its socket was adopted.
    Kept,
    /// It is going to be cut.
    Cut {
        /// A service listens on its own port.
        served: bool,
    },
}

impl Gate {
    /// Tells the programs of connections that are going to be cut, and of those that
    /// were kept. What is told of a seal that is no more means nothing: its number is
    /// not used again, and other connections take the room.
    ///
    /// # Errors
    /// If a map cannot be written.
    pub fn tell_older(&self, seal: SealNumber, connections: &[OlderConnection]) -> Result<()> {
        if connections.is_empty() {
            return Ok(());
        }
        let until = monotonic().as_nanos() as u64 + CUT_LIFE;
        let mut last = array::<u64>(&self.place, name::OLDER_UNTIL)?;
        last.set(0, until, 0)
            .context("cannot write the map OLDER_UNTIL")?;
        let mut older = self.table::<Syn, Older>(name::OLDER, MAX_OLDER)?;
        for connection in connections {
            older
                .insert(key(seal, connection), value(connection.fate, until), 0)
                .context("cannot write the map OLDER")?;
        }
        Ok(())
    }
}

fn key(seal: SealNumber, connection: &OlderConnection) -> Syn {
    Syn {
        seal,
        client: address(connection.peer.ip()),
        own: address(connection.own.ip()),
        client_port: connection.peer.port(),
        port: connection.own.port(),
        _pad: 0,
    }
}

fn value(fate: Fate, until: u64) -> Older {
    let (until, served) = match fate {
        Fate::Kept => (Older::ALWAYS, true),
        Fate::Cut { served } => (until, served),
    };
    Older {
        until,
        served: served.into(),
        asked: 0,
        answered: [0; 2],
    }
}

fn address(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(ip) => Addr::from_v4(ip.octets()),
        IpAddr::V6(ip) => Addr::from_octets(ip.octets()),
    }
}
