//! `airgap attach`.

use airgap_common::map::MAX_LEVEL;
use anyhow::{Context as _, Result};

use super::{
    Report,
    existing::{Found, Layers, Terms, carried_in},
    sealing::{self, Site, Wanted},
    tail,
};
use crate::{
    cli::Attach,
    container::{Container, Engine, locate},
    failure::{Failure, exit},
    gate::{Gate, Place, Reading, mount_bpffs},
    output::{self, Format},
    policy::Rules,
    preflight::{self, Facts, Finding, Risk},
    state::{Origin, State},
};

pub(super) async fn run(host: Option<&str>, state: &State, args: Attach) -> Result<u8> {
    let rules = Rules::new(args.ports.clone(), args.from.clone())
        .map_err(|e| Failure::new(e, "airgap attach --help").with_code(exit::USAGE))?;
    let wanted = Wanted {
        rules,
        ports_named: !args.ports.is_empty(),
        from_named: !args.from.is_empty(),
        accept: args.accept.clone(),
        full: args.require.is_some(),
        by: Origin::Operator,
    };
    let place = Place::host()?;
    let kernel = Reading::begin(&place);
    let engine = Engine::connect(host).await?;
    let site = Site {
        engine: &engine,
        place: &place,
        state,
        kernel: &kernel,
    };
    // All are found and judged before the first is sealed.
    let mut targets: Vec<Container> = Vec::new();
    for reference in &args.containers {
        let container = engine.find(reference).await?;
        container.key()?;
        refuse_depth(&container)?;
        let mut accept = args.accept.clone();
        let before = sealing::accepted_before(&place, state, &container)?;
        accept.extend(Risk::ALL.iter().filter(|r| before & r.bit() != 0));
        refuse_risks(&place, &container, &accept)?;
        if !targets.iter().any(|t| t.id == container.id) {
            targets.push(container);
        }
    }
    if args.dry_run {
        for container in &targets {
            dry_run(&place, container, &wanted, args.json)?;
        }
        return Ok(exit::OK);
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let mut reports = Vec::new();
    for container in targets {
        let report = sealing::seal(&site, &container, &wanted)
            .await
            .with_context(|| format!("cannot seal the container '{}'", container.name))?;
        output::report(&report, args.json, true)?;
        reports.push(report);
    }
    let code = reports.iter().map(Report::code).max().unwrap_or(exit::OK);
    if args.detach {
        return Ok(code);
    }
    let seals: Vec<_> = reports.iter().map(|r| r.seal).collect();
    let following = tail::Following {
        host,
        seals: &seals,
        format: if args.json {
            Format::Json
        } else {
            Format::Text
        },
        since: None,
        keep: true,
    };
    if tail::follow(&following).await? == tail::End::Unsealed {
        return Ok(exit::NOT_SEALED);
    }
    let names: Vec<_> = reports.iter().map(|r| r.container.name.as_str()).collect();
    log::info!(
        "{} stays sealed; airgap detach lifts the seal",
        names.join(", ")
    );
    Ok(code)
}

/// A container that does not run yet must come up where the gate looks.
pub(super) fn refuse_depth(container: &Container) -> Result<()> {
    let host = container.inspect.host_config.as_ref();
    let parent = host.and_then(|h| h.cgroup_parent.as_deref()).unwrap_or("");
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

pub(super) fn refuse_risks(place: &Place, container: &Container, accept: &[Risk]) -> Result<()> {
    let cgroup = match container.pid {
        Some(pid) => Some(locate(&place.cgroup, &container.id, pid)?),
        None => None,
    };
    let found = preflight::judge(&Facts::gather(container, cgroup.as_ref()));
    let (accepted, refused): (Vec<Finding>, Vec<Finding>) =
        found.into_iter().partition(|f| accept.contains(&f.risk));
    for finding in accepted {
        log::warn!("accepted risk {}: {}", finding.risk, finding.what);
    }
    if refused.is_empty() {
        return Ok(());
    }
    let what: Vec<_> = refused
        .iter()
        .map(|f| format!("{} ({})", f.what, f.risk))
        .collect();
    let mends: Vec<_> = refused
        .iter()
        .map(|f| format!("{}, or pass --accept {}", f.risk.mend(), f.risk))
        .collect();
    Err(Failure::new(
        format!(
            "the container '{}' could leave around a seal: {}",
            container.name,
            what.join("; ")
        ),
        mends.join("; "),
    )
    .into())
}

fn dry_run(place: &Place, container: &Container, wanted: &Wanted, json: bool) -> Result<()> {
    let layers = Layers::now(Gate::open(place)?.as_ref());
    let found = match container.pid {
        Some(pid) => {
            let cgroup = locate(&place.cgroup, &container.id, pid)?;
            let found = Found::now(pid, &cgroup, wanted.shares())?;
            let mut judged = found.judged(&Terms {
                keep: wanted.keeps(),
                ports: &wanted.rules.ports,
                layers,
            });
            judged.extend(carried_in(pid, &cgroup, layers, false));
            judged
        }
        None => Vec::new(),
    };
    output::dry_run(&container.name, &wanted.rules, &found, json)
}
