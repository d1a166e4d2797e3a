//! `airgap attach`.

use airgap_common::map::MAX_LEVEL;
use anyhow::{Context as _, Result};

use super::{
    Existing, Report,
    existing::{self, Layers},
    standing, tail,
};
use crate::{
    cli::Attach,
    container::{Cgroup, Container, Engine, Holder, OpenSocket, interfaces, locate},
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Sealed, Sealing, Standing, mount_bpffs},
    output,
    policy::Rules,
    preflight::{self, Facts, Finding, Risk},
};

/// How often a container may restart under our hands before we give up.
const TRIES: u32 = 20;

pub(super) async fn run(host: Option<&str>, args: Attach) -> Result<u8> {
    let rules = Rules::new(args.ports.clone(), args.from.clone())
        .map_err(|e| Failure::new(e, "airgap attach --help").with_code(exit::USAGE))?;
    let engine = Engine::connect(host).await?;
    let place = Place::host()?;
    // All are found and judged before the first is sealed.
    let mut targets: Vec<Container> = Vec::new();
    for reference in &args.containers {
        let container = engine.find(reference).await?;
        container.key()?;
        refuse_depth(&container)?;
        let mut accept = args.accept.clone();
        if let Some(gate) = standing()?
            && let Some(before) = gate.standing(&container.key()?)?
        {
            accept.extend(Risk::ALL.iter().filter(|r| before.accepted & r.bit() != 0));
        }
        refuse_risks(&place, &container, &accept)?;
        if !targets.iter().any(|t| t.id == container.id) {
            targets.push(container);
        }
    }
    if args.dry_run {
        for container in &targets {
            dry_run(&place, container, &rules, &args)?;
        }
        return Ok(exit::OK);
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let mut reports = Vec::new();
    for container in targets {
        let report = seal(&engine, &place, &container, &rules, &args)
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
    if tail::follow(&seals, args.json, true).await? == tail::End::Unsealed {
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
fn refuse_depth(container: &Container) -> Result<()> {
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

fn refuse_risks(place: &Place, container: &Container, accept: &[Risk]) -> Result<()> {
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

async fn seal(
    engine: &Engine,
    place: &Place,
    container: &Container,
    rules: &Rules,
    args: &Attach,
) -> Result<Report> {
    let lock = Lock::take()?;
    let mut gate = Gate::arm(place, &lock)?;
    let before = gate.standing(&container.key()?)?;
    // What a renewal does not name stays as it is: "attach again" must not
    // widen a seal.
    let kept = before.as_ref().map(|b| b.rules(args, rules));
    let rules = kept.as_ref().unwrap_or(rules);
    let sealing = Sealing {
        id: &container.key()?,
        name: &container.name,
        policy: rules.compile(),
        clients: &rules.clients,
        accepted: args.accept.iter().fold(0, |set, risk| set | risk.bit())
            | before.as_ref().map_or(0, |b| b.accepted),
    };
    if before.is_none() {
        announce(place, container, rules, args);
    }
    let sealed = match gate.seal_id(&sealing, &lock) {
        Ok(sealed) => sealed,
        Err(error) => {
            gate.disarm_if_idle(&lock)?;
            return Err(error);
        }
    };
    match finish(engine, &mut gate, container, sealed, rules, args, &lock).await {
        Ok(report) => Ok(report),
        // What was in force before comes back; what is new and unfinished goes.
        Err(error) if let Some(before) = before => {
            gate.seal_id(
                &Sealing {
                    policy: before.policy,
                    clients: &before.clients,
                    accepted: before.accepted,
                    ..sealing
                },
                &lock,
            )?;
            Err(error)
        }
        Err(error) => {
            gate.unseal(sealed.number, &lock)?;
            gate.disarm_if_idle(&lock)?;
            Err(error)
        }
    }
}

async fn finish(
    engine: &Engine,
    gate: &mut Gate,
    container: &Container,
    sealed: Sealed,
    rules: &Rules,
    args: &Attach,
    lock: &Lock,
) -> Result<Report> {
    // From here on the kernel marks each new cgroup of this id, so only the
    // one that exists now is left to do, and it may end at any moment.
    let mut container = engine.find(&container.id).await?;
    let mut found = Vec::new();
    for _ in 0..TRIES {
        let Some(pid) = container.pid else { break };
        match locate(&gate.place().cgroup, &container.id, pid) {
            Ok(cgroup) => match seal_running(gate, sealed, pid, &cgroup, args, lock) {
                Err(_) if !cgroup.path.exists() => {}
                done => {
                    found = done?;
                    break;
                }
            },
            Err(error) => {
                let now = engine.find(&container.id).await?;
                if now.pid == container.pid
                    && std::path::Path::new(&format!("/proc/{pid}")).exists()
                {
                    return Err(error);
                }
            }
        }
        container = engine.find(&container.id).await?;
    }
    gate.complete(sealed.number, lock)?;
    let seals = gate.seals()?;
    let (_, seal) = seals
        .iter()
        .find(|(number, _)| *number == sealed.number)
        .context("the seal is not in the map SEALS")?;
    let mut report = Report::gather(gate, sealed.number, seal, Some(&container))?;
    if report.state == "broken" {
        return Err(Failure::new(
            format!(
                "the kernel does not show the seal in force: {}",
                report.problems.join("; ")
            ),
            "airgap status shows what is there; detach and attach again",
        )
        .into());
    }
    if args.require.is_some() && report.coverage.iter().any(|v| !v.covered) {
        let open: Vec<_> = report
            .coverage
            .iter()
            .filter(|v| !v.covered)
            .map(|v| format!("{}: {}", v.vector, v.by))
            .collect();
        return Err(Failure::new(
            format!("--require full: not covered: {}", open.join("; ")),
            "close it as said, or attach without --require full",
        )
        .into());
    }
    if let Some(pid) = container.pid {
        report.existing =
            existing::settle(gate, sealed.number, pid, &found, keeps(args), &rules.ports)?;
        // A renewal judges no socket again: clients may have come since.
        if !sealed.renewed
            && let Ok(cgroup) = locate(&gate.place().cgroup, &container.id, pid)
        {
            let carried = existing::carried_in(pid, &cgroup, Layers::now(Some(gate)), true);
            report.existing.extend(carried);
        }
    }
    Ok(report)
}

/// Seals the cgroup and guards the interfaces that exist; returns the sockets
/// older than the seal. A renewal finds none: what lives was judged.
fn seal_running(
    gate: &mut Gate,
    sealed: Sealed,
    pid: u32,
    cgroup: &Cgroup,
    args: &Attach,
    lock: &Lock,
) -> Result<Vec<(OpenSocket, Option<Holder>)>> {
    let found = if sealed.renewed {
        Vec::new()
    } else {
        existing::find(pid, cgroup, shares(args))?
    };
    gate.seal_cgroup(sealed.number, cgroup, lock)?;
    gate.guard_frames(sealed.number, &interfaces(pid)?, lock)?;
    Ok(found)
}

impl Standing {
    /// The rules of a renewal.
    fn rules(&self, args: &Attach, asked: &Rules) -> Rules {
        Rules {
            ports: if args.ports.is_empty() {
                Rules::ports_of(&self.policy)
            } else {
                asked.ports.clone()
            },
            clients: if args.from.is_empty() {
                self.clients.clone()
            } else {
                asked.clients.clone()
            },
        }
    }
}

fn keeps(args: &Attach) -> bool {
    args.accept.contains(&Risk::ExistingConnections)
}

fn shares(args: &Attach) -> bool {
    args.accept.contains(&Risk::SharedNetwork) || args.accept.contains(&Risk::HostNetwork)
}

/// Says which peers are about to be lost, while they still are there.
fn announce(place: &Place, container: &Container, rules: &Rules, args: &Attach) {
    // What cannot be listed now is judged, with errors, once the seal is in force.
    for existing in peers(place, container, rules, args).unwrap_or_default() {
        output::peer(&container.name, &existing);
    }
}

fn dry_run(place: &Place, container: &Container, rules: &Rules, args: &Attach) -> Result<()> {
    let found = peers(place, container, rules, args)?;
    output::dry_run(&container.name, rules, &found, args.json)
}

/// What reaches out of the container now, and what a seal does with it.
fn peers(
    place: &Place,
    container: &Container,
    rules: &Rules,
    args: &Attach,
) -> Result<Vec<Existing>> {
    let mut found = Vec::new();
    let layers = Layers::now(Gate::open(place)?.as_ref());
    if let Some(pid) = container.pid {
        let cgroup = locate(&place.cgroup, &container.id, pid)?;
        for (socket, holder) in existing::find(pid, &cgroup, shares(args))? {
            let action = existing::action(&socket, keeps(args), &rules.ports, layers);
            found.push(existing::describe(&socket, holder.as_ref(), action));
        }
        found.extend(existing::carried_in(pid, &cgroup, layers, false));
    }
    Ok(found)
}
