//! A connection outwards that lives in a queue of a unix socket, and in no table of descriptors.

use airgap::technique::target::Target;
use std::{net::TcpStream, os::fd::AsFd as _, os::unix::net::UnixStream, time::Duration};

/// Connects, puts the connection into the queue, closes its own end of it, and waits.
pub(crate) fn run(target: &Target) -> Result<(), String> {
    let says = |error: std::io::Error| error.to_string();
    let connect = || TcpStream::connect(target.at4());
    let mut stream = connect();
    for _ in 0..20 {
        if stream.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        stream = connect();
    }
    let stream = stream.map_err(says)?;
    let (near, _far) = UnixStream::pair().map_err(says)?;
    airgap::technique::pass::send(near.as_fd(), stream.as_fd())
        .map_err(|_fail| "the connection cannot be put into the queue")?;
    drop(stream);
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
