//! Links and addresses (rtnetlink(7)). Each request waits for the kernel's acknowledgement; its
//! errors are the kernel's.

use std::{ffi::CStr, io, net::IpAddr, os::fd::RawFd};

use super::{Message, NLM_F_CREATE, NLM_F_EXCL, Netlink};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const RTA_OIF: u16 = 4;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const IFF_UP: u32 = 1;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// `struct ifinfomsg`.
fn interface(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    // The mask of flags to change.
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// One end of a veth pair.
pub struct End<'a> {
    /// Interface name, at most 15 bytes.
    pub name: &'a CStr,
    /// 0: the kernel chooses.
    pub index: u32,
    /// Its address.
    pub mac: Mac,
}

fn name_and_mac(message: &mut Message, end: &End<'_>) {
    message.attribute(IFLA_IFNAME, end.name.to_bytes_with_nul());
    message.attribute(IFLA_ADDRESS, &end.mac);
}

fn kind(message: &mut Message, kind: &CStr, data: impl FnOnce(&mut Message)) {
    message.nested(IFLA_LINKINFO, |m| {
        m.attribute(IFLA_INFO_KIND, kind.to_bytes());
        m.nested(IFLA_INFO_DATA, data);
    });
}

fn veth(near: &End<'_>, far: &End<'_>, far_netns: RawFd) -> Vec<u8> {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let mut message = Message::new(RTM_NEWLINK, flags, &interface(near.index, 0));
    name_and_mac(&mut message, near);
    kind(&mut message, c"veth", |m| {
        m.nested(VETH_INFO_PEER, |m| {
            m.0.extend(interface(far.index, 0));
            name_and_mac(m, far);
            m.attribute(IFLA_NET_NS_FD, &far_netns.to_ne_bytes());
        });
    });
    message.finish()
}

fn bridge(end: &End<'_>) -> Vec<u8> {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let mut message = Message::new(RTM_NEWLINK, flags, &interface(end.index, 0));
    name_and_mac(&mut message, end);
    kind(&mut message, c"bridge", |_| {});
    message.finish()
}

fn up(index: u32, master: Option<u32>) -> Vec<u8> {
    let mut message = Message::new(RTM_NEWLINK, 0, &interface(index, IFF_UP));
    if let Some(master) = master {
        message.attribute(IFLA_MASTER, &master.to_ne_bytes());
    }
    message.finish()
}

fn octets(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => (libc::AF_INET as u8, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6 as u8, v6.octets().to_vec()),
    }
}

fn address(index: u32, ip: IpAddr, prefix: u8) -> Vec<u8> {
    let (family, bytes) = octets(ip);
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let mut header = vec![family, prefix, IFA_F_NODAD, 0];
    header.extend(index.to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header);
    message.attribute(IFA_LOCAL, &bytes);
    message.attribute(IFA_ADDRESS, &bytes);
    message.finish()
}

fn default_route(index: u32, v4: bool) -> Vec<u8> {
    const MAIN: u8 = 254;
    const BOOT: u8 = 3;
    const LINK: u8 = 253;
    const UNICAST: u8 = 1;
    let (family, scope) = match v4 {
        true => (libc::AF_INET as u8, LINK),
        false => (libc::AF_INET6 as u8, 0),
    };
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags.
    let header = [family, 0, 0, 0, MAIN, BOOT, scope, UNICAST, 0, 0, 0, 0];
    let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header);
    message.attribute(RTA_OIF, &index.to_ne_bytes());
    message.finish()
}

