//! `allow` and `disallow` of a subtree: other exceptions, and nothing else of its seal.

use anyhow::Result;

use super::{Show, Site, refuse, refuse_names, unaccepted};
use crate::{
    config::Ceilings,
    failure::{Failure, exit},
    gate::{Gate, Place, Reading},
    policy::Rules,
    preflight::Risk,
    seal::{
        Report,
        attach::{exit_change::ExitChange, refusing::refuse_forgeable, wanted::Wanted},
    },
    state::{Origin, State},
    subtree::Subtree,
};

/// Puts the change in force, and reads the seal back. On an error all is as before.
///
/// # Errors
/// If it is not sealed, if an exception that is to go is not there, or one that is to come
/// leads to a name or has a risk that nobody accepted.
pub(crate) fn change_exits(
    state: &State,
    subtree: &Subtree,
    change: ExitChange,
    accept: &[Risk],
    ceilings: Ceilings,
    show: Show,
) -> Result<Report> {
    let place = Place::host()?;
    let kernel = Reading::default();
    if let ExitChange::Allow(more) = &change {
        refuse_names(more.iter().map(|exit| &exit.to))?;
    }
    let gate = Gate::open(&place)?;
    let standing = match &gate {
        Some(gate) => gate.standing(&subtree.key()?)?,
        None => None,
    };
    let standing = standing.ok_or_else(|| not_sealed(&subtree.name))?;
    let before = standing.rules();
    change.refuse_unknown(&before, &subtree.name)?;
    let wanted = Wanted {
        rules: Rules {
            exits: Vec::new(),
            ..before.clone()
        },
        ports_named: false,
        from_named: false,
        accept: accept.to_vec(),
        accept_alone: false,
        full: false,
        refuse: !change.is_withdrawal(),
        exits: change,
        by: Origin::Operator,
        ceilings,
    };
    wanted.refuse_above(&subtree.name, Some(&before), standing.accepted)?;
    let site = Site {
        place: &place,
        state,
        kernel: &kernel,
        subtree,
        unit: None,
        wanted: &wanted,
        show,
    };
    let after = wanted.rules_after(Some(&before));
    if wanted.refuse {
        refuse_forgeable(&after, &subtree.name)?;
        let (_, facts) = site.look(&after, false)?;
        // A new one needs what the ceiling holds.
        let within = !Risk::OF_EXITS | wanted.ceilings.accepted(standing.accepted);
        let accepted = wanted.accepted_after(standing.accepted & within);
        refuse(subtree, &unaccepted(&facts, accepted))?;
    }
    site.seal(false)
}

fn not_sealed(name: &str) -> Failure {
    let what = format!("{name} is not sealed");
    let hint = "airgap attach seals it, with --to for exceptions";
    Failure::new(what, hint).with_code(exit::NOT_SEALED)
}
