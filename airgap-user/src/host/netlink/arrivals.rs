//! Links of a network namespace as they come up (rtnetlink(7), `RTMGRP_LINK`).

use std::{
    collections::HashSet,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use super::{Dump, Netlink, take_apart};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTMGRP_LINK: u32 = 1;

/// The links that come up in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Arrivals {
    netlink: OwnedFd,
    known: HashSet<u32>,
}

impl Arrivals {
    /// From now on. `wait`: at most so long a look takes.
    ///
    /// # Errors
    /// If the kernel refuses a socket, or cannot list the links that are there.
    pub fn open(wait: Duration) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else owns it.
        let netlink = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zero is valid.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = RTMGRP_LINK;
        let len = size_of::<libc::sockaddr_nl>() as u32;
        // SAFETY: the pointer and length describe `address`.
        if unsafe { libc::bind(fd, (&raw const address).cast(), len) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let limit = libc::timeval {
            tv_sec: wait.as_secs() as i64,
            tv_usec: i64::from(wait.subsec_micros()),
        };
        let len = size_of::<libc::timeval>() as u32;
        // SAFETY: the pointer and length describe `limit`.
        let set = unsafe {
            let value = (&raw const limit).cast();
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, value, len)
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // After the socket: what comes meanwhile is told twice rather than never.
        let known = Netlink::route()?.links()?;
        Ok(Self {
            netlink,
            known: known.into_iter().map(|link| link.index).collect(),
        })
    }

    /// Indices of links that came up since the last look; none once the time is over.
    ///
    /// # Errors
    /// If the kernel cannot list links.
    pub fn look(&mut self) -> io::Result<Vec<u32>> {
        let mut buffer = [0; 1 << 16];
        // SAFETY: the pointer and length describe `buffer`; the length that is returned
        // may be greater, which shows what did not fit.
        let got = unsafe {
            let to = buffer.as_mut_ptr().cast();
            libc::recv(self.netlink.as_raw_fd(), to, buffer.len(), libc::MSG_TRUNC)
        };
        let Ok(got) = usize::try_from(got) else {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
                // Some were not told: all that there are now are looked at.
                error if error.raw_os_error() == Some(libc::ENOBUFS) => self.all(),
                error => Err(error),
            };
        };
        match buffer.get(..got) {
            Some(bytes) => Ok(self.told(bytes)),
            None => self.all(),
        }
    }

    fn all(&mut self) -> io::Result<Vec<u32>> {
        let now: HashSet<u32> = Netlink::route()?
            .links()?
            .into_iter()
            .map(|link| link.index)
            .collect();
        let fresh = now.difference(&self.known).copied().collect();
        self.known = now;
        Ok(fresh)
    }

    /// The messages of one datagram.
    fn told(&mut self, bytes: &[u8]) -> Vec<u32> {
        let mut fresh = Vec::new();
        for (kind, index) in links(bytes) {
            match kind {
                RTM_NEWLINK if self.known.insert(index) => fresh.push(index),
                RTM_DELLINK => {
                    self.known.remove(&index);
                }
                _ => {}
            }
        }
        fresh
    }
}

/// Kind and index of each message. Pure.
fn links(mut bytes: &[u8]) -> Vec<(u16, u32)> {
    let mut found = Vec::new();
    while let Some(header) = bytes.get(..super::HEADER) {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(message) = bytes.get(..len) else {
            break;
        };
        let mut body = Vec::new();
        // One message at a time, of which only the body is needed.
        let one = take_apart(message, &mut Dump::default(), &mut |b| body = b.to_vec());
        if one.is_ok()
            && let Some(index) = body.get(4..8).and_then(|word| word.try_into().ok())
        {
            found.push((kind, u32::from_ne_bytes(index)));
        }
        bytes = bytes
            .get(len.max(super::HEADER).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::Message, *};

    fn message(kind: u16, index: u32) -> Vec<u8> {
        let mut body = [0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        Message::with_flags(kind, 0, &body).finish()
    }

    #[test]
    fn tells_each_link_once() {
        let mut arrivals = Arrivals::open(Duration::from_millis(1)).expect("netlink");
        let mut told = message(RTM_NEWLINK, u32::MAX);
        told.extend(message(RTM_NEWLINK, 1));
        assert_eq!(arrivals.told(&told), [u32::MAX], "lo is known");
        assert!(arrivals.told(&told).is_empty());
        let gone = message(RTM_DELLINK, u32::MAX);
        assert!(arrivals.told(&gone).is_empty());
        assert_eq!(arrivals.told(&told), [u32::MAX]);
        assert!(arrivals.look().is_ok());
    }

    #[test]
    fn survives_any_bytes() {
        let whole = message(RTM_NEWLINK, 7);
        for len in 0..whole.len() {
            let _ = links(&whole[..len]);
        }
        for fill in 0..=255 {
            let _ = links(&[fill; 80]);
        }
        assert!(links(&[0; 64]).len() <= 4);
    }
}
