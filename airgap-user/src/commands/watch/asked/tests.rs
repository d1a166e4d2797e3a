use super::{Terms, change, is_as_wanted, wanted};
use crate::{
    policy::{Exception, Port, Rules, To},
    preflight::Risk,
    state::{Origin, Record},
};

fn rules(ports: &[u16], from: &[&str]) -> Rules {
    Rules {
        exits: vec![],
        errno: None,
        ports: ports.iter().map(|p| Port::tcp(*p)).collect(),
        clients: from.iter().map(|c| c.parse().unwrap()).collect(),
    }
}

fn terms(rules: Rules, accept: &[Risk]) -> Terms {
    Terms {
        rules,
        accept: accept.to_vec(),
        wrong: vec![],
        ignored: vec![],
        in_doubt: false,
    }
}

fn record(by: Origin, rules: Rules, accepted: u64) -> Record {
    Record {
        id: "a".repeat(64),
        name: "web".into(),
        engine: String::new(),
        rules,
        accepted,
        since: 0,
        by,
        withdrawn: vec![],
        by_hand: 0,
        cgroup: None,
    }
}

#[test]
fn a_label_adds_nothing_to_what_an_operator_recorded() {
    let recorded = record(Origin::Operator, rules(&[80], &["::1"]), 0);
    let terms = terms(rules(&[443], &[]), &[Risk::LogDriver]);
    let wanted = wanted(&terms, Some(&recorded));
    assert_eq!(
        (&wanted.rules, wanted.by),
        (&recorded.rules, Origin::Operator)
    );
    assert!(wanted.accept.is_empty() && !wanted.ports_named && !wanted.from_named);
    assert!(is_as_wanted(&recorded, &terms, &wanted));
}

#[test]
fn what_changes_is_told_and_clients_never_become_any() {
    let recorded = record(
        Origin::Label,
        rules(&[7000], &["10.0.0.0/8"]),
        Risk::LogDriver.bit(),
    );
    let same = terms(rules(&[7000], &["10.0.0.0/8"]), &[Risk::LogDriver]);
    assert!(is_as_wanted(
        &recorded,
        &same,
        &wanted(&same, Some(&recorded))
    ));
    // Neither a port, nor a risk that the host does not allow any more.
    for other in [
        terms(rules(&[5060], &[]), &[Risk::LogDriver]),
        terms(rules(&[7000], &[]), &[]),
    ] {
        let now = wanted(&other, Some(&recorded));
        assert_eq!(now.rules.clients, recorded.rules.clients);
        assert!(!is_as_wanted(&recorded, &other, &now));
        let doubt = Terms {
            in_doubt: true,
            ..other
        };
        assert!(is_as_wanted(&recorded, &doubt, &now), "in doubt it stays");
    }
    // Nor what an operator did by hand is undone.
    let mut by_hand = recorded.clone();
    let exit = |text: &str| Exception::from(text.parse::<To>().unwrap());
    let mut said = same.clone();
    said.rules.exits = vec![exit("198.51.100.1:1"), exit("198.51.100.2:2")];
    by_hand.withdrawn = vec![said.rules.exits[0].to.clone()];
    by_hand.by_hand = Risk::HostExit.bit();
    by_hand.accepted |= Risk::HostExit.bit();
    let allowed = Exception {
        allowed: true,
        ..exit("198.51.100.3:3")
    };
    by_hand.rules.exits = vec![allowed.clone(), exit("198.51.100.2:2")];
    let now = wanted(&said, Some(&by_hand));
    assert_eq!(now.rules.exits, [exit("198.51.100.2:2"), allowed]);
    assert!(is_as_wanted(&by_hand, &said, &now));
    by_hand.by_hand = 0;
    assert!(!is_as_wanted(&by_hand, &said, &now), "accepted by nobody");
    let other = terms(rules(&[5060], &["10.1.0.0/16"]), &[]);
    let text = change(&recorded, &wanted(&other, Some(&recorded)), "its label");
    assert!(
        text.ends_with(
            "it had ports 7000/tcp, clients 10.0.0.0/8, exceptions none, accepted log-driver; \
             now ports 5060/tcp, clients 10.1.0.0/16, exceptions none, accepted none"
        ),
        "{text}"
    );
    assert!(wanted(&other, None).rules.ports == [Port::tcp(5060)]);
}
