//! `airgap learn`.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{
    reference::is_engineless,
    reporting::{Wanted, gather},
};
use crate::{
    config::{Ceilings, Config},
    container::{Engines, Hosts},
    failure::exit,
    host::clock::parse_ago,
    output::{self, Form},
    policy::{Exception, Rules, To},
    report::Learned,
    state::State,
};

/// Arguments of `learn`.
#[derive(Args, Debug)]
pub struct Learn {
    /// Only kinds of attempts of which one was made since
    #[arg(long, value_name = "90s|15m|1h|2d", value_parser = parse_ago)]
    pub since: Option<Duration>,
    /// For whom they are written
    #[arg(long, value_enum, default_value = "options", conflicts_with = "json")]
    pub format: Format,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// For whom exceptions are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    /// One --to a line, for airgap attach, allow and run
    Options,
    /// The label airgap.to
    Label,
    /// The same in a Compose file
    Compose,
}

pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config, args: &Learn) -> Result<u8> {
    let wanted = Wanted {
        since: args.since,
        verify: None,
    };
    let document = gather(hosts, state, &args.container, &wanted).await?;
    let named = !is_engineless(&document.container.id);
    // Without it addresses are what is told.
    let neighbours = match named {
        true => within_reach(&Engines::connect(hosts).await, &document.container.id).await,
        false => HashMap::new(),
    };
    let tried = state.own_targets(
        &document.container.id,
        document.status.seal,
        document.status.since,
    );
    let learned = Learned::of(&document, &neighbours, named, &tried);
    let form = match args.format {
        Format::Options => Form::Options,
        Format::Label => Form::Label,
        Format::Compose => Form::Compose,
    };
    let exits = learned.exceptions.iter();
    let exits = exits.filter_map(|one| To::near_or_far(&one.to).ok());
    let exits = exits.map(Exception::from).collect();
    let rules = Rules {
        exits,
        ..Rules::NOTHING
    };
    for above in Ceilings::read(config).above(&rules, 0) {
        log::warn!("above this host's ceiling, and refused: {above}");
    }
    output::learned(&learned, (!args.json).then_some(form))?;
    Ok(exit::OK)
}

/// Containers by those addresses at which this one can reach them: in a network that it is in.
async fn within_reach(engines: &Engines, id: &str) -> HashMap<IpAddr, String> {
    let mut neighbours = engines.neighbours().await;
    if let Some((_, container)) = engines.by_id(id).await {
        let own = container.prefixes();
        neighbours.retain(|ip, _| own.iter().any(|(_, net)| net.holds(*ip)));
    }
    neighbours
}
