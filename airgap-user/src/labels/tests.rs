use super::{Asked, Labels, Limits, Terms, read, read_annotations};
use crate::{policy::Port, preflight::Risk};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    owned.collect()
}

fn accepting(accept: &[Risk]) -> Limits {
    Limits {
        accept: accept.to_vec(),
        ..Limits::default()
    }
}

/// Of an image that says nothing, on a host that allows every risk.
fn asked(pairs: &[(&str, &str)]) -> Asked {
    read(&labels(pairs), Some(&Labels::new()), &accepting(Risk::ALL))
}

#[track_caller]
fn sealed(asked: Asked) -> Terms {
    match asked {
        Asked::Seal(terms) => terms,
        Asked::Nothing => panic!("not to be sealed"),
    }
}

/// Of a container that is to be sealed, by what its image says of itself.
fn with_image(own: &[(&str, &str)], image: Option<&[(&str, &str)]>) -> Terms {
    let image = image.map(labels);
    // As the engine merges them.
    let mut merged = image.clone().unwrap_or_default();
    merged.extend(labels(own));
    sealed(read(
        &merged,
        image.as_ref(),
        &accepting(&[Risk::LogDriver]),
    ))
}

#[test]
fn reads_what_is_asked_for() {
    assert_eq!(asked(&[("x", "y"), ("airgap.ports", "80")]), Asked::Nothing);
    assert_eq!(asked(&[("airgap.seal", "false")]), Asked::Nothing);
    let terms = sealed(asked(&[
        ("airgap.seal", "true"),
        ("airgap.ports", "5060/tcp, 80"),
        ("airgap.from", "10.0.0.0/8,::1"),
        ("airgap.accept", "log-driver"),
    ]));
    assert_eq!(terms.rules.ports, [Port::tcp(80), Port::tcp(5060)]);
    assert_eq!((terms.rules.clients.len(), terms.wrong.len()), (2, 0));
    assert_eq!(terms.accept, [Risk::LogDriver]);
    assert!(terms.ignored.is_empty() && !terms.in_doubt);
    assert_eq!(
        sealed(asked(&[("airgap.seal", "true")])).rules.ports,
        [Port::tcp(5060)]
    );
}

#[test]
fn a_mistake_never_leaves_it_open() {
    for (label, value) in [
        ("airgap.ports", "http"),
        ("airgap.ports", ""),
        ("airgap.ports", "5060/udp"),
        ("airgap.from", "10.0.0.1/8"),
        ("airgap.from", ""),
    ] {
        let terms = sealed(asked(&[("airgap.seal", "true"), (label, value)]));
        assert!(
            terms.rules.ports.is_empty() && terms.wrong.len() == 1,
            "{label}={value}"
        );
    }
    for value in ["", "yes", "True", "False", "flase", "TRUE", "0 0"] {
        let terms = sealed(asked(&[("airgap.seal", value)]));
        assert_eq!(terms.wrong.len(), 1, "{value}");
    }
    let terms = sealed(asked(&[("airgap.seal", "true"), ("airgap.port", "80")]));
    assert_eq!(terms.wrong.len(), 1);
}

#[test]
fn look_alikes_of_seal_tighten_and_others_shut() {
    for label in [
        "AIRGAP.SEAL",
        "Airgap.Seal",
        "airgap.seal ",
        " airgap.seal",
        "airgap-seal",
        "airgap_seal",
        "airgap/seal",
        "airgap.\u{200b}seal",
        "airgap.seal\u{a0}",
        "airgap.seals",
        "airgap.sealed",
    ] {
        let terms = sealed(asked(&[(label, "true"), ("airgap.ports", "80")]));
        assert_eq!(terms.rules.ports, [Port::tcp(80)], "{label:?}");
        assert_eq!(terms.wrong.len(), 1, "{label:?}");
        assert_eq!(asked(&[(label, " off ")]), Asked::Nothing, "{label:?}");
        // One yes is enough, whoever wrote the no.
        sealed(asked(&[("airgap.seal", "false"), (label, "true")]));
    }
    // Other letters are another word: Cyrillic a, full width.
    for label in [
        "\u{430}irgap.seal",
        "\u{ff41}irgap.seal",
        "airgap",
        "airgap.version",
    ] {
        assert_eq!(asked(&[(label, "true")]), Asked::Nothing, "{label:?}");
    }
    for label in [
        "Airgap.Ports",
        "airgap.ports ",
        "airgap-ports",
        "airgap.\u{200b}ports",
        "airgap.port",
        "AIRGAP.ACCEPT",
        "airgap.from\t",
        "airgap.form",
        "airgap.version",
    ] {
        let own = [
            ("airgap.seal", "true"),
            (label, "80"),
            ("airgap.ports", "81"),
        ];
        let terms = sealed(asked(&own));
        assert_eq!(terms.rules, crate::policy::Rules::NOTHING, "{label:?}");
        assert!(terms.accept.is_empty(), "{label:?}");
        assert_eq!(terms.wrong.len(), 1, "{label:?}");
        // An image says it to all who use it, and who uses it has no way to take it back.
        let terms = with_image(&own, Some(&[(label, "80")]));
        assert_eq!(terms.rules.ports, [Port::tcp(81)], "{label:?}");
        assert_eq!(terms.wrong.len(), 1, "{label:?}");
    }
    // Somebody else's, as "airgap-test" is: named, and no more.
    let other = [
        ("airgap.seal", "true"),
        ("airgap-test", "x"),
        ("airgap.ports", "81"),
    ];
    let terms = sealed(asked(&other));
    assert_eq!(terms.rules.ports, [Port::tcp(81)]);
    let form = sealed(asked(&[("airgap.seal", "true"), ("airgap.form", "80")]));
    assert!(
        form.wrong[0].ends_with(": airgap.from is meant"),
        "{form:?}"
    );
}

