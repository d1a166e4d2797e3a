//! All containers, and below what most attempts were for and by whom.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line as Text, Span},
    widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState, Wrap},
};

use super::{Paint, words};
use crate::{
    notation::escape,
    top::{line::Line, model::Model},
};

/// Bars of one line.
const SPARK: u16 = 15;
/// Lines for which the lower half is left out.
const LOW: u16 = 16;

pub(super) fn draw(model: &Model, paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    if model.lines.is_empty() {
        let text = match (&model.counts_failed, model.time) {
            (Some(_), _) => "",
            (None, None) => " reading the kernel …",
            (None, Some(_)) => " no container is sealed on this host: airgap attach CONTAINER",
        };
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let lower = if area.height < LOW {
        0
    } else {
        area.height / 2
    };
    let [upper, why, lower] = Layout::vertical([
        Constraint::Min(3),
        Constraint::Length(2),
        Constraint::Length(lower),
    ])
    .areas(area);
    containers(model, paint, frame, upper);
    if let Some(line) = model.chosen().and_then(|at| model.lines.get(at)) {
        frame.render_widget(
            Paragraph::new(reason(line, paint)).wrap(Wrap { trim: true }),
            why,
        );
    }
    if lower.height > 0 {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(lower);
        let tops = top(model, |count| {
            let list = count.ranking.destinations.iter();
            list.map(|d| (d.count, d.target.to_string())).collect()
        });
        list(" TOP DESTINATIONS ", &tops, paint, frame, left);
        let tops = top(model, |count| {
            let list = count.ranking.processes.iter();
            list.map(|p| (p.count, format!("{} uid {}", p.name, p.uid)))
                .collect()
        });
        list(" TOP PROCESSES ", &tops, paint, frame, right);
    }
}

fn containers(model: &Model, paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    let right = |text: String| Cell::from(Text::from(text).right_aligned());
    let rows = model.lines.iter().map(|line| {
        let last = line.count.as_ref();
        let last = last.and_then(|count| count.ranking.attempts.last);
        let total = match &line.count {
            // Nothing of it was refused.
            Some(count) if count.audit => format!("audit {}", count.denials.total),
            Some(count) => count.denials.total.to_string(),
            None => "-".to_owned(),
        };
        Row::new([
            Cell::from(Span::styled(line.word(), paint.state(line.state))),
            Cell::from(escape(&line.name).into_owned()),
            right(words::rate(line.rate)),
            Cell::from(Span::styled(
                words::spark(&line.seconds, SPARK.into()),
                paint.bars(),
            )),
            right(total),
            right(last.map_or_else(|| "never".into(), words::clock)),
        ])
    });
    let head = Row::new([
        Cell::from("STATE"),
        Cell::from("CONTAINER"),
        right("RATE/s".into()),
        Cell::from(format!("LAST {SPARK} s")),
        right("REFUSED".into()),
        right("LAST UTC".into()),
    ]);
    let widths = [
        Constraint::Length(10),
        Constraint::Min(10),
        Constraint::Length(7),
        Constraint::Length(SPARK),
        Constraint::Length(11),
        Constraint::Length(8),
    ];
    let table = Table::new(rows, widths)
        .header(head.style(paint.strong()))
        .row_highlight_style(paint.chosen());
    let mut state = TableState::new().with_selected(model.chosen());
    frame.render_stateful_widget(table, area, &mut state);
}

/// Why the chosen container is not simply sealed.
fn reason(line: &Line, paint: &Paint) -> Text<'static> {
    if let Some(problem) = line.problems.first() {
        return Text::styled(format!(" {}", escape(problem)), paint.alarm());
    }
    Text::styled(
        format!(" {}", escape(&line.summary())),
        paint.state(line.state),
    )
}

/// The most of all containers, with the container's name where there are several.
fn top(model: &Model, of: impl Fn(&crate::top::Count) -> Vec<(u64, String)>) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let several = model.lines.iter().filter(|l| l.count.is_some()).count() > 1;
    for count in model.lines.iter().filter_map(|line| line.count.as_ref()) {
        // More of one container are never among the first of all.
        for (number, what) in of(count).into_iter().take(100) {
            let name = if several { &count.name } else { "" };
            let what = format!("{what}  {name}");
            all.push((number, what.trim_end().to_owned()));
        }
    }
    all.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    all
}

fn list(title: &str, all: &[(u64, String)], paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(title.to_owned(), paint.strong()));
    let lines: Vec<_> = all
        .iter()
        .take(usize::from(area.height))
        .map(|(number, what)| Text::from(format!("{number:>10}  {}", escape(what))))
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
