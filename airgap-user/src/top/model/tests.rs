use std::{sync::Arc, time::UNIX_EPOCH};

use super::*;
use crate::{
    coverage::SealState,
    events::{Denial, Event, Process},
    seal::{Denials, Report},
    state::Entry,
    top::{Ranking, line::READING},
};

/// Container id of seal `n`.
pub(crate) fn id(n: u64) -> String {
    format!("{n:064x}")
}

/// `total` attempts of curl under seal `n`, named so.
pub(crate) fn count(n: u64, name: &str, total: u64) -> Count {
    let denial = Denial {
        count: total,
        process: Some(Process::example("curl", 42)),
        ..Denial::example()
    };
    Count {
        audit: false,
        seal: n,
        id: id(n),
        name: name.into(),
        denials: Denials {
            total,
            by_reason: vec![("egress", total)],
            by_verify: 0,
        },
        ranking: Arc::new(Ranking::of(&[Event::Denial(Box::new(denial))])),
    }
}

/// What is in force of seal `n`.
pub(crate) fn row(n: u64, name: &str, state: SealState) -> Row {
    let entry = Entry::Unreadable {
        id: id(n),
        why: "test".into(),
    };
    let mut report = Report::of_entry(&entry);
    // In force, and open to any client.
    report.clients.clear();
    report.container.name = name.into();
    if state != SealState::NotSealed {
        report.seal = n;
        report.problems.clear();
        report.set_state(state);
    }
    Row {
        report,
        gone: false,
        recorded_name: None,
        not_sealed: None,
        ended: false,
    }
}

pub(crate) fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A model that was told these counts and rows at second 0.
pub(crate) fn model(counts: Vec<Count>, rows: Vec<Row>) -> Model {
    let mut model = Model::new(false);
    model.learn(second(0), News::Counts(UNIX_EPOCH, Ok(counts)));
    model.learn(second(0), News::Rows(Ok(rows)));
    model
}

fn shown(model: &Model) -> Vec<(&str, &str)> {
    let lines = model.lines.iter();
    lines
        .map(|line| (line.name.as_str(), line.word()))
        .collect()
}

#[test]
fn what_was_not_read_is_unknown() {
    let mut model = Model::new(false);
    model.learn(
        second(0),
        News::Counts(UNIX_EPOCH, Ok(vec![count(1, "web", 5)])),
    );
    assert_eq!(shown(&model), [("web", READING)]);
    assert_eq!(model.lines[0].state, SealState::Unknown);
    model.tick(STATES_OLD + second(1));
    assert_eq!(shown(&model), [("web", "unknown")], "nobody looks");
    model.learn(
        second(1),
        News::Rows(Ok(vec![row(1, "web", SealState::Sealed)])),
    );
    assert_eq!(shown(&model), [("web", "sealed")]);
    // A later seal of the same container is not the one that was judged.
    let renewed = Count {
        id: id(1),
        ..count(2, "web", 0)
    };
    model.learn(second(2), News::Counts(UNIX_EPOCH, Ok(vec![renewed])));
    assert_eq!(shown(&model), [("web", READING)]);
    model.learn(second(3), News::Rows(Err("gone".into())));
    assert_eq!(shown(&model), [("web", "unknown")]);
}

#[test]
fn what_cannot_be_read_any_more_is_not_called_sealed() {
    let sealed = || {
        model(
            vec![count(1, "web", 5)],
            vec![row(1, "web", SealState::Sealed)],
        )
    };
    let mut broken = sealed();
    broken.learn(second(1), News::Counts(UNIX_EPOCH, Err("gone".into())));
    assert_eq!(shown(&broken), [("web", "unknown")]);
    let mut broken = sealed();
    broken.learn(second(1), News::Rows(Err("gone".into())));
    assert_eq!(shown(&broken), [("web", "unknown")]);
    let mut old = sealed();
    old.tick(STATES_OLD);
    assert_eq!(shown(&old), [("web", "sealed")]);
    old.tick(STATES_OLD + second(1));
    assert_eq!(shown(&old), [("web", "unknown")]);
    assert_eq!(old.counts_old(), Some(STATES_OLD + second(1)));
}

#[test]
fn what_is_open_comes_first_in_every_order() {
    let mut renamed = row(1, "web", SealState::Sealed);
    renamed.not_sealed = Some(id(9));
    let rows = vec![
        renamed,
        row(2, "db", SealState::Broken),
        row(3, "api", SealState::Limited),
        row(4, "lost", SealState::NotSealed),
    ];
    let counts = vec![count(1, "web", 50), count(2, "db", 0), count(3, "api", 7)];
    let mut model = model(counts, rows);
    for _ in 0..4 {
        let open: Vec<_> = shown(&model)[..3].to_vec();
        assert!(open.contains(&("db", "BROKEN")), "{open:?}");
        assert!(open.contains(&("lost", "NOT SEALED")), "{open:?}");
        assert!(open.contains(&("web", "NOT SEALED")), "{open:?}");
        let rest = shown(&model)[3..].to_vec();
        let wanted = match model.sort {
            Sort::Name => [("api", "limited"), ("web", "sealed")],
            Sort::Total => [("web", "sealed"), ("api", "limited")],
            _ => rest.clone().try_into().unwrap(),
        };
        assert_eq!(rest, wanted, "{:?}", model.sort);
        assert!(model.press(Key::Sort));
    }
    assert_eq!(model.sort, Sort::Rate);
}

