//! `airgap config`.

use std::{env, path::PathBuf};

use anyhow::Result;
use clap::Args;

use crate::{
    config::{self, Ceilings, Config, Policies, Said, Setting, settings},
    container::Hosts,
    failure::exit,
    output,
};

/// Arguments of `config`.
#[derive(Args, Debug)]
pub struct Configuration {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn run(
    host: Vec<String>,
    state_dir: Option<PathBuf>,
    config: &Config,
    args: &Configuration,
) -> Result<u8> {
    let said = Said {
        host,
        docker_host: env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
        state_dir,
    };
    let mut rows = settings(config, &said, &Hosts::default().all());
    let policies = Policies::read(config)?;
    rows.extend(policies.iter().map(|one| Setting {
        key: "policy.d",
        value: one.whom.to_string(),
        from: one.place(),
    }));
    let ceilings = Ceilings::read(config);
    rows.extend(ceilings.settings());
    output::settings(&rows, args.json)?;
    if let Some(wrong) = ceilings.wrong() {
        log::error!("{wrong}");
    }
    if config.path.is_none() {
        log::info!("there is no {}", config::DEFAULT);
    }
    Ok(exit::OK)
}
