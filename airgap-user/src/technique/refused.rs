//! What Docker's default profile or the kernel refuses a container already, so that it needs no
//! seal: if one of these begins to succeed, a way out may have opened.

use super::sys::{Fail, Socket, Step, check, os};
use super::target::Target;

const AF_RDS: i32 = 21;
const AF_PPPOX: i32 = 24;
const AF_CAN: i32 = 29;
const AF_TIPC: i32 = 30;
const AF_RXRPC: i32 = 33;
const AF_KCM: i32 = 41;
const AF_SMC: i32 = 43;
const TCP_REPAIR: i32 = 19;
const IPPROTO_L2TP: i32 = 115;
const IPPROTO_SMC: i32 = 256;
const IPV6_JOIN_ANYCAST: i32 = 27;

fn open(family: i32, kind: i32, protocol: i32) -> Step<()> {
    Socket::new(family, kind, protocol).map(drop)
}

pub fn sctp(_: &Target) -> Step<()> {
    open(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP)
}

pub fn dccp(_: &Target) -> Step<()> {
    open(libc::AF_INET, libc::SOCK_DCCP, libc::IPPROTO_DCCP)
}

pub fn l2tp(_: &Target) -> Step<()> {
    open(libc::AF_INET, libc::SOCK_DGRAM, IPPROTO_L2TP)
}

pub fn smc(_: &Target) -> Step<()> {
    open(AF_SMC, libc::SOCK_STREAM, 0)
}

pub fn smc_inet(_: &Target) -> Step<()> {
    open(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_SMC)
}

pub fn rds(_: &Target) -> Step<()> {
    open(AF_RDS, libc::SOCK_SEQPACKET, 0)
}

pub fn pppoe(_: &Target) -> Step<()> {
    open(AF_PPPOX, libc::SOCK_STREAM, 0)
}

pub fn can(_: &Target) -> Step<()> {
    open(AF_CAN, libc::SOCK_RAW, 1)
}

pub fn tipc(_: &Target) -> Step<()> {
    open(AF_TIPC, libc::SOCK_RDM, 0)
}

pub fn rxrpc(_: &Target) -> Step<()> {
    open(AF_RXRPC, libc::SOCK_DGRAM, libc::AF_INET)
}

pub fn kcm(_: &Target) -> Step<()> {
    open(AF_KCM, libc::SOCK_DGRAM, 0)
}

fn unshare(flags: i32) -> Step<()> {
    // SAFETY: unshare takes no pointers.
    check("unshare", unsafe { libc::unshare(flags) }).map(drop)
}

/// A network namespace of its own, where everything may be set up.
pub fn new_network(_: &Target) -> Step<()> {
    unshare(libc::CLONE_NEWNET)
}

/// A user namespace gives every capability within.
pub fn new_user(_: &Target) -> Step<()> {
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)
}

/// A cgroup namespace of its own, to mount what is above.
pub fn new_cgroup(_: &Target) -> Step<()> {
    unshare(libc::CLONE_NEWCGROUP)
}

/// `clone3` into another cgroup would leave the seal.
pub fn clone3(_: &Target) -> Step<()> {
    let arguments = [0_u64; 11];
    // SAFETY: the kernel reads a `struct clone_args`, 88 bytes; were it allowed, this would be a
    // fork, and the child ends at once.
    let rc = unsafe {
        let rc = libc::syscall(libc::SYS_clone3, &raw const arguments, 88_usize);
        if rc == 0 {
            libc::_exit(0);
        }
        rc
    };
    check("clone3", rc).map(drop)
}

pub fn bpf(_: &Target) -> Step<()> {
    let attributes = [0_u64; 16];
    // SAFETY: the kernel reads as many bytes as said.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, 0, &raw const attributes, 72) };
    check("bpf", rc).map(drop)
}

