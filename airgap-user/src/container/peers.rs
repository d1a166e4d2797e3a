//! Who is connected to whom by unix sockets (sock_diag(7)).

use std::collections::HashMap;

use anyhow::Result;

use crate::host::{
    netlink::{Netlink, SOCK_DIAG_BY_FAMILY},
    netns::Netns,
};

/// Inode → peer's inode of the connected unix sockets of a network namespace.
pub(super) fn unix_peers(netns: &Netns) -> Result<HashMap<u64, u64>> {
    netns.run(|| {
        let mut peers = HashMap::new();
        Netlink::diag()?.dump(SOCK_DIAG_BY_FAMILY, &unix_request(), |message| {
            // Nobody has accepted it yet: its other end is the listener's.
            if let Some((inode, peer)) = unix_peer(message).filter(|(_, peer)| *peer != 0) {
                peers.insert(inode, peer);
            }
        })?;
        Ok(peers)
    })
}

/// `struct unix_diag_req` for all states, with peers (linux/unix_diag.h).
fn unix_request() -> Vec<u8> {
    const UDIAG_SHOW_PEER: u32 = 4;
    let mut out = vec![libc::AF_UNIX as u8, 0, 0, 0];
    out.extend(u32::MAX.to_ne_bytes()); // states
    out.extend([0; 4]); // inode: any
    out.extend(UDIAG_SHOW_PEER.to_ne_bytes());
    out.extend([0xff; 8]); // cookie: any
    out
}

/// `struct unix_diag_msg` and its attributes: inode and peer's inode.
fn unix_peer(message: &[u8]) -> Option<(u64, u64)> {
    const UNIX_DIAG_PEER: u16 = 2;
    let u16_at = |at: usize| {
        Some(u16::from_ne_bytes(
            message.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let u32_at = |at: usize| {
        Some(u32::from_ne_bytes(
            message.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    let inode = u32_at(4)?;
    let mut at = 16;
    loop {
        let (len, kind) = (usize::from(u16_at(at)?), u16_at(at + 2)?);
        if kind == UNIX_DIAG_PEER {
            return Some((inode.into(), u32_at(at + 4)?.into()));
        }
        at += len.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_peers_and_survives_any_bytes() {
        let mut message = vec![1, 1, 1, 0];
        message.extend(77u32.to_ne_bytes());
        message.extend([0; 8]);
        for (kind, value) in [(0u16, 5u32), (2, 78)] {
            message.extend(8u16.to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend(value.to_ne_bytes());
        }
        assert_eq!(unix_peer(&message), Some((77, 78)));
        for len in 0..message.len() {
            assert_eq!(unix_peer(&message[..len]), None, "{len}");
        }
        // A length of 0 must not loop for ever.
        assert_eq!(unix_peer(&[0; 64]), None);
    }
}
