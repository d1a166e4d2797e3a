//! `airgap schema`.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::apply;
use crate::{failure::exit, output, remote, report::JSON_SCHEMA};

/// Arguments of `schema`.
#[derive(Args, Debug)]
pub struct Schema {
    /// Of what
    #[arg(value_enum)]
    pub of: Shape,
}

/// What there is a schema of.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shape {
    /// A line of `airgap tail --json`
    Event,
    /// What `airgap report --json` prints
    Report,
    /// What `airgap apply --json` prints
    Apply,
    /// What `--hosts` makes of `--json`
    Hosts,
}

pub(crate) fn run(args: &Schema) -> Result<u8> {
    match args.of {
        Shape::Event => output::raw(output::json::SCHEMA)?,
        Shape::Report => output::raw(JSON_SCHEMA)?,
        Shape::Apply => output::raw(apply::JSON_SCHEMA)?,
        Shape::Hosts => output::raw(remote::JSON_SCHEMA)?,
    }
    Ok(exit::OK)
}
