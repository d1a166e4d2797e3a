//! What kinds of links a network namespace has, and which are ports of which.

use std::io;

use super::{Netlink, attributes, link::IFINFOMSG};

const RTM_GETLINK: u16 = 18;
const IFLA_ADDRESS: u16 = 1;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// A link, and what it is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its index.
    pub index: u32,
    /// Index of the bridge or bond that it is a port of; 0: of none.
    pub master: u32,
    /// What the kernel calls its kind (`veth`, `bridge`, …); empty for hardware.
    pub kind: String,
    /// Its hardware address, if it has one of Ethernet.
    pub mac: Option<[u8; 6]>,
}

impl Port {
    /// Whether no container or virtual machine can be at its other end, nor be a
    /// port of it.
    pub fn is_uplink(&self) -> bool {
        // Unknown kinds are none: a list that says too little only drops more. Nor
        // are those that lead to containers elsewhere, such as vxlan.
        let kind = self.kind.as_str();
        matches!(kind, "" | "vlan" | "bond" | "team" | "wireguard" | "ipip")
    }
}

impl Netlink {
    /// All links of the namespace, in the kernel's order.
    ///
    /// # Errors
    /// If the kernel cannot list them.
    pub fn ports(&self) -> io::Result<Vec<Port>> {
        let mut found = Vec::new();
        self.dump(RTM_GETLINK, &[0; IFINFOMSG], |body| {
            found.extend(port(body));
        })?;
        Ok(found)
    }
}

/// What is behind the header of an answer: `struct ifinfomsg`, attributes.
fn port(body: &[u8]) -> Option<Port> {
    let mut port = Port {
        index: word(body.get(4..8)?)?,
        master: 0,
        kind: String::new(),
        mac: None,
    };
    for (attribute, value) in attributes(body.get(IFINFOMSG..)?) {
        match attribute {
            IFLA_ADDRESS => port.mac = value.try_into().ok(),
            IFLA_MASTER => port.master = word(value)?,
            IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                // One that does not say it is not taken for hardware.
                let kind = kind.map_or(&b"?"[..], |(_, kind)| kind);
                let end = kind.iter().position(|b| *b == 0).unwrap_or(kind.len());
                port.kind = String::from_utf8_lossy(&kind[..end]).into_owned();
            }
            _ => {}
        }
    }
    Some(port)
}

fn word(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{super::Message, *};

    fn answer(master: u32, kind: Option<&[u8]>) -> Vec<u8> {
        let mut message = Message(vec![0; IFINFOMSG]);
        message.0[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        message.attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 7]);
        message.attribute(IFLA_MASTER, &master.to_ne_bytes());
        if let Some(kind) = kind {
            message.nested(IFLA_LINKINFO, |m| m.attribute(IFLA_INFO_KIND, kind));
        }
        message.0
    }

    #[test]
    fn reads_a_port() {
        let expected = |kind: &str| Port {
            index: 7,
            master: 9,
            kind: kind.into(),
            mac: Some([2, 0, 0, 0, 0, 7]),
        };
        let found = port(&answer(9, Some(b"veth\0"))).unwrap();
        assert_eq!(found, expected("veth"));
        assert!(!found.is_uplink());
        let hardware = port(&answer(9, None)).unwrap();
        assert_eq!(hardware, expected(""));
        assert!(hardware.is_uplink());
        for (kind, uplink) in [
            ("vlan", true),
            ("tun", false),
            ("bridge", false),
            ("?", false),
        ] {
            assert_eq!(expected(kind).is_uplink(), uplink, "{kind}");
        }
    }

    #[test]
    fn survives_any_bytes() {
        let whole = answer(9, Some(b"veth\0"));
        for len in 0..whole.len() {
            let _ = port(&whole[..len]);
        }
        for fill in 0..=255 {
            let _ = port(&[fill; 64]);
        }
    }

    #[test]
    fn knows_lo() {
        let netlink = Netlink::route().expect("netlink");
        let ports = netlink.ports().expect("links");
        let lo = ports.iter().find(|port| port.index == 1).expect("lo");
        assert_eq!((lo.master, lo.kind.as_str()), (0, ""));
    }
}
