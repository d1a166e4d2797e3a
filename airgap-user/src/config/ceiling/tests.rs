use super::*;
use crate::policy::Exception;

fn ceiling(text: &str) -> Ceilings {
    Ceilings(vec![Ceiling {
        path: "/etc/airgap/ceiling.toml".into(),
        most: Most::parse(text).map_err(|wrong| wrong.to_string()),
    }])
}

fn rules(ports: &[&str], from: &[&str], to: &[&str]) -> Rules {
    let exit = |text: &&str| Exception::from(To::near_or_far(text).unwrap());
    Rules {
        ports: ports.iter().map(|port| port.parse().unwrap()).collect(),
        clients: from.iter().map(|client| client.parse().unwrap()).collect(),
        exits: to.iter().map(exit).collect(),
        errno: None,
        audit: false,
    }
}

const TEXT: &str = "\
to = ['198.51.100.0/24:443', 'api.example.com:443', '198.51.100.7:53/udp']
accept = ['log-driver']
ports = ['8000-8999']
from = ['10.0.0.0/8']
";

#[test]
fn what_is_above_is_named_with_its_line_and_what_is_within_is_not() {
    let most = ceiling(TEXT);
    let fine = rules(
        &["8080"],
        &["10.1.0.0/16"],
        &[
            "198.51.100.9:443",
            "api.example.com:443",
            "198.51.100.7:53/udp",
        ],
    );
    assert_eq!(most.above(&fine, Risk::LogDriver.bit()), [""; 0]);
    assert_eq!(most.narrowed(fine.clone()), fine);
    let more = rules(
        &["80", "8000-9000"],
        &["10.0.0.0/8", "192.0.2.1"],
        &[
            "198.51.100.0/23:443",
            "198.51.100.9:444",
            "db.example.com:443",
            "198.51.100.7:53",
        ],
    );
    let above = most.above(&more, Risk::LogDriver.bit() | Risk::HostExit.bit());
    let at = |what: &str, line: usize, key: &str| {
        format!("{what} (/etc/airgap/ceiling.toml, line {line}: {key})")
    };
    assert_eq!(
        above,
        [
            at("to 198.51.100.0/23:443/tcp", 1, "to"),
            at("to 198.51.100.9:444/tcp", 1, "to"),
            at("to db.example.com:443/tcp", 1, "to"),
            at("to 198.51.100.7:53/tcp", 1, "to"),
            at("ports 80/tcp", 3, "ports"),
            at("ports 8000-9000/tcp", 3, "ports"),
            at("from 192.0.2.1/32", 4, "from"),
            at("accept host-exit", 2, "accept"),
        ]
    );
    let error = most.refuse(&more, &[]).unwrap_err();
    assert_eq!(error.code, exit::USAGE);
    assert!(error.message.contains("line 3: ports"), "{error}");
    assert_eq!(most.narrowed(more), rules(&[], &["10.0.0.0/8"], &[]));
    let set = Risk::LogDriver.bit() | Risk::HostExit.bit();
    assert_eq!(most.accepted(set), Risk::LogDriver.bit());
}

#[test]
fn what_is_left_out_holds_no_exception_and_no_risk_and_any_port_and_client() {
    let most = ceiling("# nothing\n");
    let asked = rules(&["80"], &["192.0.2.1"], &["198.51.100.9:443"]);
    let above = most.above(&asked, Risk::LogDriver.bit());
    assert_eq!(
        above,
        [
            "to 198.51.100.9:443/tcp (/etc/airgap/ceiling.toml has no to)",
            "accept log-driver (/etc/airgap/ceiling.toml has no accept)"
        ]
    );
    assert_eq!(most.narrowed(asked), rules(&["80"], &["192.0.2.1"], &[]));
    // The control: without a file nothing is above.
    let asked = rules(&["80"], &[], &["198.51.100.9:443"]);
    let none = Ceilings::default();
    assert_eq!(none.above(&asked, u64::MAX), [""; 0]);
    assert_eq!(none.narrowed(asked.clone()), asked);
    assert_eq!(none.accepted(Risk::LogDriver.bit()), Risk::LogDriver.bit());
}

#[test]
fn clients_that_nobody_named_are_those_of_the_ceiling() {
    let most = ceiling(TEXT);
    let any = rules(&["8080"], &[], &[]);
    assert_eq!(most.above(&any, 0), [""; 0]);
    assert_eq!(most.narrowed(any), rules(&["8080"], &["10.0.0.0/8"], &[]));
    let nobody = rules(&[], &["::/128"], &[]);
    assert_eq!(most.above(&nobody, 0), [""; 0]);
    assert_eq!(most.narrowed(nobody.clone()), nobody);
}

#[test]
fn a_file_that_is_wrong_holds_no_exception_and_seals_are_made() {
    for text in [
        "to = [",
        "too = []",
        "to = ['198.51.100.1']",
        "from = []",
        "accept = ['x']",
    ] {
        let most = ceiling(text);
        let wrong = most.wrong().unwrap_or_else(|| panic!("{text}"));
        assert!(wrong.contains("line 1"), "{wrong}");
        assert_eq!(most.above(&rules(&["80"], &[], &[]), 0), [""; 0]);
        let asked = rules(&["80"], &[], &["198.51.100.9:443"]);
        let above = most.above(&asked, 0);
        assert!(above[0].contains("cannot be followed"), "{above:?}");
        assert_eq!(most.narrowed(asked), rules(&["80"], &[], &[]));
        assert_eq!(most.accepted(u64::MAX), 0);
        assert!(most.settings()[0].value.contains("WRONG"));
    }
}

#[test]
fn two_files_hold_what_both_hold() {
    let mut two = ceiling("to = ['198.51.100.0/24:443']");
    two.0.extend(ceiling("to = ['198.51.100.9:*']").0);
    let asked = |to: &str| two.above(&rules(&[], &[], &[to]), 0).len();
    assert_eq!(asked("198.51.100.9:443"), 0);
    assert_eq!(asked("198.51.100.8:443"), 1);
    assert_eq!(asked("198.51.100.9:444"), 1);
    assert_eq!(asked("192.0.2.1:1"), 2);
}
