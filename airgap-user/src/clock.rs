//! Times that no change of the wall clock moves.

use std::time::Duration;

/// `CLOCK_BOOTTIME`: since the kernel booted, sleep included.
pub fn since_boot() -> Duration {
    // SAFETY: plain data.
    let mut since: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: a whole timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut since) };
    Duration::new(since.tv_sec as u64, since.tv_nsec as u32)
}

/// When a process started, clock ticks since boot (proc(5), stat field 22);
/// 0 if there is none. `pid` may be `self`.
pub fn start_ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in field 2 may hold anything, its last parenthesis ends it.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19))
        .and_then(|ticks| ticks.parse().ok())
        .unwrap_or(0)
}

/// Whole seconds from boot to the start of a process; `None` if there is none.
pub fn started(pid: u32) -> Option<u64> {
    // SAFETY: sysconf takes no pointers.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    match start_ticks(&pid.to_string()) {
        0 => None,
        ticks => ticks.checked_div(per_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_is_alive_and_since_when() {
        assert_ne!(start_ticks("self"), 0);
        assert_eq!(start_ticks("0"), 0);
        let (me, now) = (started(std::process::id()), since_boot().as_secs());
        assert!(
            me.is_some_and(|s| s <= now && now - s < 3600),
            "{me:?} {now}"
        );
        assert_eq!(started(0), None);
    }
}
