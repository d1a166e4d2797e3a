//! A recorder of every frame on a device.

use crate::frame::Frame;
use crate::netns::Netns;
use crate::wait;
use std::ffi::CString;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, mem};

/// EtherType for local experiments: the recorder's own barrier frames.
const BARRIER: u16 = 0x88b5;
const SNAP: usize = 2048;

/// Records until dropped. Both directions of the device are seen.
#[derive(Debug)]
pub struct Tap {
    what: String,
    socket: Arc<OwnedFd>,
    sender: OwnedFd,
    frames: Arc<Mutex<Vec<Frame>>>,
    barriers: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Records one device of the host.
    ///
    /// # Panics
    /// When the device does not exist.
    #[must_use]
    #[track_caller]
    pub fn host(device: &str) -> Self {
        let index = index_of(device);
        Self::start(device, index, open(index, libc::ETH_P_ALL), open(index, 0))
    }

    /// Records one device inside a namespace.
    #[must_use]
    #[track_caller]
    pub fn inside(ns: &Netns, device: &str) -> Self {
        let (index, socket, sender) = ns.run(|| {
            let index = index_of(device);
            (index, open(index, libc::ETH_P_ALL), open(index, 0))
        });
        Self::start(device, index, socket, sender)
    }

    /// Records every device of the host, also those that appear later. Barriers go through
    /// `device`.
    #[must_use]
    #[track_caller]
    pub fn every_device(device: &str) -> Self {
        let sender = open(index_of(device), 0);
        Self::start(
            "every device",
            index_of(device),
            open(0, libc::ETH_P_ALL),
            sender,
        )
    }

    fn start(what: &str, barrier_index: i32, socket: OwnedFd, sender: OwnedFd) -> Self {
        let socket = Arc::new(socket);
        let frames = Arc::new(Mutex::new(Vec::new()));
        let barriers = Arc::new(AtomicU32::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (socket, frames) = (Arc::clone(&socket), Arc::clone(&frames));
            let (barriers, stop) = (Arc::clone(&barriers), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match receive(&socket) {
                        // On every device a barrier is seen again on each bridge port.
                        Some(frame) if frame.ethertype() == BARRIER && frame.outgoing => {
                            let once = u32::from(frame.ifindex == barrier_index);
                            barriers.fetch_add(once, Ordering::Release);
                        }
                        Some(frame) => {
                            frames
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(frame);
                        }
                        None => {}
                    }
                }
            }
        });
        Self {
            what: what.to_owned(),
            socket,
            sender,
            frames,
            barriers,
            stop,
            thread: Some(thread),
        }
    }

    /// Everything recorded so far, in both directions.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many frames are recorded: a mark for [`Tap::incoming_since`], until a `clear`.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// What came in on the device after `mark`.
    #[must_use]
    pub fn incoming_since(&self, mark: usize) -> Vec<Frame> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let later = frames.iter().skip(mark);
        later.filter(|frame| !frame.outgoing).cloned().collect()
    }

    /// What came in on the device: on a container's veth, what the container sent.
    #[must_use]
    pub fn incoming(&self) -> Vec<Frame> {
        self.frames()
            .into_iter()
            .filter(|frame| !frame.outgoing)
            .collect()
    }

    /// Incoming frames that are neither plain ARP nor plain neighbour discovery.
    #[must_use]
    pub fn suspicious(&self) -> Vec<Frame> {
        self.incoming()
            .into_iter()
            .filter(|frame| !frame.is_neighbour_discovery())
            .collect()
    }

    pub fn clear(&self) {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Returns once everything that was on the device before the call has been recorded, and
    /// checks that the kernel dropped none of it.
    ///
    /// # Panics
    /// When the recorder does not keep up or lost frames.
    #[track_caller]
    pub fn barrier(&self) {
        let before = self.barriers.load(Ordering::Acquire);
        let mut frame = [0xff_u8; 60];
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[12..14].copy_from_slice(&BARRIER.to_be_bytes());
        // SAFETY: the pointer and length describe `frame`.
        let rc = unsafe {
            libc::send(
                self.sender.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
            )
        };
        assert!(
            rc > 0,
            "{}: cannot send a barrier: {}",
            self.what,
            io::Error::last_os_error()
        );
        wait::until("the recorder has caught up", wait::SOON, || {
            (self.barriers.load(Ordering::Acquire) != before).then_some(())
        });
        assert_eq!(
            dropped(&self.socket),
            0,
            "the recorder on {} lost frames",
            self.what
        );
    }

    /// Watches for `window` and returns early with the first incoming frame that `wanted` accepts.
    pub fn watch(&self, window: Duration, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        wait::within(window, || {
            self.incoming().into_iter().find(|frame| wanted(frame))
        })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[track_caller]
fn index_of(device: &str) -> i32 {
    let name = CString::new(device).expect("a device name without NUL");
    // SAFETY: `name` is a NUL-terminated string that lives across the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(
        index,
        0,
        "no device {device}: {}",
        io::Error::last_os_error()
    );
    i32::try_from(index).expect("device indexes are positive ints")
}

/// A packet socket on a device, or on all of them for index 0; protocol 0 receives nothing.
#[track_caller]
fn open(index: i32, protocol: i32) -> OwnedFd {
    // Bound before the protocol is set, or it would record other devices for an instant.
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(
        fd >= 0,
        "cannot open a packet socket: {}",
        io::Error::last_os_error()
    );
    // SAFETY: `fd` was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(
        &socket,
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        &(16_i32 << 20),
    );
    let timeout = libc::timeval {
        tv_sec: 0,
        tv_usec: 50_000,
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout);
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = u16::try_from(protocol).unwrap_or(0).to_be();
    address.sll_ifindex = index;
    // SAFETY: the pointer and length describe `address`.
    let rc = unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(
        rc,
        0,
        "cannot bind a packet socket: {}",
        io::Error::last_os_error()
    );
    socket
}

#[track_caller]
fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) {
    // SAFETY: the pointer and length describe `value`.
    let rc = unsafe {
        let value: *const T = value;
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.cast(),
            size_of::<T>() as u32,
        )
    };
    assert_eq!(rc, 0, "setsockopt {option}: {}", io::Error::last_os_error());
}

fn receive(socket: &OwnedFd) -> Option<Frame> {
    let mut bytes = vec![0_u8; SNAP];
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut from: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: pointers and lengths describe `bytes`, `from` and `len`, which outlive the call.
    let got = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            SNAP,
            libc::MSG_TRUNC,
            (&raw mut from).cast(),
            &raw mut len,
        )
    };
    let wire_len = usize::try_from(got).ok()?;
    bytes.truncate(wire_len);
    let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
    Some(Frame {
        bytes,
        wire_len,
        outgoing,
        ifindex: from.sll_ifindex,
    })
}

/// Frames the kernel could not queue since the last call.
fn dropped(socket: &OwnedFd) -> u32 {
    let mut stats = [0_u32; 2];
    let mut len = size_of_val(&stats) as u32;
    // SAFETY: pointers and length describe `stats` (struct tpacket_stats) and `len`.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            stats.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if rc == 0 { stats[1] } else { u32::MAX }
}