const SEAL: (&str, &str) = ("airgap.seal", "true");
const WIDE: [(&str, &str); 3] = [
    ("airgap.ports", "7000,7001"),
    ("airgap.from", "198.51.100.0/24"),
    ("airgap.accept", "log-driver"),
];

#[test]
fn an_image_widens_nothing() {
    let terms = with_image(&[SEAL], Some(&WIDE));
    assert_eq!(terms.rules.ports, [Port::tcp(5060)]);
    assert!(terms.accept.is_empty());
    assert_eq!(terms.ignored.len(), 2, "{:?}", terms.ignored);
    assert!(terms.wrong.is_empty() && !terms.in_doubt);
    // Nor by being wrong.
    let wrong = [("airgap.ports", "http"), ("airgap.accept", "all")];
    let terms = with_image(&[SEAL], Some(&wrong));
    assert_eq!(terms.rules.ports, [Port::tcp(5060)]);
    assert_eq!((terms.ignored.len(), terms.wrong.len()), (2, 0));
    let terms = with_image(&[SEAL], Some(&[("airgap.from", "x")]));
    assert!(terms.rules.ports.is_empty() && terms.wrong.len() == 1);
    // It may ask to be sealed, and a caller may ask for that not to be.
    let mut own_seal = WIDE.to_vec();
    own_seal.push(SEAL);
    assert_eq!(with_image(&[], Some(&own_seal)).ignored.len(), 2);
    let merged = labels(&[("airgap.seal", "false")]);
    assert_eq!(
        read(&merged, Some(&labels(&[SEAL])), &Limits::default()),
        Asked::Nothing
    );
}

/// Whoever knows what the caller writes could write it, too.
#[test]
fn an_image_opens_no_seal_to_more_clients() {
    let from = ("airgap.from", "198.51.100.9/32");
    for (own, image) in [
        (vec![SEAL, from], vec![from]),
        (vec![SEAL], vec![from]),
        (vec![from], vec![SEAL, from]),
    ] {
        let terms = with_image(&own, Some(&image));
        let clients: Vec<_> = terms
            .rules
            .clients
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(clients, [from.1]);
        assert!(terms.ignored.is_empty() && terms.wrong.is_empty());
    }
}

#[test]
fn the_callers_words_count() {
    let mut own = WIDE.to_vec();
    own.push(SEAL);
    let terms = with_image(&own, Some(&[]));
    assert_eq!(terms.rules.ports, [Port::tcp(7000), Port::tcp(7001)]);
    assert_eq!((terms.rules.clients.len(), terms.accept.len()), (1, 1));
    assert!(terms.ignored.is_empty(), "{:?}", terms.ignored);
    // Over the image's, and also the same meant otherwise.
    for ports in ["80", "7000/tcp,7001", "7000, 7001"] {
        let terms = with_image(&[SEAL, ("airgap.ports", ports)], Some(&WIDE));
        assert_ne!(terms.rules.ports, [Port::tcp(5060)], "{ports}");
        assert_eq!(terms.ignored.len(), 1, "{ports}");
    }
    // The very same is nobody's for sure.
    let terms = with_image(&[SEAL, WIDE[0]], Some(&WIDE));
    assert_eq!(terms.rules.ports, [Port::tcp(5060)]);
}

