//! A page in a real browser: headless Chromium without any network.

use crate::cmd;
use crate::files::Files;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Of a browser that does nothing by itself, as far as it lets itself be told.
const QUIET: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-pdf-header-footer",
];
/// Seconds after which a browser is killed.
const PATIENCE: &str = "60";

/// What became of one page.
#[derive(Debug)]
pub struct Visit {
    /// The document as it was at last, after all scripts.
    pub dom: String,
    /// Addresses that the page, not the browser, asked for.
    pub asked: Vec<String>,
}

/// Shows a page of a file, in a network namespace of its own that has not even a loopback
/// interface up, as a user who was never there before; `options` are Chromium's.
///
/// # Panics
/// When there is no Chromium, or it does not end well.
#[must_use]
#[track_caller]
pub fn visit(page: &str, options: &[&str]) -> Visit {
    let files = Files::new();
    let log = files.path("requests.json");
    let mut browser = Command::new("timeout");
    browser
        .args(["--kill-after=5", PATIENCE, "unshare", "--net", "chromium"])
        .args(QUIET)
        .arg(format!("--user-data-dir={}", files.path("profile")))
        .arg(format!("--log-net-log={log}"))
        .args(options)
        .args(["--dump-dom", &format!("file://{page}")])
        // It would look for a desktop.
        .env_remove("DISPLAY")
        .env("HOME", files.path("home"));
    let out = cmd::run_command(&mut browser).expect_code(0);
    let events = fs::read_to_string(&log).expect("the browser's log of its requests");
    Visit {
        dom: out.stdout,
        asked: asked(&events),
    }
}

/// Requests in a NetLog, an event a line, that have a page behind them: the browser's own have
/// `not an origin`.
fn asked(log: &str) -> Vec<String> {
    let events = log.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line.trim_end_matches(',')).ok()?;
        let params = &event["params"];
        let initiator = params["initiator"].as_str()?;
        let url = params["url"].as_str()?;
        (initiator != "not an origin").then(|| url.to_owned())
    });
    events.collect()
}

/// Width and height of a PNG file.
///
/// # Panics
/// When it is none.
#[must_use]
#[track_caller]
pub fn size_of_png(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "{} is no PNG",
        path.display()
    );
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    // IHDR is the first chunk.
    (number(16), number(20))
}
