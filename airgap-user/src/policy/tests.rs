//! Tests of `policy`.

use super::*;

#[test]
fn parses_prefixes_and_refuses_host_bits() {
    let cidr = |t: &str| t.parse::<Cidr>();
    assert_eq!(cidr("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(cidr("10.1.2.3").unwrap().len, 32);
    assert_eq!(cidr("0.0.0.0/0").unwrap().key().1, 96);
    assert_eq!(cidr("2001:db8::/32").unwrap().key().1, 32);
    assert!(cidr("10.0.0.1/8").unwrap_err().contains("10.0.0.0/8"));
    for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host/8"] {
        assert!(cidr(bad).is_err(), "{bad}");
    }
    for text in [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "128.0.0.0/1",
        "2001:db8::/32",
        "1.2.3.4/32",
        "::/0",
        "::/80",
        "::/95",
        "::/96",
        "::fffe:0:0/96",
        "::1/128",
    ] {
        let (addr, bits) = cidr(text).unwrap().key();
        assert_eq!(Cidr::from_key(addr, bits).to_string(), text);
        assert_eq!(addr.is_v4(), cidr(text).unwrap().addr.is_ipv4(), "{text}");
    }
}

#[test]
fn the_first_address_of_a_network_is_its_gateway_s() {
    let first = |t: &str| t.parse::<Cidr>().unwrap().first().map(|c| c.to_string());
    assert_eq!(
        first("198.51.100.64/27").as_deref(),
        Some("198.51.100.65/32")
    );
    assert_eq!(first("2001:db8::/64").as_deref(), Some("2001:db8::1/128"));
    assert_eq!(first("198.51.100.64/32"), None);
}

#[test]
fn prefixes_overlap_where_one_holds_the_other() {
    let cidr = |t: &str| t.parse::<Cidr>().unwrap();
    for (one, other, overlap) in [
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.1.2.3", "10.0.0.0/8", true),
        ("10.1.2.2", "10.1.2.3", false),
        ("0.0.0.0/0", "10.1.2.3", true),
        ("::/0", "10.1.2.3", false),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::/32", false),
        ("::/0", "::/0", true),
    ] {
        assert_eq!(cidr(one).overlaps(&cidr(other)), overlap, "{one} {other}");
    }
}

#[test]
fn what_only_takes_back_is_told_from_what_opens() {
    let rules = |ports: &[u16], from: &[&str], to: &[&str]| Rules {
        ports: ports.iter().map(|p| Port::tcp(*p)).collect(),
        clients: from.iter().map(|c| c.parse().unwrap()).collect(),
        exits: to.iter().map(|t| t.parse::<To>().unwrap().into()).collect(),
        errno: None,
        audit: false,
    };
    let (a, b) = ("198.51.100.1:1", "198.51.100.2:2");
    let before = rules(&[80, 443], &["10.0.0.0/8", "::1"], &[a, b]);
    for (after, narrower) in [
        (before.clone(), false),
        (rules(&[443, 80], &["::1", "10.0.0.0/8"], &[b, a]), false),
        (rules(&[80, 443], &["10.0.0.0/8", "::1"], &[b]), true),
        (rules(&[80], &["10.0.0.0/8", "::1"], &[a, b]), true),
        (rules(&[80, 443], &["10.1.0.0/16"], &[a, b]), true),
        (rules(&[80, 443], &[], &[a]), false),
        (rules(&[80, 8080], &["::1"], &[a]), false),
        (rules(&[80], &["::1"], &["198.51.100.3:3"]), false),
    ] {
        assert_eq!(after.is_narrower_than(&before), narrower, "{after:?}");
    }
    let any = rules(&[80], &[], &[]);
    assert!(rules(&[80], &["::1"], &[]).is_narrower_than(&any));
    assert!(!any.is_narrower_than(&rules(&[80], &["::1"], &[])));
}

#[test]
fn an_audit_is_a_flag_and_compared_with_no_seal() {
    let seal = Rules::new(vec![], vec![]).unwrap();
    let audit = seal.clone().audited(true);
    assert!(Rules::is_audit(&audit.compile()) && !Rules::is_audit(&seal.compile()));
    for policy in [audit.compile_in(true), audit.compile_on_host()] {
        assert!(Rules::is_audit(&policy));
    }
    // An end of an audit is no narrowing, which nothing would refuse or undo.
    for (one, other) in [(&seal, &audit), (&audit, &seal)] {
        assert!(!one.is_within(other) && !one.is_narrower_than(other));
    }
    assert!(audit.is_within(&audit));
}

#[test]
fn ipv4_is_not_written_as_ipv6() {
    for (text, instead) in [
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("::ffff:198.51.100.7", "198.51.100.7/32"),
        ("::ffff:198.51.100.7/120", "198.51.100.0/24"),
    ] {
        let error = text.parse::<Cidr>().unwrap_err();
        assert!(error.ends_with(&format!("write {instead}")), "{error}");
    }
    // Fewer bits hold more than IPv4, so host bits are what is wrong.
    let error = "::ffff:0:0/90".parse::<Cidr>().unwrap_err();
    assert!(error.contains("host bits"), "{error}");
}

#[test]
fn compiles_sorted_and_without_repetition() {
    let rules = Rules::new(vec![Port::tcp(80), Port::tcp(5060), Port::tcp(80)], vec![]).unwrap();
    let policy = rules.compile();
    assert_eq!(Rules::ports_of(&policy), [Port::tcp(80), Port::tcp(5060)]);
    assert_eq!(policy.flags, Policy::CLIENTS_ANY);
    assert_eq!(Rules::new(vec![], vec![]).unwrap().ports, [DEFAULT_PORT]);
    assert!(Rules::new((1..=17).map(Port::tcp).collect(), vec![]).is_err());
    let media: Port = "10000-10100/udp".parse().unwrap();
    let ports = vec![media, Port::udp(5060), Port::tcp(80)];
    let why = Rules::new(ports.clone(), vec![]).unwrap_err();
    assert!(why.contains("--from"), "{why}");
    let sip = Rules::new(ports, vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
    let policy = sip.compile();
    assert_eq!(policy.flags, Policy::SERVES_UDP);
    assert_eq!(
        Rules::ports_of(&policy),
        [Port::tcp(80), Port::udp(5060), media]
    );
    assert!(policy.serves_udp(10_050) && !policy.serves_tcp(10_050));
    let limited = Rules::new(vec![], vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
    assert_eq!(limited.compile().flags, 0);
}
