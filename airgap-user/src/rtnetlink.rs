//! The few rtnetlink requests that airgap needs (rtnetlink(7)): no `ip` command.
//!
//! Each waits for the kernel's acknowledgement; its errors are the kernel's.

use std::{
    ffi::CStr,
    io,
    net::IpAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWNEIGH: u16 = 28;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
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
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const IFF_UP: u32 = 1;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// One request: `struct nlmsghdr`, a header of its family, attributes.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        // Sequence and port: one request at a time needs neither.
        bytes.extend([0; 8]);
        bytes.extend(header);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |m| m.0.extend(value));
    }

    /// `struct rtattr` around what `fill` writes, padded to four bytes.
    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}

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

/// The error in an acknowledgement; `None` if it is none.
fn acknowledged(reply: &[u8]) -> Option<io::Result<()>> {
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    let error = i32::from_ne_bytes(reply.get(16..20)?.try_into().ok()?);
    match (kind, error) {
        (NLMSG_ERROR, 0) => Some(Ok(())),
        (NLMSG_ERROR, error) => Some(Err(io::Error::from_raw_os_error(-error))),
        _ => None,
    }
}

/// A netlink socket, in the namespace of the thread that opened it.
pub struct Netlink(OwnedFd);

impl Netlink {
    /// # Errors
    /// Whatever `socket` says.
    pub fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn ask(&self, request: &[u8]) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        // SAFETY: the pointer and length describe `request`.
        let sent = unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut reply = [0; 4096];
        // SAFETY: the pointer and length describe `reply`.
        let got = unsafe { libc::recv(fd, reply.as_mut_ptr().cast(), reply.len(), 0) };
        let got = usize::try_from(got).map_err(|_negative| io::Error::last_os_error())?;
        acknowledged(&reply[..got]).unwrap_or_else(|| Err(io::ErrorKind::InvalidData.into()))
    }

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

    #[test]
    fn reads_acknowledgements() {
        let reply = |kind: u16, error: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            acknowledged(&bytes).map(|r| r.map_err(|e| e.raw_os_error()))
        };
        assert_eq!(reply(2, 0), Some(Ok(())));
        assert_eq!(reply(2, -17), Some(Err(Some(17))));
        assert_eq!(reply(16, 0), None);
        assert!(acknowledged(&[0; 10]).is_none());
    }
}
