//! Sockets by which systemd starts services and hears of them (systemd.exec(5), sd_notify(3),
//! systemd-journald.service(8)).

/// Longest name that is looked at, its zero at the end included, bytes.
pub const ROOM: usize = 32;

/// A name as it is compared: padded with zeros.
pub type Name = [u64; ROOM / 8];

/// Where a service's standard output goes, where it logs by itself, and where it says that it
/// is ready.
pub const NAMES: [Name; 4] = [
    name("/run/systemd/journal/stdout"),
    name("/run/systemd/journal/socket"),
    name("/run/systemd/journal/dev-log"),
    name("/run/systemd/notify"),
];

/// A name as the kernel has it.
///
/// # Panics
/// At compile time, if it has no room.
pub const fn name(text: &str) -> Name {
    let bytes = text.as_bytes();
    assert!(bytes.len() < ROOM, "too long");
    let mut name = [0; ROOM / 8];
    let mut i = 0;
    while i < bytes.len() {
        let mut word = u64::to_ne_bytes(name[i / 8]);
        word[i % 8] = bytes[i];
        name[i / 8] = u64::from_ne_bytes(word);
        i += 1;
    }
    name
}

/// Whether a name is one of [`NAMES`].
#[inline(always)]
pub fn is_known(name: &Name) -> bool {
    let mut found = false;
    let mut i = 0;
    while i < NAMES.len() {
        let other = &NAMES[i];
        let differs =
            name[0] ^ other[0] | name[1] ^ other[1] | name[2] ^ other[2] | name[3] ^ other[3];
        found |= differs == 0;
        i += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_full() {
        assert!(NAMES.iter().all(is_known));
        for other in [
            "",
            "/run/systemd/private",
            "/run/systemd/notif",
            "/run/systemd/notify2",
            "/run/systemd/journal/stdou",
            "/run/systemd/journal/stdout.x",
        ] {
            assert!(!is_known(&name(other)), "{other}");
        }
    }
}
