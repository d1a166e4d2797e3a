//! The text of a hosts file (hosts(5)). Pure.
//!
//! Lines of ours have a width: an address takes the place of another without moving a
//! byte behind it, so that nobody who reads meanwhile misses a name.

use std::net::IpAddr;

use super::Name;

/// Where a name begins in a line of ours: behind the longest address and two blanks at
/// least, by which it is told from lines of others.
const COLUMN: usize = 47;

/// The file with lines of ours for these names and for no others; everything else stays,
/// byte for byte.
pub(super) fn rewritten(text: &[u8], names: &[Name]) -> Vec<u8> {
    let mut left: Vec<(&str, Vec<IpAddr>)> = names
        .iter()
        .map(|(name, addresses)| (name.as_str(), addresses.clone()))
        .collect();
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(own) = line.strip_suffix(b"\n").and_then(name_of) else {
            out.extend_from_slice(line);
            continue;
        };
        if let Some((name, addresses)) = left.iter_mut().find(|(name, _)| *name == own) {
            out.extend_from_slice(&match addresses.is_empty() {
                // Its place stays for the next address.
                true => empty(name),
                false => full(addresses.remove(0), name),
            });
        }
    }
    if out.last().is_some_and(|byte| *byte != b'\n') && left.iter().any(|(_, a)| !a.is_empty()) {
        out.push(b'\n');
    }
    for (name, addresses) in left {
        for address in addresses {
            out.extend_from_slice(&full(address, name));
        }
    }
    out
}

fn full(address: IpAddr, name: &str) -> Vec<u8> {
    format!("{:<COLUMN$}{name}\n", address.to_string()).into_bytes()
}

fn empty(name: &str) -> Vec<u8> {
    format!("{:<COLUMN$}{name}\n", "#").into_bytes()
}

/// The name of a line, without its end, that is one of ours.
fn name_of(line: &[u8]) -> Option<&str> {
    let (head, name) = std::str::from_utf8(line).ok()?.split_at_checked(COLUMN)?;
    let word = head.trim_end_matches(' ');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let ours = !name.is_empty() && name.chars().all(plain);
    (ours && (word == "#" || word.parse::<IpAddr>().is_ok())).then_some(name)
}

/// Names that a line of somebody else's gives an address before ours does.
pub(super) fn first_of_others(text: &[u8], names: &[Name]) -> Vec<String> {
    let wanted = |name: &str| {
        names
            .iter()
            .any(|(known, a)| known == name && !a.is_empty())
    };
    let mut found: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(text).lines() {
        let code = line.split('#').next().unwrap_or_default();
        let mut words = code.split_ascii_whitespace();
        if words
            .next()
            .is_none_or(|word| word.parse::<IpAddr>().is_err())
        {
            continue;
        }
        for name in words.filter(|name| wanted(name)) {
            let known = found
                .iter()
                .any(|known| known.trim_start_matches('=') == name);
            if !known {
                let own = name_of(line.as_bytes()) == Some(name);
                found.push(format!("{}{name}", if own { "=" } else { "" }));
            }
        }
    }
    found.retain(|name| !name.starts_with('='));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "127.0.0.1\tlocalhost\n198.51.100.2\t5ea15ea15ea1\n";

    fn name(name: &str, addresses: &[&str]) -> Name {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        (name.to_owned(), addresses.collect())
    }

    fn after(text: &str, names: &[Name]) -> String {
        let out = rewritten(text.as_bytes(), names);
        assert_eq!(rewritten(&out, names), out, "a second time changes nothing");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_name_is_added_changed_in_place_and_taken_out() {
        let first = after(BEFORE, &[name("db", &["198.51.100.3", "2001:db8::3"])]);
        let lines: Vec<_> = first.lines().skip(2).collect();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(lines[0]), ["198.51.100.3", "db"]);
        assert_eq!(words(lines[1]), ["2001:db8::3", "db"]);
        assert!(first.starts_with(BEFORE));
        // The engine adds a line of its own; ours stay where they are.
        let theirs = format!("{first}198.51.100.9\tother\n");
        let longest = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff";
        let second = after(&theirs, &[name("db", &[longest])]);
        assert_eq!(second.len(), theirs.len(), "no byte behind it has moved");
        assert_eq!(second.find("other"), theirs.find("other"));
        assert_eq!(words(second.lines().nth(2).unwrap()), [longest, "db"]);
        assert!(second.lines().nth(3).unwrap().starts_with('#'));
        // The place is taken again, not a new one.
        let third = after(&second, &[name("db", &["198.51.100.3", "198.51.100.4"])]);
        assert_eq!(third.len(), theirs.len());
        let none = after(&third, &[name("db", &[])]);
        assert_eq!(none.len(), theirs.len());
        assert!(
            none.lines()
                .skip(2)
                .take(2)
                .all(|line| line.starts_with('#'))
        );
        assert_eq!(after(&none, &[]), format!("{BEFORE}198.51.100.9\tother\n"));
    }

    #[test]
    fn lines_of_others_stay() {
        let odd = "198.51.100.7 db\n198.51.100.7\tdb d\n\u{fe}\n#  db\nnothing";
        let out = after(odd, &[name("db", &["198.51.100.3"])]);
        assert!(out.starts_with(&format!("{odd}\n198.51.100.3 ")), "{out}");
        assert_eq!(after(odd, &[]), odd);
        assert_eq!(after("", &[]), "");
        // Names that begin alike are two.
        let both = [
            name("db", &["198.51.100.3"]),
            name("db2", &["198.51.100.4"]),
        ];
        let out = after(BEFORE, &both);
        assert_eq!(out.lines().count(), 4);
        let out = after(&out, &both[1..]);
        assert!(out.ends_with("db2\n") && out.lines().count() == 3);
    }

    #[test]
    fn an_earlier_line_of_somebody_elses_is_named() {
        let names = [name("db", &["198.51.100.3"]), name("x", &["198.51.100.4"])];
        let said = |text: &str| first_of_others(after(text, &names).as_bytes(), &names);
        assert!(said(BEFORE).is_empty());
        assert_eq!(said("198.51.100.66\ta db # c\n"), ["db"]);
        assert!(said("# 198.51.100.66 db\n198.51.100.66 dbx\n").is_empty());
        let late = format!("{}198.51.100.66 db\n", after(BEFORE, &names));
        assert!(said(&late).is_empty(), "ours is first");
    }
}
