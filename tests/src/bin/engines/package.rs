//! The Debian package through its days: installed, upgraded, removed, purged, installed again,
//! with a container that is sealed all the while.

use crate::app::{App, said};
use crate::boots::{is_restored, row};
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::cmd::{self, Output};
use std::fs;
use std::path::Path;

const PACKAGE: &str = "/opt/airgap.deb";
/// The same, of a version to come.
const NEXT: &str = "/var/tmp/airgap-next.deb";
const UNIT: &str = "/etc/systemd/system/airgap-restore.service";
const PINS: &str = "/sys/fs/bpf/airgap";

/// Runs all, and ends the machine.
pub(crate) fn run() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let release = release.trim();
    println!("guest: begin {release}");
    let engine = Engine::new(19_000);
    engine.prepare();
    println!("versions: {}, Linux {release}", engine.versions());
    let good = row("apt install", install) && days(&engine);
    println!("guest: exit {}", u8::from(!good));
    cmd::ok("systemctl poweroff --force --force");
}

fn days(engine: &Engine) -> bool {
    let mut sealed = None;
    let attached = row("doctor, attach", || {
        is_restored(engine)?;
        let app = App::new(engine, "run -d", "web", "--restart always -p 6099:5060")?;
        app.is_heard()?;
        app.attach("")?;
        let state = app.is_held()?;
        app.answers_at(6099)?;
        sealed = Some(app);
        Ok(Seen::Ok(state))
    });
    let Some(app) = sealed.filter(|_| attached) else {
        return false;
    };
    // Each needs the one before.
    let good = row("upgrade", || upgrade(&app))
        && row("remove", || remove(&app))
        && row("purge", || purge(&app))
        && row("apt install after purge, detach", || again(&app));
    if !good {
        // Its seal is lifted by a program that may be gone.
        std::mem::forget(app);
    }
    good
}

fn apt(line: &str) -> Result<Output, String> {
    let out = cmd::attempt(&format!("apt-get --yes {line}"));
    println!("{}", out.describe());
    match out.code {
        0 => Ok(out),
        _ => Err(format!("{}: {}", said(&out), out.stderr.trim())),
    }
}

fn there(path: &str) -> bool {
    Path::new(path).exists()
}

fn install() -> Scenario {
    apt(&format!("install {PACKAGE}"))?;
    let version = cmd::attempt("airgap --version");
    must(version.code == 0, said(&version))?;
    for file in ["/etc/airgap/airgap.toml", "/usr/share/man/man1/airgap.1.gz"] {
        must(there(file), format!("there is no {file}"))?;
    }
    let config = cmd::attempt("airgap config");
    must(config.code == 0, said(&config))?;
    let enabled = cmd::attempt("systemctl is-enabled airgap-restore.service");
    must(enabled.stdout.trim() == "enabled", enabled.stdout)?;
    Ok(Seen::Ok(version.stdout.trim().to_owned()))
}

/// To a version above: the seal is in force before, meanwhile and afterwards.
fn upgrade(app: &App<'_>) -> Scenario {
    let made = cmd::attempt(&format!("dpkg-deb --raw-extract {PACKAGE} /var/tmp/next"));
    must(made.code == 0, said(&made))?;
    let control = "/var/tmp/next/DEBIAN/control";
    let text = fs::read_to_string(control).map_err(|e| e.to_string())?;
    let (line, old) = text
        .lines()
        .find_map(|line| Some((line, line.strip_prefix("Version: ")?)))
        .ok_or("the package has no version")?;
    let next = text.replace(line, &format!("Version: {old}+next"));
    fs::write(control, next).map_err(|e| e.to_string())?;
    let made = cmd::attempt(&format!("dpkg-deb --build /var/tmp/next {NEXT}"));
    must(made.code == 0, said(&made))?;
    let before = app.outside();
    apt(&format!("install {NEXT}"))?;
    let state = app.is_held()?;
    must(app.outside() == before, "packets during the upgrade")?;
    app.does("restart -t 0")?;
    app.was_held(2, before)?;
    Ok(Seen::Ok(format!("{state} all the while")))
}

/// The seal outlives the program that made it, restarts of the container included.
fn outlives(app: &App<'_>, life: usize) -> Result<(), String> {
    must(there(PINS), "the pins are gone")?;
    let before = app.outside();
    app.sends_nothing()?;
    app.does("restart -t 0")?;
    app.life(life)?;
    app.sends_nothing()?;
    must(app.outside() == before, "packets outside under the seal")
}

fn remove(app: &App<'_>) -> Scenario {
    let out = apt("remove airgap")?;
    must(!there("/usr/bin/airgap"), "the program is there")?;
    must(!there(UNIT), format!("{UNIT} is there"))?;
    let told = "stay in force until the next boot";
    // apt shows what scripts say where it likes.
    let said = out.stdout + &out.stderr;
    must(said.contains(told), "seals are not named")?;
    outlives(app, 3)?;
    Ok(Seen::Ok("the seal stays, and that is said".to_owned()))
}

fn purge(app: &App<'_>) -> Scenario {
    apt("purge airgap")?;
    for path in ["/etc/airgap", "/var/lib/airgap"] {
        must(!there(path), format!("{path} is there"))?;
    }
    outlives(app, 4)?;
    Ok(Seen::Ok("no file is left; the seal stays".to_owned()))
}

fn again(app: &App<'_>) -> Scenario {
    apt(&format!("install {PACKAGE}"))?;
    let (state, _, said) = app.told();
    must(state != "not-sealed", said)?;
    let out = app.engine.airgap(&format!("detach {}", app.name));
    must(out.code == 0, crate::app::said(&out))?;
    app.is_heard()?;
    Ok(Seen::Ok(format!("{state}; heard again after detach")))
}
