//! The question of a DNS query (RFC 1035 §4.1.2).

/// Name and record type of the first question; `None` if it is malformed or
/// was cut. Bytes of a name other than printable ASCII are escaped as `\DDD`.
pub fn question(mut wire: &[u8]) -> Option<(String, String)> {
    let mut name = String::new();
    loop {
        let (&len, rest) = wire.split_first()?;
        if len == 0 {
            wire = rest;
            break;
        }
        // Queries hold no compression pointers; 63 is the longest label.
        if len > 63 || rest.len() < usize::from(len) {
            return None;
        }
        let (label, rest) = rest.split_at(len.into());
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' => name.extend(['\\', byte as char]),
                b'!'..=b'~' => name.push(byte as char),
                _ => name += &format!("\\{byte:03}"),
            }
        }
        wire = rest;
    }
    let kind = u16::from_be_bytes([*wire.first()?, *wire.get(1)?]);
    if name.is_empty() {
        name.push('.');
    }
    Some((name, record_type(kind)))
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
    fn refuses_what_is_cut_or_compressed() {
        for bad in [
            &b""[..],
            b"\x04evi",
            b"\x04evil",
            b"\x04evil\0",
            b"\x04evil\0\0",
            b"\xc0\x0c\0\x01",
            b"\x40aaaa",
        ] {
            assert_eq!(question(bad), None, "{bad:?}");
        }
    }
}
