//! `cargo xtask bench`: what a seal costs, beside nothing and beside what people use instead.
//!
//! The program that measures is `airgap-bench` in the tests' package; this brings what it needs.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use crate::setup::{self, apt};
use crate::undo::Undo;
use crate::{command, escape, image, performance, test, workspace};

/// Program and the package that brings it.
const TOOLS: [(&str, &str); 3] = [("wrk", "wrk"), ("iperf3", "iperf3"), ("nft", "nftables")];
/// In the image of the service that is measured.
const PACKAGES: &str = "nginx-light,iperf3,perl";

/// Measures, writes `PERFORMANCE.md` and its plots, and prints each limit that the project has set
/// itself, or all figures as JSON.
///
/// # Errors
/// Without root, for a part that is none, or when something cannot be installed, built or run.
pub(crate) fn run(rounds: u32, seconds: u32, parts: &[String], json: bool) -> Result<()> {
    setup::require_root("bench")?;
    if rounds == 0 || seconds == 0 {
        bail!(
            "nothing can be measured in {rounds} rounds of {seconds} s\nhint: at least 1 of each"
        );
    }
    if let Some(part) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!(
            "there is no part {part:?}\nhint: one of {}",
            PARTS.join(", ")
        );
    }
    let root = workspace::root()?;
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| apt::find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        apt::update(&missing.join(" "))?;
        apt::get(&missing)?;
    }
    let counted = performance::counted(&root)?;
    let airgap = escape::build_quietly(&root)?;
    let probe = test::build_probe(&root)?;
    let image = image()?;
    let out = if parts.is_empty() {
        root.join("docs")
    } else {
        // A part is no whole: what is in the repository stays.
        workspace::target_dir(&root).join("bench")
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut cargo = workspace::cargo(&root);
    cargo
        // Not release: there a panic aborts, and nothing would be cleaned up.
        .args(["run", "--quiet", "--package", "airgap-tests"])
        .args(["--bin", "airgap-bench", "--"])
        .args(["--rounds", &rounds.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .arg("--out")
        .arg(&out)
        .args(parts.iter().flat_map(|part| ["--part", part]))
        .env("AIRGAP_BIN", airgap)
        .env("AIRGAP_PROBE", probe)
        .env("AIRGAP_BENCH_IMAGE", image);
    if json {
        cargo.stdout(io::stderr());
    }
    command::run(&mut cargo)?;
    if let (true, Some(counted)) = (parts.is_empty(), counted) {
        performance::write(&root, &counted)?;
    }
    let figures = out.join("performance/figures.json");
    if json {
        let text = fs::read_to_string(&figures)
            .with_context(|| format!("cannot read {}", figures.display()))?;
        print!("{text}");
    } else {
        println!("written: {}", out.join("PERFORMANCE.md").display());
    }
    Ok(())
}

const PARTS: [&str; 6] = ["attach", "denial", "events", "single", "reply", "growth"];

fn image() -> Result<String> {
    let mut undo = Undo::start()?;
    let dir = Path::new("/var/tmp").join(format!("airgap-bench-{}", std::process::id()));
    undo.later(&format!("rm -rf --one-file-system {}", dir.display()))?;
    fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let made = image::ensure("airgap-bench", PACKAGES, &dir, &mut undo);
    undo.run()?;
    made.map(|(image, _)| image)
}