/// The kernel's resolver runs on the host.
pub fn request_key(_: &Target) -> Step<()> {
    let (kind, name, info) = (c"dns_resolver", c"leak.example", c"");
    // SAFETY: three NUL-terminated strings and a keyring number.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_request_key,
            kind.as_ptr(),
            name.as_ptr(),
            info.as_ptr(),
            -2,
        )
    };
    check("request_key", rc).map(drop)
}

/// A socket's state written by hand: peer, sequence numbers and all.
pub fn repair(t: &Target) -> Step<()> {
    let socket = Socket::tcp(t.at4())?;
    socket.set("TCP_REPAIR", libc::IPPROTO_TCP, TCP_REPAIR, &1_i32)
}

/// The kernel would answer solicitations for an address of somebody's choice.
pub fn anycast(t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at6())?;
    let mut request = t.v6.octets().to_vec();
    request.extend([0; 4]);
    let level = libc::IPPROTO_IPV6;
    socket.set_bytes("IPV6_JOIN_ANYCAST", level, IPV6_JOIN_ANYCAST, &request)
}

/// A device of one's own.
pub fn tun(_: &Target) -> Step<()> {
    // SAFETY: both take no pointers but a NUL-terminated path.
    let fd = unsafe {
        let device = libc::makedev(10, 200);
        let path = c"/tmp/tun".as_ptr();
        libc::mknod(path, libc::S_IFCHR | 0o600, device);
        let fd = libc::open(path, libc::O_RDWR | libc::O_CLOEXEC);
        let error = os("open /dev/net/tun");
        libc::unlink(path);
        if fd < 0 {
            return Err(error);
        }
        fd
    };
    let mut request = [0_u8; 40];
    request[..4].copy_from_slice(b"leak");
    // IFF_TUN | IFF_NO_PI.
    request[16..18].copy_from_slice(&0x1001_u16.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, 40 bytes; `fd` is closed once.
    unsafe {
        let rc = libc::ioctl(fd, 0x4004_54ca, request.as_mut_ptr());
        let error = os("TUNSETIFF");
        libc::close(fd);
        if rc < 0 { Err(error) } else { Ok(()) }
    }
}

/// One request to rtnetlink; the kernel's answer carries the errno.
fn route_request(kind: u16, body: &[u8]) -> Step<()> {
    const NLMSG_ERROR: u16 = 2;
    /// Request, acknowledge, create.
    const FLAGS: u16 = 0x405;
    let socket = Socket::new(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    for field in [kind, FLAGS] {
        message.extend(field.to_ne_bytes());
    }
    message.extend([0; 8]);
    message.extend(body);
    socket.send(&message, 0)?;
    let mut answer = [0; 512];
    let len = socket.receive(&mut answer)?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if len >= 20 && kind == NLMSG_ERROR && code < 0 {
        return Err(Fail::Os {
            step: "rtnetlink",
            errno: -code,
        });
    }
    Ok(())
}

/// An entry that makes the kernel ask for an address at once (NTF_USE).
pub fn neighbour(t: &Target) -> Step<()> {
    const RTM_NEWNEIGH: u16 = 28;
    let index = t.index()?;
    let mut body = vec![libc::AF_INET as u8, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    // State none, flags NTF_USE, type; then NDA_DST.
    body.extend([0, 0, 1, 0, 8, 0, 1, 0]);
    body.extend(t.gateway.octets());
    route_request(RTM_NEWNEIGH, &body)
}

/// A device: `struct ifinfomsg`, then IFLA_LINKINFO with the kind.
pub fn device(_: &Target) -> Step<()> {
    const RTM_NEWLINK: u16 = 16;
    let mut body = vec![0; 16];
    // IFLA_LINKINFO of 16 bytes, in it IFLA_INFO_KIND "dummy".
    body.extend([16, 0, 18, 0, 10, 0, 1, 0]);
    body.extend(b"dummy\0\0\0");
    route_request(RTM_NEWLINK, &body)
}
