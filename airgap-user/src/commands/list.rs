//! `airgap list`.

use std::time::{Duration, Instant};

use airgap_common::map::{Seal, SealNumber};
use anyhow::Result;
use clap::Args;

use super::{
    elsewhere::Elsewhere,
    reference::{is_engineless, warn_of_silent},
    standing, worst,
};
use crate::{
    config::{Ceilings, Config},
    container::{Container, Engine, Engines, Hosts, Listed, Look},
    coverage::SealState,
    gate::{Gate, seal_id, seal_name},
    output,
    seal::{Report, Row, above::tell_above},
    state::{Entry, State},
};

/// Arguments of `list`.
#[derive(Args, Debug)]
pub struct List {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Each ended task of Swarm's by itself, too; JSON has them anyway
    #[arg(long, conflicts_with = "json")]
    pub all: bool,
    /// Other hosts.
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// Time that looking at all containers may take, where each is large enough,
const ALL: Duration = Duration::from_secs(6);
/// and what every other one has still.
const LEAST: Duration = Duration::from_millis(100);

pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config, args: &List) -> Result<u8> {
    let gate = standing()?;
    let mut rows = match is_empty(gate.as_ref(), state)? {
        true => Vec::new(),
        // Of commands no engine knows anything.
        false if are_commands(gate.as_ref(), state)? => {
            rows(gate.as_ref(), state, &Engines::none()).await?
        }
        false => {
            let engines = Engines::connect(hosts).await;
            warn_of_silent(&engines, &state.entries()?);
            rows(gate.as_ref(), state, &engines).await?
        }
    };
    let ceilings = Ceilings::read(config);
    for row in &mut rows {
        tell_above(&mut row.report, &ceilings);
    }
    output::list(&rows, args.json, args.all)?;
    Ok(worst(rows.iter().map(Row::code)))
}

/// Whether nothing is sealed, and nothing ought to be.
fn is_empty(gate: Option<&Gate>, state: &State) -> Result<bool> {
    let sealed = match gate {
        Some(gate) => !gate.seals()?.is_empty(),
        None => false,
    };
    Ok(!sealed && state.entries()?.is_empty())
}

fn are_commands(gate: Option<&Gate>, state: &State) -> Result<bool> {
    let seals = gate.map_or_else(|| Ok(Vec::new()), Gate::seals)?;
    let mut ids = seals.iter().map(|(_, seal)| seal_id(seal));
    let entries = state.entries()?;
    Ok(ids.all(|id| is_engineless(&id)) && entries.iter().all(|e| is_engineless(e.id())))
}

/// What the engines that answer have.
struct Containers<'a> {
    engines: &'a Engines,
    listed: Vec<(&'a Engine, Vec<Listed>)>,
}

impl<'a> Containers<'a> {
    async fn of(engines: &'a Engines) -> Result<Self> {
        Ok(Self {
            engines,
            listed: engines.list().await?,
        })
    }

    /// The containers among which a recorded one would be; unknown, if its engine was not
    /// asked or does not answer. Of what no record tells, all of them, if each engine answers.
    fn among(&self, entry: Option<&Entry>) -> Option<Vec<Listed>> {
        let recorded = match entry {
            Some(Entry::Known(record)) => record.engine.as_str(),
            _ if self.engines.silent().next().is_some() => return None,
            _ => "",
        };
        if recorded.is_empty() {
            let all = self.listed.iter().flat_map(|(_, listed)| listed.clone());
            return (!self.listed.is_empty()).then(|| all.collect());
        }
        let its = self.listed.iter().find(|(e, _)| !e.is_other(recorded));
        its.map(|(_, listed)| listed.clone())
    }

    /// The container of this id, as its engine describes it.
    async fn describe(&self, id: &str) -> Option<Container> {
        let has = |listed: &[Listed]| listed.iter().any(|(one, ..)| one == id);
        let (engine, _) = self.listed.iter().find(|(_, listed)| has(listed))?;
        engine.find(id).await.ok()
    }
}

/// Every seal in force, then every one that is only recorded. Without an
/// engine less is known of them, and they are judged by that.
///
/// # Errors
/// If the gate's maps, the records or an engine's list cannot be read.
pub(super) async fn rows(
    gate: Option<&Gate>,
    state: &State,
    engines: &Engines,
) -> Result<Vec<Row>> {
    let entries = state.entries()?;
    let seals = match gate {
        Some(gate) => gate.seals()?,
        None => Vec::new(),
    };
    let containers = Containers::of(engines).await?;
    let mut rows = Vec::new();
    if let Some(gate) = gate {
        rows = in_force(gate, &seals, &entries, &containers).await?;
        for report in rows.iter_mut().map(|row| &mut row.report) {
            let own = state.own_attempts(&report.container.id, report.seal, report.since);
            report.denials = std::mem::take(&mut report.denials).without(&own);
        }
    }
    let sealed: Vec<String> = seals.iter().map(|(_, seal)| seal_id(seal)).collect();
    for entry in entries
        .iter()
        .filter(|e| !sealed.iter().any(|id| id == e.id()))
    {
        let known = match is_engineless(entry.id()) {
            true => None,
            false => containers.among(Some(entry)),
        };
        rows.push(row(
            Report::of_entry(entry),
            entry.name().to_owned(),
            known.as_deref(),
            &sealed,
        ));
    }
    Ok(rows)
}