#[test]
fn the_choice_stays_with_its_container() {
    let rows = || {
        vec![
            row(1, "a", SealState::Sealed),
            row(2, "b", SealState::Sealed),
        ]
    };
    let mut model = model(vec![count(1, "a", 0), count(2, "b", 0)], rows());
    assert_eq!(model.chosen(), Some(0));
    model.press(Key::Down);
    model.press(Key::Down);
    assert_eq!(model.chosen(), Some(1));
    // b is the busier one now, and moves up.
    let counts = vec![count(1, "a", 0), count(2, "b", 10)];
    model.learn(second(1), News::Counts(UNIX_EPOCH, Ok(counts)));
    assert_eq!((shown(&model)[0].0, model.chosen()), ("b", Some(0)));
    model.press(Key::Enter);
    assert_eq!(model.detail.as_ref().map(|d| d.id.clone()), Some(id(2)));
    model.press(Key::Back);
    assert!(model.detail.is_none());
    let only = vec![count(1, "a", 0)];
    model.learn(second(2), News::Counts(UNIX_EPOCH, Ok(only)));
    assert_eq!(model.chosen(), Some(0));
    assert!(!model.press(Key::Quit));
}

#[test]
fn a_list_scrolls_to_its_end_and_back() {
    let mut counted = count(1, "a", 1);
    counted.denials.by_reason = vec![("egress", 1); 8];
    let mut model = model(vec![counted], vec![row(1, "a", SealState::Sealed)]);
    model.press(Key::Enter);
    model.press(Key::Next);
    model.press(Key::Next);
    for (key, offset) in [
        (Key::End, 5),
        (Key::Down, 5),
        (Key::Up, 4),
        (Key::Home, 0),
        (Key::PageDown, 5),
    ] {
        model.press(key);
        assert_eq!(model.detail.as_ref().unwrap().offsets[2], offset, "{key:?}");
    }
    // The container goes away meanwhile.
    model.learn(second(1), News::Counts(UNIX_EPOCH, Ok(vec![])));
    model.press(Key::Down);
    assert_eq!(model.detail.as_ref().unwrap().offsets[2], 0);
}

#[test]
fn names_are_todays_and_what_is_gone_is_called_so() {
    let mut renamed = row(1, "web-old", SealState::Sealed);
    renamed.recorded_name = Some("web".into());
    renamed.not_sealed = Some(id(7));
    let mut gone = row(2, "job", SealState::Gone);
    gone.gone = true;
    let counts = vec![count(1, "web", 5), count(2, "job", 3)];
    let model = model(counts, vec![renamed, gone]);
    // The name that it was sealed under is another's now, and that one is open.
    assert_eq!(
        shown(&model),
        [
            ("web", "NOT SEALED"),
            ("job", "gone"),
            ("web-old", "sealed")
        ]
    );
    assert_eq!(model.lines[0].id, id(7));
    let count = model.lines[2].count.as_ref().unwrap();
    assert_eq!(count.name, "web-old");
}

#[test]
fn a_key_asks_before_it_lets_anything_out() {
    let mut model = model(
        vec![count(1, "web", 5)],
        vec![row(1, "web", SealState::Sealed)],
    );
    assert!(model.press(Key::Allow) && model.ask.is_none());
    assert!(model.said.as_deref().is_some_and(|s| s.contains("Enter")));
    assert!(model.press(Key::Enter) && model.said.is_none());
    for no in [Key::Other, Key::Enter, Key::Back, Key::Allow] {
        assert!(model.press(Key::Allow));
        let ask = model.ask.clone().unwrap();
        assert_eq!((&*ask.name, &*ask.id), ("web", &*id(1)));
        assert_eq!(ask.to, "198.51.100.7:443/tcp");
        assert!(model.press(no));
        assert!(model.ask.is_none() && model.agreed().is_none(), "{no:?}");
    }
    assert!(model.press(Key::Yes) && model.agreed().is_none());
    assert!(model.press(Key::Allow) && model.press(Key::Yes));
    assert_eq!(model.agreed().unwrap().to, "198.51.100.7:443/tcp");
    assert!(model.agreed().is_none());
    // What cannot be let out is said to be so.
    let events = [Event::Denial(Box::new(Denial {
        reason: "no-provenance",
        ..Denial::example()
    }))];
    let never = Count {
        ranking: Arc::new(Ranking::of(&events)),
        ..count(1, "web", 6)
    };
    model.learn(second(1), News::Counts(UNIX_EPOCH, Ok(vec![never])));
    assert!(model.press(Key::Allow) && model.ask.is_none());
    assert!(
        model
            .said
            .as_deref()
            .is_some_and(|s| s.contains("no exception"))
    );
    assert!(model.press(Key::Allow) && !model.press(Key::Quit));
}
