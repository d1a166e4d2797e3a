use super::{Exception, Origin, Record, is_id};
use crate::{
    policy::{Errno, Rules},
    preflight::Risk,
};

fn id() -> String {
    "5ea1".repeat(16)
}

fn record() -> Record {
    Record {
        id: id(),
        name: "web".into(),
        engine: "unix:///var/run/docker.sock".into(),
        rules: Rules::new(vec![], vec!["10.0.0.0/8".parse().unwrap()]).unwrap(),
        accepted: Risk::Privileged.bit() | Risk::LogDriver.bit(),
        since: 1_795_363_200,
        by: Origin::Operator,
        withdrawn: vec![],
        by_hand: 0,
        cgroup: None,
    }
}

/// A contract with files that are on disk: change it only with a new version.
#[test]
fn version_1() {
    let bytes = record().encode().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        format!(
            "{{\"version\":1,\"id\":\"{}\",\"name\":\"web\",\
             \"engine\":\"unix:///var/run/docker.sock\",\"ports\":[\"5060/tcp\"],\
             \"from\":[\"10.0.0.0/8\"],\"accepted\":[\"privileged\",\"log-driver\"],\
             \"since\":1795363200,\"by\":\"operator\"}}\n",
            id()
        )
    );
    assert_eq!(Record::decode(&id(), &bytes).unwrap(), record());
}

#[test]
fn nothing_is_understood_in_part() {
    let good = String::from_utf8(record().encode().unwrap()).unwrap();
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("5060/tcp", "5060/icmp"),
        ("10.0.0.0/8", "10.0.0.1/8"),
        ("privileged", "everything"),
        ("\"since\"", "\"until\":0,\"since\""),
        ("\"from\":[\"10.0.0.0/8\"],", ""),
        ("5ea1", "5ea2"),
        ("operator", "nobody"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert!(Record::decode(&id(), bad.as_bytes()).is_err(), "{bad}");
    }
    for end in 0..good.len() - 2 {
        assert!(Record::decode(&id(), &good.as_bytes()[..end]).is_err());
    }
}

#[test]
fn what_was_done_by_hand_beside_a_label_comes_back() {
    let record = Record {
        by: Origin::Label,
        withdrawn: vec!["198.51.100.10:443".parse().unwrap()],
        by_hand: Risk::HostExit.bit(),
        accepted: Risk::HostExit.bit() | Risk::LogDriver.bit(),
        ..record()
    };
    let bytes = record.encode().unwrap();
    assert_eq!(Record::decode(&record.id, &bytes).unwrap(), record);
    assert_eq!(record.accepted_by_operator(), Risk::HostExit.bit());
    let text = String::from_utf8(bytes).unwrap();
    let bad = text.replace("198.51.100.10:443/tcp", "198.51.100.10");
    assert!(bad != text && Record::decode(&record.id, bad.as_bytes()).is_err());
}

#[test]
fn no_port_is_not_the_default_port() {
    let none = Record {
        rules: Rules {
            exits: vec![],
            ports: vec![],
            clients: vec![],
            errno: Some(Errno::Eperm),
            audit: false,
        },
        ..record()
    };
    let again = Record::decode(&id(), &none.encode().unwrap()).unwrap();
    assert!(again.rules.ports.is_empty());
    assert_eq!(again.rules.errno, none.rules.errno);
}

#[test]
fn an_audit_is_what_says_so_and_nothing_else() {
    let mut audit = record();
    audit.rules.audit = true;
    let text = String::from_utf8(audit.encode().unwrap()).unwrap();
    assert_eq!(Record::decode(&id(), text.as_bytes()).unwrap(), audit);
    assert!(text.contains("\"audit\":true"), "{text}");
    let seal = String::from_utf8(record().encode().unwrap()).unwrap();
    assert!(!seal.contains("audit"), "{seal}");
    for (word, instead) in [
        ("audit", "audits"),
        ("audit\":true", "audit\":1"),
        ("true", "null"),
    ] {
        let text = text.replace(word, instead);
        let read = Record::decode(&id(), text.as_bytes());
        assert!(read.is_err(), "{text}");
    }
}

#[test]
fn ids_are_64_lower_case_hex_digits() {
    assert!(is_id(&id()));
    assert!(!is_id("5ea1") && !is_id(&"5EA1".repeat(16)) && !is_id(&"../x".repeat(16)));
}

#[test]
fn exceptions_come_back_and_those_that_end_only_in_their_boot() {
    let exception = |to: &str| Exception::from(to.parse::<crate::policy::To>().unwrap());
    let mut record = record();
    record.rules.exits = vec![
        exception("198.51.100.10:443"),
        Exception {
            until: Some(5_000_000_000),
            reason: Some("ticket 42".into()),
            allowed: true,
            ..exception("[2001:db8::/48]:*/udp")
        },
    ];
    let bytes = record.encode().unwrap();
    assert_eq!(Record::decode(&record.id, &bytes).unwrap(), record);
    let text = String::from_utf8(bytes).unwrap();
    let boot = crate::host::clock::boot_id();
    assert!(!boot.is_empty() && text.contains(&boot), "{text}");
    for other in ["", "00000000-0000-0000-0000-000000000000"] {
        let text = text.replace(&boot, other);
        let read = Record::decode(&record.id, text.as_bytes()).unwrap();
        assert_eq!(read.rules.exits, record.rules.exits[..1], "{other}");
    }
    for (what, instead) in [
        ("198.51.100.10:443/tcp", "198.51.100.10"),
        ("198.51.100.10:443/tcp", "127.0.0.1:443/tcp"),
        ("ticket 42", "ticket\\n42"),
        ("\"allowed\"", "\"granted\""),
    ] {
        let text = text.replace(what, instead);
        assert!(
            Record::decode(&record.id, text.as_bytes()).is_err(),
            "{instead}"
        );
    }
}

#[test]
fn a_name_is_recorded_with_its_hold_and_no_address() {
    let db = |hold: &str| {
        let to: crate::policy::To = "container:db:5432".parse().unwrap();
        Exception::from(to).held(Some(hold.parse().unwrap()))
    };
    let mut record = record();
    for hold in ["2m", "forever"] {
        record.rules.exits = vec![db(hold)];
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode(&id(), &bytes).unwrap(), record);
    }
    let text = String::from_utf8(record.encode().unwrap()).unwrap();
    let to = "\"to\":[{\"to\":\"container:db:5432/tcp\",\"hold\":\"forever\"}]";
    assert!(text.contains(to), "{text}");
    // An address holds for itself.
    let bad = text.replace("container:db:", "198.51.100.1:");
    assert!(Record::decode(&id(), bad.as_bytes()).is_err());
    let bad = text.replace("\"forever\"", "\"1s\"");
    assert!(Record::decode(&id(), bad.as_bytes()).is_err());
}
