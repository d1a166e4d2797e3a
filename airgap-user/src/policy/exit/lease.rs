//! Addresses of exceptions by name, and what the map holds of all exceptions. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use airgap_common::map::{Exits, SLOTS, Slot};

use super::{Exception, earlier, lists::holds_for};
use crate::policy::Cidr;

/// An address that was found for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub addr: IpAddr,
    /// From when on it is over, `CLOCK_BOOTTIME`, nanoseconds; `None`: never.
    pub until: Option<u64>,
    /// Cgroup id of the neighbour that has it: it is over when that is removed.
    pub neighbour: u64,
}

impl Lease {
    /// The address as a prefix.
    pub fn net(&self) -> Cidr {
        Cidr::single(self.addr)
    }

    fn slot(&self, number: u32, exception: &Exception) -> Slot {
        let until = earlier(self.until, exception.until).unwrap_or(0);
        exception.to.slot(number, until, self.neighbour)
    }
}

/// What the map holds of them: for each prefix all that hold for its addresses, as a
/// look-up finds the longest prefix alone. What is nobody's in particular comes first: of
/// two that hold it is the one that counts.
///
/// # Errors
/// If more than a map value has room for hold for one address.
pub fn unions(numbered: &[(u32, &Exception, &[Lease])]) -> Result<Vec<(Cidr, Exits)>, String> {
    let mut prefixes = BTreeMap::new();
    for (_, exception, leases) in numbered {
        let own = exception.to.target.net().into_iter();
        for net in own.chain(leases.iter().map(Lease::net)) {
            prefixes.insert((net.addr, net.len), net);
        }
    }
    // A look-up of another address of loopback ends here, and not at a wider prefix.
    if numbered
        .iter()
        .any(|(_, exception, _)| exception.to.is_near())
    {
        for net in [Cidr::LOOPBACK4, Cidr::LOOPBACK6] {
            prefixes.insert((net.addr, net.len), net);
        }
    }
    let mut unions = Vec::new();
    for net in prefixes.into_values() {
        let mut slots = Vec::new();
        for (number, one, leases) in numbered {
            if holds_for(one, &net) {
                slots.push(one.slot(*number));
            }
            let leased = leases.iter().filter(|lease| lease.net() == net);
            slots.extend(leased.map(|lease| lease.slot(*number, one)));
        }
        if slots.len() > SLOTS {
            return Err(format!(
                "{} exceptions hold for {net}, at most {SLOTS} are possible; write ranges of ports",
                slots.len()
            ));
        }
        slots.sort_by_key(|slot| slot.neighbour != 0);
        let mut exits = Exits::EMPTY;
        exits.slots[..slots.len()].copy_from_slice(&slots);
        unions.push((net, exits));
    }
    Ok(unions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::To;

    #[test]
    fn no_wide_exception_opens_loopback_beside_one_that_names_it() {
        let one = |to: &str| Exception::from(To::near_or_far(to).unwrap());
        let (near, wide) = (one("127.0.0.1:5432"), one("0.0.0.0/0:3128"));
        let found = unions(&[(1, &near, &[]), (2, &wide, &[])]).unwrap();
        let at = |text: &str| {
            let net: Cidr = text.parse().unwrap();
            let (_, exits) = found.iter().find(|(found, _)| *found == net).unwrap();
            let numbers = exits.slots.iter().map(|slot| slot.number);
            numbers.filter(|number| *number != 0).collect::<Vec<_>>()
        };
        assert_eq!(at("127.0.0.1/32"), [1]);
        assert_eq!(at("127.0.0.0/8"), [0; 0]);
        assert_eq!(at("::1/128"), [0; 0]);
        assert_eq!(at("0.0.0.0/0"), [2]);
        assert_eq!(unions(&[(2, &wide, &[])]).unwrap().len(), 1);
    }

    #[test]
    fn an_address_of_a_name_has_what_holds_for_it_too() {
        let one = |text: &str| Exception::from(text.parse::<To>().unwrap());
        let (net, db) = (one("198.51.100.0/24:443"), one("container:db:5432"));
        let lease = |addr: &str, until, neighbour| Lease {
            addr: addr.parse().unwrap(),
            until,
            neighbour,
        };
        let leases = [
            lease("198.51.100.7", Some(9), 5),
            lease("2001:db8::7", None, 5),
        ];
        let found = unions(&[(1, &db, &leases), (2, &net, &[])]).unwrap();
        assert_eq!(found.len(), 3);
        let at = |text: &str| {
            let net: Cidr = text.parse().unwrap();
            found.iter().find(|(found, _)| *found == net).unwrap().1
        };
        // The one without a neighbour first, whatever the order of the list.
        let both = at("198.51.100.7/32");
        assert_eq!((both.slots[0].number, both.slots[0].neighbour), (2, 0));
        let second = &both.slots[1];
        assert_eq!((second.number, second.neighbour, second.until), (1, 5, 9));
        assert_eq!((second.from, second.to), (5432, 5432));
        let v6 = at("2001:db8::7/128");
        assert_eq!((v6.slots[0].number, v6.slots[0].until), (1, 0));
        assert_eq!(at("198.51.100.0/24").slots[1], Slot::EMPTY);
        // Without an address a name opens nothing.
        assert_eq!(unions(&[(1, &db, &[])]), Ok(vec![]));
        // The earlier of two ends.
        let ends = Exception {
            until: Some(4),
            ..db
        };
        let found = unions(&[(1, &ends, &leases)]).unwrap();
        assert!(found.iter().all(|(_, exits)| exits.slots[0].until == 4));
    }
}
