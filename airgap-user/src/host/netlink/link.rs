//! The links of a network namespace (rtnetlink(7)).

use std::{io, os::fd::RawFd};

use super::{Message, Netlink, attributes};

const RTM_GETLINK: u16 = 18;
const RTM_GETNSID: u16 = 90;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// Leave out the counters (`RTEXT_FILTER_SKIP_STATS`, Linux 4.4).
const SKIP_STATS: u32 = 1 << 3;
/// `struct ifinfomsg`, bytes.
pub(super) const IFINFOMSG: usize = 16;
/// `struct rtgenmsg`, bytes, padded.
const RTGENMSG: usize = 4;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index in its namespace.
    pub index: u32,
    /// Index of the one it is bound to, for a veth its peer in whatever namespace;
    /// its own if there is none.
    pub peer: u32,
    /// Where that one is, if in another namespace: this one's number for it.
    pub peer_netns: Option<i32>,
    /// Its hardware address, if it has one of Ethernet's.
    pub mac: Option<[u8; 6]>,
    /// An XDP program runs in its driver, before any other program sees a frame.
    pub native_xdp: bool,
}

impl Netlink {
    /// All links of the namespace.
    ///
    /// # Errors
    /// If the kernel cannot list them.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        let mut request = vec![0; IFINFOMSG];
        request.extend(8_u16.to_ne_bytes());
        request.extend(IFLA_EXT_MASK.to_ne_bytes());
        request.extend(SKIP_STATS.to_ne_bytes());
        let mut found = Vec::new();
        self.dump(RTM_GETLINK, &request, |body| found.extend(link(body)))?;
        Ok(found)
    }

    /// This namespace's number for another one (`RTM_GETNSID`, Linux 4.0); it has
    /// one at the latest since [`Self::links`] named a link into it.
    ///
    /// # Errors
    /// If `netns` is no network namespace.
    pub fn number_of(&self, netns: RawFd) -> io::Result<Option<i32>> {
        let mut request = Message::with_flags(RTM_GETNSID, 0, &[0; RTGENMSG]);
        request.attribute(NETNSA_FD, &netns.to_ne_bytes());
        Ok(number(&self.get(&request.finish())?))
    }
}

/// Whether one of the programs in `IFLA_XDP` is the driver's (linux/if_link.h).
fn is_native(xdp: &[u8]) -> bool {
    /// `XDP_ATTACHED_DRV`, `_HW`, `_MULTI`; generic programs run later, and take nothing.
    const NATIVE: [u8; 3] = [1, 3, 4];
    attributes(xdp).any(|(kind, value)| {
        kind == IFLA_XDP_ATTACHED && value.first().is_some_and(|mode| NATIVE.contains(mode))
    })
}

/// What is behind the header of an answer: `struct ifinfomsg`, attributes.
fn link(body: &[u8]) -> Option<Link> {
    let index = word(body.get(4..8)?)?;
    let (mut name, mut peer, mut peer_netns) = (None, None, None);
    let (mut native_xdp, mut mac) = (false, None);
    for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_ADDRESS => mac = value.try_into().ok(),
            IFLA_LINK => peer = word(value),
            IFLA_XDP => native_xdp = is_native(value),
            IFLA_LINK_NETNSID => peer_netns = word(value).map(u32::cast_signed),
            _ => {}
        }
    }
    Some(Link {
        name: name?,
        index,
        // The kernel says it only where it differs, or leads out of the namespace.
        peer: peer.unwrap_or(index),
        peer_netns,
        mac,
        native_xdp,
    })
}

/// `struct rtgenmsg`, attributes: -1 stands for "none yet".
fn number(body: &[u8]) -> Option<i32> {
    let (_, value) = attributes(body.get(RTGENMSG..)?).find(|(kind, _)| *kind == NETNSA_NSID)?;
    Some(word(value)?.cast_signed()).filter(|number| *number >= 0)
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{super::Message, *};

    fn answer(peer: Option<(u32, i32)>) -> Vec<u8> {
        let mut message = Message(vec![0; IFINFOMSG]);
        message.0[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        message.attribute(IFLA_IFNAME, b"eth0\0");
        message.attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]);
        if let Some((peer, netns)) = peer {
            message.attribute(IFLA_LINK, &peer.to_ne_bytes());
            message.attribute(IFLA_LINK_NETNSID, &netns.to_ne_bytes());
        }
        message.0
    }

    fn eth0(peer: u32, peer_netns: Option<i32>) -> Link {
        Link {
            name: "eth0".into(),
            index: 7,
            peer,
            peer_netns,
            mac: Some([2, 0, 0, 0, 0, 9]),
            native_xdp: false,
        }
    }

    #[test]
    fn reads_a_link_and_its_peer() {
        assert_eq!(link(&answer(Some((9, 3)))), Some(eth0(9, Some(3))));
        assert_eq!(link(&answer(None)), Some(eth0(7, None)), "bound to none");
    }

    #[test]
    fn reads_the_number_of_a_namespace() {
        let answer = |number: i32| {
            let mut message = Message(vec![0; RTGENMSG]);
            message.attribute(NETNSA_NSID, &number.to_ne_bytes());
            message.0
        };
        assert_eq!(number(&answer(4)), Some(4));
        assert_eq!(number(&answer(-1)), None, "it has none");
        assert_eq!(number(&[0; 3]), None);
    }

    #[test]
    fn tells_native_xdp_from_generic() {
        let mut message = Message(Vec::new());
        message.attribute(IFLA_XDP_ATTACHED, &[2]);
        assert!(!is_native(&message.0));
        for mode in [1, 3, 4] {
            let mut message = Message(Vec::new());
            message.attribute(1, &[0; 4]);
            message.attribute(IFLA_XDP_ATTACHED, &[mode]);
            assert!(is_native(&message.0), "{mode}");
        }
    }

    #[test]
    fn survives_any_bytes() {
        let whole = answer(Some((9, 3)));
        for len in 0..whole.len() {
            let _ = (link(&whole[..len]), number(&whole[..len]));
        }
        for fill in 0..=255 {
            let _ = (link(&[fill; 64]), number(&[fill; 64]));
        }
    }

    #[test]
    fn lists_those_of_a_namespace() {
        let links = Netlink::route().and_then(|n| n.links()).expect("links");
        let lo = links.iter().find(|link| link.name == "lo").expect("lo");
        assert_eq!((lo.index, lo.peer), (1, 1));
    }
}
