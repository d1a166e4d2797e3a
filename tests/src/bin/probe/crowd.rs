//! Many threads that ask at once for what is refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 4;

/// Asks for packet sockets for so long; prints `GOT of ASKED`.
pub(crate) fn run(seconds: &str) -> Result<(), String> {
    let seconds = seconds.parse().map_err(|_bad| "no number of seconds")?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let (got, asked) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while Instant::now() < end {
                    // SAFETY: takes no pointers.
                    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
                    asked.fetch_add(1, Ordering::Relaxed);
                    if fd >= 0 {
                        got.fetch_add(1, Ordering::Relaxed);
                        // SAFETY: just opened, and nobody else has it.
                        unsafe { libc::close(fd) };
                    }
                }
            });
        }
    });
    println!("{} of {}", got.into_inner(), asked.into_inner());
    Ok(())
}
