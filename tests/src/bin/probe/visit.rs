//! A process whose first thread is in a container's network, and another one on the host.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// `visit PID`: says that it is there, and stays.
pub(crate) fn run(pid: &str) -> Result<(), String> {
    let path = Path::new("/proc").join(pid).join("ns/net");
    let network = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // Made before the first goes away from where it is.
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    // SAFETY: an open descriptor of a network namespace, and no memory.
    if unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(format!("setns: {}", std::io::Error::last_os_error()));
    }
    println!("there");
    loop {
        std::thread::park();
    }
}
