mod lists;

use airgap_common::map::{Exit, Exits, REASON_LEN, TARGET_LEN};

use super::*;

fn to(text: &str) -> To {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn reads_what_it_writes() {
    for (text, shown) in [
        ("198.51.100.10:443", "198.51.100.10:443/tcp"),
        ("198.51.100.10/32:443/tcp", "198.51.100.10:443/tcp"),
        ("198.51.100.0/24:8000-8010", "198.51.100.0/24:8000-8010/tcp"),
        ("198.51.100.10:5-5/udp", "198.51.100.10:5/udp"),
        ("198.51.100.10:*", "198.51.100.10:*/tcp"),
        ("198.51.100.10:53/udp", "198.51.100.10:53/udp"),
        ("[2001:db8::10]:443", "[2001:db8::10]:443/tcp"),
        ("[2001:db8::/48]:*/udp", "[2001:db8::/48]:*/udp"),
        ("[::/0]:443", "[::/0]:443/tcp"),
        ("0.0.0.0/0:443", "0.0.0.0/0:443/tcp"),
    ] {
        let to = to(text);
        assert_eq!(to.to_string(), shown);
        assert_eq!(to.to_string().parse(), Ok(to.clone()));
        let (addr, bits) = to.target.net().expect("addresses").key();
        assert_eq!(To::of_map(addr, bits, &to.slot(1, 0, 0)), to);
    }
}

#[test]
fn a_container_is_named_as_engines_name_it() {
    for (text, shown) in [
        ("container:db:5432", "container:db:5432/tcp"),
        (
            "container:proj-db_1.x:53/udp",
            "container:proj-db_1.x:53/udp",
        ),
        ("container:db:*", "container:db:*/tcp"),
        ("container:0:1-9", "container:0:1-9/tcp"),
    ] {
        let to = to(text);
        assert_eq!(to.to_string(), shown);
        assert_eq!(to.to_string().parse(), Ok(to.clone()));
        assert_eq!(To::of_slot(to.target.clone(), &to.slot(1, 0, 7)), to);
        assert_eq!((to.target.net(), to.is_wide()), (None, false));
        let exception = Exception::from(to);
        assert_eq!(exception.hold, Some(Hold::NEIGHBOUR));
        assert_eq!(
            exception.held(Some(Hold::Forever)).hold,
            Some(Hold::Forever)
        );
    }
    let addresses = Exception::from(to("198.51.100.10:443"));
    assert_eq!(addresses.held(Some(Hold::Forever)).hold, None);
    let long = "n".repeat(TARGET_LEN - "container:".len());
    assert!(format!("container:{long}:1").parse::<To>().is_err());
    assert!(format!("container:{}:1", &long[1..]).parse::<To>().is_ok());
}

#[test]
fn a_host_has_one_name_however_it_is_written() {
    let one = to("api.example.com:443");
    for text in [
        "API.example.COM:443/tcp",
        "api.example.com.:443",
        "Api.Example.com:443-443",
    ] {
        assert_eq!(to(text), one, "{text}");
    }
    assert_eq!(one.to_string(), "api.example.com:443/tcp");
    assert_eq!(
        (one.target.name(), one.target.net()),
        (Some("api.example.com"), None)
    );
    assert!(one.opens().contains("whoever else is served there"));
    assert_eq!(Exception::from(one).hold, Some(Hold::NAME));
    for text in [
        "xn--bcher-kva.example:443",
        "1.2.3.a:1/udp",
        "a.b:1",
        "8.8.8.example:53",
    ] {
        assert_eq!(to(text).to_string().parse(), Ok(to(text)));
    }
    let label = "a".repeat(63);
    assert!(format!("{label}.test:1").parse::<To>().is_ok());
    assert!(format!("a{label}.test:1").parse::<To>().is_err());
    let long = [&label[..], &label, &label, &label[..57]].join(".");
    assert!(format!("{long}.test:1").parse::<To>().is_err());
    assert!(format!("{}.test:1", &long[..248]).parse::<To>().is_ok());
}

#[test]
fn says_what_is_wrong_and_how_to_write_it() {
    for (text, expected) in [
        ("", "must lead somewhere"),
        ("198.51.100.10", "write 198.51.100.10:443"),
        ("198.51.100.10/32", "write 198.51.100.10/32:443"),
        ("198.51.100.10:", "write 198.51.100.10:443"),
        ("[2001:db8::1]", "write [2001:db8::1]:443"),
        ("[2001:db8::1]:", "write [2001:db8::1]:443"),
        ("2001:db8::1:443", "[2001:db8::10]:443"),
        ("2001:db8::/48", "[2001:db8::10]:443"),
        ("[2001:db8::]/48:443", "goes into the brackets"),
        ("[2001:db8::1:443", "no ]"),
        ("[198.51.100.10]:443", "brackets are for IPv6"),
        ("198.51.100.10/24:443", "did you mean 198.51.100.0/24"),
        ("[2001:db8::1/48]:443", "did you mean 2001:db8::/48"),
        ("198.51.100.0/33:443", "no prefix length up to 32"),
        ("[::ffff:198.51.100.10]:443", "write 198.51.100.10/32"),
        ("198.51.100.10:0", "port 0"),
        ("198.51.100.10:0-5", "port 0"),
        ("198.51.100.10:65536", "no port between"),
        ("198.51.100.10:+443", "no port between"),
        ("198.51.100.10:https", "no port between"),
        ("198.51.100.10:443-", "no port between"),
        ("198.51.100.10:443-80", "did you mean 80-443"),
        ("198.51.100.10:443/icmp", "write PORT, PORT/tcp or PORT/udp"),
        ("198.51.100.10:443/TCP", "write PORT, PORT/tcp or PORT/udp"),
        ("198.51.100.10:443/", "write PORT, PORT/tcp or PORT/udp"),
        (
            "198.51.100.10:443/tcp/x",
            "write PORT, PORT/tcp or PORT/udp",
        ),
        (" 198.51.100.10:443", "blank"),
        ("198.51.100.10:443 198.51.100.11:443", "repeat --to"),
        ("198.51.100.10:443\n", "blank"),
        ("https://api.example.com", "is a URL"),
        ("*.example.com:443", "is a wildcard"),
        ("api.*.com:443", "is a wildcard"),
        ("localhost:80", "give the address"),
        ("printer.local:80", "give the address"),
        ("host.docker.internal:80", "give the address"),
        ("db:5432", "write container:db"),
        ("com:443", "write container:com"),
        ("a_b.example.com:443", "is no name of a host"),
        ("-a.example.com:443", "is no name of a host"),
        ("a..example.com:443", "is no name of a host"),
        (".example.com:443", "is no name of a host"),
        ("api.example.com..:443", "is no name of a host"),
        ("b\u{fc}cher.example:443", "xn--"),
        ("api.example.com", "write api.example.com:443"),
        ("container:db", "write container:db:5432"),
        ("container:db:", "write container:db:5432"),
        ("container::5432", "is no name of a container"),
        ("container:", "names no port"),
        ("container:-db:1", "is no name of a container"),
        ("container:a/b:1", "is no name of a container"),
        ("container:db:5432:1", "no port between"),
        ("container:db:5432/icmp", "write PORT, PORT/tcp or PORT/udp"),
        ("127.0.0.1:80", "loopback"),
        ("127.1.2.0/24:80", "loopback"),
        ("[::1]:80", "loopback"),
        ("[::]:80", "no address of anybody"),
        ("0.0.0.0:80", "no address of anybody"),
        ("224.0.0.1:80/udp", "multicast"),
        ("239.1.0.0/16:80/udp", "multicast"),
        ("[ff02::1]:80/udp", "multicast"),
        ("255.255.255.255:67/udp", "broadcast"),
        ("198.51.100:443", "no IP address"),
        ("1.2.3:443", "no IP address"),
    ] {
        let error = text.parse::<To>().unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains('\n'), "{text}: {error}");
    }
}

