//! `airgap status`.

use anyhow::Result;
use clap::Args;

use super::{
    elsewhere::Elsewhere,
    reference::{Directory, Presence, seals_of},
    standing,
};
use crate::{
    config::{Ceilings, Config, Policies},
    container::{Container, Engine, Hosts, Look},
    coverage::SealState,
    labels::Limits,
    output::{self, Detail},
    preflight::Risk,
    seal::{
        Report,
        above::tell_above,
        attach::written::{AskedFor, asked},
    },
    state::{Entry, Origin, State},
};

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// As JSON
    #[arg(long, conflicts_with_all = ["explain", "verbose"])]
    pub json: bool,
    /// What is not covered in full: what it means, why, what to do
    #[arg(long)]
    pub explain: bool,
    /// Hooks, links and cgroups as well
    #[arg(long)]
    pub verbose: bool,
    /// Name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// Other hosts.
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

pub(crate) async fn run(
    hosts: &Hosts,
    state: &State,
    config: &Config,
    args: &Status,
) -> Result<u8> {
    let gate = standing()?;
    let seals = seals_of(gate.as_ref())?;
    let asked = std::slice::from_ref(&args.container);
    let directory = Directory::open(hosts, &seals, state, asked).await?;
    let meant = directory.find(&args.container).await?;
    let entry = state.entry(&meant.id);
    let mut report = match (meant.seal(&seals), &gate, &entry) {
        (Some((number, seal)), Some(gate), _) => {
            let container = meant.container.as_ref();
            let mut report =
                Report::gather(gate, number, &seal, container, entry.as_ref(), Look::TIME)?;
            let own = state.own_attempts(&meant.id, number, seal.since);
            report.denials = report.denials.without(&own);
            if let (Some(container), Some(Entry::Known(record))) = (container, &entry)
                && let Some(engine) = directory.engine_of(&record.engine)
                && record.by == Origin::Label
            {
                report.labels_ignored = ignored(engine, container, config, seal.accepted).await;
            }
            report
        }
        // What is recorded was sealed and ought to be.
        (_, _, Some(entry)) => {
            let mut report = Report::of_entry(entry);
            if let Presence::There(name) = &meant.presence {
                report.container.name.clone_from(name);
            }
            report
        }
        _ => anyhow::bail!("the seal went while it was read"),
    };
    tell_above(&mut report, &Ceilings::read(config));
    if meant.is_gone() {
        report.set_state(SealState::Gone);
    }
    let detail = Detail {
        explain: args.explain,
        verbose: args.verbose,
        ..Detail::default()
    };
    output::report(&report, args.json, detail)?;
    Ok(report.code())
}

/// The labels that do not count, of a container that is sealed by label.
async fn ignored(
    engine: &Engine,
    container: &Container,
    config: &Config,
    accepted: u64,
) -> Vec<String> {
    let allowed: Vec<_> = Risk::ALL
        .iter()
        .copied()
        .filter(|risk| accepted & risk.bit() != 0)
        .collect();
    let limits = Limits {
        accept: allowed,
        ..config.limits(&[])
    };
    let asked = match Policies::read(config) {
        Ok(policies) => {
            let limits = (&limits, &Ceilings::read(config));
            asked(&policies, limits, engine, container).await
        }
        Err(error) => return vec![format!("{error:#}")],
    };
    asked.map_or_else(Vec::new, |AskedFor { terms, .. }| {
        terms.wrong.into_iter().chain(terms.ignored).collect()
    })
}
