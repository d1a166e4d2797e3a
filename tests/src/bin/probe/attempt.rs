//! Attempts, one JSON line each.

use airgap::technique::{self, target::Target};
use std::time::Duration;

/// Tries one technique; an [`airgap::technique::Report`] on stdout.
pub(crate) fn run(name: &str, target: &Target) -> Result<(), String> {
    let way = technique::find(name).ok_or_else(|| format!("no technique {name}"))?;
    let report = technique::attempt(way, target);
    println!("{}", serde_json::json!(report));
    Ok(())
}

/// Tries one technique every 20 ms until killed.
pub(crate) fn knock(name: &str, target: &Target) -> Result<(), String> {
    loop {
        run(name, target)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}
