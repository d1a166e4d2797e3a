//! Connecting and sending through io_uring, without the socket system calls.

use super::sys::{Fail, Raw, Socket, Step, os};
use super::target::Target;
use super::{icmp, packet};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, mem, ptr};

const OP_SENDMSG: u8 = 9;
const OP_CONNECT: u8 = 16;
const OP_SEND: u8 = 26;
const OP_SOCKET: u8 = 45;
const OP_SEND_ZC: u8 = 47;
const OP_SENDMSG_ZC: u8 = 48;
const SETUP_SQPOLL: u32 = 2;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const OFF_SQ: libc::off_t = 0;
const OFF_CQ: libc::off_t = 0x800_0000;
const OFF_SQES: libc::off_t = 0x1000_0000;
const PAGE: usize = 4096;

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    /// head, tail, ring_mask, ring_entries, flags, dropped, array, resv1, user_addr (2 words)
    sq: [u32; 10],
    /// head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1, user_addr (2 words)
    cq: [u32; 10],
}

/// `struct io_uring_sqe`, the fields in use.
#[repr(C)]
#[derive(Default)]
struct Sqe {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    buf_index: u16,
    personality: u16,
    addr_len: u16,
    pad: u16,
    rest: [u64; 2],
}

struct Ring {
    fd: OwnedFd,
    params: Params,
    sq: *mut u8,
    cq: *mut u8,
    sqes: *mut Sqe,
}

impl Ring {
    fn new() -> Step<Self> {
        Self::with(0)
    }

    fn with(flags: u32) -> Step<Self> {
        let mut params = Params {
            flags,
            ..Params::default()
        };
        // SAFETY: the kernel reads and fills `params`, which has its layout.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, &raw mut params) };
        if fd < 0 {
            let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(Fail::Skip(format!("io_uring_setup: errno {errno}")));
        }
        // SAFETY: `fd` was just opened and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let (sq, cq) = (map(&fd, OFF_SQ)?, map(&fd, OFF_CQ)?);
        let sqes = map(&fd, OFF_SQES)?.cast();
        Ok(Self {
            fd,
            params,
            sq,
            cq,
            sqes,
        })
    }

    /// Hands an operation to the kernel, and waits until there are so many results.
    fn submit(&self, entry: Sqe, wait_for: u32) -> Step<()> {
        // SAFETY: with one entry every offset lies in its one mapped page, and only this thread
        // and the kernel touch the rings; the atomics are what the kernel's protocol asks for.
        unsafe {
            ptr::write(self.sqes, entry);
            self.sq
                .add(self.params.sq[6] as usize)
                .cast::<u32>()
                .write(0);
            let tail = AtomicU32::from_ptr(self.sq.add(self.params.sq[1] as usize).cast());
            tail.fetch_add(1, Ordering::Release);
            let to_submit = 1_u32;
            let wakeup = if self.params.flags & SETUP_SQPOLL == 0 {
                0
            } else {
                ENTER_SQ_WAKEUP
            };
            let getevents = ENTER_GETEVENTS | wakeup;
            let fd = self.fd.as_raw_fd();
            let none = ptr::null::<libc::sigset_t>();
            let rc = libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                wait_for,
                getevents,
                none,
                0_usize,
            );
            if rc < 0 {
                return Err(os("io_uring_enter"));
            }
        }
        Ok(())
    }

    /// One operation to its end; the result is the kernel's, negative errno included.
    fn run(&self, entry: Sqe) -> Step<i32> {
        self.submit(entry, 1)?;
        // SAFETY: as above; there is a result.
        unsafe {
            let head = AtomicU32::from_ptr(self.cq.add(self.params.cq[0] as usize).cast());
            let index = head.fetch_add(1, Ordering::AcqRel) & (self.params.cq[3] - 1);
            // struct io_uring_cqe: u64 user_data, s32 res, u32 flags.
            let cqe = self
                .cq
                .add(self.params.cq[5] as usize + index as usize * 16);
            Ok(cqe.add(8).cast::<i32>().read())
        }
    }
}

/// A ring with so many results that nobody takes; what the kernel says of it is long.
///
/// # Errors
/// If the kernel refuses a ring, or an operation that does nothing.
pub fn unread(results: usize) -> Step<OwnedFd> {
    let ring = Ring::new()?;
    for _ in 0..results {
        ring.submit(Sqe::default(), 0)?;
    }
    Ok(ring.fd)
}

fn map(fd: &OwnedFd, offset: libc::off_t) -> Step<*mut u8> {
    // SAFETY: a new shared mapping of the ring; it lives until the process ends.
    let at = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(
            ptr::null_mut(),
            PAGE,
            protection,
            libc::MAP_SHARED,
            fd.as_raw_fd(),
            offset,
        )
    };
    if at == libc::MAP_FAILED {
        Err(os("mmap"))
    } else {
        Ok(at.cast())
    }
}

