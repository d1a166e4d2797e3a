//! What a seal is to be, and where.

use anyhow::Result;

use super::super::Existing;
use super::exit_change::ExitChange;
use crate::{
    config::Ceilings,
    container::Engine,
    failure::{Failure, exit},
    gate::{Place, Reading},
    policy::{Errno, Rules},
    preflight::Risk,
    state::{Origin, State},
};

/// Whose containers, in which gate, recorded where.
pub(crate) struct Site<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) place: &'a Place,
    pub(crate) state: &'a State,
    /// For a gate that does not stand yet.
    pub(crate) kernel: &'a Reading,
    /// Shows what becomes of a socket that is older than the seal of this container.
    pub(crate) tell: fn(&str, &Existing),
}

/// What a seal is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) rules: Rules,
    /// What was not named stays as it is: "attach again" must not widen a seal.
    pub(crate) ports_named: bool,
    pub(crate) from_named: bool,
    pub(crate) exits: ExitChange,
    pub(crate) accept: Vec<Risk>,
    /// What was accepted before counts no more.
    pub(crate) accept_alone: bool,
    /// Refuse to seal unless every vector is covered.
    pub(crate) full: bool,
    /// Lift the seal again if a risk is found that was not accepted. A label asks for a
    /// seal whatever is found: one that could be left is better than none.
    pub(crate) refuse: bool,
    pub(crate) by: Origin,
    /// What it may at most have. What a seal has already, and is above them, is not renewed.
    pub(crate) ceilings: Ceilings,
}

impl Wanted {
    pub(crate) fn keeps(&self) -> bool {
        self.accept.contains(&Risk::ExistingConnections)
    }

    pub(crate) fn shares(&self) -> bool {
        self.accept.contains(&Risk::SharedNetwork) || self.accept.contains(&Risk::HostNetwork)
    }

    /// What it has accepted then, where this was before.
    pub(crate) fn accepted_after(&self, before: u64) -> u64 {
        let kept = match self.accept_alone {
            true => 0,
            // The rest of the seal is not touched.
            false if self.exits.is_by_hand() => before,
            false => self.ceilings.accepted(before),
        };
        Risk::set(&self.accept) | kept
    }

    pub(crate) fn rules_after(&self, before: Option<&Rules>) -> Rules {
        let rules = self.rules_but_for_ceilings(before);
        match self.exits.is_by_hand() {
            true => rules,
            false => self.ceilings.narrowed(rules),
        }
    }

    /// Refuses what is asked for anew and is above the ceiling, and says what a seal has
    /// that is not renewed: `before` is what it allows, and has `accepted`.
    ///
    /// # Errors
    /// If anything is above, with the file and its line, or if a seal has exceptions or
    /// risks and the ceiling cannot be followed. Exit code 2.
    pub(crate) fn refuse_above(
        &self,
        name: &str,
        before: Option<&Rules>,
        accepted: u64,
    ) -> Result<()> {
        let mut asked = self.rules.clone();
        if !self.ports_named && before.is_some() {
            asked.ports.clear();
        }
        if !self.from_named {
            asked.clients.clear();
        }
        match &self.exits {
            ExitChange::Replace => {}
            ExitChange::Allow(more) => asked.exits.clone_from(more),
            ExitChange::Keep | ExitChange::Withdraw(_) | ExitChange::WithdrawAll => {
                asked.exits.clear();
            }
        }
        self.ceilings.refuse(&asked, &self.accept)?;
        if self.exits.is_by_hand() {
            return Ok(());
        }
        let kept = match self.accept_alone {
            true => 0,
            false => accepted,
        };
        let above = self
            .ceilings
            .above(&self.rules_but_for_ceilings(before), kept);
        if let (Some(wrong), [_, ..]) = (self.ceilings.wrong(), &above[..]) {
            let what = format!(
                "'{name}' has what no ceiling is known to hold: {}",
                above.join("; ")
            );
            let hint = format!("mend the file ({wrong}); nothing was changed");
            return Err(Failure::new(what, hint).with_code(exit::USAGE).into());
        }
        for line in above {
            log::warn!("{name}: above this host's ceiling, and not renewed: {line}");
        }
        Ok(())
    }

