//! Which of Debian's suites the kernels come from, at the mirror the host uses.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Together they have 5.10, 6.1, 6.12 and every newer series that was backported.
const MAIN: [&str; 1] = ["trixie-backports"];
const SECURITY: [&str; 2] = ["bullseye-security", "bookworm-security"];

/// A `sources.list` with the suites, checked against `keyring`.
///
/// # Errors
/// When the host's own sources name no Debian mirror.
pub(crate) fn list(keyring: &Path) -> Result<String> {
    lines(&targets()?, keyring).context(NO_MIRROR)
}

/// The address of Debian's archive that the host uses.
///
/// # Errors
/// When the host's own sources name none.
pub(crate) fn mirror() -> Result<String> {
    let targets = targets()?;
    main(&mirrors(&targets))
        .map(str::to_owned)
        .context(NO_MIRROR)
}

/// The same of one suite alone.
///
/// # Errors
/// When the host's own sources name no Debian mirror.
pub(crate) fn of_suite(suite: &str, keyring: &Path) -> Result<String> {
    Ok(line(keyring, &mirror()?, suite))
}

fn line(keyring: &Path, address: &str, suite: &str) -> String {
    let key = keyring.display();
    format!("deb [arch=amd64 signed-by={key}] {address} {suite} main\n")
}

const NO_MIRROR: &str = "apt's sources name no Debian mirror, which the kernels would come from\n\
                         hint: run this on Debian";

/// Lines of origin and address, one an index that apt knows.
fn targets() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets
        .args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI)"])
        .arg("Created-By: Packages");
    command::output(&mut targets)
}

fn mirrors(targets: &str) -> Vec<&str> {
    targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "))
        .map(|address| address.trim_end_matches('/'))
        .collect()
}

fn is_security(address: &str) -> bool {
    address.ends_with("-security")
}

fn main<'a>(mirrors: &[&'a str]) -> Option<&'a str> {
    mirrors
        .iter()
        .copied()
        .find(|address| !is_security(address))
}

/// `None` without a Debian mirror in `targets`, lines of origin and address.
fn lines(targets: &str, keyring: &Path) -> Option<String> {
    let mirrors = mirrors(targets);
    let main = main(&mirrors)?;
    let security = mirrors
        .iter()
        .find(|address| is_security(address))
        .map_or_else(
            || format!("{main}-security"),
            |address| (*address).to_owned(),
        );
    Some(
        MAIN.map(|suite| line(keyring, main, suite))
            .into_iter()
            .chain(SECURITY.map(|suite| line(keyring, &security, suite)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_the_mirror_of_the_host() {
        let key = Path::new("/k.gpg");
        let both = "Other http://o/x/\nDebian http://m/debian/\nDebian http://s/debian-security/\n";
        let list = lines(both, key).expect("a mirror");
        assert!(
            list.contains(
                "deb [arch=amd64 signed-by=/k.gpg] http://m/debian trixie-backports main\n"
            )
        );
        assert!(list.contains("] http://s/debian-security bookworm-security main\n"));
        let one = lines("Debian http://m/debian/\n", key).expect("a mirror");
        assert!(one.contains("] http://m/debian-security bullseye-security main\n"));
        assert_eq!(lines("Ubuntu http://u/ubuntu/\n", key), None);
    }
}
