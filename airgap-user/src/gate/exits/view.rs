//! What the two maps of exceptions say together. Pure.

use airgap_common::map::{Exits, SLOTS, Slot};

use crate::policy::{Cidr, Exception, Lease, To, earlier, unions};

/// An exception, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its number: it counts for sockets that were let out under it.
    pub number: u32,
    /// What it allows.
    pub exception: Exception,
    /// Addresses that were found for its name.
    pub leases: Vec<Lease>,
    /// When it was put in force, `CLOCK_BOOTTIME`, nanoseconds.
    pub since: u64,
}

impl Exit {
    /// With its addresses, by what `EXITS` has of its seal, if it leads to a name.
    #[must_use]
    pub(super) fn leased<'a>(mut self, values: impl Iterator<Item = (Cidr, &'a Exits)>) -> Self {
        if self.exception.to.target.net().is_none() {
            self.leases = values
                .flat_map(|(net, value)| slots(value).map(move |slot| (net, slot)))
                .filter(|(_, slot)| slot.number == self.number)
                .map(|(net, slot)| Lease {
                    addr: net.addr,
                    until: (slot.until != 0).then_some(slot.until),
                    neighbour: slot.neighbour,
                })
                .collect();
        }
        self
    }

    /// What the map is to hold for it.
    pub(super) fn numbered(&self) -> (u32, &Exception, &[Lease]) {
        (self.number, &self.exception, &self.leases)
    }

    /// As a value of `EXITS` has it, until the earlier end of the two; `None`: it is not
    /// in it.
    pub(super) fn found_in(mut self, value: &Exits) -> Option<Self> {
        let slot = slots(value).find(|slot| slot.number == self.number)?;
        let until = (slot.until != 0).then_some(slot.until);
        self.exception.until = earlier(self.exception.until, until);
        Some(self)
    }
}

/// The exceptions of one seal, each judged by itself. All that disagrees is of a change
/// that was cut short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitsView {
    /// In force, and known.
    pub standing: Vec<Exit>,
    /// Known, and the kernel lets nothing out by them.
    pub closed: Vec<Exit>,
    /// The kernel lets out by them, and they are known no more.
    pub stray: Vec<To>,
    /// Both maps say the same.
    pub whole: bool,
}

impl ExitsView {
    /// From what `EXCEPTIONS` and `EXITS` have of one seal.
    pub(super) fn of(entries: Vec<Exit>, mut values: Vec<(Cidr, Exits)>) -> Self {
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| entry.leased(values.iter().map(|(net, value)| (*net, value))))
            .collect();
        let numbered: Vec<_> = entries.iter().map(Exit::numbered).collect();
        let mut view = Self {
            whole: unions(&numbered).is_ok_and(|wanted| same(&wanted, &values)),
            ..Self::default()
        };
        // The shortest prefix of an exception is its own.
        values.sort_by_key(|(net, _)| net.len);
        let mut known = Vec::new();
        for entry in entries {
            let Some(net) = entry.exception.to.target.net() else {
                // Without an address it is what it was asked to be.
                known.push(entry.number);
                view.standing.push(entry);
                continue;
            };
            let own = values.iter().find(|(found, _)| *found == net);
            match own.and_then(|(_, value)| entry.clone().found_in(value)) {
                Some(standing) => {
                    known.push(standing.number);
                    view.standing.push(standing);
                }
                None if values.iter().any(|(_, value)| has(value, entry.number)) => {}
                None => view.closed.push(entry),
            }
        }
        for (net, value) in &values {
            for slot in slots(value).filter(|slot| slot.number != 0) {
                if !known.contains(&slot.number) {
                    known.push(slot.number);
                    let (addr, bits) = net.key();
                    view.stray.push(To::of_map(addr, bits, slot));
                }
            }
        }
        view
    }
}

fn slots(value: &Exits) -> impl Iterator<Item = &Slot> {
    value.slots.iter()
}

fn has(value: &Exits, number: u32) -> bool {
    slots(value).any(|slot| slot.number == number)
}

