use super::{AskedFor, Terms, change, is_as_wanted, is_not_as_written};
use crate::{
    config::Ceilings,
    policy::{Exception, Port, Rules, To},
    preflight::Risk,
    seal::attach::wanted::Wanted,
    state::{Origin, Record},
};

fn rules(ports: &[u16], from: &[&str]) -> Rules {
    Rules {
        exits: vec![],
        errno: None,
        audit: false,
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

/// What labels make of it, on a host without a ceiling.
fn wanted(terms: &Terms, recorded: Option<&Record>) -> Wanted {
    super::wanted(&asked(terms, false), &Ceilings::default(), recorded)
}

fn asked(terms: &Terms, by_file: bool) -> AskedFor {
    AskedFor {
        terms: terms.clone(),
        place: "its label".to_owned(),
        by_file,
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

#[test]
fn a_file_changes_no_seal_that_stands_without_an_operator() {
    let exit = |text: &str| Exception::from(text.parse::<To>().unwrap());
    let mut recorded = record(Origin::Label, rules(&[80], &["10.0.0.0/8"]), 0);
    recorded.rules.exits = vec![exit("198.51.100.1:1")];
    let mut more = terms(rules(&[80, 443], &[]), &[Risk::LogDriver]);
    more.rules.exits = vec![exit("198.51.100.1:1"), exit("198.51.100.2:2")];
    let of = |terms: &Terms, recorded: &Record| {
        let asked = asked(terms, true);
        let wanted = super::wanted(&asked, &Ceilings::default(), Some(recorded));
        let told = is_not_as_written(&asked, &wanted, recorded);
        (wanted, told)
    };
    let (now, told) = of(&more, &recorded);
    assert_eq!((&now.rules, &now.accept[..]), (&recorded.rules, &[][..]));
    assert!(told && is_as_wanted(&recorded, &more, &now));
    // What an operator took back is no difference that has to be told.
    let mut back = recorded.clone();
    back.withdrawn = vec![back.rules.exits[0].to.clone()];
    back.rules.exits.clear();
    let same = terms(recorded.rules.clone(), &[]);
    let (now, told) = of(&same, &back);
    assert!(now.rules.exits.is_empty() && !told);
    // What was sealed before anything was known of it allows nothing yet: it is made so.
    let closed = record(Origin::Label, Rules::NOTHING, 0);
    let (now, _) = of(&more, &closed);
    assert_eq!(now.rules, more.rules);
    assert!(!is_as_wanted(&closed, &more, &now));
}
