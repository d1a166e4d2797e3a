//! The links of a network namespace (rtnetlink(7)).

use std::io;

use super::{Netlink, attributes};

const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_EXT_MASK: u16 = 29;
/// Leave out the counters (`RTEXT_FILTER_SKIP_STATS`, Linux 4.4).
const SKIP_STATS: u32 = 1 << 3;
/// `struct ifinfomsg`, bytes.
const IFINFOMSG: usize = 16;

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
}

/// What is behind the header of an answer: `struct ifinfomsg`, attributes.
fn link(body: &[u8]) -> Option<Link> {
    let index = word(body.get(4..8)?)?;
    let (mut name, mut peer) = (None, None);
    for (kind, value) in attributes(body.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_LINK => peer = word(value),
            _ => {}
        }
    }
    Some(Link {
        name: name?,
        index,
        // The kernel says it only where it differs, or leads out of the namespace.
        peer: peer.unwrap_or(index),
    })
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{super::Message, *};

    fn answer(peer: Option<u32>) -> Vec<u8> {
        let mut message = Message(vec![0; IFINFOMSG]);
        message.0[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        message.attribute(IFLA_IFNAME, b"eth0\0");
        if let Some(peer) = peer {
            message.attribute(IFLA_LINK, &peer.to_ne_bytes());
        }
        message.0
    }

    fn eth0(peer: u32) -> Link {
        Link {
            name: "eth0".into(),
            index: 7,
            peer,
        }
    }

    #[test]
    fn reads_a_link_and_its_peer() {
        assert_eq!(link(&answer(Some(9))), Some(eth0(9)));
        assert_eq!(link(&answer(None)), Some(eth0(7)), "bound to none");
    }

    #[test]
    fn survives_any_bytes() {
        let whole = answer(Some(9));
        for len in 0..whole.len() {
            let _ = link(&whole[..len]);
        }
        for fill in 0..=255 {
            let _ = link(&[fill; 64]);
        }
    }

    #[test]
    fn lists_those_of_a_namespace() {
        let links = Netlink::route().and_then(|n| n.links()).expect("links");
        let lo = links.iter().find(|link| link.name == "lo").expect("lo");
        assert_eq!((lo.index, lo.peer), (1, 1));
    }
}
