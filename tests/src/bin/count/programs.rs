//! What each of the gate's programs takes of an operation, by the kernel's own statistics,
//! whose clock counts instructions here. Reading that clock is within each figure, and it is
//! the same for all.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

/// Instructions and runs of each program since it was loaded, by its name.
type Totals = BTreeMap<String, (u64, u64)>;

/// Statistics are on for as long as this is there.
pub(crate) struct Programs {
    _on: OwnedFd,
    before: Totals,
}

impl Programs {
    pub(crate) fn start() -> Self {
        Self {
            _on: enable_stats(Stats::RunTime).expect("statistics of programs"),
            before: totals(),
        }
    }

    /// Prints a line for each program that has run since: its name, runs for one of `times`
    /// operations, and instructions of one run.
    pub(crate) fn print(&self, times: f64) {
        for (name, (instructions, runs)) in totals() {
            let (was, had) = self.before.get(&name).copied().unwrap_or_default();
            if runs > had {
                let ran = (runs - had) as f64;
                let each = (instructions - was) as f64 / ran;
                println!("program: {name}: {:.2} runs of {each:.0}", ran / times);
            }
        }
    }
}

fn totals() -> Totals {
    let mut totals = Totals::new();
    for program in loaded_programs().flatten() {
        let name = String::from_utf8_lossy(program.name()).into_owned();
        let total = totals.entry(name).or_default();
        total.0 += program.run_time().as_nanos() as u64;
        total.1 += program.run_count();
    }
    totals
}
