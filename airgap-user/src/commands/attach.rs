//! `airgap attach`.

mod subtree;

pub(super) use self::subtree::change_exits;

use airgap_common::{
    cgroup::container_id,
    map::{MAX_LEVEL, SealNumber},
};
use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    before::{accepted_before, rules_before},
    existing::{Found, Layers, Terms, carried_in},
    exit_change::ExitChange,
    leasing::refuse_unkept,
    reference::refuse_engineless,
    refusing::{self, refuse_configured, refuse_found},
    report::expected,
    sealing,
    stops::Services,
    tail,
    wanted::{Site, Wanted},
};
use crate::{
    config::Config,
    container::{Container, Engine, Engines, Hosts, through_pod},
    coverage::{SealState, summary},
    failure::{Failure, exit},
    gate::{Gate, Place, Reading, mount_bpffs},
    output::{self, Detail, Format, Sink},
    policy::{Cidr, Errno, Exception, Hold, NearTo, Port, Rules, To},
    preflight::{self, Risk},
    seal::{DryRun, Report, older},
    state::{Origin, State},
};

/// Arguments of `attach`.
#[derive(Args, Debug)]
pub struct Attach {
    /// Service port inside the container, FIRST-LAST for several; repeatable [default: 5060/tcp]
    #[arg(
        short,
        long = "port",
        value_name = "PORT[-LAST][/udp]",
        value_delimiter = ','
    )]
    pub ports: Vec<Port>,
    /// Only clients from here may connect; repeatable, required with UDP ports [default: any client]
    #[arg(long = "from", value_name = "CIDR")]
    pub from: Vec<Cidr>,
    /// Where it may connect, or send datagrams to: ADDRESS or CIDR (IPv6 in brackets), NAME or
    /// container:NAME, and PORT, FIRST-LAST or * (all but 53 and 853); repeatable [default: nowhere]
    #[arg(long = "to", value_name = "TARGET:PORTS[/udp]")]
    pub to: Vec<NearTo>,
    /// How long an address holds that was found for a name (airgap allow --help)
    #[arg(long, value_name = "TIME|forever")]
    pub hold: Option<Hold>,
    /// How refused calls fail, from Linux 5.18: as on a host without a network
    /// (ENETUNREACH and the like), or with EPERM [default: offline]
    #[arg(long, value_name = "offline|eperm")]
    pub errno: Option<Errno>,
    /// Accept a risk that attach refused, by its name (airgap explain lists them); repeatable
    #[arg(long = "accept", value_name = "RISK")]
    pub accept: Vec<Risk>,
    /// With `full`: refuse to seal unless every vector is covered
    #[arg(long, value_name = "full", value_parser = ["full"])]
    pub require: Option<String>,
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
        let (number, code) = subtree::run(state, &args)?;
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
    let far = |to: &NearTo| to.0.to_string().parse::<To>();
    let exits: Result<Vec<_>, _> = args.to.iter().map(far).collect();
    let usage = |e| Failure::new(e, "airgap attach --help").with_code(exit::USAGE);
    let exits = exits.map_err(usage)?.into_iter().map(Exception::from);
    let exits = exits.map(|exit| exit.held(args.hold)).collect();
    let ports = match args.ports.is_empty() {
        true => config.ports(),
        false => args.ports.clone(),
    };
    let rules = Rules::named(ports, args.from.clone())
        .and_then(|rules| rules.with_exits(exits))
        .map_err(|e| Failure::new(e, "airgap attach --help").with_code(exit::USAGE))?
        .failing_with(args.errno);
    let wanted = Wanted {
        rules,
        ports_named: !args.ports.is_empty(),
        from_named: !args.from.is_empty(),
        exits: match args.to.is_empty() {
            true => ExitChange::Keep,
            false => ExitChange::Replace,
        },
        accept: args.accept.clone(),
        full: args.require.is_some(),
        refuse: true,
        by: Origin::Operator,
    };
    let place = Place::host()?;
    let kernel = Reading::begin(&place);
    let engines = Engines::connected(hosts).await?;
    let at = |engine| Site {
        engine,
        place: &place,
        state,
        kernel: &kernel,
    };
    // All are found, and what their engine was told is judged, before the first is sealed.
    let mut targets: Vec<(&Engine, Container, Vec<Risk>)> = Vec::new();
    for reference in &args.containers {
        refuse_engineless(reference)?;
        let (engine, container) = engines.find(reference).await?;
        let site = at(engine);
        container.key()?;
        refuse_place(&container)?;
        let mut accept = args.accept.clone();
        let before = accepted_before(&place, state, &container)?;
        accept.extend(Risk::ALL.iter().filter(|r| before & r.bit() != 0));
        let known = rules_before(&site, &container)?;
        let after = wanted.rules_after(known.as_ref());
        refusing::refuse_forgeable(&after, &container.name)?;
        if !refusing::narrows(&site, &container, &wanted)? {
            refuse_configured(&container, &after, &accept)?;
            refuse_unkept(&wanted.rules.exits)?;
        }
        let services = Services::of(&container);
        if !wanted.ports_named && known.is_none() {
            services.refuse_default(&container.name, &wanted.rules.ports)?;
        }
        if let Some(why) = container.ends_with_its_stop() {
            log::warn!(
                "{}: {why}, and this seal with it: its successor has another id (label it airgap.seal=true, and run airgap watch)",
                container.name
            );
        }
        // Said before it stops.
        if !args.dry_run {
            for line in services.stop(&after) {
                log::warn!("{}: {line}", container.name);
            }
        }
        if !targets.iter().any(|(_, t, _)| t.id == container.id) {
            targets.push((engine, container, accept));
        }
    }
    if args.dry_run {
        let mut code = exit::OK;
        for (engine, container, accept) in &targets {
            code = code.max(dry_run(&at(engine), container, &wanted, accept, args.json).await?);
        }
        return Ok(code);
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let mut reports = Vec::new();
    for (engine, container, _) in targets {
        let report = sealing::seal(&at(engine), &container, &wanted)
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
    log::info!(
        "{} stays sealed; airgap detach lifts the seal",
        names.join(", ")
    );
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

/// A container that does not run yet must come up where the gate looks, and not within
/// another: two policies for one packet are none.
pub(super) fn refuse_place(container: &Container) -> Result<()> {
    if let Some(pod) = &container.pod {
        if container.pid.is_none() && pod.path.is_none() {
            let what = format!(
                "where the cgroup of {} will be is not known",
                container.name
            );
            return Err(Failure::new(what, "start the pod, and attach then").into());
        }
        return Ok(());
    }
    let host = container.inspect.host_config.as_ref();
    let parent = host.and_then(|h| h.cgroup_parent.as_deref()).unwrap_or("");
    // Of a pod's container its shared network is what is refused.
    if let Some(outer) = parent
        .split('/')
        .find_map(container_id)
        .filter(|_| !through_pod(parent))
    {
        return Err(Failure::new(
            format!(
                "the container '{}' starts within the cgroup of another, {}",
                container.name,
                outer.get(..12).unwrap_or(outer)
            ),
            "seal only the outer container, or create this one with another --cgroup-parent",
        )
        .into());
    }
    // Each dash of a slice's name is a level (systemd.slice(5)).
    let levels = parent
        .split('/')
        .filter(|p| !p.is_empty())
        .map(|p| 1 + p.matches('-').count());
    let depth = levels.sum::<usize>() + 1;
    if container.pid.is_none() && depth > MAX_LEVEL as usize {
        return Err(Failure::new(
            format!("the container '{}' may start {depth} cgroup levels deep, airgap looks at {MAX_LEVEL}", container.name),
            "create it with a shorter --cgroup-parent",
        )
        .into());
    }
    Ok(())
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
    let narrows = refusing::narrows(site, container, wanted)?;
    let (mut look, facts) = refuse_found(&site.place.cgroup, container, &rules, accept, narrows)?;
    let mut existing = Vec::new();
    if let Some(look) = &mut look {
        let found = Found::now(look, None, 0, wanted.shares())?;
        let found = found.knowing(site.engine.neighbours().await);
        existing = found.judged(&Terms {
            keep: wanted.keeps(),
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
