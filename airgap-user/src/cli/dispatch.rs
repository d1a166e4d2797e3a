//! From the command line to the command.

use std::process::ExitCode;

use anyhow::Result;

use super::{Cli, Command};
use crate::{
    command,
    commands::{
        allow, attach, detach, doctor, exec, explain, guard, install, list, quarantine, reporting,
        restore, run, schema, status, tail, top, verify, watch,
    },
    failure::{Failure, exit},
    state::State,
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
        let host = self.host.as_deref();
        let state = &State::at(self.state_dir);
        let code = match self.command {
            Command::Attach(args) => attach::run(host, state, args).await?,
            Command::Detach(args) => detach::run(host, state, &args).await?,
            Command::Allow(args) => allow::allow(host, state, &args).await?,
            Command::Disallow(args) => allow::disallow(host, state, &args).await?,
            Command::Run(args) => run::run(host, state, args).await?,
            Command::Exec(args) => exec::run(&args)?,
            Command::Watch(args) => watch::run(host, state, &args).await?,
            Command::Quarantine(args) => quarantine::run(state, &args)?,
            Command::Restore(args) => restore::run(state, &args)?,
            Command::Install(args) => install::install(host, state, &args)?,
            Command::Uninstall(args) => install::uninstall(&args)?,
            Command::List(args) => list::run(host, state, &args).await?,
            Command::Status(args) => status::run(host, state, &args).await?,
            Command::Tail(args) => tail::run(host, state, &args).await?,
            Command::Top => top::run(host, state).await?,
            Command::Report(args) => reporting::run(host, state, &args).await?,
            Command::Verify(args) => verify::run(host, state, &args).await?,
            Command::Doctor(args) => doctor::run(host, state, &args).await?,
            Command::Schema(args) => schema::run(&args)?,
            Command::Explain(args) => explain::run(&args)?,
            Command::Guard(args) => guard::run(&args)?,
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
