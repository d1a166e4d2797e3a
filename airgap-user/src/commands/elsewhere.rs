//! `--hosts`: the same question for other hosts.

use anyhow::Result;
use clap::Args;

use super::worst;
use crate::{output, remote};

/// Which hosts are asked.
#[derive(Args, Clone, Debug, Default)]
pub struct Elsewhere {
    /// Ask these hosts over ssh, and not this one; they have airgap, and sudo needs no password
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// How they are reached
    #[arg(long, value_name = "COMMAND", env = "AIRGAP_SSH", default_value = remote::SSH, hide_env_values = true)]
    pub ssh: String,
}

/// Asks them what this process was asked.
pub(crate) async fn run(elsewhere: &Elsewhere, json: bool) -> Result<u8> {
    let answers = remote::ask(&elsewhere.hosts, &elsewhere.ssh, json).await?;
    output::answers(&answers, json)?;
    Ok(worst(answers.iter().map(remote::Answer::code)))
}