/// Whatever is read says the same when it is read again, and nothing panics.
#[test]
fn any_text_is_read_or_refused() {
    const PIECES: [&str; 24] = [
        "198.51.100.10",
        "[2001:db8::1]",
        "2001:db8::",
        ":",
        "/",
        "443",
        "-",
        "*",
        "tcp",
        "udp",
        "[",
        "]",
        "0",
        "65535",
        "32",
        "::",
        "\u{fc}",
        "\0",
        " ",
        ".",
        "ffff",
        "10.0.0.0/8",
        "8000-8010",
        "é",
    ];
    let (mut state, mut read) = (0x2545_f491_4f6c_dd1du64, 0);
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % n
    };
    for _ in 0..200_000 {
        let mut text = String::new();
        // Half of them with the form of an exception.
        if next(2) == 0 {
            let (port, more) = (
                PIECES[next(PIECES.len())],
                ["", "/tcp", "/udp", "/icmp"][next(4)],
            );
            text = format!("{}:{port}{more}", PIECES[next(PIECES.len())]);
        }
        for _ in 0..next(4) {
            text += PIECES[next(PIECES.len())];
        }
        if let Ok(to) = text.parse::<To>() {
            assert_eq!(to.to_string().parse(), Ok(to.clone()), "{text}");
            assert!(to.never().is_none());
            read += 1;
        }
    }
    assert!(read > 100, "{read}");
}