/// Whether they say the same, in whatever order.
fn same(a: &[(Cidr, Exits)], b: &[(Cidr, Exits)]) -> bool {
    let sorted = |value: &Exits| {
        let mut slots: [Slot; SLOTS] = value.slots;
        slots.sort_by_key(|slot| slot.number);
        slots
    };
    a.len() == b.len()
        && a.iter().all(|(net, value)| {
            let other = b.iter().find(|(other, _)| other == net);
            other.is_some_and(|(_, other)| sorted(other) == sorted(value))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(number: u32, to: &str) -> Exit {
        Exit {
            number,
            exception: to.parse::<To>().unwrap().into(),
            leases: vec![],
            since: 1,
        }
    }

    fn values(exits: &[Exit]) -> Vec<(Cidr, Exits)> {
        let numbered: Vec<_> = exits.iter().map(Exit::numbered).collect();
        unions(&numbered).unwrap()
    }

    #[test]
    fn order_plays_no_role() {
        let (a, b) = (exit(7, "198.51.100.1:1"), exit(3, "198.51.100.1:2/udp"));
        let wide = exit(5, "198.51.100.0/24:443");
        let values = values(&[wide.clone(), a.clone(), b.clone()]);
        let view = ExitsView::of(vec![b, wide, a], values);
        assert!(view.whole && view.stray.is_empty() && view.closed.is_empty());
        assert_eq!(view.standing.len(), 3);
    }

    #[test]
    fn each_is_judged_by_itself() {
        let (a, b) = (exit(1, "198.51.100.1:1"), exit(2, "198.51.100.2:2"));
        let wide = exit(3, "198.51.100.0/24:443");
        let all = [a.clone(), b.clone(), wide.clone()];
        let view = ExitsView::of(all.to_vec(), values(&all));
        assert!(view.whole && view.standing == all);
        // A disallow that died after EXCEPTIONS: still open, and told.
        let view = ExitsView::of(vec![b.clone(), wide.clone()], values(&all));
        assert_eq!(view.standing, [b.clone(), wide.clone()]);
        assert!(!view.whole && view.closed.is_empty());
        assert_eq!(view.stray, vec![a.exception.to.clone()]);
        // Within EXITS: its own prefix names it, or a longer one alone.
        let mut torn = values(&all);
        torn.retain(|(net, _)| Some(*net) != wide.exception.to.target.net());
        let view = ExitsView::of(all.to_vec(), torn);
        assert_eq!(view.standing, [a.clone(), b.clone()]);
        assert!(!view.whole && view.closed.is_empty() && view.stray.len() == 1);
        // An allow that died before EXITS: shut.
        let view = ExitsView::of(all.to_vec(), values(&all[1..]));
        assert_eq!(view.closed, [a]);
        assert!(!view.whole && view.stray.is_empty());
        assert!(ExitsView::of(vec![], vec![]).whole);
    }

    #[test]
    fn a_name_has_the_addresses_that_the_kernel_has() {
        let lease = |addr: &str| Lease {
            addr: addr.parse().unwrap(),
            until: Some(9),
            neighbour: 5,
        };
        let mut db = exit(1, "container:db:5432");
        let net = exit(2, "198.51.100.0/24:443");
        let bare = db.clone();
        // With none it stands all the same, and nothing disagrees.
        let view = ExitsView::of(vec![bare.clone()], vec![]);
        assert!(view.whole && view.closed.is_empty());
        assert!(view.standing == vec![bare.clone()]);
        db.leases = vec![lease("198.51.100.7"), lease("2001:db8::7")];
        let all = [db.clone(), net.clone()];
        let view = ExitsView::of(vec![bare.clone(), net.clone()], values(&all));
        assert!(view.whole, "{view:?}");
        assert_eq!(view.standing, all);
        // One that is known no more is open still, and told.
        let view = ExitsView::of(vec![net.clone()], values(&all));
        assert!(!view.whole);
        assert_eq!(view.stray, ["198.51.100.7:5432".parse::<To>().unwrap()]);
    }

    #[test]
    fn the_earlier_end_counts() {
        let ends = |until| Exit {
            exception: Exception {
                until,
                ..exit(1, "198.51.100.1:1").exception
            },
            ..exit(1, "198.51.100.1:1")
        };
        for (asked, kernel, found) in [
            (Some(5), None, Some(5)),
            (None, Some(5), Some(5)),
            (Some(9), Some(5), Some(5)),
            (None, None, None),
        ] {
            let view = ExitsView::of(vec![ends(asked)], values(&[ends(kernel)]));
            assert_eq!(view.standing[0].exception.until, found);
            assert_eq!(view.whole, asked == kernel);
        }
    }
}
