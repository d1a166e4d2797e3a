//! Podman of a user who is not root, with a session of systemd's and without one.

use crate::app::{App, PATIENCE, said};
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::drill::place::{HOST4, OUTSIDE4, OUTSIDE6};
use airgap_tests::drill::sink;
use airgap_tests::netns::Netns;
use airgap_tests::{cmd, http, wait};
use std::fs;

/// One has a session, the other never had one.
const USERS: [(&str, u32); 2] = [("drill", 1500), ("alone", 1501)];

/// Makes them; pasta copies the interface of the default route.
fn users() -> Result<(), String> {
    let mut ranges = String::new();
    for (number, (name, id)) in USERS.iter().enumerate() {
        if cmd::attempt(&format!("id {name}")).code != 0 {
            cmd::ok(&format!("useradd --create-home --uid {id} {name}"));
        }
        ranges.push_str(&format!("{name}:{}:65536\n", (number + 1) * 100_000));
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        fs::write(file, &ranges).map_err(|e| e.to_string())?;
    }
    cmd::attempt(&format!("ip route add default via {OUTSIDE4}"));
    cmd::attempt(&format!("ip -6 route add default via {OUTSIDE6}"));
    Ok(())
}

/// Before a command of the user's.
fn by(name: &str, runtime: &str) -> String {
    format!("runuser --user {name} -- env HOME=/home/{name} XDG_RUNTIME_DIR={runtime}")
}

fn has_pasta(engine: &Engine) -> bool {
    // Debian 12 has none.
    engine.is_podman() && fs::metadata("/usr/bin/pasta").is_ok()
}

pub(crate) fn session(engine: &Engine) -> Scenario {
    if !has_pasta(engine) {
        return Ok(Seen::Absent(
            "not run: an engine of each user's, with pasta",
        ));
    }
    users()?;
    let (name, id) = USERS[0];
    cmd::ok(&format!("loginctl enable-linger {name}"));
    let runtime = format!("/run/user/{id}");
    let up = || fs::metadata(format!("{runtime}/bus")).ok();
    wait::within(PATIENCE, up).ok_or("the user has no session bus")?;
    let before = by(name, &runtime);
    cmd::ok(&format!("{before} systemctl --user start podman.socket"));
    let own = engine.of_user(&before, &format!("unix://{runtime}/podman/podman.sock"));
    own.import();
    let seen = sealed(&own);
    cmd::attempt(&format!("loginctl disable-linger {name}"));
    seen
}

fn sealed(engine: &Engine) -> Scenario {
    let app = App::new(engine, "run -d", "web", "-p 6010:5060")?;
    app.is_heard()?;
    let by_outside = || {
        let address = format!("{HOST4}:6010").parse().expect("an address");
        let ask = || http::get(address, "/alive").map_err(|e| format!("from outside {e:#}"));
        Netns::named(sink::NAME).run(ask)
    };
    by_outside()?;
    let by_loopback = || http::get("127.0.0.1:6010".parse().expect("an address"), "/alive");
    by_loopback().map_err(|e| format!("127.0.0.1 before the seal: {e:#}"))?;
    let out = app.attach("")?;
    let words = format!("{}{}", out.stdout, out.stderr);
    must(words.contains("127.0.0.1"), out.describe())?;
    must(
        by_loopback().is_err(),
        "127.0.0.1 answers, and attach said that it would not",
    )?;
    app.sends_nothing()?;
    by_outside()?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.life(2)?;
    app.sends_nothing()?;
    let sent = app.outside() - before;
    must(sent == 0, format!("{sent} packets outside after a restart"))?;
    by_outside()?;
    // Its interface is a tap: what only a veth's other end would stop is named.
    let (state, open, _) = app.told();
    Ok(Seen::Ok(format!(
        "{state}, as status says: {open}; its port not by 127.0.0.1, as attach says"
    )))
}

/// It makes no cgroup for its containers: there is nothing to seal.
pub(crate) fn alone(engine: &Engine) -> Scenario {
    if !has_pasta(engine) {
        return Ok(Seen::Absent(
            "not run: an engine of each user's, with pasta",
        ));
    }
    users()?;
    let (name, id) = USERS[1];
    // Where a session would have it: AppArmor lets pasta into no other.
    let runtime = &format!("/run/user/{id}");
    cmd::ok(&format!(
        "install --directory --owner {name} --mode 700 {runtime}"
    ));
    let before = by(name, runtime);
    let host = format!("unix://{runtime}/podman.sock");
    let own = engine.of_user(&before, &host);
    own.import();
    let words: Vec<_> = before.split(' ').map(str::to_owned).collect();
    let mut service = std::process::Command::new(&words[0])
        .args(&words[1..])
        .args(["podman", "system", "service", "--time", "0", &host])
        .spawn()
        .map_err(|e| e.to_string())?;
    let seen = refused(&own);
    drop(service.kill());
    drop(service.wait());
    seen
}

fn refused(engine: &Engine) -> Scenario {
    // What Podman falls back to where it may make no cgroup.
    let app = App::new(engine, "run -d", "web", "--cgroups disabled")?;
    app.is_heard()?;
    let out = wait::within(PATIENCE, || {
        let out = engine.airgap("attach -d web");
        (!out.stderr.contains("no container engine answers")).then_some(out)
    })
    .ok_or("its API does not answer")?;
    must(
        out.code == 1 && out.stderr.contains("enable-linger"),
        said(&out),
    )?;
    app.is_heard()?;
    Ok(Seen::Refused(
        "it has no cgroup of its own; how to get one is said".to_owned(),
    ))
}
