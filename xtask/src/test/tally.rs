//! What ran, counted from the words of the test programs themselves.

use anyhow::Error;

/// Results of all steps so far.
#[derive(Default)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    broken: Vec<String>,
}

impl Tally {
    /// Counts a step that is no test: success adds nothing, failure is one failure.
    pub(super) fn step<T>(&mut self, name: &str, outcome: Result<T, Error>) -> Option<T> {
        outcome
            .map_err(|error| {
                eprintln!("error: {error:#}");
                self.broken.push(format!("{name}: {error:#}"));
                self.failed += 1;
            })
            .ok()
    }

    /// Counts the suites of one `cargo test`, which exited with 0 or not.
    pub(super) fn suites(&mut self, name: &str, mut suites: Suites, exited_0: bool) {
        suites.finish();
        self.passed += suites.passed;
        self.skipped += suites.skipped;
        self.failed += suites.failed + suites.died;
        if suites.died > 0 {
            let died = suites.died;
            self.broken
                .push(format!("{name}: {died} suite(s) died without a result"));
        }
        if suites.failed > 0 {
            let failed = suites.failed;
            self.broken.push(format!("{name}: {failed} test(s) failed"));
        }
        if !exited_0 && suites.died + suites.failed == 0 {
            self.failed += 1;
            self.broken.push(format!(
                "{name}: did not build, or died before its first test"
            ));
        }
    }

    /// One line per step that went wrong.
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    /// `N passed, N failed`, and `, N skipped` where that is not 0.
    pub(super) fn summary(&self) -> String {
        let mut line = format!("{} passed, {} failed", self.passed, self.failed);
        if self.skipped > 0 {
            line.push_str(&format!(", {} skipped", self.skipped));
        }
        line
    }
}

/// Counts of one libtest output stream.
#[derive(Default)]
pub(super) struct Suites {
    passed: u64,
    failed: u64,
    skipped: u64,
    died: u64,
    open: bool,
}

impl Suites {
    /// Takes the next line, without its line end.
    pub(super) fn line(&mut self, line: &str) {
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.finish();
            self.open = true;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.open = false;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.skipped += count(result, "ignored");
        }
    }

    /// A suite that began and gave no result has died.
    fn finish(&mut self) {
        self.died += u64::from(std::mem::take(&mut self.open));
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; 1 ignored; …`.
pub(crate) fn count(result: &str, word: &str) -> u64 {
    result
        .split([';', '.'])
        .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str, exited_0: bool) -> String {
        let mut suites = Suites::default();
        output.lines().for_each(|line| suites.line(line));
        let mut tally = Tally::default();
        tally.suites("suite", suites, exited_0);
        tally.summary()
    }

    const GOOD: &str = "running 3 tests\ntest a ... ok\n\ntest result: ok. 2 passed; 0 failed; \
                        1 ignored; 0 measured; 4 filtered out; finished in 0.00s\n";

    #[test]
    fn adds_up_every_suite() {
        assert_eq!(tally("", true), "0 passed, 0 failed");
        assert_eq!(
            tally(&GOOD.repeat(2), true),
            "4 passed, 0 failed, 2 skipped"
        );
    }

    #[test]
    fn counts_failed_tests_once() {
        let bad = "running 1 test\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured";
        assert_eq!(tally(bad, false), "0 passed, 1 failed");
    }

    #[test]
    fn a_suite_without_a_result_is_a_failure() {
        let died = "running 9 tests\ntest a ... ok\ntest b ... ";
        assert_eq!(tally(died, false), "0 passed, 1 failed");
        let two = format!("{died}\n{GOOD}");
        assert_eq!(tally(&two, false), "2 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_build_error_is_a_failure() {
        assert_eq!(tally("", false), "0 passed, 1 failed");
    }

    #[test]
    fn a_step_that_fails_is_one_failure() {
        let mut tally = Tally::default();
        assert_eq!(tally.step("lints", Ok(7)), Some(7));
        assert!(tally.step::<()>("lints", Err(Error::msg("no"))).is_none());
        assert_eq!(tally.summary(), "0 passed, 1 failed");
        assert_eq!(tally.broken(), ["lints: no"]);
    }
}
