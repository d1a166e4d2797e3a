//! docker-compose, by labels.

use crate::app::{App, PATIENCE};
use crate::engine::Engine;
use crate::labels::{Watch, await_seal};
use crate::seen::{Scenario, Seen, must};
use airgap_tests::{cmd, wait};
use std::fs;
use std::process::Command;

const FILE: &str = "/run/shop/docker-compose.yml";

fn up(app: &App<'_>, value: &str) -> Result<(), String> {
    let command: Vec<_> = app.pulse().split(' ').map(|w| format!("{w:?}")).collect();
    let text = format!(
        "version: \"3\"\nservices:\n  web:\n    image: drill\n    command: [{}]\n    \
         environment: [\"X={value}\"]\n    labels: {{airgap.seal: \"true\"}}\n    \
         ports: [\"6004:5060\"]\n",
        command.join(", ")
    );
    fs::create_dir_all("/run/shop").map_err(|e| e.to_string())?;
    fs::write(FILE, text).map_err(|e| e.to_string())?;
    compose("up -d")
}

fn compose(line: &str) -> Result<(), String> {
    let mut command = Command::new("docker-compose");
    command.args(["--project-name", "shop", "--file", FILE]);
    let out = cmd::run_command(command.args(line.split(' ')));
    must(out.code == 0, out.describe())
}

pub(crate) fn recreate(engine: &Engine) -> Scenario {
    if engine.is_podman() {
        return Ok(Seen::Absent("not run: Compose is Docker's"));
    }
    let _watch = Watch::start()?;
    let twin = App::new(engine, "run -d", "twin", "")?;
    let mut app = App::planned(engine, "shop-web-1");
    up(&app, "1")?;
    // Its first version has other names.
    app.name = engine.run("ps --filter label=airgap.seal --format {{.Names}}")?;
    let seen = changes(engine, &app);
    compose("down -t 0")?;
    wait::within(PATIENCE, || {
        let list = engine.airgap("list");
        (!list.stdout.contains("web")).then_some(())
    })
    .ok_or("its seal stays after down")?;
    twin.is_heard()?;
    seen
}

fn changes(engine: &Engine, app: &App<'_>) -> Scenario {
    await_seal(app)?;
    app.is_held()?;
    let old = app.inspect("{{.Id}}")?;
    up(app, "2")?;
    must(app.inspect("{{.Id}}")? != old, "it was not recreated")?;
    await_seal(app)?;
    let state = app.is_held()?;
    app.answers_at(6004)?;
    let list = engine.airgap("list");
    // While it is swapped it has another name.
    let names = list.stdout.lines().filter(|line| line.contains("web"));
    let names: Vec<_> = names.collect();
    must(
        names.len() == 1 && names[0].starts_with(&app.name),
        list.describe(),
    )?;
    Ok(Seen::Ok(state))
}
