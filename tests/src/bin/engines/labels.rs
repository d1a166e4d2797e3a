//! `airgap watch` as its unit runs it, and quarantine.

use crate::app::{App, PATIENCE, said};
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::{cmd, wait};

/// The unit that `install` wrote, for as long as this lives.
pub(crate) struct Watch;

impl Watch {
    pub(crate) fn start() -> Result<Self, String> {
        let out = cmd::attempt("systemctl start airgap-watch");
        if out.code == 0 {
            return Ok(Self);
        }
        let log = cmd::attempt("journalctl --no-pager --lines 20 --unit airgap-watch");
        Err(format!("airgap-watch does not start: {}", log.stdout))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        cmd::attempt("systemctl stop airgap-watch");
    }
}

/// Waits until it is sealed.
pub(crate) fn await_seal(app: &App<'_>) -> Result<(), String> {
    wait::within(PATIENCE, || {
        let status = cmd::run_command(&mut app.engine.command(&format!("status {}", app.name)));
        matches!(status.code, 0 | 4).then_some(())
    })
    .ok_or_else(|| {
        let log = cmd::attempt("journalctl --no-pager --lines 20 --unit airgap-watch");
        format!("{} is not sealed: {}", app.name, log.stdout)
    })
}

pub(crate) fn watch(engine: &Engine) -> Scenario {
    let _watch = Watch::start()?;
    let twin = App::new(engine, "run -d", "twin", "")?;
    let app = App::new(
        engine,
        "run -d",
        "web",
        "--label airgap.seal=true -p 6003:5060",
    )?;
    await_seal(&app)?;
    let state = app.is_held()?;
    app.answers_at(6003)?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.was_held(2, before)?;
    twin.is_heard()?;
    app.does("rm --force")?;
    wait::within(PATIENCE, || {
        let list = engine.airgap("list");
        (!list.stdout.contains("web")).then_some(())
    })
    .ok_or("the seal of the removed container stays")?;
    Ok(Seen::Ok(state))
}

pub(crate) fn quarantine(engine: &Engine) -> Scenario {
    let _watch = Watch::start()?;
    let on = engine.airgap("quarantine on");
    must(on.code == 0, said(&on))?;
    let seen = quarantined(engine);
    let off = engine.airgap("quarantine off");
    must(off.code == 0, said(&off))?;
    seen
}

fn quarantined(engine: &Engine) -> Scenario {
    let app = App::new(engine, "run -d", "web", "--label airgap.seal=true")?;
    let twin = App::new(engine, "run -d", "twin", "")?;
    await_seal(&app)?;
    let state = app.was_held(1, 0)?;
    // The unlabelled one is let go.
    twin.is_heard()?;
    Ok(Seen::Ok(format!("{state}, from its first instruction")))
}

/// Nobody judges: what starts is denied, and runs.
pub(crate) fn alone(engine: &Engine) -> Scenario {
    let control = App::new(engine, "run -d", "control", "")?;
    control.is_heard()?;
    let on = engine.airgap("quarantine on");
    must(on.code == 0, said(&on))?;
    let seen = App::new(engine, "run -d", "web", "").and_then(|app| {
        let life = app.life(1)?;
        let refused = life.iter().all(|a| a["outcome"] == "refused");
        must(refused && app.outside() == 0, format!("{life:?}"))
    });
    let off = engine.airgap("quarantine off");
    must(off.code == 0, said(&off))?;
    seen?;
    control.is_heard()?;
    Ok(Seen::Ok("denied, from its first instruction".to_owned()))
}
