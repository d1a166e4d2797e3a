//! AF_XDP: frames straight from memory to the device, in copy mode.

use super::packet::{IPV4, frame, marked_udp};
use super::sys::{Fail, Socket, Step, check, os};
use super::target::Target;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{mem, ptr};

const SOL_XDP: i32 = 283;
const XDP_MMAP_OFFSETS: i32 = 1;
const XDP_TX_RING: i32 = 3;
const XDP_UMEM_REG: i32 = 4;
const XDP_UMEM_FILL_RING: i32 = 5;
const XDP_UMEM_COMPLETION_RING: i32 = 6;
const XDP_COPY: u16 = 2;
const TX_OFFSET: libc::off_t = 0x8000_0000;
const CHUNK: usize = 4096;
/// Frames that one socket can send: nobody takes the completions.
const ENTRIES: u32 = 1024;

/// `struct sockaddr_xdp`.
#[repr(C)]
struct Address {
    family: u16,
    flags: u16,
    ifindex: u32,
    queue: u32,
    shared_umem: u32,
}

/// `struct xdp_umem_reg`, as of Linux 5.4.
#[repr(C)]
struct Memory {
    addr: u64,
    len: u64,
    chunk_size: u32,
    headroom: u32,
    flags: u32,
}

/// `struct xdp_desc`.
#[repr(C)]
struct Descriptor {
    addr: u64,
    len: u32,
    options: u32,
}

/// A mapping; one of a ring keeps its socket open.
struct Mapping(*mut u8, usize);

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nobody uses it any more.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

/// A socket with its memory, which holds one frame, and its ring; both go after it.
pub struct Loaded {
    socket: Socket,
    ring: Mapping,
    _memory: Mapping,
    /// Offset of the ring's producer.
    producer: usize,
    /// Offset of its descriptors.
    descriptors: usize,
    len: u32,
}

fn map(fd: i32, len: usize, offset: libc::off_t) -> Step<Mapping> {
    let shared = if fd < 0 {
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    } else {
        libc::MAP_SHARED | libc::MAP_POPULATE
    };
    // SAFETY: a new mapping, owned at once.
    let at = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), len, protection, shared, fd, offset)
    };
    if at == libc::MAP_FAILED {
        return Err(os("mmap"));
    }
    Ok(Mapping(at.cast(), len))
}

impl Loaded {
    /// Puts the frame into the transmit ring, where the kernel has not looked at it yet.
    pub fn post(&self) {
        // SAFETY: the producer is at this offset of the mapped ring, which nobody else writes.
        let producer = unsafe { AtomicU32::from_ptr(self.ring.0.add(self.producer).cast()) };
        let next = producer.load(Ordering::Relaxed);
        let at = self.descriptors + (next % ENTRIES) as usize * size_of::<Descriptor>();
        let entry = Descriptor {
            addr: 0,
            len: self.len,
            options: 0,
        };
        // SAFETY: the ring has that many descriptors from this offset on.
        unsafe { self.ring.0.add(at).cast::<Descriptor>().write(entry) };
        producer.store(next.wrapping_add(1), Ordering::Release);
    }

    /// Sending nothing makes the kernel look.
    pub fn kick(&self) -> Step<()> {
        // SAFETY: no data and no address.
        let rc = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::sendto(self.socket.fd(), ptr::null(), 0, flags, ptr::null(), 0)
        };
        check("sendto", rc as i64).map(drop)
    }

    /// So does waiting for the socket.
    pub fn poll(&self) -> Step<()> {
        // SAFETY: all-zero is a valid pollfd.
        let mut wait: libc::pollfd = unsafe { mem::zeroed() };
        wait.fd = self.socket.0.as_raw_fd();
        wait.events = libc::POLLOUT;
        // SAFETY: the pointer and count describe `wait`.
        let rc = unsafe { libc::poll(&raw mut wait, 1, 100) };
        match check("poll", rc)? {
            0 => Err(Fail::Skip("the socket never became writable".to_owned())),
            _ => Ok(()),
        }
    }
}

/// A socket bound to the device, and this frame in its memory.
pub fn load(t: &Target, bytes: &[u8]) -> Step<Loaded> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, kind, 0) };
    check("socket", fd)?;
    // SAFETY: `fd` was just opened and nobody else owns it. AF_XDP has no timeouts to set.
    let socket = Socket(unsafe { OwnedFd::from_raw_fd(fd) });
    let memory = map(-1, CHUNK * 2, 0)?;
    let register = Memory {
        addr: memory.0 as u64,
        len: CHUNK as u64 * 2,
        chunk_size: CHUNK as u32,
        headroom: 0,
        flags: 0,
    };
    socket.set("XDP_UMEM_REG", SOL_XDP, XDP_UMEM_REG, &register)?;
    for ring in [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_TX_RING] {
        socket.set("XDP ring", SOL_XDP, ring, &ENTRIES)?;
    }
    // struct xdp_mmap_offsets: rx, tx, fr, cr, each producer, consumer, desc, flags.
    let mut offsets = [0_u64; 16];
    let mut len = size_of_val(&offsets) as u32;
    // SAFETY: the pointers and length describe `offsets`.
    check("XDP_MMAP_OFFSETS", unsafe {
        let at = offsets.as_mut_ptr().cast();
        libc::getsockopt(socket.fd(), SOL_XDP, XDP_MMAP_OFFSETS, at, &raw mut len)
    })?;
    let [producer, descriptors] = [offsets[4] as usize, offsets[6] as usize];
    let ring_len = descriptors + ENTRIES as usize * size_of::<Descriptor>();
    let ring = map(socket.fd(), ring_len, TX_OFFSET)?;
    bind(&socket, t)?;

    let len = bytes.len().min(CHUNK);
    // SAFETY: at most a chunk, into memory of two.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), memory.0, len) };
    Ok(Loaded {
        socket,
        ring,
        _memory: memory,
        producer,
        descriptors,
        len: len as u32,
    })
}

fn bind(socket: &Socket, t: &Target) -> Step<()> {
    let at = Address {
        family: libc::AF_XDP as u16,
        flags: XDP_COPY,
        ifindex: t.index()?,
        queue: 0,
        shared_umem: 0,
    };
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        // SAFETY: the pointer and length describe `at`.
        let rc = unsafe {
            let len = size_of::<Address>() as u32;
            libc::bind(socket.fd(), (&raw const at).cast(), len)
        };
        match check("bind", rc) {
            // The queue is given back some time after its last owner has closed.
            Err(Fail::Os { errno, .. }) if errno == libc::EBUSY && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(10));
            }
            bound => return bound.map(drop),
        }
    }
}

fn posted(t: &Target) -> Step<Loaded> {
    let bytes = frame(t.gateway_mac, t.own_mac()?, IPV4, &marked_udp(t)?);
    let loaded = load(t, &bytes)?;
    loaded.post();
    Ok(loaded)
}

pub fn sent(t: &Target) -> Step<()> {
    posted(t)?.kick()
}

pub fn polled(t: &Target) -> Step<()> {
    posted(t)?.poll()
}
