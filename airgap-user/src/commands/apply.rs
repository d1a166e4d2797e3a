//! `airgap apply`.

mod difference;

use anyhow::{Context as _, Result};
use clap::Args;

pub(super) use self::difference::difference;
use super::{
    admitting::admit,
    before::{accepted_in_force, rules_before},
    sealing,
    wanted::{Site, Wanted},
    written::{wanted, written},
};
use crate::{
    config::{Ceilings, Config, Policies, Written, directory},
    container::{Container, Engine, Engines, Hosts},
    failure::{Failure, exit},
    gate::{Place, Reading, mount_bpffs},
    notation::escape,
    output::{self, Detail},
    state::State,
};

/// Arguments of `apply`.
#[derive(Args, Debug)]
pub struct Apply {
    /// Read the files alone, and say what is wrong; no engine is asked
    #[arg(long, conflicts_with = "diff")]
    pub check: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub diff: bool,
}

/// A container of which something is written.
struct Target<'a> {
    engine: &'a Engine,
    container: Container,
    written: &'a Written,
    wanted: Wanted,
}

pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config, args: &Apply) -> Result<u8> {
    let policies = Policies::read(config)?;
    if policies.is_empty() {
        let what = format!("no seal is written in {}", directory(config).display());
        let hint = "docs/policies.md has an example";
        return Err(Failure::new(what, hint).with_code(exit::USAGE).into());
    }
    let ceilings = Ceilings::read(config);
    for one in policies.iter() {
        ceilings
            .refuse(&one.rules, &one.accept)
            .with_context(|| one.place())?;
    }
    if args.check {
        let seals: Vec<_> = policies
            .iter()
            .map(|one| format!("{}: {}\n", one.place(), one.whom))
            .collect();
        output::raw(&seals.concat())?;
        return Ok(exit::OK);
    }
    let place = Place::host()?;
    let kernel = Reading::begin(&place);
    let engines = Engines::connected(hosts).await?;
    let at = |engine| Site {
        engine,
        place: &place,
        state,
        kernel: &kernel,
    };
    // All are found and judged before the first is changed.
    let targets = targets(&policies, &engines, &at, &ceilings).await?;
    let mut code = exit::OK;
    for host in engines.silent() {
        log::error!("{host} does not answer: its containers stay as they are");
        code = exit::FAILED;
    }
    for target in &targets {
        let site = at(target.engine);
        output::raw(&change(
            &site,
            &target.container,
            &target.wanted,
            target.written,
        )?)?;
        admit(&site, &target.container, &target.wanted, args.diff)?;
    }
    for one in policies.iter() {
        if !targets.iter().any(|target| target.written == one) {
            log::warn!("{}: no container is {}", one.place(), one.whom);
        }
    }
    if args.diff {
        return Ok(code);
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    for target in &targets {
        // What cannot be sealed keeps no other from it.
        match sealing::seal(&at(target.engine), &target.container, &target.wanted).await {
            Ok(report) => {
                let fresh = Detail {
                    fresh: true,
                    ..Detail::default()
                };
                output::report(&report, false, fresh)?;
                code = code.max(report.code());
            }
            Err(error) => {
                let name = &target.container.name;
                log::error!("{}: not as written: {error:#}", escape(name));
                code = code.max(exit::FAILED);
            }
        }
    }
    Ok(code)
}

/// Every container of which something is written, in the order of their names.
async fn targets<'a>(
    policies: &'a Policies,
    engines: &'a Engines,
    at: &impl Fn(&'a Engine) -> Site<'a>,
    ceilings: &Ceilings,
) -> Result<Vec<Target<'a>>> {
    let mut targets = Vec::new();
    for (engine, listed) in engines.list().await? {
        for (id, ..) in listed {
            // Removed meanwhile, if it is none.
            let Some(container) = engine.look_up(&id).await? else {
                continue;
            };
            let Some(written) = written(policies, engine, &container).await? else {
                continue;
            };
            let wanted = wanted(&at(engine), &container, written, ceilings);
            targets.push(Target {
                engine,
                container,
                written,
                wanted,
            });
        }
    }
    targets.sort_by(|a, b| a.container.name.cmp(&b.container.name));
    Ok(targets)
}

/// What becomes of one, in lines.
pub(super) fn change(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
    written: &Written,
) -> Result<String> {
    let context = || format!("cannot tell what '{}' has now", container.name);
    let before = rules_before(site, container).with_context(context)?;
    let accepted = accepted_in_force(site, container).with_context(context)?;
    let before = before.as_ref().map(|rules| (rules, accepted));
    let after = wanted.rules_after(before.map(|(rules, _)| rules));
    let lines = difference(before, &after, &wanted.accept);
    let name = escape(&container.name);
    if lines.is_empty() {
        return Ok(format!("{name} ({}): as written\n", written.place()));
    }
    let lines: Vec<_> = lines
        .iter()
        .map(|line| format!("  {}\n", escape(line)))
        .collect();
    Ok(format!("{name} ({}):\n{}", written.place(), lines.concat()))
}
