//! `airgap run`, and containers that end with their stop.

use crate::app::{App, PATIENCE, said};
use crate::engine::{Engine, IMAGE};
use crate::seen::{Scenario, Seen, must};
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};
use airgap_tests::wait;

pub(crate) fn background(engine: &Engine) -> Scenario {
    let twin = App::new(engine, "run -d", "twin", "")?;
    let app = App::planned(engine, "web");
    let words = app.words("--name web -p 6002:5060");
    let out = engine.airgap(&format!("run -- -d {words}"));
    must(out.code == 0, said(&out))?;
    let state = app.was_held(1, 0)?;
    app.answers_at(6002)?;
    twin.is_heard()?;
    Ok(Seen::Ok(state))
}

pub(crate) fn foreground(engine: &Engine) -> Scenario {
    let port = engine.port();
    let attempt = format!(
        "--rm --name once {IMAGE} /airgap-probe try udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port \
         {port} --marker x"
    );
    let control = engine.run(&format!("run {attempt}"))?;
    must(control.contains("\"sent\""), control)?;
    let out = engine.airgap(&format!("run -- {attempt}"));
    must(out.stdout.contains("\"refused\""), out.describe())?;
    // Its record says that it is gone, and is no reason to be alarmed.
    let gone = || {
        let list = engine.airgap("list");
        let quiet = !list.stdout.contains("once") || list.stdout.contains("gone");
        (list.code == 0 && quiet).then_some(list.stdout)
    };
    let list = wait::within(PATIENCE, gone).ok_or("list goes on about it")?;
    let figure = if list.contains("once") {
        "refused; list says gone"
    } else {
        "refused; its seal is gone"
    };
    engine.airgap("detach once");
    Ok(Seen::Ok(figure.to_owned()))
}

/// What comes after such a container is another one: attach says so.
pub(crate) fn removed(engine: &Engine) -> Scenario {
    let app = App::new(engine, "run -d", "web", "--rm")?;
    app.is_heard()?;
    let out = app.attach("")?;
    must(
        out.stdout.contains("--rm") || out.stderr.contains("--rm"),
        out.describe(),
    )?;
    app.is_held()?;
    app.does("stop -t 0")?;
    wait::within(PATIENCE, || {
        (engine.attempt("inspect web").code != 0).then_some(())
    })
    .ok_or("it was not removed")?;
    let list = engine.airgap("list");
    must(list.code == 0, list.describe())?;
    engine.airgap("detach web");
    Ok(Seen::Ok("sealed; said that the next is another".to_owned()))
}
