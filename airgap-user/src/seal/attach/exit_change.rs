//! What an attach, allow or disallow makes of a seal's exceptions. Pure.

use crate::{
    failure::{Failure, exit},
    policy::{Exception, Rules, To, settled},
};

/// What becomes of the exceptions that a seal has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExitChange {
    /// They stay as they are.
    Keep,
    /// Those of the wanted rules take their place.
    Replace,
    /// These come in addition, or in the place of those that lead to the same.
    Allow(Vec<Exception>),
    /// Those that lead here go.
    Withdraw(Vec<To>),
    /// All of them go.
    WithdrawAll,
}

impl ExitChange {
    pub(crate) fn of(&self, before: &[Exception], wanted: &[Exception]) -> Vec<Exception> {
        let mut exits = before.to_vec();
        match self {
            Self::Keep => {}
            Self::Replace => exits = wanted.to_vec(),
            Self::Allow(more) => {
                // Each of them once: the last one counts.
                for one in more {
                    exits.retain(|exit| exit.to != one.to);
                    exits.push(one.clone());
                }
            }
            Self::Withdraw(gone) => exits.retain(|exit| !gone.contains(&exit.to)),
            Self::WithdrawAll => exits.clear(),
        }
        exits
    }

    /// Refuses to take back what is not there.
    ///
    /// # Errors
    /// Then: what there is.
    pub(crate) fn refuse_unknown(&self, rules: &Rules, name: &str) -> Result<(), Failure> {
        let Self::Withdraw(gone) = self else {
            return Ok(());
        };
        let has = |to: &To| rules.exits.iter().any(|exit| exit.to == *to);
        let Some(unknown) = gone.iter().find(|to| !has(to)) else {
            return Ok(());
        };
        let known: Vec<_> = rules.exits.iter().map(|exit| exit.to.to_string()).collect();
        let hint = match known.is_empty() {
            true => "it has none at all".to_owned(),
            false => format!("it has: {}", known.join(", ")),
        };
        let what = format!("'{name}' has no exception {unknown}");
        Err(Failure::new(what, hint).with_code(exit::USAGE))
    }

    /// Whether an operator changes exceptions alone, whoever asked for the seal.
    pub(crate) const fn is_by_hand(&self) -> bool {
        matches!(self, Self::Allow(_) | Self::Withdraw(_) | Self::WithdrawAll)
    }

    /// Whether it takes back, and nothing else.
    pub(crate) const fn is_withdrawal(&self) -> bool {
        matches!(self, Self::Withdraw(_) | Self::WithdrawAll)
    }

    /// What an operator has taken out of a label's list after this, of `withdrawn` before.
    pub(crate) fn withdrawn(&self, withdrawn: &[To], before: &[Exception]) -> Vec<To> {
        let mut after = withdrawn.to_vec();
        let gone: Vec<To> = match self {
            Self::Keep | Self::Replace => Vec::new(),
            Self::Allow(more) => {
                after.retain(|to| !more.iter().any(|one| one.to == *to));
                Vec::new()
            }
            Self::Withdraw(gone) => gone.clone(),
            Self::WithdrawAll => before.iter().map(|exit| exit.to.clone()).collect(),
        };
        for to in gone {
            if !after.contains(&to) {
                after.push(to);
            }
        }
        after
    }
}

/// Rules with the exceptions that stand, and shall not in the end; `None`: there are
/// none, or there is no room for both.
pub(crate) fn both(rules: &Rules, standing: &[Exception]) -> Option<Rules> {
    let gone = |exit: &&Exception| !rules.exits.iter().any(|one| one.to == exit.to);
    let gone: Vec<_> = standing.iter().filter(gone).cloned().collect();
    if gone.is_empty() {
        return None;
    }
    let all = [rules.exits.clone(), gone].concat();
    Some(Rules {
        exits: settled(all).ok()?,
        ..rules.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let to = |text: &str| text.parse::<To>().unwrap();
        let one = |text: &str| Exception::from(to(text));
        let (a, b, c) = ("198.51.100.1:1", "198.51.100.2:2", "198.51.100.3:3");
        let before = [one(a), one(b)];
        let wanted = [one(c)];
        let after = |change: ExitChange| change.of(&before, &wanted);
        assert_eq!(after(ExitChange::Keep), before);
        assert_eq!(after(ExitChange::Replace), wanted);
        assert_eq!(after(ExitChange::Withdraw(vec![to(a), to(c)])), [one(b)]);
        let again = Exception {
            until: Some(5),
            ..one(a)
        };
        let change = ExitChange::Allow(vec![again.clone(), one(c)]);
        assert_eq!(after(change), [one(b), again.clone(), one(c)]);
        assert_eq!(after(ExitChange::WithdrawAll), []);
        // Twice in one command is one exception: the later one.
        let change = ExitChange::Allow(vec![one(a), one(c), again.clone()]);
        assert_eq!(after(change), [one(b), one(c), again]);
    }

    #[test]
    fn what_goes_stays_until_all_is_judged_where_there_is_room() {
        let one = |text: &str| Exception::from(text.parse::<To>().unwrap());
        let rules = |exits: &[Exception]| Rules {
            ports: vec![],
            clients: vec![],
            exits: exits.to_vec(),
            errno: None,
            audit: false,
        };
        let (a, b) = (one("198.51.100.1:1"), one("198.51.100.2:2"));
        let (first, all) = ([a.clone()], [a.clone(), b.clone()]);
        assert_eq!(both(&rules(&first), &first), None);
        assert_eq!(both(&rules(&all), &first), None);
        let all = rules(&[b.clone(), a.clone()]);
        assert_eq!(both(&rules(&[b]), &[a]), Some(all));
        let at = |n: u16| one(&format!("198.51.100.1:{n}"));
        let (old, new): (Vec<_>, Vec<_>) = (1..=8).map(|n| (at(n), at(n + 8))).unzip();
        assert_eq!(both(&rules(&new), &old), None);
    }

    #[test]
    fn what_a_label_lost_is_remembered_until_it_is_allowed() {
        let to = |text: &str| text.parse::<To>().unwrap();
        let (a, b) = (&to("198.51.100.1:1"), &to("198.51.100.2:2"));
        let list = |list: &[&To]| list.iter().copied().cloned().collect::<Vec<To>>();
        let before = [a, b].map(|to| Exception::from(to.clone()));
        let after = |change: ExitChange, known: &[&To]| change.withdrawn(&list(known), &before);
        let withdraw = || ExitChange::Withdraw(list(&[a]));
        assert_eq!(after(withdraw(), &[]), list(&[a]));
        assert_eq!(after(withdraw(), &[a]), list(&[a]));
        assert_eq!(after(ExitChange::WithdrawAll, &[a]), list(&[a, b]));
        let allow = ExitChange::Allow(vec![a.clone().into()]);
        assert_eq!(after(allow, &[a, b]), list(&[b]));
        assert_eq!(after(ExitChange::Replace, &[a]), list(&[a]));
    }
}
