//! The model on a screen. Every string of a container is escaped here.

mod detail;
mod overview;
mod words;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line as Text, Span},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::{line, model::Model};
use crate::{coverage::SealState, notation::escape};

/// Smaller than this shows nothing of use.
const SMALLEST: (u16, u16) = (50, 10);

/// Draws it, at any size.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = SMALLEST;
    if area.width < width || area.height < height {
        let text = format!(
            "airgap top needs {width}x{height}; this terminal is {}x{}",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let paint = Paint(model.colour);
    let trouble = trouble(model);
    let [head, warning, body, foot] = Layout::vertical([
        // The second line sums up all containers.
        Constraint::Length(if model.detail.is_some() { 1 } else { 2 }),
        Constraint::Length(u16::try_from(trouble.len()).unwrap_or(3)),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    let opened = model.detail.as_ref().and_then(|detail| {
        let line = model.lines.iter().find(|line| line.id == detail.id)?;
        Some((detail, line))
    });
    heading(model, &paint, frame, head);
    let trouble: Vec<_> = trouble
        .into_iter()
        .map(|text| Text::styled(text, paint.alarm()))
        .collect();
    frame.render_widget(Paragraph::new(trouble), warning);
    let keys = match (&model.detail, opened) {
        (_, Some((detail, line))) => {
            detail::draw(detail, line, &paint, frame, body);
            " Esc back  Tab next list  ↑↓ scroll  a allow the first destination  ? help  q quit"
                .to_owned()
        }
        (Some(_), None) => {
            let gone = "This container has no seal any more, and no record of one.  Esc: back";
            frame.render_widget(Paragraph::new(gone), body);
            " Esc back  q quit".to_owned()
        }
        (None, None) => {
            overview::draw(model, &paint, frame, body);
            let sort = model.sort.word();
            format!(" ↑↓ choose  Enter open  s sort (by {sort})  ? help  q quit")
        }
    };
    let foot_line = match (&model.ask, &model.said) {
        (Some(ask), _) => Paragraph::new(format!(
            " allow {} for 15 minutes?  y yes, another key no  ({})",
            ask.to,
            escape(&ask.name)
        ))
        .style(paint.alarm()),
        (None, Some(said)) => Paragraph::new(format!(" {}", escape(said))).style(paint.strong()),
        (None, None) => Paragraph::new(keys).style(paint.faint()),
    };
    frame.render_widget(foot_line, foot);
    if model.help {
        help(&paint, frame, area);
    }
}

/// How many of what, and of when.
fn heading(model: &Model, paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    let count = |wanted: &[SealState]| {
        let lines = model.lines.iter().filter(|line| !line.reading);
        lines.filter(|l| wanted.contains(&l.state)).count()
    };
    let reading = model.lines.iter().filter(|line| line.reading).count();
    let sealed = count(&[SealState::Sealed, SealState::Limited]);
    let mut spans = vec![
        Span::styled(" airgap top ", paint.strong()),
        Span::raw(format!(" {sealed} sealed")),
    ];
    for state in SealState::ALL {
        let found = count(&[state]);
        if found > 0 && !matches!(state, SealState::Sealed | SealState::Limited) {
            spans.push(Span::raw(", "));
            spans.push(Span::styled(
                format!("{found} {}", state.word()),
                paint.state(state),
            ));
        }
    }
    if reading > 0 {
        let text = format!(", {reading} {}", line::READING);
        spans.push(Span::styled(text, paint.faint()));
    }
    let audited = |line: &&line::Line| line.count.as_ref().is_some_and(|count| count.audit);
    let lines = || model.lines.iter().filter(|line| !audited(line));
    let total: u64 = lines().map(|line| line.total()).sum();
    let rate: f64 = lines().filter_map(|line| line.rate).sum();
    let sums = lines().filter_map(|line| line.count.as_ref());
    let (nobody, nowhere) = sums.fold((0, 0), |(a, b), count| {
        let attempts = &count.ranking.attempts;
        (a + attempts.unattributed, b + attempts.lost)
    });
    let sums = format!(
        " refused {total}, {}/s; by unknown {nobody}, to unknown {nowhere}",
        words::rate(Some(rate))
    );
    let text = vec![Text::from(spans), Text::from(sums)];
    frame.render_widget(Paragraph::new(text), area);
    if let Some(time) = model.time {
        let time = format!("{} UTC ", words::clock(time));
        let width = u16::try_from(time.len()).unwrap_or(area.width);
        let [_, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
        frame.render_widget(Paragraph::new(time), right);
    }
}

/// What must be known before anything below is believed.
fn trouble(model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &model.counts_failed {
        lines.push(format!(
            " the kernel's counts cannot be read, what is shown is old: {}",
            escape(why)
        ));
    } else if let Some(age) = model.counts_old() {
        lines.push(format!(
            " the kernel's counts were read {} s ago",
            age.as_secs()
        ));
    }
    if let Some(why) = &model.rows_failed {
        lines.push(format!(" what is in force is not known: {}", escape(why)));
    }
    if let Some(why) = &model.engine_failed {
        lines.push(format!(
            " names and settings are not known: {}",
            escape(why)
        ));
    }
    lines
}

fn help(paint: &Paint, frame: &mut Frame<'_>, area: Rect) {
    let text = [
        "↑ ↓ PgUp PgDn Home End  choose, or scroll a list",
        "Enter                   open a container",
        "Tab                     next list of a container",
        "Esc                     back to all containers",
        "a                       let the first destination shown",
        "                        be reached for 15 minutes; asks",
        "s                       sort by rate, refused, last, name",
        "q Ctrl-C                quit; seals stay",
        "",
        "Containers that are open come first. Counts are exact.",
        "by unknown: too many kinds at once to tell who",
        "to unknown: destinations beyond those counted singly",
        "Any key closes this.",
    ];
    let (width, height) = (58.min(area.width), 15.min(area.height));
    let popup = Rect::new(
        (area.width - width) / 2,
        (area.height - height) / 2,
        width,
        height,
    );
    frame.render_widget(Clear, popup);
    let block = Block::bordered().title(" help ").style(paint.plain());
    frame.render_widget(
        Paragraph::new(text.map(Text::from).to_vec()).block(block),
        popup,
    );
}

/// Styles; without colour only the bold, the faint and the reversed are left.
struct Paint(bool);

impl Paint {
    const fn plain(&self) -> Style {
        Style::new()
    }

    fn coloured(&self, colour: Color) -> Style {
        if self.0 {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn chosen(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn alarm(&self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn bars(&self) -> Style {
        self.coloured(Color::Red)
    }

    fn state(&self, state: SealState) -> Style {
        match state {
            SealState::NotSealed | SealState::Broken | SealState::Opened => self.alarm(),
            SealState::Unknown | SealState::ExceptionClosed | SealState::Limited => {
                self.coloured(Color::Yellow)
            }
            SealState::Sealed => self.coloured(Color::Green),
            SealState::Gone => self.faint(),
        }
    }
}

#[cfg(test)]
mod tests;
