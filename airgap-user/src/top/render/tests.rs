use std::time::{Duration, UNIX_EPOCH};

use ratatui::{Terminal, backend::TestBackend, style::Color};

use crate::{
    coverage::SealState,
    events::Process,
    seal::ExitRow,
    top::{
        Key, Model, News, draw,
        model::tests::{count, model, row, second},
    },
};

fn screen(model: &Model, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    terminal.backend().clone()
}

fn text(model: &Model, width: u16, height: u16) -> String {
    let backend = screen(model, width, height);
    let cells = backend.buffer().content().chunks(usize::from(width).max(1));
    let lines: Vec<String> = cells
        .map(|line| line.iter().map(|cell| cell.symbol()).collect())
        .collect();
    lines.join("\n")
}

fn busy() -> Model {
    let mut model = model(
        vec![count(1, "web", 100), count(2, "db", 3)],
        vec![
            row(1, "web", SealState::Sealed),
            row(2, "db", SealState::Broken),
        ],
    );
    let counts = vec![count(1, "web", 112), count(2, "db", 3)];
    let at = UNIX_EPOCH + Duration::from_secs(3_661);
    model.learn(second(1), News::Counts(at, Ok(counts)));
    model
}

#[test]
fn containers_rates_and_tops_fit_80_by_24() {
    let text = text(&busy(), 80, 24);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains(" 1 sealed, 1 BROKEN "), "{text}");
    assert!(lines[0].ends_with("01:01:01 UTC "), "{text}");
    let sums = " refused 115, 12.0/s; by unknown 0, to unknown 0 ";
    assert!(lines[1].starts_with(sums), "{text}");
    assert!(lines[3].starts_with("BROKEN     db "), "{text}");
    let web: Vec<_> = lines[4].split_whitespace().collect();
    assert_eq!(
        web,
        ["sealed", "web", "12.0", "█", "112", "00:00:00"],
        "{text}"
    );
    assert!(text.contains("112  tcp 198.51.100.7:443  web"), "{text}");
    assert!(text.contains("112  curl uid 0  web"), "{text}");
    assert!(lines[23].contains("? help"), "{text}");
}

#[test]
fn a_container_is_shown_closely() {
    let mut model = busy();
    model.press(Key::Down);
    model.press(Key::Enter);
    let text = text(&model, 80, 24);
    for wanted in [
        "web (000000000000)  sealed",
        "clients ANY (each is an exit)",
        "refused 112, 12.0/s; by unknown 0, to unknown 0",
        "LAST 60 s, at most 12/s",
        "DESTINATIONS 1 ",
        "112  tcp 198.51.100.7:443",
        "PROCESSES 1 ",
        "REASONS 1 ",
        "112  egress",
        "00:00:00 tcp → 198.51.100.7:443 ×112 curl[42]",
        "Esc back",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    model.press(Key::Help);
    assert!(screen_has(&model, "Any key closes this."));
    model.press(Key::Enter);
    assert!(!screen_has(&model, "Any key closes this."));
}

#[test]
fn what_is_opened_is_shown_with_its_use() {
    let mut web = row(1, "web", SealState::Sealed);
    web.report.exits = vec![ExitRow::example(); 5];
    let mut model = model(vec![count(1, "web", 1)], vec![web]);
    model.press(Key::Enter);
    let text = text(&model, 160, 30);
    let used = " to 198.51.100.10:443/tcp in-force: 2 connections, 12 packets of 345 bytes out, 10 packets of 6789 bytes in";
    assert_eq!(text.matches(used).count(), 2, "{text}");
    assert!(text.contains(" and 3 exceptions more"), "{text}");
    assert!(text.contains("DESTINATIONS 1 "), "{text}");
}

fn screen_has(model: &Model, wanted: &str) -> bool {
    text(model, 80, 24).contains(wanted)
}

#[test]
fn what_is_not_known_is_said_above_all() {
    let mut model = busy();
    model.learn(
        second(2),
        News::Counts(UNIX_EPOCH, Err("a map\n is gone".into())),
    );
    let text = text(&model, 80, 24);
    assert!(
        text.contains("cannot be read, what is shown is old: a map\\n is gone"),
        "{text}"
    );
    assert!(
        text.contains("2 unknown") && !text.contains("1 sealed"),
        "{text}"
    );
    let mut first = Model::new(false);
    let counts = Ok(vec![count(1, "web", 5)]);
    first.learn(second(0), News::Counts(UNIX_EPOCH, counts));
    for said in ["0 sealed, 1 reading", "reading …  web", "is being read"] {
        assert!(screen_has(&first, said), "{said}");
    }
    let mut empty = Model::new(false);
    assert!(screen_has(&empty, "reading the kernel"));
    empty.learn(second(0), News::Counts(UNIX_EPOCH, Ok(vec![])));
    assert!(screen_has(&empty, "no container is sealed on this host"));
}

#[test]
fn strings_of_a_container_drive_no_terminal() {
    let mut bad = count(1, "w\x1b[2Jb\n", 5);
    let mut ranking = (*bad.ranking).clone();
    ranking.processes[0].name = "a\x1bb".into();
    ranking.recent[0].process = Some(Process::example("\u{202e}c\r", 1));
    bad.ranking = ranking.into();
    let mut model = model(vec![bad], vec![row(1, "w\x1b[2Jb\n", SealState::Sealed)]);
    for _ in 0..2 {
        let text = text(&model, 80, 24);
        assert!(text.contains("w\\x1b[2Jb\\n"), "{text}");
        assert!(text.contains("a\\x1bb uid 0"), "{text}");
        let drives = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(drives), "{text:?}");
        model.press(Key::Enter);
    }
    assert!(screen_has(&model, "\\u{202e}c\\r[1]"));
}

#[test]
fn every_size_is_drawn() {
    let mut opened = busy();
    opened.press(Key::Enter);
    let mut helped = busy();
    helped.press(Key::Help);
    for model in [&Model::new(true), &busy(), &opened, &helped] {
        for width in (0..100).step_by(13).chain([49, 50, 51, 300]) {
            for height in [0, 1, 2, 3, 9, 10, 11, 15, 16, 17, 18, 24, 100] {
                let backend = screen(model, width, height);
                assert_eq!(backend.buffer().area().width, width);
            }
        }
    }
    assert!(text(&busy(), 40, 8).contains("airgap top needs 50x10"));
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    for (colour, wanted) in [(false, false), (true, true)] {
        let mut model = busy();
        model.colour = colour;
        let backend = screen(&model, 80, 24);
        let mut cells = backend.buffer().content().iter();
        assert_eq!(cells.any(|cell| cell.fg == Color::Red), wanted);
    }
}
