//! What two lists have in common. Pure.

use super::{Cidr, Port, port::is_covered};

impl Port {
    /// Whether all of it is in these.
    pub fn is_within(&self, most: &[Self]) -> bool {
        is_covered(self, most)
    }
}

impl Cidr {
    /// Whether all of it is in one of these.
    pub fn is_within(&self, most: &[Self]) -> bool {
        most.iter()
            .any(|net| net.len <= self.len && net.overlaps(self))
    }
}

/// Clients that may connect by both lists; an empty list is any client.
pub fn clients_of_both(one: &[Cidr], other: &[Cidr]) -> Vec<Cidr> {
    match (one, other) {
        ([], all) | (all, []) => all.to_vec(),
        (one, other) => {
            let mut both: Vec<Cidr> = one.iter().filter(|c| c.is_within(other)).copied().collect();
            let more = other.iter().filter(|c| c.is_within(one));
            both.extend(more.filter(|c| !one.contains(c)));
            match both.is_empty() {
                // An empty list would be any client.
                true => vec![Cidr::NOBODY],
                false => both,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_both_lists_are_never_more_than_either() {
        let list = |texts: &[&str]| -> Vec<Cidr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        for (one, other, both) in [
            (&[][..], &[][..], &[][..]),
            (&["10.0.0.0/8"], &[], &["10.0.0.0/8"]),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], &["10.1.0.0/16"]),
            (&["10.1.0.0/16", "::1"], &["10.0.0.0/8"], &["10.1.0.0/16"]),
            (&["10.0.0.0/8"], &["10.0.0.0/8"], &["10.0.0.0/8"]),
            (&["10.0.0.0/8"], &["192.0.2.0/24"], &["::/128"]),
        ] {
            assert_eq!(clients_of_both(&list(one), &list(other)), list(both));
            assert_eq!(clients_of_both(&list(other), &list(one)), list(both));
        }
    }
}
