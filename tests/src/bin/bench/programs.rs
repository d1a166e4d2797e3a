//! Run time of the gate's programs, by the kernel's own statistics (`bpf_stats_enabled`,
//! Linux 5.1): each figure includes what reading the clock costs.

use std::fs;

use airgap_tests::cmd;
use serde_json::Value;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Statistics are on until this is dropped.
pub(crate) struct Statistics {
    before: String,
}

impl Statistics {
    pub(crate) fn start() -> Self {
        let before = fs::read_to_string(SWITCH).expect(SWITCH);
        fs::write(SWITCH, "1").expect(SWITCH);
        Self { before }
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

impl Drop for Statistics {
    fn drop(&mut self) {
        if fs::write(SWITCH, self.before.trim()).is_err() {
            eprintln!("cannot restore {SWITCH}");
        }
    }
}
