//! What runs inside: the gate's tests and their probe, both static, and busybox around them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::host::Host;
use super::initramfs::Initramfs;
use crate::build_ebpf;
use crate::command;
use crate::test;
use crate::workspace;

const INIT: &[u8] = include_bytes!("../../assets/kernels/init.sh");

/// Commands of the guest's `init`, and `mkdir`, which the tests run.
const APPLETS: [&str; 8] = [
    "sh", "mount", "stty", "ip", "ls", "uname", "poweroff", "mkdir",
];

/// Builds the tests and writes the initial file system to `path`.
///
/// # Errors
/// When a build fails or a file cannot be read or written.
pub(super) fn write(root: &Path, host: &Host, path: &Path) -> Result<()> {
    build_ebpf::run()?;
    let probe = test::build_probe(root)?;
    let gate = build_gate(root)?;

    let mut archive = Initramfs::default();
    for dir in ["bin", "proc", "sys", "dev", "tmp", "run"] {
        archive.directory(dir);
    }
    for (name, file) in [
        ("bin/busybox", host.busybox.as_path()),
        ("bin/airgap-probe", &probe),
        ("bin/gate", &gate),
    ] {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        archive.program(name, &content);
    }
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.program("init", INIT);
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

/// The test program of `tests/tests/gate.rs`, static.
fn build_gate(root: &Path) -> Result<PathBuf> {
    let mut cargo = workspace::cargo(root);
    cargo
        .args(["test", "--package", "airgap-tests", "--test", "gate"])
        .args(["--no-run", "--target", &workspace::musl_target()])
        // Debug information is ten times the rest, and unpacked by an emulated processor.
        .args(["--config", "profile.dev.strip=true"])
        .arg("--message-format=json-render-diagnostics");
    let messages = command::output(&mut cargo)?;
    executable(&messages, "gate").with_context(|| {
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
