//! `kernel.ftrace_enabled`: at 0 the kernel calls no security hook.

use std::fs;

const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

/// Off, until dropped.
pub struct FtraceOff(());

impl FtraceOff {
    /// Switches it off. `None`: this kernel refuses that while programs are attached.
    ///
    /// # Panics
    /// When a kernel refuses that is known not to.
    #[must_use]
    pub fn now() -> Option<Self> {
        let off = fs::write(FTRACE, "0");
        // From 6.1 to 7.2 it is done whatever is attached.
        if is_switched_whatever_is_attached() {
            off.as_ref().expect("switch ftrace off");
        }
        off.is_ok().then_some(Self(()))
    }
}

impl Drop for FtraceOff {
    fn drop(&mut self) {
        if let Err(error) = fs::write(FTRACE, "1") {
            eprintln!("ftrace stays off: {error}");
        }
    }
}

/// Whether this kernel switches it off with programs attached.
#[must_use]
pub fn is_switched_whatever_is_attached() -> bool {
    ((6, 1)..(7, 3)).contains(&release())
}

/// Of the running kernel, major and minor.
///
/// # Panics
/// When /proc does not say.
#[must_use]
pub fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut numbers = text.split('.').map_while(|n| n.parse().ok());
    let mut next = || numbers.next().expect("a number");
    (next(), next())
}
