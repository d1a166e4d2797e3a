//! What an attach, allow or disallow makes of a seal's exceptions. Pure.

use crate::policy::{Exception, To};

/// What becomes of the exceptions that a seal has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExitChange {
    /// They stay as they are.
    Keep,
    /// Those of the wanted rules take their place.
    Replace,
    /// These come in addition, or in the place of those that lead to the same.
    Allow(Vec<Exception>),
    /// Those that lead here go.
    Withdraw(Vec<To>),
}

impl ExitChange {
    pub(super) fn of(&self, before: &[Exception], wanted: &[Exception]) -> Vec<Exception> {
        let mut exits = before.to_vec();
        match self {
            Self::Keep => {}
            Self::Replace => exits = wanted.to_vec(),
            Self::Allow(more) => {
                exits.retain(|exit| !more.iter().any(|one| one.to == exit.to));
                exits.extend(more.iter().cloned());
            }
            Self::Withdraw(gone) => exits.retain(|exit| !gone.contains(&exit.to)),
        }
        exits
    }
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
        assert_eq!(after(change), [one(b), again, one(c)]);
    }
}
