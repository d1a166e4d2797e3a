//! Times that no change of the wall clock moves, and the wall clock itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `CLOCK_BOOTTIME`: since the kernel booted, sleep included.
pub fn since_boot() -> Duration {
    read(libc::CLOCK_BOOTTIME)
}

/// The same in nanoseconds, as `bpf_ktime_get_boot_ns` tells it.
pub fn since_boot_nanos() -> u64 {
    u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// The same in whole seconds, as the maps keep it; the last number means none.
pub fn since_boot_seconds() -> u32 {
    u32::try_from(since_boot().as_secs()).unwrap_or(u32::MAX - 1)
}

/// `CLOCK_MONOTONIC`: what `bpf_ktime_get_ns` tells, sleep left out.
pub fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

fn read(clock: libc::clockid_t) -> Duration {
    // SAFETY: plain data.
    let mut since: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: a whole timespec to write to.
    unsafe { libc::clock_gettime(clock, &raw mut since) };
    Duration::new(since.tv_sec as u64, since.tv_nsec as u32)
}

/// Which boot of the kernel this is (random(4)); empty if that cannot be read.
pub fn boot_id() -> String {
    let text = crate::host::procfs::text("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}

/// When a process started, clock ticks since boot (proc(5), stat field 22);
/// 0 if there is none. `pid` may be `self`.
pub fn start_ticks(pid: &str) -> u64 {
    let stat = crate::host::procfs::text(format!("/proc/{pid}/stat")).unwrap_or_default();
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

/// A span as people write it: a number and `s`, `m`, `h` or `d`.
///
/// # Errors
/// If it is anything else.
pub fn parse_ago(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no span of time: write 90s, 15m, 1h or 2d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().or(Err(wrong()))?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// The wall clock: seconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans() {
        assert_eq!(parse_ago("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ago("2d"), Ok(Duration::from_secs(172_800)));
        for bad in ["", "h", "1", "-1h", "1.5h", "1w", "1é", "99999999999h"] {
            assert!(parse_ago(bad).is_err(), "{bad}");
        }
    }

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
