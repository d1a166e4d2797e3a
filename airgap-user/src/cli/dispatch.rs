//! From the command line to the command.

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::CommandFactory as _;

use super::{Cli, Command};
use crate::{
    command,
    commands::{
        allow, apply, attach, complete, config, detach, doctor, elsewhere, exec, explain, guard,
        hook, install, keep, learn, list, nri, quarantine, reporting, restore, run, schema, status,
        tail, top, verify, watch,
    },
    config::Config,
    container::Hosts,
    failure::{Failure, exit},
    state::{self, State},
};

impl Cli {
    /// Runs what the command line asks for.
    ///
    /// # Errors
    /// Whatever went wrong, with a hint where there is one.
    pub async fn run(self) -> Result<ExitCode> {
        // These only print what is known anyway, to anybody.
        match &self.command {
            Command::Schema(args) => return Ok(ExitCode::from(schema::run(args)?)),
            Command::Explain(args) => return Ok(ExitCode::from(explain::run(args)?)),
            Command::Report(args) => {
                if let Some([old, new]) = args.diff.as_deref() {
                    return Ok(ExitCode::from(reporting::difference(old, new, args.json)?));
                }
            }
            // Whatever cannot be read is not offered.
            Command::Complete(args) => {
                let config = Config::read(self.config.as_deref()).ok();
                let hosts = hosts(self.host, config.as_ref());
                let dir = config.unwrap_or_default().state_dir(self.state_dir);
                let (cli, state) = (Self::command(), State::at(dir));
                let code = complete::run(&cli, &hosts, &state, args).await?;
                return Ok(ExitCode::from(code));
            }
            _ => {}
        }
        // Whoever asks there is root there.
        let elsewhere = match &self.command {
            Command::List(args) => Some((&args.elsewhere, args.json)),
            Command::Status(args) => Some((&args.elsewhere, args.json)),
            Command::Report(args) => Some((&args.elsewhere, args.json)),
            _ => None,
        };
        if let Some((elsewhere, json)) = elsewhere.filter(|(to, _)| !to.hosts.is_empty()) {
            return Ok(ExitCode::from(elsewhere::run(elsewhere, json).await?));
        }
        // SAFETY: takes nothing, returns the effective user id.
        if unsafe { libc::geteuid() } != 0 {
            return Err(Failure::new(
                "airgap must run as root: it reads and writes the kernel's BPF objects",
                "sudo airgap …",
            )
            .into());
        }
        let config = match &self.command {
            // At a veth's and a container's birth, and inside of what is sealed; none asks for anything in it.
            Command::Guard(_) | Command::Hook(_) | Command::CommandInit(_) | Command::Probe(_) => {
                Ok(Config::default())
            }
            _ => Config::read(self.config.as_deref()),
        };
        let config = &match (config, &self.command) {
            // It says so itself.
            (Err(error), Command::Doctor(args)) => {
                let state = State::at(self.state_dir.unwrap_or_else(|| state::DEFAULT.into()));
                let hosts = hosts(self.host, None);
                let code = doctor::run(&hosts, &state, Err(error), args).await?;
                return Ok(ExitCode::from(code));
            }
            (config, _) => config?,
        };
        let hosts = &hosts(self.host.clone(), Some(config));
        let state = &State::at(config.state_dir(self.state_dir.clone()));
        let code = match self.command {
            Command::Attach(args) => attach::run(hosts, state, config, args).await?,
            Command::Detach(args) => detach::run(hosts, state, config, &args).await?,
            Command::Allow(args) => allow::allow(hosts, state, config, &args).await?,
            Command::Apply(args) => apply::run(hosts, state, config, &args).await?,
            Command::Disallow(args) => allow::disallow(hosts, state, &args).await?,
            Command::Run(args) => run::run(hosts, state, config, args).await?,
            Command::Exec(args) => exec::run(config, &args)?,
            Command::Watch(args) => watch::run(hosts, state, config, &args).await?,
            Command::Keep(args) => keep::run(hosts, &args).await?,
            Command::Nri(args) => nri::run(state, config, &args)?,
            Command::Quarantine(args) => quarantine::run(state, &args)?,
            Command::Restore(args) => restore::run(state, &args)?,
            Command::Install(args) => install::install(hosts, state, &args)?,
            Command::Uninstall(args) => install::uninstall(&args)?,
            Command::List(args) => list::run(hosts, state, config, &args).await?,
            Command::Status(args) => status::run(hosts, state, config, &args).await?,
            Command::Tail(args) => tail::run(hosts, state, &args).await?,
            Command::Top => top::run(hosts, state, config).await?,
            Command::Report(args) => reporting::run(hosts, state, &args).await?,
            Command::Learn(args) => learn::run(hosts, state, config, &args).await?,
            Command::Verify(args) => verify::run(hosts, state, &args).await?,
            Command::Doctor(args) => doctor::run(hosts, state, Ok(config), &args).await?,
            Command::Config(args) => config::run(self.host, self.state_dir, config, &args)?,
            // Answered above.
            Command::Complete(_) => exit::OK,
            Command::Schema(args) => schema::run(&args)?,
            Command::Explain(args) => explain::run(&args)?,
            Command::Guard(args) => guard::run(&args)?,
            Command::Hook(_) => hook::run(hosts, state)?,
            Command::CommandInit(args) => {
                command::run(&args)?;
                exit::OK
            }
            Command::Probe(args) => {
                crate::verify::probe(&args)?;
                exit::OK
            }
        };
        Ok(ExitCode::from(code))
    }
}

/// What the command line names wins over the environment, and that over the configuration.
fn hosts(named: Vec<String>, config: Option<&Config>) -> Hosts {
    if !named.is_empty() {
        return Hosts::new(named);
    }
    let environment = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let configured = || config.and_then(|config| config.engine.as_ref()?.value.clone().into());
    Hosts::new(match environment {
        Some(host) => vec![host],
        None => configured().unwrap_or_default(),
    })
}
