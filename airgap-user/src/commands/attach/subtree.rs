//! `airgap attach --cgroup`, `--unit`, `--slice`: what is asked for, and what is said of it.

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use super::{super::sites::mount, Attach};
use crate::{
    config::{Ceilings, Config},
    failure::{Failure, exit},
    gate::{Place, Reading},
    host::systemd::Unit,
    output::{self, Detail},
    policy::{Cidr, Exception, Rules},
    seal::{
        attach::{exit_change::ExitChange, refusing::refuse_forgeable, wanted::Wanted},
        subtree::{Show, Site, closed, not_running, refuse, refuse_names, unaccepted},
    },
    state::{Origin, State},
    subtree::{DropIn, Service, Subtree},
};

/// How sealing shows what it does.
pub(in crate::commands) const SHOW: Show = Show {
    peer: output::peer,
    hardens: output::hardens,
};

/// Seals it, says what is in force, and returns its number with the report's exit code;
/// `None` as the number: nothing was to be changed.
pub(super) fn run(
    state: &State,
    config: &Config,
    args: &Attach,
) -> Result<(Option<SealNumber>, u8)> {
    let wanted = wanted(args, Ceilings::read(config))?;
    let place = Place::host()?;
    let unit = match (&args.unit, &args.slice) {
        (Some(unit), _) => Some(Unit::named(unit, false)?),
        (None, Some(slice)) => Some(Unit::named(slice, true)?),
        (None, None) => None,
    };
    if let (true, Some(unit)) = (args.harden, unit.as_ref().filter(|unit| !unit.is_service())) {
        let what = format!(
            "{} is no service: a drop-in cannot confine what runs in it",
            unit.name
        );
        return Err(Failure::new(what, "attach without --harden").into());
    }
    let subtree = match &unit {
        Some(unit) => Subtree::of_unit(&place.cgroup, unit)?,
        None => Subtree::named(&place.cgroup, args.cgroup.as_deref().unwrap_or_default())?,
    };
    let kernel = Reading::begin(&place);
    let site = Site {
        place: &place,
        state,
        kernel: &kernel,
        subtree: &subtree,
        unit: unit.as_ref(),
        wanted: &wanted,
        show: SHOW,
    };
    let (rules, accepted) = site.before()?;
    wanted.refuse_above(&subtree.name, rules.as_ref(), accepted)?;
    let rules = wanted.rules_after(rules.as_ref());
    refuse_forgeable(&rules, &subtree.name)?;
    let accepted = wanted.accepted_after(accepted);
    // A gate that does not stand may have hooks once it does: those are judged then.
    let (mut look, facts) = site.look(&rules, true)?;
    let found = unaccepted(&facts, accepted);
    if let Some(unit) = site.service(&found) {
        let service = Service::of(unit, &subtree, look.as_mut(), &rules.ports);
        let lacks = DropIn::of(unit, &found, &service);
        match (args.harden, args.dry_run) {
            (true, true) => output::raw(&lacks.text)?,
            (false, _) if !lacks.is_empty => output::lacks(&unit.name, &lacks),
            _ => {}
        }
        if args.harden && look.is_none() {
            return Err(not_running(unit).into());
        }
    }
    refuse(&subtree, &closed(&found, args.harden))?;
    if args.dry_run {
        log::info!(
            "{} would be sealed, as far as can be told before: nothing was changed",
            subtree.name
        );
        return Ok((None, exit::OK));
    }
    mount()?;
    let report = site
        .seal(args.harden)
        .with_context(|| format!("cannot seal {}", subtree.name))?;
    let fresh = Detail {
        fresh: true,
        ..Detail::default()
    };
    output::report(&report, args.json, fresh)?;
    Ok((Some(report.seal), report.code()))
}

fn wanted(args: &Attach, ceilings: Ceilings) -> Result<Wanted> {
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
