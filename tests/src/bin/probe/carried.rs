//! Sockets that somebody outside opened: inherited, or received over a unix socket.

use crate::{attempt, hide};
use airgap::technique::pass;
use airgap::technique::sys::{Fail, Socket, Step};
use airgap::technique::target::Target;
use std::io::Write as _;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Sends on an inherited, connected socket.
pub(crate) fn inherit(fd: &str) -> Result<(), String> {
    let fd: i32 = fd.parse().map_err(|e| format!("{fd}: {e}"))?;
    // SAFETY: the harness left this descriptor open for this process alone.
    let socket = Socket(unsafe { OwnedFd::from_raw_fd(fd) });
    let target = Target::parse(&[]);
    attempt::print("inherited", &target, |t| socket.send(t.payload(), 0));
    Ok(())
}

/// Connects an inherited socket.
pub(crate) fn connect(fd: &str, to: &str) -> Result<(), String> {
    let fd: i32 = fd.parse().map_err(|e| format!("{fd}: {e}"))?;
    let to = to.parse().map_err(|e| format!("{to}: {e}"))?;
    // SAFETY: the harness left this descriptor open for this process alone.
    let socket = Socket(unsafe { OwnedFd::from_raw_fd(fd) });
    attempt::print("connected", &Target::parse(&[]), |_| socket.connect(to));
    Ok(())
}

/// Where a descriptor is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// In this process.
    Descriptor,
    /// In one that forks and ends all the time.
    Hopping,
    /// In the queue of a unix socket, and in no table of descriptors.
    Queue,
}

/// Waits at a path, or else an abstract name, for one descriptor, sends on it and keeps it.
pub(crate) fn receive(name: &str, keeping: Keeping) -> Result<(), String> {
    let address = if name.starts_with('/') {
        SocketAddr::from_pathname(name)
    } else {
        SocketAddr::from_abstract_name(name)
    };
    let listener = UnixListener::bind_addr(&address.map_err(|e| e.to_string())?);
    let listener = listener.map_err(|e| e.to_string())?;
    println!("ready");
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    let (stream, _) = listener.accept().map_err(|e| e.to_string())?;
    let target = Target::parse(&[]);
    let mut kept = None;
    attempt::print("received", &target, |t| use_received(&stream, t, &mut kept));
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    let queue = UnixStream::pair().map_err(|e| e.to_string())?;
    match keeping {
        Keeping::Descriptor => {}
        Keeping::Hopping => {
            hide::hop_in_a_child().map_err(|e| e.to_string())?;
            drop(kept);
        }
        Keeping::Queue => {
            let Some(Socket(fd)) = kept else {
                return Err("nothing was received".into());
            };
            pass::send(queue.0.as_fd(), fd.as_fd())
                .map_err(|_fail| "it cannot be put into the queue")?;
        }
    }
    println!("kept");
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    loop {
        std::thread::park();
    }
}

/// Connects to a unix socket at a path, and stays so.
pub(crate) fn stay(path: &str) -> Result<(), String> {
    let _stream = UnixStream::connect(path).map_err(|e| e.to_string())?;
    loop {
        std::thread::park();
    }
}

fn use_received(stream: &UnixStream, t: &Target, kept: &mut Option<Socket>) -> Step<()> {
    match pass::receive(stream.as_fd())? {
        Some(fd) => kept.insert(Socket(fd)).send(t.payload(), 0),
        None => Err(Fail::Os {
            step: "recvmsg",
            errno: libc::EPERM,
        }),
    }
}
