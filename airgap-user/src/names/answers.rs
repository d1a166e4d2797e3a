//! What becomes of the leases of a name with an answer of its server. Pure.

use std::{net::IpAddr, time::Duration};

use crate::{
    policy::{Cidr, Lease, earlier},
    resolve::refused,
};

/// Most addresses of one exception, those that are over included: their connections go on.
const MOST: usize = 64;
/// How long one that is over is remembered for its connections, nanoseconds.
const REMEMBERED: u64 = Duration::from_hours(24).as_nanos() as u64;

/// Leases after an answer at `now`, nanoseconds of the boot clock; `None`: nobody was asked, or
/// nobody answered. An address holds from when it was last in an answer: others stay until
/// their own end. Also what is in the way of some, in words.
pub(crate) fn merged(
    before: &[Lease],
    answer: Option<&[IpAddr]>,
    until: Option<u64>,
    now: u64,
    own: &[Cidr],
) -> (Vec<Lease>, Vec<String>) {
    let (mut leases, mut told): (Vec<Lease>, Vec<String>) = (Vec::new(), Vec::new());
    let mut classes = Vec::new();
    for addr in answer.unwrap_or_default() {
        match refused(*addr, own) {
            None => leases.push(Lease {
                addr: *addr,
                until,
                neighbour: 0,
            }),
            Some(class) if !classes.contains(&class) => {
                classes.push(class);
                told.push(format!(
                    "{addr} is in its answer, and is not let out to: {class}"
                ));
            }
            Some(_) => {}
        }
    }
    for old in before {
        let over_long = old
            .until
            .is_some_and(|end| end.saturating_add(REMEMBERED) <= now);
        let again = leases.iter().any(|lease| lease.addr == old.addr);
        // Networks of the host and the container may have come since.
        if again || over_long || refused(old.addr, own).is_some() {
            continue;
        }
        leases.push(Lease {
            // Of a hold that was shortened.
            until: earlier(old.until, until),
            ..old.clone()
        });
    }
    leases.sort_by_key(|lease| std::cmp::Reverse(lease.until.unwrap_or(u64::MAX)));
    leases.truncate(MOST);
    (leases, told)
}

/// Addresses of the newest answer, which is what the container is told: those that hold
/// longest.
pub(crate) fn newest(leases: &[Lease], now: u64) -> Vec<IpAddr> {
    let end = |lease: &Lease| lease.until.unwrap_or(u64::MAX);
    let last = leases.iter().map(end).max().filter(|end| *end > now);
    let newest = leases.iter().filter(|lease| Some(end(lease)) == last);
    newest.map(|lease| lease.addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ends(leases: &[Lease]) -> Vec<(String, Option<u64>)> {
        let all = leases.iter();
        all.map(|lease| (lease.addr.to_string(), lease.until))
            .collect()
    }

    #[test]
    fn an_address_holds_from_when_it_was_last_seen() {
        let (a, b) = (addr("198.51.100.10"), addr("2001:db8::11"));
        let (first, told) = merged(&[], Some(&[a]), Some(100), 10, &[]);
        assert_eq!(
            (ends(&first), told.len()),
            (vec![(a.to_string(), Some(100))], 0)
        );
        // It rotates: both hold, and the newest is told.
        let (second, _) = merged(&first, Some(&[b]), Some(140), 50, &[]);
        assert_eq!(
            ends(&second),
            [(b.to_string(), Some(140)), (a.to_string(), Some(100))]
        );
        assert_eq!(
            (newest(&first, 10), newest(&second, 50)),
            (vec![a], vec![b])
        );
        // Nobody answers: nothing is lengthened, and nothing is told once all is over.
        let (silent, _) = merged(&second, None, Some(200), 110, &[]);
        assert_eq!(ends(&silent), ends(&second));
        assert_eq!(newest(&silent, 110), [b]);
        assert!(newest(&silent, 140).is_empty());
        // What is over is there for its connections, for a day.
        let (kept, _) = merged(&second, Some(&[b]), Some(500), 400, &[]);
        assert_eq!(ends(&kept)[1], (a.to_string(), Some(100)));
        let (gone, _) = merged(&second, Some(&[b]), None, 100 + REMEMBERED, &[]);
        assert_eq!(ends(&gone), [(b.to_string(), None)]);
        // A shorter hold shortens what stands.
        let (shorter, _) = merged(&gone, None, Some(7), 1, &[]);
        assert_eq!(ends(&shorter), [(b.to_string(), Some(7))]);
    }

    #[test]
    fn what_no_name_leads_to_is_told_once_and_left_out() {
        let good = addr("198.51.100.10");
        let answer = ["10.0.0.1", "10.0.0.2", "127.0.0.1"].map(addr);
        let answer = [&answer[..], &[good]].concat();
        let (leases, told) = merged(&[], Some(&answer), None, 1, &[]);
        assert_eq!(ends(&leases), [(good.to_string(), None)]);
        assert_eq!(told.len(), 2, "{told:?}");
        // A network that came later takes an address back.
        let own = ["198.51.100.0/28".parse().unwrap()];
        assert_eq!(merged(&leases, None, None, 1, &own).0, []);
    }

    #[test]
    fn a_flood_of_addresses_leaves_the_newest() {
        let many = |base: u32| (0..50).map(move |n| std::net::Ipv4Addr::from(base + n).into());
        let old: Vec<IpAddr> = many(0xc633_6400).collect();
        let new: Vec<IpAddr> = many(0xc000_0200).collect();
        let (first, _) = merged(&[], Some(&old), Some(10), 1, &[]);
        let (second, _) = merged(&first, Some(&new), Some(20), 2, &[]);
        assert_eq!(second.len(), MOST);
        assert!(
            new.iter()
                .all(|addr| second.iter().any(|lease| lease.addr == *addr))
        );
    }
}
