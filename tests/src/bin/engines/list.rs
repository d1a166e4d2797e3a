//! All scenarios, in the order in which they run.

use crate::engine::{Engine, IMAGE};
use crate::seen::Scenario;
use crate::{boots, compose, labels, life, networks, pods, refusals, rootless, runs, servers};
use airgap_tests::{cmd, wait};
use std::process::{Command, Stdio};
use std::time::Duration;

type Work = fn(&Engine) -> Scenario;

pub(crate) const LIST: &[(&str, Work)] = &[
    ("attach to a running container", life::running),
    ("published port: outside, and this host", life::published),
    ("restart", life::restart),
    ("crash, with a restart policy", life::crash),
    ("stop and start", life::stop_start),
    ("attach to a created container", life::created),
    ("attach to a stopped container", life::stopped),
    ("a command in a sealed container", life::exec),
    ("rename", life::rename),
    ("pause and unpause", life::pause),
    ("detach", life::detach),
    ("verify", life::verify),
    ("50 restarts", life::many_restarts),
    ("dry run", life::dry_run),
    ("nginx", servers::nginx),
    ("gunicorn", servers::gunicorn),
    ("haproxy", servers::haproxy),
    ("Node.js", servers::node),
    ("airgap run, in the background", runs::background),
    ("airgap run --rm, in the foreground", runs::foreground),
    ("a container with --rm", runs::removed),
    ("label and watch", labels::watch),
    ("quarantine and watch", labels::quarantine),
    ("quarantine without watch", labels::alone),
    ("Compose: up, change, up, down", compose::recreate),
    ("network connect and disconnect", networks::connect),
    ("--network none", networks::none),
    ("--internal network", networks::internal),
    ("IPv6 network", networks::ipv6),
    ("macvlan", networks::macvlan),
    ("ipvlan", networks::ipvlan),
    ("--network host", refusals::host_network),
    ("--network container:", refusals::shared_network),
    ("--privileged", refusals::privileged),
    ("pod", pods::pod),
    ("Quadlet", pods::quadlet),
    ("Quadlet by label", pods::labelled),
    ("Quadlet by annotation", pods::annotated),
    ("cgroupfs driver", pods::cgroupfs),
    ("rootless, in a user's session", rootless::session),
    ("rootless, without a session", rootless::alone),
    ("runc", pods::runc),
    ("crun", pods::crun),
];

/// For one of them, with all its waiting.
const LIMIT: Duration = Duration::from_secs(3600);
/// Between ports of two scenarios.
const PORTS: u16 = 16;

/// Whether a scenario is one of those that `AIRGAP_SCENARIOS` names: parts of names, with commas
/// between and no spaces, as a word of the kernel's command line has none. Without it all are.
pub(crate) fn is_wanted(what: &str) -> bool {
    match std::env::var("AIRGAP_SCENARIOS") {
        Ok(parts) => parts
            .split(',')
            .any(|part| what.replace(' ', "_").contains(part)),
        Err(_) => true,
    }
}

/// Runs those that are wanted; whether none failed.
pub(crate) fn run(engine: &Engine) -> bool {
    let mut good = true;
    for (number, (what, _)) in LIST.iter().enumerate() {
        if is_wanted(what) {
            good &= start(engine, number, what);
        }
    }
    good
}

/// In a process of its own: one that ends early or hangs ends no other.
fn start(engine: &Engine, number: usize, what: &str) -> bool {
    let mut child = Command::new("/proc/self/exe")
        .args(["one", &number.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("start a scenario");
    let end = wait::within(LIMIT, || child.try_wait().expect("wait for it"));
    let code = end.and_then(|status| status.code());
    match code {
        Some(0) => return true,
        Some(1) => {}
        _ => {
            drop(child.kill());
            drop(child.wait());
            let why = match end {
                None => format!("no end within {LIMIT:?}"),
                Some(status) => format!("it died: {status}"),
            };
            boots::row(what, || Err(why));
        }
    }
    // What it left is no other's matter.
    cmd::attempt("systemctl stop airgap-watch");
    engine.airgap("quarantine off");
    let all = engine.attempt("ps --all --quiet").stdout;
    for id in all.split_whitespace() {
        engine.attempt(&format!("rm --force {id}"));
    }
    engine.airgap("detach --all");
    anchor(engine);
    false
}

/// Without any seal the gate goes, and the next attach has the kernel verify all programs again:
/// this one keeps it.
pub(crate) fn anchor(engine: &Engine) {
    engine.attempt(&format!("create --name anchor {IMAGE} /airgap-probe serve"));
    engine.airgap("attach -d anchor");
}

/// Runs one; exits with 1 when it failed.
pub(crate) fn one(number: &str) {
    let number: usize = number.parse().expect("a number");
    let (what, work) = LIST[number];
    let engine = Engine::new(20_000 + PORTS * u16::try_from(number).expect("a small number"));
    let good = boots::row(what, || work(&engine));
    std::process::exit(i32::from(!good));
}
