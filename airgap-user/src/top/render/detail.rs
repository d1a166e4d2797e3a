//! One container.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line as Text, Span},
    widgets::{Block, Borders, Paragraph, Sparkline, Wrap},
};

use super::{Paint, words};
use crate::{
    events::is_silent,
    notation::escape,
    output::{after_end, attempt, used},
    top::{
        Count,
        history::SECONDS,
        line::Line,
        model::{Detail, PANES},
    },
};

/// Lines for which the bars are left out.
const LOW: u16 = 18;
/// Most lines of what is in force.
const TOP: u16 = 9;
/// Most exceptions of those.
const EXITS: usize = 2;

pub(super) fn draw(detail: &Detail, line: &Line, paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    let bars = if area.height < LOW { 0 } else { 4 };
    let facts = facts(line, paint);
    // One more, for the longest of them.
    let height = u16::try_from(facts.len() + 1).unwrap_or(TOP).min(TOP);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(height),
        Constraint::Length(bars),
        Constraint::Min(0),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(facts).wrap(Wrap { trim: false }), top);
    let Some(count) = &line.count else {
        let text = " Nothing of it is counted: there is no seal in the kernel.";
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), bottom);
        return;
    };
    if bars > 0 {
        seconds(line, paint, frame, middle);
    }
    let [upper, lower] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(bottom);
    let [first, second] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(upper);
    let [third, fourth] =
        Layout::horizontal([Constraint::Length(30), Constraint::Fill(1)]).areas(lower);
    let panes: [(&str, Vec<String>, Rect); PANES] = [
        ("DESTINATIONS", destinations(count), first),
        ("PROCESSES", processes(count), second),
        ("REASONS", reasons(count), third),
        ("LAST ATTEMPTS", recent(count), fourth),
    ];
    for (at, (title, lines, area)) in panes.into_iter().enumerate() {
        let focused = at == detail.pane;
        pane(
            title,
            &lines,
            detail.offsets[at],
            focused,
            paint,
            frame,
            area,
        );
    }
}

/// Who it is and what is in force; what is wrong first.
fn facts(line: &Line, paint: &Paint) -> Vec<Text<'static>> {
    let id = &line.id[..12.min(line.id.len())];
    let mut facts = vec![Text::from(vec![
        Span::raw(" "),
        Span::styled(escape(&line.name).into_owned(), paint.strong()),
        Span::raw(format!(" ({id})  ")),
        Span::styled(line.word(), paint.state(line.state)),
    ])];
    for problem in line.problems.iter().take(3) {
        facts.push(Text::styled(format!(" {}", escape(problem)), paint.alarm()));
    }
    facts.push(Text::styled(
        format!(" {}", escape(&line.summary())),
        paint.state(line.state),
    ));
    if let Some(report) = &line.report {
        let clients = match report.clients.as_slice() {
            [] => "ANY (each is an exit)".to_owned(),
            some => some.join(", "),
        };
        facts.push(Text::from(format!(
            " ports {}  clients {clients}",
            report.ports.join(", ")
        )));
        for exit in report.exits.iter().take(EXITS) {
            let used = used(exit).unwrap_or_else(|| "not used".to_owned());
            let open = after_end(exit).map_or_else(String::new, |open| format!("; {open}"));
            facts.push(Text::from(format!(
                " to {} {}: {used}{open}",
                escape(&exit.to),
                exit.state
            )));
        }
        if report.exits.len() > EXITS {
            let more = report.exits.len() - EXITS;
            facts.push(Text::from(format!(" and {more} exceptions more")));
        }
    }
    if let Some(count) = &line.count {
        let attempts = &count.ranking.attempts;
        facts.push(Text::from(format!(
            " {} {}, {}/s; by unknown {}, to unknown {}",
            match count.audit {
                true => "would refuse",
                false => "refused",
            },
            count.denials.total,
            words::rate(line.rate),
            attempts.unattributed,
            attempts.lost
        )));
    }
    facts
}

/// As in the list, the newest at the right.
fn seconds(line: &Line, paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width);
    let known = &line.seconds[line.seconds.len().saturating_sub(width)..];
    let most = known.iter().max().copied().unwrap_or(0);
    let mut shown = vec![0; width - known.len()];
    shown.extend(known);
    let title = format!(" LAST {SECONDS} s, at most {most}/s ");
    let bars = Sparkline::default()
        .block(Block::new().borders(Borders::TOP).title(title))
        .style(paint.bars())
        .data(&shown);
    frame.render_widget(bars, area);
}

fn pane(
    title: &str,
    lines: &[String],
    offset: usize,
    focused: bool,
    paint: &Paint,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let room = usize::from(area.height.saturating_sub(1));
    let offset = offset.min(lines.len());
    let beyond = match offset == 0 && lines.len() <= room {
        true => String::new(),
        false => format!("{}-{} of ", offset + 1, (offset + room).min(lines.len())),
    };
    let style = if focused {
        paint.chosen()
    } else {
        paint.strong()
    };
    let title = format!(" {title} {beyond}{} ", lines.len());
    let block = Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(title, style));
    let text: Vec<_> = lines
        .iter()
        .skip(offset)
        .take(room)
        .map(|line| Text::from(line.as_str()))
        .collect();
    frame.render_widget(Paragraph::new(text).block(block), area);
}

fn destinations(count: &Count) -> Vec<String> {
    let list = count.ranking.destinations.iter();
    list.map(|d| format!("{:>8}  {}", d.count, escape(&d.target.to_string())))
        .collect()
}

fn processes(count: &Count) -> Vec<String> {
    let list = count.ranking.processes.iter();
    list.map(|p| format!("{:>8}  {} uid {}", p.count, escape(&p.name), p.uid))
        .collect()
}

fn reasons(count: &Count) -> Vec<String> {
    let mut list = count.denials.by_reason.clone();
    list.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    // What no program inside asked for is in no sum.
    list.sort_by_key(|(reason, _)| is_silent(reason));
    list.into_iter()
        .map(|(reason, n)| match reason {
            "inbound" => format!("{n:>8}  clients refused"),
            other => format!("{n:>8}  {other}"),
        })
        .collect()
}

fn recent(count: &Count) -> Vec<String> {
    let list = count.ranking.recent.iter();
    list.map(|denial| {
        let times = match denial.count {
            1 => String::new(),
            n => format!(" ×{n}"),
        };
        let who = denial.process.as_ref().map_or_else(
            || "?".to_owned(),
            |p| format!("{}[{}]", escape(&p.name), p.pid),
        );
        format!(
            "{} {}{times} {who}",
            words::clock(denial.time),
            attempt(denial)
        )
    })
    .collect()
}
