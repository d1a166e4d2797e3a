//! `cargo xtask test`: every check of the repository, and one honest line at the end.

pub(crate) mod tally;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::command;
use crate::workspace;
use crate::{build, kernels, setup};
use tally::{Suites, Tally};

/// Runs set-up, build, checks and all tests, and ends with the line `N passed, N failed`.
/// Returns whether nothing failed.
///
/// A failing step does not hide the later ones. With a filter only the tests whose name contains
/// it run, and the format and lint checks do not.
///
/// # Errors
/// Before anything ran: without root, or outside the repository.
pub(crate) fn run(filter: Option<&str>) -> Result<bool> {
    setup::require_root("test")?;
    let root = workspace::root()?;
    let mut tally = Tally::default();

    step("setup");
    tally.step("setup", setup::run());
    step("build");
    let binary = tally.step("build", build::run(true));
    if filter.is_none() {
        step("format");
        let mut format = workspace::cargo(&root);
        format.args(["fmt", "--all", "--check"]);
        tally.step("format", command::run(&mut format));
        step("lints");
        tally.step("lints", lints(&root));
        step("reference");
        let mut reference = workspace::cargo(&root);
        reference
            .args([
                "doc",
                "--no-deps",
                "--workspace",
                "--exclude",
                "airgap-ebpf",
            ])
            .env("RUSTDOCFLAGS", "-D warnings");
        tally.step("reference", command::run(&mut reference));
    }
    step("pure tests");
    let mut pure = workspace::cargo(&root);
    pure.args(["test", "--no-fail-fast"]).args(filter);
    suites("pure tests", &mut pure, &mut tally);

    // Emulated machines compute while the other tests mostly wait.
    let mut beside = Vec::new();
    if filter.is_none() {
        let names = kernels::QUICK.iter().flat_map(|name| ["--kernel", name]);
        let kernels: Vec<_> = ["kernels"].into_iter().chain(names).collect();
        for (name, task) in [
            ("other kernels", &kernels[..]),
            ("budget of instructions", &["bench", "--budget"]),
        ] {
            beside.extend(tally.step(name, Beside::start(&root, name, task)));
        }
    }
    step("kernel and end-to-end tests");
    let probe = tally.step("probe", build_probe(&root));
    match (binary, probe) {
        (Some(binary), Some(probe)) => {
            let mut kernel = workspace::cargo(&root);
            kernel
                .args(["test", "--package", "airgap-tests"])
                .arg("--no-fail-fast")
                .args(filter)
                .args(["--", "--test-threads=1"])
                .env("AIRGAP_BIN", binary)
                .env("AIRGAP_PROBE", probe)
                .env("AIRGAP_BPF_OBJ", root.join("target/bpf/airgap-ebpf.o"));
            suites("kernel and end-to-end tests", &mut kernel, &mut tally);
        }
        _ => eprintln!("kernel and end-to-end tests did not run: their binaries are missing"),
    }

    for beside in beside {
        step(beside.name);
        beside.finish(&mut tally);
    }

    println!();
    for step in tally.broken() {
        println!("failed: {step}");
    }
    println!("{}", tally.summary());
    Ok(tally.broken().is_empty())
}

fn step(name: &str) {
    println!("\n== {name}");
}

/// Lints of everything the stable toolchain compiles; the pinned nightly has no clippy.
fn lints(root: &Path) -> Result<()> {
    let mut clippy = workspace::cargo(root);
    clippy
        .args(["clippy", "--workspace", "--exclude", "airgap-ebpf"])
        .args(["--all-targets", "--", "-D", "warnings"]);
    command::run(&mut clippy)
}

/// The program that tests run inside containers: static, so any image will do.
///
/// # Errors
/// When the build fails.
pub(crate) fn build_probe(root: &Path) -> Result<PathBuf> {
    build_tool(root, "airgap-probe")
}

/// A static program of the tests'.
///
/// # Errors
/// When the build fails.
pub(crate) fn build_tool(root: &Path, name: &str) -> Result<PathBuf> {
    let target = workspace::musl_target();
    let mut cargo = workspace::cargo(root);
    cargo
        .args(["build", "--release", "--package", "airgap-tests"])
        .args(["--bin", name, "--target", &target]);
    command::run(&mut cargo)?;
    Ok(workspace::target_dir(root)
        .join(target)
        .join("release")
        .join(name))
}

/// Runs one `cargo test`, passes its output on as it comes, and counts it.
fn suites(name: &str, command: &mut Command, tally: &mut Tally) {
    let mut suites = Suites::default();
    match stream(command, &mut suites) {
        Ok(exited_0) => tally.suites(name, suites, exited_0),
        Err(error) => {
            tally.suites(name, suites, true);
            tally.step::<()>(name, Err(error));
        }
    }
}

/// Another task beside the tests; what it prints is kept for later.
struct Beside {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Beside {
    /// One that needs the same machines waits for the one before.
    fn start(root: &Path, name: &'static str, task: &[&str]) -> Result<Self> {
        let log = workspace::target_dir(root).join(format!("{}.log", name.replace(' ', "-")));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().context("cannot share the log")?;
        let own = std::env::current_exe().context("cannot find xtask itself")?;
        let mut command = Command::new("nice");
        command
            .args(["-n", "10"])
            .arg(own)
            .args(task)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::line(&command)))?;
        Ok(Self { name, child, log })
    }

    /// Waits for it, shows what it printed and counts it.
    fn finish(mut self, tally: &mut Tally) {
        let mut suites = Suites::default();
        let shown = File::open(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))
            .and_then(|log| {
                let status = self.child.wait().context("cannot wait for it")?;
                show(log, &mut suites)?;
                Ok(status.success())
            });
        let good = tally.step(self.name, shown);
        tally.suites(self.name, suites, good.unwrap_or(true));
    }
}

fn stream(command: &mut Command, suites: &mut Suites) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", command::line(command)))?;
    if let Some(stdout) = child.stdout.take() {
        show(stdout, suites)?;
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        eprintln!("error: `{}` failed: {status}", command::line(command));
    }
    Ok(status.success())
}

/// Passes output of tests on as it comes, and counts it.
fn show(output: impl Read, suites: &mut Suites) -> Result<()> {
    // By bytes: a test that is shot mid-line leaves whatever it had written.
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read the test output")?;
        let mut out = std::io::stdout().lock();
        out.write_all(&line)
            .and_then(|()| out.write_all(b"\n"))
            .context("cannot write to stdout")?;
        suites.line(&String::from_utf8_lossy(&line));
    }
    Ok(())
}
