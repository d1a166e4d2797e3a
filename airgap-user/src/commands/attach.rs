//! `airgap attach`.

use airgap_common::map::MAX_LEVEL;
use anyhow::{Context as _, Result};

use super::{
    Report,
    existing::{Found, Layers, Terms, carried_in},
    sealing::{self, Site, Wanted, refuse_configured, refuse_found},
    tail,
};
use crate::{
    cli::Attach,
    container::{Container, Engine},
    failure::{Failure, exit},
    gate::{Gate, Place, Reading, mount_bpffs},
    output::{self, Format},
    policy::Rules,
    preflight::Risk,
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
        refuse: true,
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
    // All are found, and what their engine was told is judged, before the first is sealed.
    let mut targets: Vec<(Container, Vec<Risk>)> = Vec::new();
    for reference in &args.containers {
        let container = engine.find(reference).await?;
        container.key()?;
        refuse_depth(&container)?;
        let mut accept = args.accept.clone();
        let before = sealing::accepted_before(&place, state, &container)?;
        accept.extend(Risk::ALL.iter().filter(|r| before & r.bit() != 0));
        refuse_configured(&container, &wanted.rules, &accept)?;
        if !targets.iter().any(|(t, _)| t.id == container.id) {
            targets.push((container, accept));
        }
    }
    if args.dry_run {
        for (container, accept) in &targets {
            dry_run(&place, container, &wanted, accept, args.json)?;
        }
        return Ok(exit::OK);
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let mut reports = Vec::new();
    for (container, _) in targets {
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

fn dry_run(
    place: &Place,
    container: &Container,
    wanted: &Wanted,
    accept: &[Risk],
    json: bool,
) -> Result<()> {
    let layers = Layers::now(Gate::open(place)?.as_ref());
    let look = refuse_found(&place.cgroup, container, &wanted.rules, accept)?;
    let found = match look {
        Some(mut look) => {
            let found = Found::now(&mut look, None, 0, wanted.shares())?;
            let mut judged = found.judged(&Terms {
                keep: wanted.keeps(),
                ports: &wanted.rules.ports,
                layers,
            });
            judged.extend(carried_in(&mut look, layers, false));
            judged
        }
        None => Vec::new(),
    };
    output::dry_run(&container.name, &wanted.rules, &found, json)
}
