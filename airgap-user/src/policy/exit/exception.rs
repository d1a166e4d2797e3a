//! One exception: where it leads, for how long, and why. Pure.

use airgap_common::map::{REASON_LEN, Slot};

use super::{Hold, To};

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Where it leads.
    pub to: To,
    /// From when on it is over, `CLOCK_BOOTTIME`, nanoseconds; `None`: never.
    pub until: Option<u64>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// By `airgap allow`, and not with the whole policy: what labels say does not take it
    /// back.
    pub allowed: bool,
    /// How long an address holds that was found for its name; `None`: it has none.
    pub hold: Option<Hold>,
}

impl From<To> for Exception {
    fn from(to: To) -> Self {
        Self {
            hold: to.target.hold(),
            to,
            until: None,
            reason: None,
            allowed: false,
        }
    }
}

impl Exception {
    /// Whether it is over at this time of the boot clock, nanoseconds.
    pub fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Its slot under this number.
    pub fn slot(&self, number: u32) -> Slot {
        self.to.slot(number, self.until.unwrap_or(0), 0)
    }

    /// The same, with another hold where it has one.
    #[must_use]
    pub fn held(mut self, hold: Option<Hold>) -> Self {
        if let (Some(own), Some(hold)) = (&mut self.hold, hold) {
            *own = hold;
        }
        self
    }
}

/// Takes a reason as `--reason` has it.
///
/// # Errors
/// If it is empty, longer than the map's field, or has control characters.
pub fn parse_reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason has at least one word".into()),
        text if text.len() > REASON_LEN => Err(format!(
            "a reason has at most {REASON_LEN} bytes, this one has {}",
            text.len()
        )),
        text if text.contains(char::is_control) => {
            Err("a reason is one line without control characters".into())
        }
        text => Ok(text.to_owned()),
    }
}
