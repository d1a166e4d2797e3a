//! The two boots of the machine: the list, and what is there after a reboot.

use crate::app::App;
use crate::engine::Engine;
use crate::list;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::cmd;
use std::fs;

/// What the first boot leaves for the second: ports of the sealed container and of its twin, and
/// whether all was well.
/// Where those without a package have it.
const AIRGAP: &str = "/usr/local/sbin/airgap";
const LEFT: &str = "/var/lib/airgap-engines";

/// Runs this boot's part, then reboots or goes off.
pub(crate) fn run() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    println!("guest: begin {}", release.trim());
    let engine = Engine::new(19_000);
    let good = match fs::read_to_string(LEFT) {
        Err(_) => first(&engine, release.trim()),
        Ok(left) => second(&engine, &left),
    };
    if let Some(good) = good {
        println!("guest: exit {}", u8::from(!good));
        cmd::ok("systemctl poweroff --force --force");
    }
}

/// Runs one scenario and prints its row; whether it did not fail.
pub(crate) fn row(what: &str, work: impl FnOnce() -> Scenario) -> bool {
    println!("begin: {what}");
    let (word, figure, good) = match work() {
        Ok(Seen::Ok(figure)) => ("OK", figure, true),
        Ok(Seen::Refused(reason)) => ("REFUSED", reason, true),
        Ok(Seen::Absent(why)) => ("NONE", why.to_owned(), true),
        Err(error) => ("FAILED", error, false),
    };
    let up = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let up = up.split('.').next().unwrap_or_default();
    println!(
        "row: {word}|{what}|{}|{up}",
        figure.replace(['\n', '|'], " ")
    );
    good
}

/// `None`: it goes on after a reboot.
fn first(engine: &Engine, release: &str) -> Option<bool> {
    engine.prepare();
    println!("versions: {}, Linux {release}", engine.versions());
    cmd::ok(&format!("install -D -m 755 /opt/airgap {AIRGAP}"));
    let installed = row("install", || install(engine));
    list::anchor(engine);
    let mut good = installed & list::run(engine);
    if !list::is_wanted("reboot") {
        return Some(good);
    }
    good &= row("created, sealed, then started", || prepare(engine, good));
    if !good && fs::metadata(LEFT).is_err() {
        return Some(false);
    }
    cmd::ok("systemctl reboot");
    None
}

fn install(engine: &Engine) -> Scenario {
    let out = engine.airgap("install --yes");
    must(out.code == 0, crate::app::said(&out))?;
    is_restored(engine)
}

/// What doctor says: seals come back at boot.
pub(crate) fn is_restored(engine: &Engine) -> Scenario {
    let doctor = engine.airgap("doctor");
    let line = |word: &str| {
        let lines = doctor.stdout.lines().map(str::trim);
        let found: Vec<_> = lines.filter(|l| l.contains(word)).collect();
        found.join("; ")
    };
    let reboot = line("host reboot");
    must(reboot.starts_with("ok"), format!("doctor: {reboot}"))?;
    Ok(Seen::Ok(format!("doctor: exit {}", doctor.code)))
}

/// A sealed container and an open twin, which the engine starts again.
fn prepare(engine: &Engine, good: bool) -> Scenario {
    if engine.is_podman() {
        cmd::ok("systemctl enable podman-restart.service");
    }
    let sealed = App::new(engine, "create", "kept", "--restart always -p 6099:5060")?;
    let twin = App::new(engine, "create", "open", "--restart always")?;
    sealed.attach("")?;
    sealed.does("start")?;
    twin.does("start")?;
    twin.is_heard()?;
    sealed.was_held(1, 0)?;
    let left = format!("{} {} {good}", sealed.port, twin.port);
    fs::write(LEFT, left).map_err(|e| e.to_string())?;
    // They outlive this boot.
    std::mem::forget((sealed, twin));
    Ok(Seen::Ok("sealed from its first instruction".to_owned()))
}

/// Nobody has done anything since the machine came up.
fn second(engine: &Engine, left: &str) -> Option<bool> {
    let mut words = left.split(' ');
    let mut next = || words.next().unwrap_or_default().to_owned();
    let app = |name, port: String| App::left(engine, name, port.parse().expect("a port"));
    let (sealed, twin) = (app("kept", next()), app("open", next()));
    let before = next() == "true";
    let good = row("reboot", || {
        twin.is_heard()?;
        let state = sealed.was_held(2, 0)?;
        sealed.answers_at(6099)?;
        Ok(Seen::Ok(format!("{state}, from its first instruction")))
    });
    if !good {
        let out = cmd::attempt("journalctl --boot --no-pager --lines 60");
        println!("{}", out.stdout);
    }
    Some(good && before)
}
