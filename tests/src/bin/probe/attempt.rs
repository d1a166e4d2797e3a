//! Attempts, one JSON line each.

use airgap::technique::{self, Report, sys::Step, target::Target};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tries one technique; an [`airgap::technique::Report`] on stdout.
pub(crate) fn run(name: &str, target: &Target) -> Result<(), String> {
    if let Some(way) = technique::find(name) {
        println!("{}", serde_json::json!(technique::attempt(way, target)));
        return Ok(());
    }
    let work = technique::find_other(name).ok_or_else(|| format!("no technique {name}"))?;
    print(name, target, work);
    Ok(())
}

/// Tries one technique, and says nothing.
pub(crate) fn report(name: &str, target: &Target) -> Result<Report, String> {
    let way = technique::find(name).ok_or_else(|| format!("no technique {name}"))?;
    Ok(technique::attempt(way, target))
}

/// One attempt for each line on stdin, in a process of its own: what it leaves open goes with it.
pub(crate) fn session() -> Result<(), String> {
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| format!("stdin: {e}"))?;
        Command::new("/proc/self/exe")
            .arg("try")
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .status()
            .map_err(|e| format!("cannot start an attempt: {e}"))?;
    }
    Ok(())
}

/// Tries one technique every 20 ms until killed.
pub(crate) fn knock(name: &str, target: &Target) -> Result<(), String> {
    loop {
        run(name, target)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As [`run`], for whatever can be tried.
pub(crate) fn print(name: &str, target: &Target, work: impl FnOnce(&Target) -> Step<()>) {
    let report = technique::attempt_with(name, work, target);
    println!("{}", serde_json::json!(report));
}
