//! Attempts, one JSON line each.

use airgap::technique::{self, Technique, target::Target};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tries one technique.
pub(crate) fn run(name: &str, target: &Target) -> Result<(), String> {
    let technique = technique::find(name).ok_or_else(|| format!("no technique {name}"))?;
    report(name, target, technique);
    Ok(())
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

/// An [`airgap::technique::Report`] on stdout.
pub(crate) fn report(name: &str, target: &Target, technique: Technique) {
    let report = technique::attempt(name, technique, target);
    println!("{}", serde_json::json!(report));
}
