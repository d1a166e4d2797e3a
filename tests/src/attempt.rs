//! What the probe reports about one technique.

use crate::cmd::Output;
use serde_json::Value;

/// How a technique ended as seen from inside the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every call succeeded: something was handed to the kernel for sending.
    Sent,
    /// A call failed with an errno.
    Refused,
    /// Nothing failed, but no answer came in time.
    NoAnswer,
    /// This kernel or container cannot even try.
    Skipped,
}

/// One line of the probe.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub technique: String,
    pub verdict: Verdict,
    /// 0 unless a call failed.
    pub errno: i32,
    pub micros: u64,
    /// The call that ended it, or the reason for skipping.
    pub detail: String,
}

impl Attempt {
    /// # Panics
    /// When the output holds no report.
    #[track_caller]
    pub(crate) fn parse(out: &Output) -> Self {
        let line = out.stdout.lines().last().unwrap_or("");
        Self::from_json(line)
            .unwrap_or_else(|| panic!("no report from the probe\n{}", out.describe()))
    }

    fn from_json(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Some(Self {
            technique: text("technique")?,
            verdict: match value["outcome"].as_str()? {
                "sent" => Verdict::Sent,
                "refused" => Verdict::Refused,
                "no-answer" => Verdict::NoAnswer,
                "skipped" => Verdict::Skipped,
                _ => return None,
            },
            errno: i32::try_from(value["errno"].as_i64()?).ok()?,
            micros: value["micros"].as_u64()?,
            detail: text("detail")?,
        })
    }
}
