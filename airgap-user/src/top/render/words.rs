//! Numbers and times in few columns.

use std::time::SystemTime;

use crate::notation::timestamp;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Attempts a second; `-`: not known yet.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".into(),
        Some(0.0) => "0".into(),
        Some(rate) if rate < 99.95 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// UTC, to the second.
pub(super) fn clock(time: SystemTime) -> String {
    timestamp(time)[11..19].to_owned()
}

/// The last `width` seconds, the newest at the right; the highest bar is the
/// most of them, a second without attempts is empty.
pub(super) fn spark(seconds: &[u64], width: usize) -> String {
    let shown = &seconds[seconds.len().saturating_sub(width)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let bar = |n: &u64| match *n {
        0 => ' ',
        n => BARS[usize::try_from(u128::from(n) * 7 / u128::from(most)).unwrap_or(7)],
    };
    let bars: String = shown.iter().map(bar).collect();
    format!("{bars:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spark_shows_the_last_seconds() {
        assert_eq!(spark(&[9, 0, 1, 4, 8], 4), " ▁▄█");
        assert_eq!(spark(&[1], 3), "  █");
        assert_eq!(spark(&[], 2), "  ");
        assert_eq!(spark(&[u64::MAX, 1], 2), "█▁");
    }

    #[test]
    fn rates_have_few_digits() {
        let all = [None, Some(0.0), Some(0.2), Some(99.96), Some(1e6)].map(rate);
        assert_eq!(all, ["-", "0", "0.2", "100", "1000000"]);
    }
}
