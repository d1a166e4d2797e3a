//! One file a command; each composes the layers and returns an exit code.

mod allow;
mod attach;
mod detach;
mod doctor;
mod exec;
mod existing;
mod exit_change;
mod explain;
mod guard;
mod install;
mod keep;
mod list;
mod marking;
mod names;
mod quarantine;
mod reference;
mod refusing;
mod report;
mod reporting;
mod restore;
mod run;
mod schema;
mod sealing;
mod status;
mod stops;
mod tail;
mod taking_back;
mod top;
mod verify;
mod watch;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{
    cli::{Cli, Command},
    container::Engine,
    failure::{Failure, exit},
    gate::{Gate, Lock, Place},
    metrics::{Address, Listener, gather, render},
    state::State,
};

pub use {
    allow::{Allow, Disallow},
    attach::DryRun,
    doctor::Check,
    exec::Exec,
    existing::Existing,
    explain::Explain,
    guard::Guard,
    install::Install,
    list::Row,
    quarantine::Quarantine,
    report::{Denials, ExitRow, Report},
    reporting::Reporting,
    restore::Restore,
    run::Run,
    schema::{Schema, Shape},
    tail::{Output, Tail},
    watch::Watch,
};

/// Runs what the command line asks for.
///
/// # Errors
/// Whatever went wrong, with a hint where there is one.
pub async fn run(cli: Cli) -> Result<ExitCode> {
    // These only print what is known anyway, to anybody.
    match &cli.command {
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
    let host = cli.host.as_deref();
    let state = &State::at(cli.state_dir);
    let code = match cli.command {
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
            crate::command::run(&args)?;
            exit::OK
        }
        Command::Probe(args) => {
            crate::verify::probe(&args)?;
            exit::OK
        }
    };
    Ok(ExitCode::from(code))
}

/// Serves OpenMetrics of all seals while `work` is done, if there is an address for it.
///
/// # Errors
/// If the address is taken or cannot be used.
async fn with_metrics<T>(
    address: Option<&Address>,
    host: Option<&str>,
    state: &State,
    work: impl Future<Output = T>,
) -> Result<T> {
    let Some(address) = address else {
        return Ok(work.await);
    };
    let serve = Listener::bind(address)
        .await?
        .serve(async || exposition(host, state).await);
    // The socket file goes with its listener.
    Ok(tokio::select! {
        done = work => done,
        never = serve => match never {},
    })
}

/// Counts and states of now. Judging takes looks at containers: on a thread of its own,
/// so that what is displayed meanwhile does not wait.
async fn exposition(host: Option<&str>, state: &State) -> Result<String> {
    let (host, state) = (host.map(str::to_owned), state.clone());
    let read = move || -> Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let engine = Engine::connect(host.as_deref()).await.ok();
            let gate = standing()?;
            let rows = list::rows(gate.as_ref(), &state, engine.as_ref()).await?;
            let states: Vec<_> = rows.iter().flat_map(Row::states).collect();
            Ok(render(&gather(gate.as_ref())?, &states))
        })
    };
    tokio::task::spawn_blocking(read)
        .await
        .context("the thread that judges has ended")?
}

/// The gate of this host, if it stands.
fn standing() -> Result<Option<Gate>> {
    // A detach of the last seal takes the gate down map by map.
    let lock = Lock::take()?;
    let place = Place::host()?;
    Gate::clear_remains(&place, &lock)?;
    exec::tidy_up(&place, &lock)?;
    Gate::open(&place)
}
