//! What runs inside: tests that need no Docker and their probe, all static, and busybox around them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::host::Host;
use super::initramfs::Initramfs;
use crate::build;
use crate::command;
use crate::test;
use crate::workspace;

/// Sourced by every machine's `init`.
pub(super) const EARLY: &[u8] = include_bytes!("../../assets/kernels/early.sh");

const INIT: &[u8] = include_bytes!("../../assets/kernels/init.sh");

/// In `tests/tests`, in the order in which they run.
const TESTS: [&str; 6] = ["gate", "hooks", "attached", "crowd", "product", "commands"];

/// Commands of the guest's `init` and what it sources, and `mkdir`, which the tests run.
const APPLETS: [&str; 9] = [
    "sh", "mount", "stty", "ip", "ls", "uname", "poweroff", "mkdir", "insmod",
];

/// Builds the tests and writes the initial file system to `path`.
///
/// # Errors
/// When a build fails or a file cannot be read or written.
pub(super) fn write(root: &Path, host: &Host, path: &Path) -> Result<()> {
    let airgap = build::run(true)?;
    let probe = test::build_probe(root)?;
    let tests = TESTS
        .iter()
        .map(|name| build_test(root, name))
        .collect::<Result<Vec<_>>>()?;

    let mut archive = Initramfs::default();
    for dir in ["bin", "tests", "proc", "sys", "dev", "tmp", "run"] {
        archive.directory(dir);
    }
    for (name, file) in [
        ("bin/busybox", host.busybox.as_path()),
        ("bin/airgap", &airgap),
        ("bin/airgap-probe", &probe),
    ] {
        archive.program(name, &read(file)?);
    }
    for (name, file) in TESTS.iter().zip(&tests) {
        archive.program(&format!("tests/{name}"), &read(file)?);
    }
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.program("early.sh", EARLY);
    archive.program("init", INIT);
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

/// Adds a kernel's modules to an initial file system: the kernel unpacks one archive after the
/// other.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn with_modules(base: &Path, modules: &[(&str, PathBuf)], path: &Path) -> Result<()> {
    let mut archive = Initramfs::default();
    archive.directory("modules");
    // Numbered: one may need those before it.
    for (number, (name, module)) in modules.iter().enumerate() {
        archive.program(&format!("modules/{number:02}-{name}.ko"), &read(module)?);
    }
    let mut bytes = read(base)?;
    bytes.extend(archive.finish());
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The test program of that name, static.
///
/// # Errors
/// When the build fails.
pub(super) fn build_test(root: &Path, name: &str) -> Result<PathBuf> {
    let mut cargo = workspace::cargo(root);
    cargo
        .args(["test", "--package", "airgap-tests", "--test", name])
        .args(["--no-run", "--target", &workspace::musl_target()])
        // Debug information is ten times the rest, and unpacked by an emulated processor.
        .args(["--config", "profile.dev.strip=true"])
        .arg("--message-format=json-render-diagnostics");
    let messages = command::output(&mut cargo)?;
    executable(&messages, name).with_context(|| {
        format!(
            "`{}` named no test program of that name",
            command::line(&cargo)
        )
    })
}

/// The program that cargo's messages, one JSON object a line, report for a target.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    let prefix = format!("{target}-");
    messages
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(r#""executable":""#)?;
            rest.split_once('"').map(|(path, _)| PathBuf::from(path))
        })
        .find(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&prefix))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_program_among_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null,"fresh":true}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/debug/airgap-probe","fresh":true}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/deps/gate-0a","fresh":false}"#,
        );
        assert_eq!(
            executable(messages, "gate"),
            Some(PathBuf::from("/t/deps/gate-0a"))
        );
        assert_eq!(executable(messages, "serves"), None);
    }
}