    fn rules_but_for_ceilings(&self, before: Option<&Rules>) -> Rules {
        // What nobody said is not written down either.
        let errno = self.rules.errno.or(before.and_then(|before| before.errno));
        let errno = errno.filter(|errno| *errno != Errno::default());
        let Some(before) = before else {
            return self.rules.clone().failing_with(errno);
        };
        let named = |named: bool| if named { &self.rules } else { before };
        Rules {
            ports: named(self.ports_named).ports.clone(),
            clients: named(self.from_named).clients.clone(),
            exits: self.exits.of(&before.exits, &self.rules.exits),
            errno,
            // What changes exceptions alone makes no seal of an audit, and no audit of a seal.
            audit: match self.exits.is_by_hand() {
                true => before.audit,
                false => self.rules.audit,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ceilings, ExitChange, Origin, Wanted};
    use crate::policy::{Errno, Port, Rules};

    #[test]
    fn exceptions_alone_make_no_seal_of_an_audit_and_no_audit_of_a_seal() {
        let rules = |audit| Rules::new(vec![], vec![]).unwrap().audited(audit);
        for (asked, before, exits, after) in [
            (true, false, ExitChange::WithdrawAll, false),
            (false, true, ExitChange::WithdrawAll, true),
            (false, true, ExitChange::Keep, false),
            (false, true, ExitChange::Replace, false),
            (true, true, ExitChange::Replace, true),
        ] {
            let wanted = Wanted {
                rules: rules(asked),
                ports_named: false,
                from_named: false,
                exits,
                accept: vec![],
                accept_alone: false,
                full: false,
                refuse: true,
                by: Origin::Operator,
                ceilings: Ceilings::default(),
            };
            assert_eq!(wanted.rules_after(Some(&rules(before))).audit, after);
        }
    }

    #[test]
    fn a_renewal_keeps_what_it_does_not_name() {
        let rules = |ports: &[u16], from: &[&str]| Rules {
            ports: ports.iter().map(|p| Port::tcp(*p)).collect(),
            clients: from.iter().map(|c| c.parse().unwrap()).collect(),
            exits: vec![],
            errno: None,
            audit: false,
        };
        let wanted = |ports_named, from_named| Wanted {
            rules: rules(&[80], &["10.0.0.0/8"]),
            ports_named,
            from_named,
            exits: ExitChange::Keep,
            accept: vec![],
            accept_alone: false,
            full: false,
            refuse: true,
            by: Origin::Operator,
            ceilings: Ceilings::default(),
        };
        let before = rules(&[443], &["::1"]);
        for (ports_named, from_named, ports, from) in [
            (true, true, 80, "10.0.0.0/8"),
            (true, false, 80, "::1"),
            (false, true, 443, "10.0.0.0/8"),
            (false, false, 443, "::1"),
        ] {
            let after = wanted(ports_named, from_named).rules_after(Some(&before));
            assert_eq!(after, rules(&[ports], &[from]));
        }
        let first = wanted(false, false);
        assert_eq!(first.rules_after(None), first.rules);
        for (before, named, after) in [
            (None, None, None),
            (Some(Errno::Eperm), None, Some(Errno::Eperm)),
            (Some(Errno::Eperm), Some(Errno::Offline), None),
            (None, Some(Errno::Eperm), Some(Errno::Eperm)),
        ] {
            let mut wanted = wanted(true, true);
            wanted.rules.errno = named;
            let before = rules(&[443], &["::1"]).failing_with(before);
            assert_eq!(wanted.rules_after(Some(&before)).errno, after);
        }
    }
}