#[test]
fn in_doubt_only_what_makes_less_of_it_counts() {
    let mut own = WIDE.to_vec();
    own.push(SEAL);
    let terms = with_image(&own, None);
    assert_eq!(terms.rules.ports, [Port::tcp(5060)]);
    assert_eq!((terms.rules.clients.len(), terms.accept.len()), (1, 0));
    assert_eq!(terms.ignored.len(), 2);
    assert!(terms.in_doubt);
    // Nothing to be in doubt about.
    assert!(!with_image(&[SEAL], None).in_doubt);
}

#[test]
fn risks_are_accepted_where_the_host_allows_it() {
    let accept = |value| with_image(&[SEAL, ("airgap.accept", value)], Some(&[]));
    assert_eq!(accept("log-driver").accept, [Risk::LogDriver]);
    let terms = accept("log-driver,privileged");
    assert_eq!(terms.accept, [Risk::LogDriver]);
    assert!(terms.ignored[0].contains("--allow-accept privileged"));
    // Whatever the host allows.
    let terms = sealed(asked(&[SEAL, ("airgap.accept", "existing-connections")]));
    assert!(terms.accept.is_empty());
    assert!(terms.ignored[0].contains("existing-connections"));
}

#[test]
fn a_host_limits_what_labels_ask_for() {
    let limits = Limits {
        ports: vec![Port::tcp(80)],
        to: Some(vec!["198.51.100.0/24:443".parse().unwrap()]),
        ..Limits::default()
    };
    let read = |pairs: &[(&str, &str)]| {
        let mut all = labels(pairs);
        all.extend(labels(&[("airgap.seal", "true")]));
        sealed(read(&all, Some(&Labels::new()), &limits))
    };
    assert_eq!(read(&[]).rules.ports, [Port::tcp(80)]);
    assert_eq!(read(&[("airgap.ports", "81")]).rules.ports, [Port::tcp(81)]);
    // A wrong list serves nothing, and not what the host has.
    assert_eq!(read(&[("airgap.ports", "http")]).rules.ports, []);
    let terms = read(&[("airgap.to", "198.51.100.9:443, 198.51.101.9:443")]);
    let exits: Vec<_> = terms.rules.exits.iter().map(|e| e.to.to_string()).collect();
    assert_eq!(exits, ["198.51.100.9:443/tcp"]);
    assert_eq!(terms.ignored.len(), 1);
    assert!(terms.ignored[0].starts_with("airgap.to=198.51.101.9:443/tcp: this host"));
}

#[test]
fn a_pod_says_the_same_by_annotations() {
    let read = |pairs| read_annotations(&labels(pairs), &accepting(&[Risk::Seccomp]));
    for nothing in [
        &[][..],
        &[("airgap.dev/seal", "false")],
        &[("airgap.dev/ports", "80")],
        &[("example.org/airgap.dev-seal", "true")],
    ] {
        assert_eq!(read(nothing), Asked::Nothing, "{nothing:?}");
    }
    let terms = sealed(read(&[
        ("airgap.dev/seal", "true"),
        ("airgap.dev/ports", "8080,9000-9010"),
        ("airgap.dev/from", "198.51.100.0/24"),
        ("airgap.dev/to", "198.51.100.10:443"),
        ("airgap.dev/accept", "seccomp, capability"),
        ("kubernetes.io/config.source", "api"),
    ]));
    assert!(terms.wrong.is_empty(), "{:?}", terms.wrong);
    assert_eq!(terms.rules.ports.len(), 2);
    assert_eq!(terms.rules.clients, ["198.51.100.0/24".parse().unwrap()]);
    assert_eq!(terms.rules.exits.len(), 1);
    assert_eq!(terms.accept, [Risk::Seccomp]);
    let [ignored] = &terms.ignored[..] else {
        panic!("{:?}", terms.ignored);
    };
    assert!(
        ignored.starts_with("airgap.dev/accept=capability")
            && ignored.contains("airgap nri --allow-accept"),
        "{ignored}"
    );
}

#[test]
fn an_annotation_that_is_nearly_right_is_wrong() {
    for (name, value) in [
        ("airgap.dev/Seal", "true"),
        ("airgap.dev/seal", "yes"),
        ("airgap.seal", "true"),
    ] {
        let asked = read_annotations(&labels(&[(name, value)]), &accepting(&[]));
        let terms = sealed(asked);
        let [wrong] = &terms.wrong[..] else {
            panic!("{:?}", terms.wrong);
        };
        assert!(wrong.starts_with(name), "{wrong}");
    }
    let terms = sealed(read_annotations(
        &labels(&[
            ("airgap.dev/seal", "true"),
            ("airgap.dev/port", "80"),
            ("airgap.ports", "81"),
        ]),
        &accepting(&[]),
    ));
    assert_eq!(terms.wrong.len(), 2, "{:?}", terms.wrong);
}
