//! `cargo xtask demo`: a document service whose dependency phones home, before and after a seal.

mod outside;
mod pdf;
mod plan;
mod seal;
mod service;
mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::undo::Undo;
use crate::{build, image, setup};
use outside::Outside;
use plan::Plan;
use seal::Seal;
use service::Service;

const ASSETS: [(&str, &str); 4] = [
    ("home.py", include_str!("../../assets/demo/home.py")),
    ("service.py", include_str!("../../assets/demo/service.py")),
    (
        "analytics.py",
        include_str!("../../assets/demo/analytics.py"),
    ),
    ("summary.py", include_str!("../../assets/demo/summary.py")),
];
/// Every way out that the dependency tries, as the home server names them.
const CHANNELS: [&str; 4] = ["dns", "tcp4", "tcp6", "udp"];
/// In the service's image.
const PACKAGES: &str = "python3,poppler-utils";
/// The name that the dependency looks up.
const VENDOR: &str = "telemetry.vendor.example";
/// How long the home server must stay silent after a call that should not come.
const SILENCE: Duration = Duration::from_secs(3);

/// Shows the whole story and leaves nothing behind but the cached image.
///
/// # Errors
/// When anything is not as it should be: an answer missing, nothing heard before the seal,
/// anything heard under it, or no denial shown.
pub(crate) fn run(airgap: Option<PathBuf>) -> Result<()> {
    setup::require_root("demo")?;
    let start = Instant::now();
    step(1, "Set up this machine and build airgap");
    setup::run()?;
    let airgap = match airgap {
        Some(path) => {
            fs::canonicalize(&path).with_context(|| format!("cannot find {}", path.display()))?
        }
        None => build::run(true)?,
    };
    let plan = Plan::draw()?;
    let mut undo = Undo::start()?;
    let told = tell(&plan, &airgap, &mut undo);
    step(8, "Clean up");
    let cleaned = undo.run().and_then(|()| nothing_left(&plan));
    told?;
    cleaned?;
    println!("      namespace, network, container, routes and rules are gone");
    println!("\nDone in {} s.", start.elapsed().as_secs());
    Ok(())
}

fn tell(plan: &Plan, airgap: &Path, undo: &mut Undo) -> Result<()> {
    let dir = Path::new("/var/tmp").join(&plan.name);
    undo.later(&format!("rm -rf --one-file-system {}", dir.display()))?;
    write_assets(&dir)?;

    step(
        2,
        "Make the service's image (debootstrap, the first time only)",
    );
    let (image, made) = image::ensure("airgap-demo", PACKAGES, &dir, undo)?;
    println!("      {} {image}", if made { "made" } else { "found" });

    step(3, "Start the vendor's home server, in a network namespace");
    let outside = Outside::open(plan, &dir, undo)?;
    println!(
        "      it listens on {} and {}",
        plan.outside4, plan.outside6
    );

    step(4, "Analyze a document, without a seal");
    let service = Service::start(plan, &image, &dir, undo)?;
    phones_home(&service, &outside)?;

    step(5, "Seal the container");
    let seal = Seal::attach(airgap, &dir.join("state"), &plan.name, undo)?;
    let report = wait::until("airgap's report", Duration::from_secs(5), || {
        Ok(Some(seal.printed()).filter(|lines| !lines.is_empty()))
    })?;
    indent(&report);

    step(6, "Analyze the document again");
    stays_silent(plan, &service, &outside, &seal)?;

    step(7, "Lift the seal: the calls are back");
    seal.detach()?;
    phones_home(&service, &outside)
}

/// Posts the document and expects a call on every channel.
fn phones_home(service: &Service, outside: &Outside) -> Result<()> {
    let before = outside.record()?.len();
    service.analyze()?;
    let calls = service.addresses().len();
    let heard = wait::until("a call on every channel", Duration::from_secs(15), || {
        let heard = outside.record()?.split_off(before);
        let complete = CHANNELS
            .iter()
            .all(|channel| heard.iter().filter(|l| l.starts_with(channel)).count() >= calls);
        Ok(complete.then_some(heard))
    })
    .context("the home server should have been called: without a seal everything leaves")?;
    println!("      meanwhile the home server received:");
    indent(&heard);
    Ok(())
}

/// Posts the document and expects denials instead of calls.
fn stays_silent(plan: &Plan, service: &Service, outside: &Outside, seal: &Seal) -> Result<()> {
    let before = outside.record()?.len();
    indent(&seal.printed());
    service.analyze()?;
    println!("      airgap's live tail shows:");
    let wanted = [
        plan.outside4.to_string(),
        plan.outside6.to_string(),
        VENDOR.to_owned(),
    ];
    let mut shown = Vec::new();
    wait::until(
        "denials of both addresses and of the name",
        Duration::from_secs(15),
        || {
            let lines = seal.printed();
            indent(&lines);
            shown.extend(lines);
            let all = wanted
                .iter()
                .all(|word| shown.iter().any(|line| line.contains(word)));
            Ok(all.then_some(()))
        },
    )?;
    let deadline = Instant::now() + SILENCE;
    wait::until("silence", SILENCE * 2, || {
        let heard = outside.record()?.split_off(before);
        if !heard.is_empty() {
            bail!("the home server was reached through the seal: {heard:?}");
        }
        Ok((Instant::now() > deadline).then_some(()))
    })?;
    indent(&seal.printed());
    println!("      meanwhile the home server received: nothing");
    Ok(())
}

fn write_assets(dir: &Path) -> Result<()> {
    fs::create_dir(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, text) in ASSETS {
        write(name, text.as_bytes())?;
    }
    write("document.pdf", &pdf::document())
}

/// Asks the kernel and Docker whether the run's name is still known.
fn nothing_left(plan: &Plan) -> Result<()> {
    let name = &plan.name;
    let places = [
        ("ip", "netns list"),
        ("ip", "-brief link"),
        ("ip", "-4 route"),
        ("ip", "-6 route"),
        ("iptables", "-w -S"),
        ("ip6tables", "-w -S"),
        ("docker", "ps --all --format {{.Names}}"),
        ("docker", "network ls --format {{.Name}}"),
    ];
    for (program, arguments) in places {
        let list = command::output(Command::new(program).args(arguments.split(' ')))?;
        if let Some(line) = list.lines().find(|line| {
            [name, &plan.bridge, &plan.uplink]
                .iter()
                .any(|left| line.contains(*left))
        }) {
            bail!("`{program} {arguments}` still shows: {line}");
        }
    }
    Ok(())
}

fn step(number: u8, title: &str) {
    println!("\n[{number}/8] {title}");
}

fn indent(lines: &[String]) {
    for line in lines {
        println!("      | {line}");
    }
}
