//! Whether one exception is within another. Pure.

use super::{Ports, To};

/// Ports that `*` leaves out.
const NAMES: [u16; 2] = [53, 853];

impl Ports {
    fn is_within(self, most: Self) -> bool {
        match (self, most) {
            (_, Self::Range(1, u16::MAX)) | (Self::All, Self::All) => true,
            (Self::Range(first, last), Self::Range(from, to)) => from <= first && last <= to,
            (Self::Range(first, last), Self::All) => {
                !NAMES.iter().any(|port| (first..=last).contains(port))
            }
            (Self::All, Self::Range(..)) => false,
        }
    }
}

impl To {
    /// Whether all that it leads to is in `most`, too.
    pub fn is_within(&self, most: &Self) -> bool {
        let targets = match (self.target.net(), most.target.net()) {
            // Loopback is meant by who names it, and by no prefix that happens to hold it.
            (Some(own), Some(most)) => {
                let near = self.is_near();
                own.is_within(&[most]) && (!near || most.addr.is_loopback())
            }
            // A name is within the same name alone: what it leads to changes.
            _ => self.target == most.target,
        };
        targets && self.protocol == most.protocol && self.ports.is_within(most.ports)
    }
}

#[cfg(test)]
mod tests {
    use super::To;

    #[test]
    fn an_exception_is_within_what_holds_all_of_it() {
        for (exit, most, within) in [
            ("198.51.100.10:443", "198.51.100.0/24:443", true),
            ("198.51.100.10:443", "198.51.100.10:443", true),
            ("198.51.100.10:443", "0.0.0.0/0:*", true),
            ("198.51.100.0/24:443", "198.51.100.10:443", false),
            ("198.51.100.10:444", "198.51.100.0/24:443", false),
            ("198.51.100.10:443-450", "198.51.100.0/24:400-449", false),
            ("198.51.100.10:443/udp", "198.51.100.0/24:443", false),
            ("[2001:db8::1]:443", "0.0.0.0/0:443", false),
            ("[2001:db8::1]:443", "[2001:db8::/32]:443", true),
            ("198.51.101.10:443", "198.51.100.0/24:443", false),
            ("container:db:5432", "container:db:5432", true),
            ("container:db:5432", "container:db:1-65535", true),
            ("container:db:5432", "container:other:5432", false),
            ("container:db:5432", "0.0.0.0/0:1-65535", false),
            ("198.51.100.10:5432", "container:db:5432", false),
            ("127.0.0.1:5432", "127.0.0.1:5432", true),
            ("127.0.0.1:5432", "0.0.0.0/0:5432", false),
            // A star is not every port.
            ("198.51.100.10:53", "198.51.100.0/24:*", false),
            ("198.51.100.10:50-60", "198.51.100.0/24:*", false),
            ("198.51.100.10:*", "198.51.100.0/24:*", true),
            ("198.51.100.10:*", "198.51.100.0/24:54-65535", false),
            ("198.51.100.10:53", "198.51.100.0/24:1-65535", true),
            ("198.51.100.10:*", "198.51.100.0/24:1-65535", true),
        ] {
            let [exit, most] = [exit, most].map(|text| To::near_or_far(text).unwrap());
            assert_eq!(exit.is_within(&most), within, "{exit} in {most}");
        }
    }
}
