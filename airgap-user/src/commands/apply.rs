//! `airgap apply`.

mod difference;
mod outcome;

use anyhow::{Context as _, Result};
use clap::Args;

pub(super) use self::outcome::JSON_SCHEMA;
use self::{
    difference::difference,
    outcome::{Meant, Outcome, Sealed},
};
use super::sites::{Sites, mount};
use crate::{
    config::{Ceilings, Config, Policies, Written, directory},
    container::{Container, Engine, Engines, Hosts},
    failure::{Failure, exit},
    notation::escape,
    output::{self, Detail},
    seal::attach::{
        admitting::admit,
        before::{accepted_in_force, rules_before},
        sealing,
        wanted::{Site, Wanted},
        written::{wanted, written},
    },
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
    /// As one object, for scripts (airgap schema apply)
    #[arg(long)]
    pub json: bool,
}

impl Apply {
    const fn what(&self) -> &'static str {
        match (self.check, self.diff) {
            (true, _) => "check",
            (_, true) => "diff",
            _ => "apply",
        }
    }
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
    let mut outcome = Outcome {
        schema: 1,
        did: args.what(),
        seals: policies.iter().map(Sealed::new).collect(),
        silent: Vec::new(),
        exit: exit::OK,
    };
    if args.check {
        let seals: Vec<_> = policies
            .iter()
            .map(|one| format!("{}: {}\n", one.place(), one.whom))
            .collect();
        output::applied(args.json.then_some(&outcome), &seals.concat())?;
        return Ok(exit::OK);
    }
    let sites = Sites::begin(hosts, state).await?;
    let engines = &sites.engines;
    let at = |engine| sites.of(engine);
    // All are found and judged before the first is changed.
    let targets = targets(&policies, engines, &at, &ceilings).await?;
    for host in engines.silent() {
        log::error!("{host} does not answer: its containers stay as they are");
        outcome.silent.push(host.to_owned());
        outcome.exit = exit::FAILED;
    }
    let mut meant = Vec::new();
    for target in &targets {
        let site = at(target.engine);
        let changes = changes(&site, &target.container, &target.wanted)?;
        if !args.json {
            output::raw(&told(&target.container, target.written, &changes))?;
        }
        admit(&site, &target.container, &target.wanted, args.diff)?;
        meant.push(Meant::new(&target.container, changes));
    }
    for one in policies.iter() {
        if !targets.iter().any(|target| target.written == one) {
            log::warn!("{}: no container is {}", one.place(), one.whom);
        }
    }
    if !args.diff {
        mount()?;
        for (target, meant) in targets.iter().zip(&mut meant) {
            let code = make(&at(target.engine), target, meant, args.json).await?;
            outcome.exit = outcome.exit.max(code);
        }
    }
    for (target, meant) in targets.iter().zip(meant) {
        let mut written = policies.iter().zip(&mut outcome.seals);
        if let Some((_, its)) = written.find(|(one, _)| *one == target.written) {
            its.containers.push(meant);
        }
    }
    output::applied(args.json.then_some(&outcome), "")?;
    Ok(outcome.exit)
}

/// Makes one as it is written; returns the exit code. What cannot be sealed keeps no other
/// from it.
async fn make(site: &Site<'_>, target: &Target<'_>, meant: &mut Meant, json: bool) -> Result<u8> {
    match sealing::seal(site, &target.container, &target.wanted).await {
        Ok(report) => {
            let fresh = Detail {
                fresh: true,
                ..Detail::default()
            };
            if !json {
                output::report(&report, false, fresh)?;
            }
            meant.made(report.state);
            Ok(report.code())
        }
        Err(error) => {
            let name = &target.container.name;
            log::error!("{}: not as written: {error:#}", escape(name));
            meant.failed(format!("{error:#}"));
            Ok(exit::FAILED)
        }
    }
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

/// What changes of one, a line each.
fn changes(site: &Site<'_>, container: &Container, wanted: &Wanted) -> Result<Vec<String>> {
    let context = || format!("cannot tell what '{}' has now", container.name);
    let before = rules_before(site, container).with_context(context)?;
    let accepted = accepted_in_force(site, container).with_context(context)?;
    let before = before.as_ref().map(|rules| (rules, accepted));
    let after = wanted.rules_after(before.map(|(rules, _)| rules));
    Ok(difference(before, &after, &wanted.accept))
}

/// What becomes of one, as text.
pub(super) fn change(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
    written: &Written,
) -> Result<String> {
    let changes = changes(site, container, wanted)?;
    Ok(told(container, written, &changes))
}

fn told(container: &Container, written: &Written, changes: &[String]) -> String {
    let name = escape(&container.name);
    let place = written.place();
    if changes.is_empty() {
        return format!("{name} ({place}): as written\n");
    }
    let lines = changes.iter().map(|line| format!("  {}\n", escape(line)));
    format!("{name} ({place}):\n{}", lines.collect::<String>())
}