async fn in_force(
    gate: &Gate,
    seals: &[(SealNumber, Seal)],
    entries: &[Entry],
    containers: &Containers<'_>,
) -> Result<Vec<Row>> {
    let until = Instant::now() + ALL;
    let sealed: Vec<String> = seals.iter().map(|(_, seal)| seal_id(seal)).collect();
    let mut rows = Vec::new();
    for (number, seal) in seals {
        let id = seal_id(seal);
        let container = containers.describe(&id).await;
        let entry = entries.iter().find(|entry| entry.id() == id);
        let time = until.saturating_duration_since(Instant::now());
        let time = time.clamp(LEAST, Look::TIME);
        let report = Report::gather(gate, *number, seal, container.as_ref(), entry, time)?;
        let name = match entry {
            Some(Entry::Known(record)) => record.name.clone(),
            _ => seal_name(seal),
        };
        let among = match is_engineless(&id) {
            true => None,
            false => containers.among(entry),
        };
        let ended = !report.running && container.is_some_and(|container| container.is_task());
        rows.push(Row {
            ended,
            ..row(report, name, among.as_deref(), &sealed)
        });
    }
    Ok(rows)
}

/// `name` is what the container was called when it was sealed.
fn row(mut report: Report, name: String, containers: Option<&[Listed]>, sealed: &[String]) -> Row {
    let all = containers.unwrap_or_default();
    let not_sealed = all
        .iter()
        .find(|(id, now, _)| *now == name && *id != report.container.id && !sealed.contains(id))
        .map(|(id, _, _)| id.clone());
    let there = all.iter().find(|(id, _, _)| *id == report.container.id);
    if let Some((_, now, _)) = there {
        report.container.name.clone_from(now);
    }
    // What runs is there, whatever an engine that lost it says.
    let gone = containers.is_some() && there.is_none() && !report.running;
    if gone {
        report.set_state(SealState::Gone);
    }
    Row {
        gone,
        recorded_name: (report.container.name != name).then_some(name),
        not_sealed,
        report,
        ended: false,
    }
}

#[cfg(test)]
mod tests {
    use super::row;
    use crate::{
        coverage::SealState,
        failure::exit,
        policy::Rules,
        seal::Report,
        state::{Entry, Origin, Record},
    };

    fn recorded() -> Report {
        Report::of_entry(&Entry::Known(Record {
            id: "a".repeat(64),
            name: "web".into(),
            engine: String::new(),
            rules: Rules::new(vec![], vec![]).unwrap(),
            accepted: 0,
            since: 0,
            by: Origin::Operator,
            withdrawn: vec![],
            by_hand: 0,
            cgroup: None,
        }))
    }

    #[test]
    fn a_recorded_container_that_is_not_sealed_is_told_from_one_that_is_gone() {
        let listed = |id: &str, name: &str| (id.repeat(64), name.to_owned(), true);
        let there = row(recorded(), "web".into(), Some(&[listed("a", "web")]), &[]);
        assert_eq!((there.gone, there.code()), (false, exit::NOT_SEALED));
        let gone = row(recorded(), "web".into(), Some(&[]), &[]);
        assert_eq!((gone.gone, gone.code()), (true, exit::OK));
        assert_eq!(gone.report.state, SealState::Gone);
        // Nobody says that it is gone.
        let unknown = row(recorded(), "web".into(), None, &[]);
        assert_eq!((unknown.gone, unknown.code()), (false, exit::NOT_SEALED));
    }

    #[test]
    fn a_recreated_container_is_found_by_its_name() {
        let new = ("b".repeat(64), "web".to_owned(), false);
        let open = row(
            recorded(),
            "web".into(),
            Some(std::slice::from_ref(&new)),
            &[],
        );
        assert_eq!(open.not_sealed, Some("b".repeat(64)));
        assert_eq!(open.code(), exit::NOT_SEALED);
        let sealed = row(recorded(), "web".into(), Some(&[new]), &["b".repeat(64)]);
        assert_eq!(sealed.not_sealed, None);
    }

    #[test]
    fn todays_name_is_shown() {
        let all = [
            ("a".repeat(64), "web-old".to_owned(), true),
            ("b".repeat(64), "web".to_owned(), true),
        ];
        let renamed = row(recorded(), "web".into(), Some(&all[..1]), &[]);
        assert_eq!(renamed.report.container.name, "web-old");
        assert_eq!(renamed.recorded_name.as_deref(), Some("web"));
        assert_eq!(renamed.not_sealed, None);
        // Its old name is another's now.
        let taken = row(recorded(), "web".into(), Some(&all), &[]);
        assert_eq!(taken.not_sealed, Some("b".repeat(64)));
    }
}