fn judge(step: &'static str, result: i32) -> Step<()> {
    if result < 0 {
        Err(Fail::Os {
            step,
            errno: -result,
        })
    } else {
        Ok(())
    }
}

pub fn tcp4(t: &Target) -> Step<()> {
    let ring = Ring::new()?;
    let socket = Socket::tcp(t.at4())?;
    let address = Raw::from(t.at4());
    let entry = Sqe {
        opcode: OP_CONNECT,
        fd: socket.fd(),
        addr: address.pointer() as u64,
        off: address.len.into(),
        ..Sqe::default()
    };
    judge("uring connect", ring.run(entry)?)?;
    socket.send(t.payload(), 0)
}

/// A message to `at`; its pointers are valid as long as this lives.
struct Message {
    header: Box<libc::msghdr>,
    _address: Box<Raw>,
    _part: Box<libc::iovec>,
}

impl Message {
    fn new(at: SocketAddr, payload: &[u8]) -> Self {
        let address = Box::new(Raw::from(at));
        let mut part = Box::new(libc::iovec {
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: payload.len(),
        });
        // SAFETY: all-zero is a valid msghdr.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        header.msg_name = address.pointer().cast_mut().cast();
        header.msg_namelen = address.len;
        header.msg_iov = &raw mut *part;
        header.msg_iovlen = 1;
        Self {
            header,
            _address: address,
            _part: part,
        }
    }
}

fn send_message(ring: &Ring, opcode: u8, t: &Target) -> Step<()> {
    let socket = Socket::udp(t.at4())?;
    let message = Message::new(t.at4(), t.payload());
    let entry = Sqe {
        opcode,
        fd: socket.fd(),
        addr: &raw const *message.header as u64,
        len: 1,
        ..Sqe::default()
    };
    judge("uring sendmsg", ring.run(entry)?)
}

pub fn udp4(t: &Target) -> Step<()> {
    send_message(&Ring::new()?, OP_SENDMSG, t)
}

pub fn udp4_zero_copy(t: &Target) -> Step<()> {
    send_message(&Ring::new()?, OP_SENDMSG_ZC, t)
}

/// Sent by a kernel thread.
pub fn udp4_polled(t: &Target) -> Step<()> {
    send_message(&Ring::with(SETUP_SQPOLL)?, OP_SENDMSG, t)
}

fn send_to(opcode: u8, t: &Target) -> Step<()> {
    let ring = Ring::new()?;
    let socket = Socket::udp(t.at4())?;
    let address = Raw::from(t.at4());
    let entry = Sqe {
        opcode,
        fd: socket.fd(),
        addr: t.payload().as_ptr() as u64,
        len: t.payload().len() as u32,
        off: address.pointer() as u64,
        addr_len: address.len as u16,
        ..Sqe::default()
    };
    judge("uring send", ring.run(entry)?)
}

pub fn send_to4(t: &Target) -> Step<()> {
    send_to(OP_SEND, t)
}

pub fn send_to4_zero_copy(t: &Target) -> Step<()> {
    send_to(OP_SEND_ZC, t)
}

/// The socket itself is made by the ring, too.
fn socket(ring: &Ring, family: i32, kind: i32, protocol: i32) -> Step<Socket> {
    let entry = Sqe {
        opcode: OP_SOCKET,
        fd: family,
        off: kind as u64,
        len: protocol.unsigned_abs(),
        ..Sqe::default()
    };
    let fd = ring.run(entry)?;
    judge("uring socket", fd)?;
    // SAFETY: `fd` was just opened and nobody else owns it.
    Ok(Socket(unsafe { OwnedFd::from_raw_fd(fd) }))
}

pub fn raw4(t: &Target) -> Step<()> {
    let ring = Ring::new()?;
    let (kind, protocol) = (libc::SOCK_RAW, libc::IPPROTO_ICMP);
    let socket = socket(&ring, libc::AF_INET, kind, protocol)?;
    let at = SocketAddr::new(t.v4.into(), 0);
    socket.send_to(&icmp::echo(8, t.payload()), 0, at)
}

pub fn packet(t: &Target) -> Step<()> {
    let ring = Ring::new()?;
    let socket = socket(&ring, libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let frame = packet::frame(
        t.gateway_mac,
        t.own_mac()?,
        packet::IPV4,
        &packet::marked_udp(t)?,
    );
    packet::send(&socket, &t.device, t.gateway_mac, &frame)
}
