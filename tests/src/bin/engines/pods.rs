//! Podman's own: pods, Quadlet, the other cgroup driver; and runtimes by name.

use crate::app::{App, PATIENCE};
use crate::engine::Engine;
use crate::labels::{Watch, await_seal};
use crate::seen::{Scenario, Seen, must};
use airgap_tests::{cmd, wait};
use std::fs;

const QUADLETS: &str = "/etc/containers/systemd";
const DOCKER_HAS_NONE: Seen = Seen::Absent("Podman's own");

pub(crate) fn pod(engine: &Engine) -> Scenario {
    if !engine.is_podman() {
        return Ok(DOCKER_HAS_NONE);
    }
    engine.run("pod create --name group")?;
    let seen = App::new(engine, "create", "web", "--pod group").and_then(|app| {
        let app = app.within("pod:group");
        let alone = engine.airgap("attach -d web");
        must(
            alone.code == 1 && alone.stderr.contains("attach pod:NAME"),
            alone.describe(),
        )?;
        app.attach("")?;
        engine.run("pod start group")?;
        app.was_held(1, 0)?;
        engine.run("pod restart group")?;
        app.was_held(2, 0)?;
        app.does("restart -t 0")?;
        app.was_held(3, 0)?;
        engine.run("pod stop group")?;
        engine.run("pod start group")?;
        app.was_held(4, 0)
    });
    engine.attempt("pod rm --force group");
    Ok(Seen::Ok(format!(
        "{}, as one, from its first instruction",
        seen?
    )))
}

/// A unit of Quadlet's, gone with it.
struct Unit;

impl Unit {
    fn start(app: &App<'_>, lines: &str) -> Result<Self, String> {
        let generators = ["/usr/lib/systemd/system-generators/podman-system-generator"];
        must(
            generators.iter().any(|path| fs::metadata(path).is_ok()),
            "there is no generator of Quadlet's",
        )?;
        fs::create_dir_all(QUADLETS).map_err(|e| e.to_string())?;
        let text = format!(
            "[Container]\nContainerName={}\nImage=localhost/drill:latest\nExec={}\n{lines}",
            app.name,
            app.pulse()
        );
        fs::write(format!("{QUADLETS}/quad.container"), text).map_err(|e| e.to_string())?;
        let unit = Self;
        cmd::ok("systemctl daemon-reload");
        let out = cmd::attempt("systemctl start quad");
        must(out.code == 0, out.describe())?;
        Ok(unit)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        cmd::attempt("systemctl stop quad");
        drop(fs::remove_dir_all(QUADLETS));
        cmd::attempt("systemctl daemon-reload");
    }
}

fn has_quadlet(engine: &Engine) -> bool {
    engine.is_podman()
        && fs::metadata("/usr/lib/systemd/system-generators/podman-system-generator").is_ok()
}

/// A seal of this container alone: attach says that the next one is another.
pub(crate) fn quadlet(engine: &Engine) -> Scenario {
    if !has_quadlet(engine) {
        return Ok(Seen::Absent("Podman's own, since 4.4"));
    }
    let app = App::planned(engine, "quad");
    let _unit = Unit::start(&app, "")?;
    app.is_heard()?;
    let out = app.attach("")?;
    let said = format!("{}{}", out.stdout, out.stderr);
    must(said.contains("makes a new container"), out.describe())?;
    app.is_held()?;
    cmd::ok("systemctl restart quad");
    app.is_heard()?;
    let list = engine.airgap("list");
    must(
        list.code == 3 && list.stdout.contains("NOT SEALED"),
        list.describe(),
    )?;
    Ok(Seen::Ok(
        "this container; attach says: the next is another".to_owned(),
    ))
}

pub(crate) fn labelled(engine: &Engine) -> Scenario {
    if !has_quadlet(engine) {
        return Ok(Seen::Absent("Podman's own, since 4.4"));
    }
    let _watch = Watch::start()?;
    let twin = App::new(engine, "run -d", "twin", "")?;
    let app = App::planned(engine, "quad");
    let _unit = Unit::start(&app, "Label=airgap.seal=true\n")?;
    await_seal(&app)?;
    app.is_held()?;
    let old = app.inspect("{{.Id}}")?;
    cmd::ok("systemctl restart quad");
    let new = wait::within(PATIENCE, || {
        app.inspect("{{.Id}}").ok().filter(|id| *id != old)
    });
    must(new.is_some(), "its restart made no new container")?;
    await_seal(&app)?;
    let state = app.is_held()?;
    twin.is_heard()?;
    Ok(Seen::Ok(state))
}

/// Each start is another container, sealed by what `airgap install` has Podman's runtime run.
pub(crate) fn annotated(engine: &Engine) -> Scenario {
    if !has_quadlet(engine) {
        return Ok(Seen::Absent("Podman's own, since 4.4"));
    }
    let app = App::planned(engine, "quad");
    let _unit = Unit::start(&app, "Annotation=airgap.seal=true\n")?;
    app.was_held(1, 0)?;
    cmd::ok("systemctl restart quad");
    let state = app.was_held(1, 0)?;
    let list = engine.airgap("list");
    must(list.stdout.matches("quad").count() == 1, list.describe())?;
    must(!list.stdout.contains("gone"), list.describe())?;
    Ok(Seen::Ok(format!("{state}, from its first instruction")))
}

pub(crate) fn cgroupfs(engine: &Engine) -> Scenario {
    if !engine.is_podman() {
        return Ok(Seen::Absent("not run: a setting of the daemon's"));
    }
    let app = App::planned(engine, "web");
    let words = app.words("--name web");
    engine.run(&format!("--cgroup-manager cgroupfs run -d {words}"))?;
    app.is_heard()?;
    app.attach("")?;
    app.is_held()?;
    let before = app.outside();
    engine.run("--cgroup-manager cgroupfs restart -t 0 web")?;
    app.was_held(2, before).map(Seen::Ok)
}

pub(crate) fn runc(engine: &Engine) -> Scenario {
    by_runtime(engine, "runc")
}

pub(crate) fn crun(engine: &Engine) -> Scenario {
    by_runtime(engine, "crun")
}

fn by_runtime(engine: &Engine, runtime: &str) -> Scenario {
    let app = App::planned(engine, "web");
    let words = app.words("--name web");
    if engine.is_podman() {
        engine.run(&format!("--runtime {runtime} run -d {words}"))?;
    } else if runtime == "runc" {
        engine.run(&format!("run -d --runtime {runtime} {words}"))?;
    } else {
        return Ok(Seen::Absent("not run: a setting of the daemon's"));
    }
    app.is_heard()?;
    app.attach("")?;
    app.is_held()?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.was_held(2, before).map(Seen::Ok)
}
