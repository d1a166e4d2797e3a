//! How long an address holds that was found for a name. Pure.

use std::{fmt, str::FromStr, time::Duration};

use crate::host::clock;

/// From when it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// So long; whoever looks after it looks again before that.
    Time(Duration),
    /// Until somebody looks again, whenever that is.
    Forever,
}

const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(24);

impl Hold {
    /// Of a neighbour's address, which may be somebody else's soon after.
    pub(super) const NEIGHBOUR: Self = Self::Time(Duration::from_mins(2));
    /// Of what a name's server said.
    pub(super) const NAME: Self = Self::Time(Duration::from_mins(15));

    /// As the map has it: nanoseconds, 0 for ever.
    pub fn nanos(self) -> u64 {
        match self {
            Self::Time(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Self::Forever => 0,
        }
    }

    /// From the map.
    pub const fn of_nanos(nanos: u64) -> Self {
        match nanos {
            0 => Self::Forever,
            nanos => Self::Time(Duration::from_nanos(nanos)),
        }
    }

    /// When what is seen at `now` is over, `CLOCK_BOOTTIME`, nanoseconds.
    pub fn until(self, now: u64) -> Option<u64> {
        (self != Self::Forever).then(|| now.saturating_add(self.nanos()))
    }
}

impl FromStr for Hold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        match clock::parse_ago(text)? {
            time if (SHORTEST..=LONGEST).contains(&time) => Ok(Self::Time(time)),
            _ => Err(format!("'{text}' is not between 1m and 24h, nor forever")),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{}s", time.as_secs()),
            Self::Forever => f.write_str("forever"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_or_said_to_be_for_ever() {
        for (text, nanos) in [("1m", 60), ("2m", 120), ("24h", 86_400), ("1d", 86_400)] {
            let hold: Hold = text.parse().unwrap();
            assert_eq!(hold.nanos(), nanos * 1_000_000_000, "{text}");
            assert_eq!(hold.to_string().parse(), Ok(hold));
            assert_eq!(Hold::of_nanos(hold.nanos()), hold);
            assert_eq!(hold.until(5), Some(5 + hold.nanos()));
        }
        let forever: Hold = "forever".parse().unwrap();
        assert_eq!((forever.nanos(), forever.until(5)), (0, None));
        assert_eq!(Hold::of_nanos(0), forever);
        for bad in ["0s", "59s", "25h", "2d", "ever", "", "-1m"] {
            assert!(bad.parse::<Hold>().is_err(), "{bad}");
        }
    }
}
