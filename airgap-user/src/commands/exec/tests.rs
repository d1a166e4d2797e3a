//! Tests of `exec`.

use super::{NOT_FOUND, NOT_STARTED, find};
use std::ffi::OsStr;

#[test]
fn programs_are_found_as_a_shell_does() {
    let find = |name: &str, path: &str| find(OsStr::new(name), Some(OsStr::new(path)));
    assert!(find("sh", "/nowhere:/bin").is_ok());
    assert!(find("/bin/sh", "").is_ok());
    assert_eq!(find("sh", "/nowhere"), Err(NOT_FOUND));
    assert_eq!(find("", "/bin"), Err(NOT_FOUND));
    assert_eq!(find("/etc/passwd", ""), Err(NOT_STARTED));
    assert_eq!(find("/etc", ""), Err(NOT_STARTED));
    assert_eq!(find("passwd", "/etc"), Err(NOT_STARTED));
}
