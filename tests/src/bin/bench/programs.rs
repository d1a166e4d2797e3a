//! Run time of the gate's programs, by the kernel's own statistics: each figure includes what
//! reading the clock costs.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use airgap_tests::cmd;
use serde_json::Value;

/// `BPF_ENABLE_STATS` of `enum bpf_cmd` (Linux 5.8).
const BPF_ENABLE_STATS: libc::c_int = 32;

/// Statistics are on for as long as the descriptor is open: a killed run leaves none behind.
pub(crate) struct Statistics {
    _on: OwnedFd,
}

impl Statistics {
    pub(crate) fn start() -> Self {
        let run_time: u32 = 0;
        // SAFETY: a whole attribute of four bytes, which the call only reads.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_ENABLE_STATS,
                &raw const run_time,
                size_of_val(&run_time),
            )
        };
        assert!(fd >= 0, "BPF_ENABLE_STATS: {}", io::Error::last_os_error());
        // SAFETY: a new descriptor that nobody else has.
        let on = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Self { _on: on }
    }

    /// Nanoseconds and runs of a program so far.
    pub(crate) fn of(&self, program: &str) -> (f64, f64) {
        // The kernel keeps fifteen characters of a name.
        let name: String = program.chars().take(15).collect();
        let all: Value =
            serde_json::from_str(&cmd::ok("bpftool -j prog show")).expect("bpftool -j");
        let programs = all.as_array().into_iter().flatten();
        let found = programs.filter(|p| p["name"] == *name).map(|p| {
            let number = |key: &str| p[key].as_f64().unwrap_or(0.0);
            (number("run_time_ns"), number("run_cnt"))
        });
        found.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Nanoseconds a run while `work` is done.
    pub(crate) fn during(&self, program: &str, work: impl FnOnce()) -> f64 {
        let before = self.of(program);
        work();
        let after = self.of(program);
        (after.0 - before.0) / (after.1 - before.1)
    }
}
