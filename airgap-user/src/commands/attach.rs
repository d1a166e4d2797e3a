//! `airgap attach`.

mod subtree;

pub(super) use self::subtree::SHOW;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    apply::change,
    reference::refuse_engineless,
    seal_options::{SealOptions, usage},
    sites::{Sites, mount},
    tail,
};
use crate::{
    config::{Ceilings, Config, Policies},
    container::{Container, Engine, Hosts},
    coverage::{SealState, summary},
    failure::exit,
    gate::Gate,
    output::{self, Detail, Format, Sink},
    policy::Rules,
    preflight::{self, Risk},
    seal::{
        DryRun, Report,
        attach::{
            admitting::admit,
            before::rules_before,
            exit_change::ExitChange,
            older_sockets::{Found, Layers, Terms, carried_in},
            refusing::{self, refuse_found},
            sealing,
            stops::Services,
            wanted::{Site, Wanted},
            written::{wanted as as_written, written},
        },
        expected, older,
    },
    state::{Origin, State},
};

/// Arguments of `attach`.
#[derive(Args, Debug)]
pub struct Attach {
    /// What the seal is to be.
    #[command(flatten)]
    pub seal: SealOptions,
    /// Judge all, tell what a seal would refuse, and refuse nothing: NOT SEALED, exit 3
    #[arg(
        long,
        conflicts_with_all = ["dry_run", "require", "cgroup", "unit", "slice", "harden"]
    )]
    pub audit: bool,
    /// Say what would be refused or cut, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return once the containers are sealed
    #[arg(short, long)]
    pub detach: bool,
    /// Report and denials as JSON
    #[arg(long)]
    pub json: bool,
    /// Seal a cgroup of this host instead, with all below it, by its path: what is made
    /// there again is born sealed. Without -p nobody may connect to it
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// The same of a systemd unit: a service, a scope or a slice, running or not; a short
    /// name is a service's
    #[arg(long, value_name = "NAME", conflicts_with = "cgroup")]
    pub unit: Option<String>,
    /// The same of a slice, with all units in it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cgroup", "unit"])]
    pub slice: Option<String>,
    /// With --unit: show what a service lacks so that it cannot leave around the seal, write
    /// that as a drop-in, and restart the service, sealed
    #[arg(long, requires = "unit", conflicts_with_all = ["cgroup", "slice"])]
    pub harden: bool,
    /// Name, id or unique prefix of an id
    #[arg(
        required_unless_present_any = ["cgroup", "unit", "slice"],
        conflicts_with_all = ["cgroup", "unit", "slice"],
        value_name = "CONTAINER"
    )]
    pub containers: Vec<String>,
}

pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config, args: Attach) -> Result<u8> {
    if args.cgroup.is_some() || args.unit.is_some() || args.slice.is_some() {
        let (number, code) = subtree::run(state, config, &args)?;
        return match number {
            Some(number) if !args.detach => {
                if let Some(ended) = watch_on(hosts, &args, &[number]).await? {
                    return Ok(ended);
                }
                log::info!("it stays sealed; airgap detach lifts the seal");
                Ok(code)
            }
            _ => Ok(code),
        };
    }
    let says = &args.seal;
    let rules = says
        .exits()
        .and_then(|exits| Rules::named(says.ports(config), says.from.clone())?.with_exits(exits))
        .map_err(|error| usage(error, "attach"))?
        .failing_with(says.errno)
        .audited(args.audit);
    let wanted = Wanted {
        rules,
        ports_named: !says.ports.is_empty(),
        from_named: !says.from.is_empty(),
        exits: match says.to.is_empty() {
            true => ExitChange::Keep,
            false => ExitChange::Replace,
        },
        accept: says.accept.clone(),
        accept_alone: false,
        full: says.require.is_some(),
        refuse: true,
        by: Origin::Operator,
        ceilings: Ceilings::read(config),
    };
    // Then a policy file says it, if there is one.
    let follows = says.names_nothing();
    let policies = match Policies::read(config) {
        // What was named needs no file.
        Err(error) if !follows => {
            log::warn!("no policy file counts: {error:#}");
            Policies::default()
        }
        policies => policies?,
    };
    let sites = Sites::begin(hosts, state).await?;
    let engines = &sites.engines;
    let at = |engine| sites.of(engine);
    // All are found, and what their engine was told is judged, before the first is sealed.
    let mut targets: Vec<(&Engine, Container, Wanted, Vec<Risk>)> = Vec::new();
    for reference in &args.containers {
        refuse_engineless(reference)?;
        let (engine, container) = engines.find(reference).await?;
        let site = at(engine);
        let mut its = wanted.clone();
        match written(&policies, engine, &container).await? {
            Some(written) if follows => {
                its = Wanted {
                    full: wanted.full,
                    ..as_written(&site, &container, written, &wanted.ceilings)
                };
                // What is written is what is judged.
                its.rules.audit = args.audit;
                for line in change(&site, &container, &its, written)?.lines() {
                    log::info!("{line}");
                }
            }
            Some(written) => log::warn!(
                "{}: options were given, so {} does not count; airgap apply puts it in force",
                container.name,
                written.place()
            ),
            None => {}
        }
        let accept = admit(&site, &container, &its, args.dry_run)?;
        if !targets.iter().any(|(_, t, ..)| t.id == container.id) {
            targets.push((engine, container, its, accept));
        }
    }
    if args.dry_run {
        let mut code = exit::OK;
        for (engine, container, its, accept) in &targets {
            code = code.max(dry_run(&at(engine), container, its, accept, args.json).await?);
        }
        return Ok(code);
    }
    mount()?;
    let mut reports = Vec::new();
    for (engine, container, its, _) in targets {
        let report = sealing::seal(&at(engine), &container, &its)
            .await
            .with_context(|| format!("cannot seal the container '{}'", container.name))?;
        let fresh = Detail {
            fresh: true,
            ..Detail::default()
        };
        output::report(&report, args.json, fresh)?;
        reports.push(report);
    }
    let code = reports.iter().map(Report::code).max().unwrap_or(exit::OK);
    if args.detach {
        return Ok(code);
    }
    let seals: Vec<_> = reports.iter().map(|r| r.seal).collect();
    if let Some(ended) = watch_on(hosts, &args, &seals).await? {
        return Ok(ended);
    }
    let names: Vec<_> = reports.iter().map(|r| r.container.name.as_str()).collect();
    match args.audit {
        true => log::info!(
            "{} stays under audit, NOT SEALED; airgap detach ends it, airgap attach seals",
            names.join(", ")
        ),
        false => log::info!(
            "{} stays sealed; airgap detach lifts the seal",
            names.join(", ")
        ),
    }
    Ok(code)
}

/// Shows what is refused until Ctrl-C; the exit code if the seals were lifted meanwhile.
async fn watch_on(hosts: &Hosts, args: &Attach, seals: &[SealNumber]) -> Result<Option<u8>> {
    let sink = Sink::Print(match args.json {
        true => Format::Json,
        false => Format::Text,
    });
    let following = tail::Following {
        hosts,
        seals,
        sink: &sink,
        since: None,
        allowed: false,
        keep: true,
    };
    let ended = tail::follow(&following).await? == tail::End::Unsealed;
    Ok(ended.then_some(exit::NOT_SEALED))
}

/// What attach would say, and the code it would exit with; nothing is changed.
async fn dry_run(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
    accept: &[Risk],
    json: bool,
) -> Result<u8> {
    let gate = Gate::open(site.place)?;
    let layers = Layers::now(gate.as_ref());
    let rules = wanted.rules_after(rules_before(site, container)?.as_ref());
    let narrows = refusing::narrows(site, container, wanted, accept)?;
    let (mut look, facts) = refuse_found(&site.place.cgroup, container, &rules, accept, narrows)?;
    let mut existing = Vec::new();
    if let Some(look) = &mut look {
        let found = Found::now(look, None, 0, wanted.shares())?;
        let found = found.knowing(site.engine.neighbours().await);
        existing = found.judged(&Terms {
            keep: wanted.keeps(),
            audit: false,
            ports: &rules.ports,
            layers,
        });
        existing.extend(carried_in(look, layers, false));
    }
    let mut coverage = expected(
        gate.as_ref(),
        look.as_ref(),
        &facts,
        layers,
        &container.name,
    );
    if wanted.full {
        refusing::refuse_gaps(&coverage)?;
    }
    let found = preflight::judge(&facts);
    let accepted: Vec<_> = accept
        .iter()
        .filter(|risk| found.iter().any(|finding| finding.risk == **risk))
        .map(|risk| risk.name())
        .collect();
    coverage.extend(older(&existing, &accepted, &container.name));
    let state = SealState::of(&coverage, !accepted.is_empty());
    let code = state.code();
    output::dry_run(
        &DryRun {
            name: container.name.clone(),
            ports: rules.ports.iter().map(ToString::to_string).collect(),
            exits: rules.exits.iter().map(|e| e.to.to_string()).collect(),
            stops: Services::of(container).stop(&rules),
            existing,
            state,
            summary: summary(
                state,
                &coverage,
                &accepted,
                rules.exits.len(),
                &container.name,
            ),
            coverage,
            exit: code,
        },
        json,
    )?;
    Ok(code)
}
