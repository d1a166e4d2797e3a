//! What the host's own files say.

use anyhow::Result;

use crate::{
    config::{self, Ceilings, Config},
    seal::Check,
    state::{Entry, State},
};

pub(super) fn configuration(config: &Result<&Config>) -> Check {
    const NAME: &str = "configuration";
    match config {
        Ok(Config { path: None, .. }) => Check::ok(NAME, format!("no {}", config::DEFAULT)),
        Ok(Config {
            path: Some(path), ..
        }) => Check::ok(NAME, path.display().to_string()),
        Err(error) => Check::failed(
            NAME,
            format!("no command that seals runs: {error:#}"),
            "mend the file: docs/configuration.md has every key",
        ),
    }
}

/// What may at most be asked for, and who has more.
pub(super) fn ceiling(config: Option<&Config>, state: &State) -> Check {
    const NAME: &str = "ceiling";
    let ceilings = Ceilings::read(config.unwrap_or(&Config::default()));
    if let Some(wrong) = ceilings.wrong() {
        return Check::failed(
            NAME,
            format!("no exception and no risk can be asked for: {wrong}"),
            "mend the file: docs/policies.md has every key",
        );
    }
    if ceilings.is_empty() {
        return Check::ok(NAME, "none: whatever is asked for is what is given");
    }
    let entries = state.entries().unwrap_or_default();
    let above = entries.iter().filter_map(|entry| match entry {
        Entry::Known(record) => {
            let above = ceilings.above(&record.rules, record.accepted);
            (!above.is_empty()).then(|| format!("{}: {}", record.name, above.join(", ")))
        }
        Entry::Unreadable { .. } => None,
    });
    let above: Vec<_> = above.collect();
    match above.is_empty() {
        true => Check::ok(NAME, ceilings.paths().join(", ")),
        false => Check::limited(
            NAME,
            format!("above the ceiling: {}", above.join("; ")),
            "airgap attach, apply or watch does not renew it",
        ),
    }
}
