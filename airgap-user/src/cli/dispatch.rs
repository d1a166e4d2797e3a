//! From the command line to the command.

use std::{env, process::ExitCode};

use anyhow::Result;

use super::{Cli, Command};
use crate::{
    command,
    commands::{
        allow, attach, config, detach, doctor, exec, explain, guard, hook, install, keep_names,
        learn, list, quarantine, reporting, restore, run, schema, status, tail, top, verify, watch,
    },
    config::Config,
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
            _ => {}
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
                let code = doctor::run(self.host.as_deref(), &state, Err(error), args).await?;
                return Ok(ExitCode::from(code));
            }
            (config, _) => config?,
        };
        let named = env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty());
        let engine = config.engine.as_ref().filter(|_| !named);
        let engine = engine.map(|given| given.value.clone());
        let host = self.host.clone().or(engine);
        let host = host.as_deref();
        let state = &State::at(config.state_dir(self.state_dir.clone()));
        let code = match self.command {
            Command::Attach(args) => attach::run(host, state, config, args).await?,
            Command::Detach(args) => detach::run(host, state, &args).await?,
            Command::Allow(args) => allow::allow(host, state, &args).await?,
            Command::Disallow(args) => allow::disallow(host, state, &args).await?,
            Command::Run(args) => run::run(host, state, config, args).await?,
            Command::Exec(args) => exec::run(&args)?,
            Command::Watch(args) => watch::run(host, state, config, &args).await?,
            Command::Keep(args) => keep_names::run(host, &args).await?,
            Command::Quarantine(args) => quarantine::run(state, &args)?,
            Command::Restore(args) => restore::run(state, &args)?,
            Command::Install(args) => install::install(host, state, &args)?,
            Command::Uninstall(args) => install::uninstall(&args)?,
            Command::List(args) => list::run(host, state, &args).await?,
            Command::Status(args) => status::run(host, state, config, &args).await?,
            Command::Tail(args) => tail::run(host, state, &args).await?,
            Command::Top => top::run(host, state).await?,
            Command::Report(args) => reporting::run(host, state, &args).await?,
            Command::Learn(args) => learn::run(host, state, &args).await?,
            Command::Verify(args) => verify::run(host, state, &args).await?,
            Command::Doctor(args) => doctor::run(host, state, Ok(config), &args).await?,
            Command::Config(args) => config::run(self.host, self.state_dir, config, &args)?,
            Command::Schema(args) => schema::run(&args)?,
            Command::Explain(args) => explain::run(&args)?,
            Command::Guard(args) => guard::run(&args)?,
            Command::Hook(_) => hook::run(host, state)?,
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
