//! `airgap run`: `docker run` with the seal in between: create, seal, start.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    seal_options::{SealOptions, usage},
    sites::{Sites, mount},
};
use crate::{
    config::{Ceilings, Config},
    container::{
        Engine, Hosts,
        docker_args::{self, Split},
    },
    failure::Failure,
    names::refuse_unkept,
    policy::Rules,
    seal::attach::{
        admitting::refuse_place,
        exit_change::ExitChange,
        refusing::refuse_configured,
        sealing,
        wanted::{Site, Wanted},
    },
    state::{Origin, State},
};

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// What the seal is to be.
    #[command(flatten)]
    pub seal: SealOptions,
    /// Arguments of `docker run`
    #[arg(last = true, required = true, value_name = "DOCKER RUN ARGUMENTS")]
    pub docker: Vec<OsString>,
}

/// Returns only if the container was not started: the last step is `docker
/// start` in this process' place, with its streams, signals and exit code.
pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config, args: Run) -> Result<u8> {
    let says = &args.seal;
    let rules = says
        .exits()
        .and_then(|exits| Rules::new(says.ports(config), says.from.clone())?.with_exits(exits))
        .map_err(|error| usage(error, "run"))?
        .failing_with(says.errno);
    refuse_unkept(&rules.exits)?;
    let split = docker_args::split(&args.docker).map_err(|error| usage(error, "run"))?;
    let wanted = Wanted {
        rules,
        ports_named: true,
        from_named: true,
        exits: ExitChange::Replace,
        accept: says.accept.clone(),
        accept_alone: false,
        full: says.require.is_some(),
        refuse: true,
        by: Origin::Operator,
        ceilings: Ceilings::read(config),
    };
    wanted.refuse_above("the container", None, 0)?;
    let sites = Sites::begin(hosts, state).await?;
    // What it is made by is named, where there are several: --host.
    let engine = sites
        .engines
        .first()
        .context("no container engine answers")?;
    let site = sites.of(engine);
    let created = Created::new(engine, &split)?;
    if let Err(error) = seal(&site, &created.0, &wanted).await {
        created.remove(engine);
        return Err(error.context("the container was not started and is removed again"));
    }
    let mut start = docker(engine);
    start.arg("start").args(&split.start).arg(&created.0);
    Err(start.exec()).context("the container is created and sealed; cannot run docker start")
}

async fn seal(site: &Site<'_>, id: &str, wanted: &Wanted) -> Result<()> {
    let container = site.engine.find(id).await?;
    refuse_place(&container)?;
    refuse_configured(&container, &wanted.rules_after(None), &wanted.accept)?;
    mount()?;
    let report = sealing::seal(site, &container, wanted).await?;
    // stdout is the container's.
    log::info!(
        "{} is sealed with ports {}, clients {}",
        container.name,
        report.ports.join(", "),
        match report.clients.as_slice() {
            [] => "ANY (each is an exit)".to_owned(),
            some => some.join(", "),
        }
    );
    for exit in &report.exits {
        log::info!("exit {}: {}", exit.to, exit.opens);
    }
    log::info!("{}: {}", report.state.headline(), report.summary);
    for vector in report.coverage.iter().filter(|v| v.is_open_now()) {
        let effect = vector.effect.as_deref().unwrap_or(vector.vector);
        log::warn!("open: {effect}");
    }
    Ok(())
}

/// The docker command line, talking to the engine that was connected to; on a host of
/// Podman's without it, Podman's own, which takes the same words.
fn docker(engine: &Engine) -> Command {
    if engine.is_podman() && !is_there("docker") {
        let mut podman = Command::new("podman");
        podman.args(["--remote", "--url", engine.host()]);
        return podman;
    }
    let mut docker = Command::new("docker");
    docker.args(["--host", engine.host()]);
    docker
}

/// Whether a program is in one of the directories where such are looked for.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// A container that was created and not started.
struct Created(String);

impl Created {
    fn new(engine: &Engine, split: &Split) -> Result<Self> {
        let mut create = docker(engine);
        create.arg("create").args(&split.create);
        let out = create
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| Failure::new("cannot run docker or podman", "install the docker command line, or create the container another way, then: airgap attach"))?;
        let text = String::from_utf8_lossy(&out.stdout);
        // Pulling an image prints lines before it.
        match text.lines().last().map(str::trim) {
            Some(id) if out.status.success() && !id.is_empty() => Ok(Self(id.to_owned())),
            _ => Err(Failure::new(
                format!("docker create failed: {}", out.status),
                "see above; airgap run takes the arguments of docker run after --",
            )
            .into()),
        }
    }

    fn remove(&self, engine: &Engine) {
        let mut rm = docker(engine);
        rm.args(["rm", "--force", "--volumes", &self.0]);
        match rm.stdin(Stdio::null()).output() {
            Ok(out) if out.status.success() => {}
            _ => log::error!(
                "the container {} is left, not started: docker rm {0}",
                self.0
            ),
        }
    }
}
