//! Attempts, one JSON line each.

use airgap::technique::{self, Technique, sys::Step, target::Target};
use std::time::Duration;

/// Tries one technique.
pub(crate) fn run(name: &str, target: &Target) -> Result<(), String> {
    let technique = technique::find(name).ok_or_else(|| format!("no technique {name}"))?;
    report(name, target, technique);
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
    print(name, target, technique);
}

/// As [`report`], for whatever can be tried.
pub(crate) fn print(name: &str, target: &Target, work: impl FnOnce(&Target) -> Step<()>) {
    let report = technique::attempt(name, work, target);
    println!("{}", serde_json::json!(report));
}
