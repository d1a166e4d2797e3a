//! How a kernel did, from what its tests printed on their serial port.

use std::time::Duration;

use super::groups::{self, Group};
use crate::test::tally::count;

/// What `init` prints; see `assets/kernels/init.sh`.
const BEGIN: &str = "guest: begin ";
const EXIT: &str = "guest: exit ";
const COMPLAINT: &str = "guest: ";

/// Why the machine is not running any more.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    Off,
    /// Killed after so long.
    TimedOut(Duration),
}

/// One kernel's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `uname -r`, if it got that far.
    pub(super) release: Option<String>,
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// What went wrong; `None` if every test ran and passed.
    pub(super) complaint: Option<String>,
    /// What the product said of each vector there.
    pub(super) vectors: Vec<Vector>,
    /// Ways out that verify proved closed, of those it tried: `79 of 79`.
    pub(super) proven: Option<String>,
    /// What each test program did, where they are named.
    pub(super) groups: Vec<Group>,
    /// From power on until the tests began.
    pub(super) boot: Option<Duration>,
    /// From power on until the end.
    pub(super) total: Duration,
}

/// A vector of `airgap status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) covered: bool,
    /// By what, or why not.
    pub(super) by: String,
}

impl Vector {
    /// `true|name|by`, as the product test prints it.
    fn parse(text: &str) -> Option<Self> {
        let (covered, rest) = text.split_once('|')?;
        let (name, by) = rest.split_once('|')?;
        Some(Self {
            name: name.to_owned(),
            covered: covered == "true",
            by: by.to_owned(),
        })
    }
}

impl Outcome {
    /// Whether the tests were started.
    pub(super) fn has_begun(output: &str) -> bool {
        value(output, BEGIN).is_some()
    }

    /// Whether the machine came to nothing, so that another boot may do better.
    pub(super) fn is_no_boot(&self) -> bool {
        self.release.is_none()
    }

    /// Whether every test ran and passed.
    pub(super) fn is_good(&self) -> bool {
        self.complaint.is_none()
    }

    pub(super) fn new(
        output: &str,
        ending: Ending,
        boot: Option<Duration>,
        total: Duration,
    ) -> Self {
        let release = value(output, BEGIN).map(str::to_owned);
        let number = |word| {
            let results = values(output, "test result: ");
            results.map(|result| count(result, word)).sum()
        };
        let (passed, failed) = (number("passed"), number("failed"));
        let groups = groups::groups(output);
        let complaint = match (ending, value(output, EXIT)) {
            (Ending::TimedOut(limit), _) if release.is_none() => {
                Some(format!("did not boot within {} s", limit.as_secs()))
            }
            (Ending::TimedOut(limit), _) => Some(format!("no result within {} s", limit.as_secs())),
            (Ending::Off, Some("0")) if let Some(group) = groups.iter().find(|g| !g.has_run()) => {
                Some(format!("no test of {} ran", group.name))
            }
            (Ending::Off, Some("0")) if passed > 0 && failed == 0 => None,
            (Ending::Off, Some("0")) => Some("no test ran".to_owned()),
            (Ending::Off, Some(_)) if failed > 0 => Some(format!("{failed} test(s) failed")),
            (Ending::Off, Some(code)) => Some(format!("the tests ended with {code} and no result")),
            (Ending::Off, None) if release.is_some() => {
                Some("the kernel died during the tests".to_owned())
            }
            (Ending::Off, None) => Some(
                value(output, COMPLAINT).map_or_else(|| "did not boot".to_owned(), str::to_owned),
            ),
        };
        Self {
            release,
            passed,
            failed,
            complaint,
            vectors: values(output, "vector: ")
                .filter_map(Vector::parse)
                .collect(),
            proven: value(output, "proven: ").map(str::to_owned),
            groups,
            boot,
            total,
        }
    }
}

/// The rest of the last complete line that starts with `key`.
fn value<'a>(output: &'a str, key: &'a str) -> Option<&'a str> {
    values(output, key).last()
}

fn values<'a>(output: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    output
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .filter_map(move |line| line.trim_end().strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(output: &str, ending: Ending) -> Outcome {
        Outcome::new(output, ending, None, Duration::from_secs(9))
    }

    const GOOD: &str = "guest: begin 6.1.0\r\nrunning 6 tests\ntest a ... ok\n\
        test result: ok. 6 passed; 0 failed; 0 ignored; finished in 1s\nguest: exit 0\n";

    #[test]
    fn all_tests_passed() {
        let good = outcome(GOOD, Ending::Off);
        assert_eq!((good.passed, good.failed, good.complaint), (6, 0, None));
        assert_eq!(good.release.as_deref(), Some("6.1.0"));
    }

    #[test]
    fn reads_what_the_product_said() {
        let said = "vector: true|DNS|egress\nproven: 79 of 79\nguest: exit 0\n";
        let good = outcome(&GOOD.replace("guest: exit 0\n", said), Ending::Off);
        let vector = Vector {
            name: "DNS".to_owned(),
            covered: true,
            by: "egress".to_owned(),
        };
        assert_eq!(good.vectors, [vector]);
        assert_eq!(good.proven.as_deref(), Some("79 of 79"));
    }

    #[test]
    fn the_programs_results_add_up() {
        let second = "test result: ok. 8 passed; 0 failed;\nguest: exit 0\n";
        let good = outcome(&GOOD.replace("guest: exit 0\n", second), Ending::Off);
        assert_eq!((good.passed, good.failed, good.complaint), (14, 0, None));
    }

    #[test]
    fn everything_else_is_a_complaint() {
        let complaint = |output: &str, ending| outcome(output, ending).complaint.expect("bad");
        let bad = GOOD.replace("ok. 6 passed; 0", "FAILED. 4 passed; 2");
        let bad = bad.replace("exit 0", "exit 101");
        assert_eq!(complaint(&bad, Ending::Off), "2 test(s) failed");
        let none = GOOD.replace("6 passed", "0 passed");
        assert_eq!(complaint(&none, Ending::Off), "no test ran");
        let cut = GOOD.replace("guest: exit 0\n", "");
        assert_eq!(
            complaint(&cut, Ending::Off),
            "the kernel died during the tests"
        );
        let late = Ending::TimedOut(Duration::from_secs(300));
        assert_eq!(complaint(&cut, late), "no result within 300 s");
        assert_eq!(complaint("guest: beg", late), "did not boot within 300 s");
        assert_eq!(complaint("", Ending::Off), "did not boot");
        assert!(outcome("", Ending::Off).is_no_boot());
        assert_eq!(
            complaint("guest: there is a network device: eth0\n", Ending::Off),
            "there is a network device: eth0"
        );
    }
}
