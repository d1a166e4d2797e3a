//! The question of a DNS query (RFC 1035 §4.1.2).

/// Ends a name that is not whole.
const CUT: char = '…';

/// Name and record type of the first question; `None` if there is not one label.
/// Bytes of a name other than printable ASCII are escaped as `\DDD`. Of one that
/// is malformed, or longer than DNS allows, as much as can be read, then `…`, and
/// `?` for the type: whoever listens may read it all the same.
pub fn question(wire: &[u8]) -> Option<(String, String)> {
    let mut name = String::new();
    match labels(wire, &mut name) {
        Some(kind) => {
            if name.is_empty() {
                name.push('.');
            }
            Some((name, record_type(kind)))
        }
        None if name.is_empty() => None,
        None => {
            name.push(CUT);
            Some((name, "?".into()))
        }
    }
}

/// Reads labels into `name`; the record type, if there is one behind them.
fn labels(mut wire: &[u8], name: &mut String) -> Option<u16> {
    loop {
        let (&len, rest) = wire.split_first()?;
        if len == 0 {
            return Some(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        }
        // Queries hold no compression pointers; 63 is the longest label.
        if len > 63 {
            return None;
        }
        let (label, rest) = rest.split_at(rest.len().min(len.into()));
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' => name.extend(['\\', byte as char]),
                b'!'..=b'~' => name.push(byte as char),
                _ => *name += &format!("\\{byte:03}"),
            }
        }
        wire = rest;
    }
}

fn record_type(kind: u16) -> String {
    match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        _ => return format!("TYPE{kind}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::question;

    #[test]
    fn reads_questions() {
        let q = |w: &[u8]| question(w).map(|(n, t)| format!("{n} {t}"));
        assert_eq!(
            q(b"\x04evil\x07example\0\0\x01\0\x01").unwrap(),
            "evil.example A"
        );
        assert_eq!(q(b"\0\0\x02\0\x01").unwrap(), ". NS");
        assert_eq!(q(b"\x03a\x1b.\0\0\x10").unwrap(), "a\\027\\. TXT");
        assert_eq!(q(b"\x01a\0\xff\x01").unwrap(), "a TYPE65281");
    }

    #[test]
    fn the_longest_name_is_whole() {
        let label = [&[63_u8][..], &[b'a'; 63]].concat();
        let mut wire = [&label[..], &label, &label].concat();
        // 255 bytes with the root, 253 characters as text (RFC 1035 §2.3.4).
        wire.extend([61; 1]);
        wire.extend([b'b'; 61]);
        wire.extend(b"\0\0\x1c\0\x01");
        let (name, kind) = question(&wire).unwrap();
        assert_eq!((name.len(), kind.as_str()), (253, "AAAA"));
        assert!(name.ends_with("bbb"));
    }

    #[test]
    fn what_is_cut_or_malformed_is_shown_as_far_as_it_goes() {
        let q = |w: &[u8]| question(w).map(|(n, t)| format!("{n} {t}"));
        for (wire, shown) in [
            (&b"\x04evi"[..], "evi… ?"),
            (b"\x04evil", "evil… ?"),
            (b"\x04evil\0", "evil… ?"),
            (b"\x04evil\0\0", "evil… ?"),
            (b"\x01a\xc0\x0c\0\x01", "a… ?"),
        ] {
            assert_eq!(q(wire).as_deref(), Some(shown), "{wire:?}");
        }
        for none in [&b""[..], b"\xc0\x0c\0\x01", b"\x40aaaa", b"\0", b"\x04"] {
            assert_eq!(question(none), None, "{none:?}");
        }
        // More labels than a record holds.
        let long = [&[4_u8][..], b"evil"].concat().repeat(52);
        let (name, _) = question(&long).unwrap();
        assert!(name.starts_with("evil.evil.") && name.ends_with('…'));
    }
}
