//! What is asked of a subtree, and what of it is refused.

use anyhow::Result;

use super::super::Attach;
use crate::{
    config::Ceilings,
    failure::{Failure, exit},
    policy::{Cidr, Exception, Rules, To},
    preflight::{Facts, Finding, judge},
    seal::attach::{exit_change::ExitChange, refusing::refuse_findings, wanted::Wanted},
    state::Origin,
    subtree::Subtree,
};

pub(super) fn wanted(args: &Attach, ceilings: Ceilings) -> Result<Wanted> {
    let usage = |e| Failure::new(e, "airgap attach --help").with_code(exit::USAGE);
    refuse_names(args.seal.to.iter().map(|to| &to.0))?;
    let exits = args.seal.to.iter().map(|to| Exception::from(to.0.clone()));
    let exits = exits.collect();
    let rules = match (&args.seal.ports[..], &args.seal.from[..]) {
        // Not the default port: it need not serve.
        ([], from) => Ok(Rules {
            ports: Vec::new(),
            clients: match from {
                [] => vec![Cidr::NOBODY],
                some => some.to_vec(),
            },
            exits: Vec::new(),
            errno: None,
            audit: false,
        }),
        (ports, from) => Rules::named(ports.to_vec(), from.to_vec()),
    };
    let rules = rules
        .and_then(|rules| rules.with_exits(exits))
        .map_err(usage)?
        .failing_with(args.seal.errno);
    Ok(Wanted {
        rules,
        ports_named: !args.seal.ports.is_empty(),
        // Who may connect to ports that were named anew is said anew, too.
        from_named: !args.seal.from.is_empty() || !args.seal.ports.is_empty(),
        exits: match args.seal.to.is_empty() {
            true => ExitChange::Keep,
            false => ExitChange::Replace,
        },
        accept: args.seal.accept.clone(),
        accept_alone: false,
        full: args.seal.require.is_some(),
        refuse: true,
        by: Origin::Operator,
        ceilings,
    })
}

/// Nobody looks after addresses of names for it.
pub(super) fn refuse_names<'a>(mut named: impl Iterator<Item = &'a To>) -> Result<()> {
    let Some(to) = named.find(|to| to.target.net().is_none()) else {
        return Ok(());
    };
    let what = format!("{to} leads to something by its name, which only a container can");
    let failure = Failure::new(what, "name its address in --to").with_code(exit::USAGE);
    Err(failure.into())
}

pub(super) fn unaccepted(facts: &Facts, accepted: u64) -> Vec<Finding> {
    let mut found = judge(facts);
    found.retain(|finding| accepted & finding.risk.bit() == 0);
    found
}

/// Refuses what was found, by name.
pub(super) fn refuse(subtree: &Subtree, found: &[Finding]) -> Result<()> {
    let who = format!("{} could leave around a seal", subtree.name);
    refuse_findings(&who, found, Finding::mend)
}