fn neighbour(index: u32, ip: IpAddr, mac: Mac) -> Vec<u8> {
    let (family, bytes) = octets(ip);
    // struct ndmsg: family, padding, index, state, flags, type.
    let mut header = vec![family, 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(NUD_PERMANENT.to_ne_bytes());
    header.extend([0; 2]);
    let mut message = Message::new(RTM_NEWNEIGH, NLM_F_CREATE, &header);
    message.attribute(NDA_DST, &bytes);
    message.attribute(NDA_LLADDR, &mac);
    message.finish()
}

impl Netlink {
    /// A veth pair; `far` goes to another namespace.
    ///
    /// # Errors
    /// `EEXIST` for a name or an index that is taken.
    pub fn add_veth(&self, near: &End<'_>, far: &End<'_>, far_netns: RawFd) -> io::Result<()> {
        self.ask(&veth(near, far, far_netns))
    }

    /// A bridge without ports.
    ///
    /// # Errors
    /// As [`Self::add_veth`].
    pub fn add_bridge(&self, end: &End<'_>) -> io::Result<()> {
        self.ask(&bridge(end))
    }

    /// Brings an interface up, as a port of `master` if there is one.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface.
    pub fn up(&self, index: u32, master: Option<u32>) -> io::Result<()> {
        self.ask(&up(index, master))
    }

    /// An own address, at once usable.
    ///
    /// # Errors
    /// `EEXIST` if it is there already, `EACCES` without IPv6.
    pub fn add_address(&self, index: u32, ip: IpAddr, prefix: u8) -> io::Result<()> {
        self.ask(&address(index, ip, prefix))
    }

    /// All addresses of IPv4, or of IPv6, are on the link of an interface that is up.
    ///
    /// # Errors
    /// `EEXIST` if there is such a route, `EACCES` or `EOPNOTSUPP` without IPv6.
    pub fn add_default_route(&self, index: u32, v4: bool) -> io::Result<()> {
        self.ask(&default_route(index, v4))
    }

    /// A permanent neighbour: nobody has to ask for it.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn add_neighbour(&self, index: u32, ip: IpAddr, mac: Mac) -> io::Result<()> {
        self.ask(&neighbour(index, ip, mac))
    }

    /// Removes an interface, and with it its veth peer.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn delete(&self, index: u32) -> io::Result<()> {
        let message = Message::new(RTM_DELLINK, 0, &interface(index, 0));
        self.ask(&message.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn encodes_an_address() {
        let expected = [
            40, 0, 0, 0, 20, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            2, 29, 2, 0, 7, 0, 0, 0, // ifaddrmsg
            8, 0, 2, 0, 198, 51, 100, 250, 8, 0, 1, 0, 198, 51, 100, 250,
        ];
        assert_eq!(address(7, [198, 51, 100, 250].into(), 29), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn encodes_a_route() {
        let expected = [
            36, 0, 0, 0, 24, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            2, 0, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0, // rtmsg
            8, 0, 4, 0, 2, 0, 0, 0,
        ];
        assert_eq!(default_route(2, true), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn nests_and_pads_the_peer() {
        let end = |name, index| End {
            name,
            index,
            mac: [2, 0, 0, 0, 0, 1],
        };
        let bytes = veth(&end(c"link0", 9), &end(c"airgap0", 0), 5);
        assert_eq!(
            bytes.len(),
            u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize
        );
        assert_eq!(bytes.len() % 4, 0);
        let info = bytes.len() - 68;
        // IFLA_LINKINFO { KIND "veth", DATA { PEER { ifinfomsg, name, mac, netns } } }
        assert_eq!(bytes[info..info + 4], [68, 0, 18, 0]);
        assert_eq!(
            bytes[info + 4..info + 12],
            [8, 0, 1, 0, b'v', b'e', b't', b'h']
        );
        assert_eq!(bytes[info + 12..info + 16], [56, 0, 2, 0]);
        assert_eq!(bytes[info + 16..info + 20], [52, 0, 1, 0]);
        let name = [12, 0, 3, 0, b'a', b'i', b'r', b'g', b'a', b'p', b'0', 0];
        assert_eq!(bytes[info + 36..info + 48], name);
        assert_eq!(
            bytes[info + 48..info + 60],
            [10, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 0]
        );
        assert_eq!(bytes[info + 60..info + 68], [8, 0, 28, 0, 5, 0, 0, 0]);
    }
}