#[test]
fn knows_what_is_wide_and_whose_addresses_are_meant() {
    for (text, wide, metadata) in [
        ("198.51.100.0/24:443", false, false),
        ("10.0.0.0/16:443", false, false),
        ("10.0.0.0/15:443", true, false),
        ("[2001:db8::/32]:443", false, false),
        ("[2001:db8::/31]:443", true, false),
        ("169.254.169.254:80", false, true),
        ("100.100.100.200:80", false, true),
        ("[fe80::1]:80", false, true),
        ("[fd00:ec2::254]:80", false, true),
        ("0.0.0.0/0:443", true, true),
        ("[2000::/3]:443", true, false),
    ] {
        let to = to(text);
        assert_eq!(
            (to.is_wide(), to.metadata().is_some()),
            (wide, metadata),
            "{text}"
        );
    }
}

fn found(unions: &[(Cidr, Exits)], addr: &str, protocol: u8, port: u16) -> (Exit, u32) {
    let addr: IpAddr = addr.parse().unwrap();
    let len = if addr.is_ipv4() { 32 } else { 128 };
    let one = Cidr { addr, len };
    // As the kernel does: the longest prefix alone.
    let held = unions.iter().filter(|(net, _)| net.overlaps(&one));
    let longest = held.max_by_key(|(net, _)| net.len);
    longest.map_or((Exit::None, 0), |(_, exits)| {
        let found = exits.find(protocol, port, 1, 0);
        (Exit::of(found >> 32), found as u32)
    })
}

#[test]
fn reasons_are_one_line() {
    assert_eq!(parse_reason(" ticket 42 ").as_deref(), Ok("ticket 42"));
    for bad in ["", "  ", "a\nb", "\u{1b}[31m", &"x".repeat(REASON_LEN + 1)] {
        assert!(parse_reason(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_name_beyond_ascii_is_refused_with_the_form_to_write() {
    for (name, form) in [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        // The same letters in two pieces, and Cyrillic that looks like Latin.
        ("api.bu\u{308}cher.example", "api.xn--bcher-kva.example"),
        ("\u{430}pi.example.com", "xn--pi-6kc.example.com"),
    ] {
        let error = format!("{name}:443").parse::<To>().unwrap_err();
        assert!(error.contains("beyond ASCII"), "{error}");
        assert!(error.contains(&format!(": {form}, if")), "{error}");
        assert!(format!("{form}:443").parse::<To>().is_ok(), "{form}");
    }
    // What DNS cannot have has no such form.
    let error = format!("{}.example:443", "ü".repeat(80)).parse::<To>();
    assert!(error.unwrap_err().contains("xn-- before each"));
}
