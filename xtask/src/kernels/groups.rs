//! What an output of the end-to-end tests tells of each of their programs.

use crate::test::tally::count;

/// Starts a line that names the test program that runs next; see `assets/kernels/engine.sh`.
const PROGRAM: &str = "program: ";

/// One test program's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    /// Passed, failed; `None` where it died before its result.
    result: Option<(u64, u64)>,
}

impl Group {
    /// Whether any of its tests has a result.
    pub(super) fn has_run(&self) -> bool {
        self.result.is_some_and(|result| result != (0, 0))
    }

    /// How it did, for a table.
    pub(super) fn cell(&self) -> String {
        match self.result {
            None => "**died**".to_owned(),
            Some((0, 0)) => "**none ran**".to_owned(),
            Some((passed, 0)) => format!("{passed} of {passed}"),
            Some((passed, failed)) => format!("**{passed} of {}**", passed + failed),
        }
    }
}

/// The programs that an output tells of, in their order.
pub(super) fn groups(output: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in output.lines().map(str::trim_end) {
        if let Some(rest) = line.strip_prefix(PROGRAM) {
            groups.push(Group {
                name: rest.split('|').next().unwrap_or_default().to_owned(),
                result: None,
            });
        } else if let Some(result) = line.strip_prefix("test result: ")
            && let Some(group) = groups.last_mut()
        {
            group.result = Some((count(result, "passed"), count(result, "failed")));
        }
    }
    groups
}
