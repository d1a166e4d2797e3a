//! One container through its days.

use crate::app::{App, said};
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::cmd;
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};

const RUN: &str = "run -d";

/// Running, heard outside, then sealed.
fn sealed<'a>(engine: &'a Engine, options: &str) -> Result<App<'a>, String> {
    let app = App::new(engine, RUN, "web", options)?;
    app.is_heard()?;
    app.attach("")?;
    Ok(app)
}

pub(crate) fn running(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    app.is_held().map(Seen::Ok)
}

pub(crate) fn published(engine: &Engine) -> Scenario {
    let app = sealed(engine, "-p 6001:5060")?;
    app.answers_at(6001)?;
    app.is_held()?;
    // The guard on the veth is another's after this.
    app.does("restart -t 0")?;
    app.life(2)?;
    app.answers_at(6001)?;
    Ok(Seen::Ok("answers, also after a restart".to_owned()))
}

pub(crate) fn restart(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.was_held(2, before)?;
    app.does("restart -t 0")?;
    app.was_held(3, before).map(Seen::Ok)
}

/// What one restart may hide, many show.
const MANY: usize = 50;

pub(crate) fn many_restarts(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    let before = app.outside();
    let mut state = String::new();
    for restart in 1..=MANY {
        app.does("restart -t 0")?;
        state = app
            .was_held(restart + 1, before)
            .map_err(|why| format!("restart {restart}: {why}"))?;
    }
    match app.late() {
        0 => Ok(Seen::Ok(state)),
        late => Ok(Seen::Ok(format!(
            "{state}; in {late} of {MANY} a moment after its program began"
        ))),
    }
}

pub(crate) fn crash(engine: &Engine) -> Scenario {
    let app = sealed(engine, "--restart always")?;
    let before = app.outside();
    let pid = app.inspect("{{.State.Pid}}")?;
    must(pid.parse::<u32>().is_ok_and(|pid| pid > 1), &*pid)?;
    cmd::ok(&format!("kill -9 {pid}"));
    app.was_held(2, before).map(Seen::Ok)
}

pub(crate) fn stop_start(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    let before = app.outside();
    app.does("stop -t 0")?;
    app.does("start")?;
    app.was_held(2, before).map(Seen::Ok)
}

pub(crate) fn created(engine: &Engine) -> Scenario {
    let twin = App::new(engine, RUN, "twin", "")?;
    let app = App::new(engine, "create", "web", "")?;
    app.attach("")?;
    app.does("start")?;
    let state = app.was_held(1, 0)?;
    twin.is_heard()?;
    Ok(Seen::Ok(state))
}

pub(crate) fn stopped(engine: &Engine) -> Scenario {
    let app = App::new(engine, RUN, "web", "")?;
    app.is_heard()?;
    app.does("stop -t 0")?;
    app.attach("")?;
    let before = app.outside();
    app.does("start")?;
    app.was_held(2, before).map(Seen::Ok)
}

pub(crate) fn exec(engine: &Engine) -> Scenario {
    let app = App::new(engine, RUN, "web", "")?;
    let attempt = || {
        engine.attempt(&format!(
            "exec web /airgap-probe try udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {} --marker x",
            app.port
        ))
    };
    let out = attempt();
    must(out.stdout.contains("\"sent\""), out.describe())?;
    app.is_heard()?;
    app.attach("")?;
    let out = attempt();
    must(out.stdout.contains("\"refused\""), out.describe())?;
    app.is_held()?;
    Ok(Seen::Ok("runs, and is refused".to_owned()))
}

pub(crate) fn rename(engine: &Engine) -> Scenario {
    let mut app = sealed(engine, "")?;
    engine.run("rename web other")?;
    app.name = "other".to_owned();
    let list = engine.airgap("list");
    must(list.stdout.contains("other"), list.describe())?;
    must(!list.stdout.contains("web"), list.describe())?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.was_held(2, before).map(Seen::Ok)
}

pub(crate) fn pause(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    app.does("pause")?;
    let status = engine.airgap("status web");
    must(matches!(status.code, 0 | 4), said(&status))?;
    app.does("unpause")?;
    app.is_held().map(Seen::Ok)
}

pub(crate) fn detach(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    app.is_held()?;
    let out = engine.airgap("detach web");
    must(out.code == 0, said(&out))?;
    app.is_heard()?;
    Ok(Seen::Ok("heard outside again".to_owned()))
}

pub(crate) fn verify(engine: &Engine) -> Scenario {
    let app = sealed(engine, "")?;
    let out = engine.airgap("verify web");
    must(out.code == 0, out.describe())?;
    let line = out.stdout.lines().find_map(|line| {
        let from = line.find("PROVEN")?;
        Some(line[from..].to_owned())
    });
    drop(app);
    line.map(Seen::Ok).ok_or_else(|| out.describe())
}

pub(crate) fn dry_run(engine: &Engine) -> Scenario {
    let app = App::new(engine, RUN, "web", "")?;
    app.is_heard()?;
    let said_before = engine.airgap("attach --dry-run web");
    // It changes nothing.
    app.is_heard()?;
    let list = engine.airgap("list");
    must(!list.stdout.contains("web"), list.describe())?;
    let sealed = app.attach("")?;
    must(
        said_before.code == sealed.code,
        format!("exit {} and then {}", said_before.code, sealed.code),
    )?;
    Ok(Seen::Ok(format!("exit {}, as attach", sealed.code)))
}
