//! Several exceptions together.

use super::*;

#[test]
fn prefixes_that_overlap_hide_nothing() {
    let exceptions: Vec<Exception> = [
        "198.51.100.0/26:443",
        "198.51.100.10:22",
        "198.51.100.8/29:53/udp",
        "[::/0]:443",
        "[2001:db8::/32]:22",
    ]
    .iter()
    .map(|text| to(text).into())
    .collect();
    let numbered: Vec<_> = (1..)
        .zip(&exceptions)
        .map(|(n, one)| (n, one, &[][..]))
        .collect();
    let unions = unions(&numbered).unwrap();
    for (addr, protocol, port, expected) in [
        ("198.51.100.10", TCP, 443, (Exit::Open, 1)),
        ("198.51.100.10", TCP, 22, (Exit::Open, 2)),
        ("198.51.100.10", UDP, 53, (Exit::Open, 3)),
        ("198.51.100.11", TCP, 443, (Exit::Open, 1)),
        ("198.51.100.11", TCP, 22, (Exit::Port, 3)),
        ("198.51.100.63", TCP, 443, (Exit::Open, 1)),
        ("198.51.100.64", TCP, 443, (Exit::None, 0)),
        ("192.0.2.1", TCP, 443, (Exit::None, 0)),
        ("2001:db8::1", TCP, 22, (Exit::Open, 5)),
        ("2001:db8::1", TCP, 443, (Exit::Open, 4)),
        ("2001:db9::1", TCP, 443, (Exit::Open, 4)),
    ] {
        let (exit, number) = found(&unions, addr, protocol, port);
        assert_eq!(exit, expected.0, "{addr} {port}");
        if exit == Exit::Open {
            assert_eq!(number, expected.1, "{addr} {port}");
        }
    }
}

/// Against the plain reading of the list: an address is open if one of them says so.
#[test]
fn unions_say_what_the_list_says() {
    let nets = [
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.0/24",
        "10.1.2.3/32",
        "10.1.2.128/25",
    ];
    let ports = ["80", "443", "80-443", "*"];
    let mut seed = 7u64;
    let mut next = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % n
    };
    for _ in 0..2000 {
        let list: Vec<Exception> = (0..1 + next(6))
            .map(|_| {
                let proto = ["tcp", "udp"][next(2)];
                to(&format!(
                    "{}:{}/{proto}",
                    nets[next(nets.len())],
                    ports[next(ports.len())]
                ))
                .into()
            })
            .collect();
        let numbered: Vec<_> = (1..).zip(&list).map(|(n, one)| (n, one, &[][..])).collect();
        let unions = unions(&numbered).unwrap();
        for addr in [
            "10.1.2.3",
            "10.1.2.4",
            "10.1.2.129",
            "10.1.3.1",
            "10.2.0.1",
            "11.0.0.1",
        ] {
            for port in [53, 80, 100, 443, 444, 853] {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    let open = list.iter().any(|one| {
                        let in_ports = match one.to.ports {
                            Ports::Range(a, b) => (a..=b).contains(&port),
                            Ports::All => port != 53 && port != 853,
                        };
                        one.to.protocol == protocol
                            && in_ports
                            && one.to.holds(addr.parse().unwrap())
                    });
                    let (exit, _) = found(&unions, addr, protocol.number(), port);
                    assert_eq!(exit == Exit::Open, open, "{list:?} {addr} {port}");
                }
            }
        }
    }
}

#[test]
fn each_destination_counts_once_and_not_too_many_do() {
    let mut again: Exception = to("198.51.100.10:443").into();
    again.until = Some(5);
    let list = vec![
        to("198.51.100.10:443").into(),
        to("198.51.100.11:1").into(),
        again.clone(),
    ];
    let settled_list = settled(list).unwrap();
    assert_eq!(settled_list.len(), 2);
    assert_eq!(settled_list[1], again);
    let many = (1..=9).map(|port| to(&format!("198.51.100.10:{port}")).into());
    assert!(
        settled(many.collect())
            .unwrap_err()
            .contains("ranges of ports")
    );
    let many = (0..65).map(|n| to(&format!("198.51.100.{n}:1")).into());
    assert!(settled(many.collect()).unwrap_err().contains("at most 64"));
}

#[test]
fn what_is_over_makes_room_and_nothing_else_does() {
    let one = |text: &str, until| Exception {
        until,
        ..Exception::from(to(text))
    };
    let at = |n: u16, until| one(&format!("198.51.100.10:{n}"), until);
    // Eight are over, and one elsewhere; the one that ended first makes room.
    let mut list: Vec<_> = (1..=8).map(|n| at(n, Some(20 - u64::from(n)))).collect();
    list.push(one("198.51.100.20:1", Some(1)));
    assert_eq!(with_room(list.clone(), 100), list);
    list.push(at(443, None));
    let kept = with_room(list.clone(), 100);
    assert_eq!(kept.len(), 9);
    assert!(settled(kept.clone()).is_ok() && kept.contains(&at(443, None)));
    assert!(!kept.contains(&at(8, Some(12))) && kept.contains(&list[8]));
    // Nothing that lets out does.
    assert_eq!(with_room(list.clone(), 5), list);
    assert!(settled(list).is_err());
    let mut many: Vec<_> = (0..64)
        .map(|n| one(&format!("198.51.100.{n}:1"), (n == 9).then_some(3)))
        .collect();
    many.push(one("198.51.100.70:1", None));
    let kept = with_room(many, 3);
    assert!(kept.len() == 64 && !kept.contains(&one("198.51.100.9:1", Some(3))));
}

#[test]
fn the_narrower_of_two_lists_counts() {
    let one = |text: &str, until| Exception {
        until,
        ..Exception::from(to(text))
    };
    let (a, b, c) = ("198.51.100.1:1", "198.51.100.2:2", "198.51.100.3:3");
    let kernel = [one(a, None), one(b, Some(9)), one(c, Some(5))];
    let record = [one(b, Some(7)), one(c, None)];
    let both = narrower(&kernel, &record);
    assert_eq!(both, [one(b, Some(7)), one(c, Some(5))]);
    assert!(within(&both, &kernel) && within(&both, &record));
    assert!(!within(&kernel, &record) && !within(&record, &kernel));
    assert!(!within(&[one(a, None)], &[one(a, Some(5))]));
    // The longer an address holds, the wider.
    let db = |hold| one("container:db:1", None).held(Some(hold));
    let (short, long) = ([db(Hold::NEIGHBOUR)], [db(Hold::Forever)]);
    assert!(within(&short, &long) && !within(&long, &short));
    assert_eq!(narrower(&long, &short), short);
}
