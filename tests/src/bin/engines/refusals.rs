//! What is refused, by its name, and stays as it was.

use crate::app::App;
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};

/// Attach to it must fail with `risk`, and change nothing.
pub(crate) fn refused(app: &App<'_>, risk: &str) -> Scenario {
    app.is_heard()?;
    let out = app.engine.airgap(&format!("attach -d {}", app.name));
    must(out.code == 1 && out.stderr.contains(risk), out.describe())?;
    let hints = out.stderr.lines().filter(|line| line.contains("hint: "));
    let mut hints: Vec<_> = hints.collect();
    let all = hints.len();
    hints.dedup();
    must(all == hints.len(), format!("a hint twice: {}", out.stderr))?;
    app.is_heard()?;
    Ok(Seen::Refused(risk.to_owned()))
}

pub(crate) fn host_network(engine: &Engine) -> Scenario {
    let app = App::new(engine, "run -d", "web", "--network host")?;
    refused(&app, "host-network")
}

pub(crate) fn shared_network(engine: &Engine) -> Scenario {
    let first = App::new(engine, "run -d", "first", "")?;
    engine.run(
        "run -d --name second --network container:first drill /airgap-probe serve --port 5061",
    )?;
    let seen = refused(&first, "shared-network");
    let other = engine.airgap("attach -d second");
    engine.attempt("rm --force second");
    must(
        other.code == 1 && other.stderr.contains("shared-network"),
        other.describe(),
    )?;
    seen
}

pub(crate) fn privileged(engine: &Engine) -> Scenario {
    let app = App::new(engine, "run -d", "web", "--privileged")?;
    refused(&app, "privileged")
}
