//! `docs/PERFORMANCE.md` has two authors: the counted instructions, and all that is measured by a clock.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- counted by cargo xtask bench --exact -->\n";
const END: &str = "<!-- end of what is counted -->\n";

/// Puts the counted part into the page, above the other.
///
/// # Errors
/// When the page cannot be read or written.
pub(crate) fn write(root: &Path, counted: &str) -> Result<PathBuf> {
    let path = root.join("docs/PERFORMANCE.md");
    let page = read(&path)?;
    fs::write(&path, with(&page, counted))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The counted part of the page, if there is one.
///
/// # Errors
/// When the page cannot be read.
pub(crate) fn counted(root: &Path) -> Result<Option<String>> {
    let page = read(&root.join("docs/PERFORMANCE.md"))?;
    Ok(part(&page).map(|(_, counted, _)| counted.to_owned()))
}

fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("cannot read {}", path.display())),
    }
}

/// What is before, in and behind the counted part.
fn part(page: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (counted, behind) = rest.split_once(END)?;
    Some((before, counted, behind))
}

fn with(page: &str, counted: &str) -> String {
    let (before, behind) = match part(page) {
        Some((before, _, behind)) => (before, behind),
        None => match page.split_once("\n\n") {
            // Behind the title.
            Some((title, rest)) if title.starts_with("# ") => {
                return format!("{title}\n\n{BEGIN}{counted}{END}\n{rest}");
            }
            _ => ("# Performance\n\n", page),
        },
    };
    format!("{before}{BEGIN}{counted}{END}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counted_part_is_replaced_and_the_rest_stays() {
        let first = with("# Performance\n\nBy a clock.\n", "one\n");
        assert!(
            first.starts_with("# Performance\n\n<!-- counted"),
            "{first}"
        );
        assert!(first.ends_with("-->\n\nBy a clock.\n"), "{first}");
        let second = with(&first, "two\n");
        assert_eq!(second, first.replace("one", "two"));
        assert_eq!(part(&second).map(|(_, counted, _)| counted), Some("two\n"));
        assert_eq!(part("# Performance\n"), None);
        assert!(with("", "one\n").starts_with("# Performance\n\n<!-- counted"));
    }
}
