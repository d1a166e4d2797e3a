//! What is known of all seals, and what of it is shown.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use airgap_common::map::SealNumber;

use super::{
    Count,
    history::History,
    line::{Line, Sort, open, problems},
};
use crate::{coverage::SealState, seal::Row};

/// Older counts are said to be old.
const COUNTS_OLD: Duration = Duration::from_secs(5);
/// Older states are not believed any more.
const STATES_OLD: Duration = Duration::from_secs(30);

/// What the model is told.
#[derive(Debug)]
pub enum News {
    /// The counters of every seal, or why they cannot be read.
    Counts(SystemTime, Result<Vec<Count>, String>),
    /// What is in force, or why that cannot be told.
    Rows(Result<Vec<Row>, String>),
    /// Why the container engine tells nothing; `None`: it does.
    Engine(Option<String>),
}

/// What was asked for at the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Many lines up.
    PageUp,
    /// Many lines down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Into a container.
    Enter,
    /// Back to the list.
    Back,
    /// To the next list of a container.
    Next,
    /// By another order.
    Sort,
    /// Let out what the first destination shown is.
    Allow,
    /// Do what was asked.
    Yes,
    /// Any other: it answers no.
    Other,
    /// What the keys do.
    Help,
    /// End.
    Quit,
}

/// An exception for 15 minutes, to be agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Container id.
    pub id: String,
    /// Its name: not safe for terminals.
    pub name: String,
    /// What `--to` takes.
    pub to: String,
}

/// The lists of one container.
pub(super) const PANES: usize = 4;

/// One container, looked at closely.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    pub(super) id: String,
    pub(super) pane: usize,
    pub(super) offsets: [usize; PANES],
}

/// All that is known and shown.
#[derive(Debug)]
pub struct Model {
    pub(super) colour: bool,
    pub(super) lines: Vec<Line>,
    pub(super) sort: Sort,
    pub(super) detail: Option<Detail>,
    pub(super) help: bool,
    /// What is to be agreed to.
    pub(super) ask: Option<Ask>,
    /// What became of it, until the next key: not safe for terminals.
    pub(super) said: Option<String>,
    /// What was agreed to.
    agreed: Option<Ask>,
    /// When the counts were read.
    pub(super) time: Option<SystemTime>,
    /// Why the kernel's counts cannot be read.
    pub(super) counts_failed: Option<String>,
    /// Why it is not known what is in force.
    pub(super) rows_failed: Option<String>,
    /// Why the engine says nothing.
    pub(super) engine_failed: Option<String>,
    now: Duration,
    counts: Vec<Count>,
    rows: Vec<Row>,
    counted: Duration,
    judged: Option<Duration>,
    histories: HashMap<SealNumber, History>,
    /// When each seal was first counted.
    since: HashMap<SealNumber, Duration>,
    /// Id of the chosen line.
    chosen: Option<String>,
}

impl Model {
    /// Nothing is known yet.
    pub fn new(colour: bool) -> Self {
        Self {
            colour,
            lines: Vec::new(),
            sort: Sort::Rate,
            detail: None,
            help: false,
            ask: None,
            said: None,
            agreed: None,
            time: None,
            counts_failed: None,
            rows_failed: None,
            engine_failed: None,
            now: Duration::ZERO,
            counts: Vec::new(),
            rows: Vec::new(),
            counted: Duration::ZERO,
            judged: None,
            histories: HashMap::new(),
            since: HashMap::new(),
            chosen: None,
        }
    }

    /// Takes in what was read at `now`, time since the start.
    pub fn learn(&mut self, now: Duration, news: News) {
        self.now = now;
        match news {
            News::Counts(time, Ok(counts)) => {
                (self.time, self.counted, self.counts_failed) = (Some(time), now, None);
                self.histories
                    .retain(|seal, _| counts.iter().any(|c| c.seal == *seal));
                self.since
                    .retain(|seal, _| counts.iter().any(|c| c.seal == *seal));
                for count in &counts {
                    self.since.entry(count.seal).or_insert(now);
                    let history = self.histories.entry(count.seal).or_default();
                    history.add(now, count.denials.total);
                }
                self.counts = counts;
            }
            News::Counts(_, Err(why)) => self.counts_failed = Some(why),
            News::Rows(Ok(rows)) => {
                (self.rows, self.judged, self.rows_failed) = (rows, Some(now), None);
            }
            News::Rows(Err(why)) => self.rows_failed = Some(why),
            News::Engine(why) => self.engine_failed = why,
        }
        self.arrange();
    }

    /// Time passes without news.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        self.arrange();
    }

    /// Does what a key asks for; `false`: it asks for the end.
    pub fn press(&mut self, key: Key) -> bool {
        self.said = None;
        if key == Key::Quit {
            return false;
        }
        if let Some(ask) = self.ask.take() {
            self.agreed = (key == Key::Yes).then_some(ask);
            return true;
        }
        match key {
            _ if self.help => self.help = false,
            Key::Help => self.help = true,
            Key::Sort => {
                self.sort = self.sort.next();
                self.arrange();
            }
            Key::Allow => self.ask(),
            Key::Yes | Key::Other => {}
            Key::Back => self.detail = None,
            Key::Enter if self.detail.is_none() => {
                let line = self.chosen().and_then(|at| self.lines.get(at));
                self.detail = line.map(|line| Detail {
                    id: line.id.clone(),
                    pane: 0,
                    offsets: [0; PANES],
                });
            }
            Key::Enter => {}
            _ => match &mut self.detail {
                Some(detail) => {
                    let line = self.lines.iter().find(|line| line.id == detail.id);
                    detail.press(key, lengths(line.and_then(|line| line.count.as_ref())));
                }
                None => self.choose(key),
            },
        }
        true
    }

    /// What was agreed to since the last call.
    pub fn agreed(&mut self) -> Option<Ask> {
        self.agreed.take()
    }

    /// Says what became of it.
    pub fn say(&mut self, what: String) {
        self.said = Some(what);
    }

    /// Asks whether the first destination shown may be reached.
    fn ask(&mut self) {
        let Some(detail) = &self.detail else {
            self.say("open a container first: Enter".to_owned());
            return;
        };
        let line = self.lines.iter().find(|line| line.id == detail.id);
        let shown = line.and_then(|line| {
            let destinations = &line.count.as_ref()?.ranking.destinations;
            let last = destinations.len().checked_sub(1)?;
            Some((line, &destinations[detail.offsets[0].min(last)]))
        });
        let Some((line, shown)) = shown else {
            self.say("nothing was refused of it".to_owned());
            return;
        };
        match shown.exception() {
            Some(to) => {
                self.ask = Some(Ask {
                    id: line.id.clone(),
                    name: line.name.clone(),
                    to: to.to_string(),
                });
            }
            None => self.say(format!("no exception leads to {}", shown.target)),
        }
    }

    /// Index of the chosen line; the first, if it is gone.
    pub(super) fn chosen(&self) -> Option<usize> {
        if self.lines.is_empty() {
            return None;
        }
        let at = self
            .chosen
            .as_ref()
            .and_then(|id| self.lines.iter().position(|line| line.id == *id));
        Some(at.unwrap_or(0))
    }

    /// How long ago the counts were read, if that is long.
    pub(super) fn counts_old(&self) -> Option<Duration> {
        Some(self.now.saturating_sub(self.counted)).filter(|age| *age > COUNTS_OLD)
    }

    fn choose(&mut self, key: Key) {
        let Some(at) = self.chosen() else { return };
        let at = moved(at, key).min(self.lines.len() - 1);
        self.chosen = Some(self.lines[at].id.clone());
    }

    /// Joins counts and states, and sorts them.
    fn arrange(&mut self) {
        let failed = self.rows_failed.is_some() || self.counts_failed.is_some();
        let believed = self
            .judged
            .is_some_and(|judged| self.now.saturating_sub(judged) <= STATES_OLD)
            && !failed;
        let is_new = |seal: SealNumber| {
            let since = self.since.get(&seal);
            since.is_some_and(|since| self.now.saturating_sub(*since) <= STATES_OLD)
        };
        let mut lines: Vec<Line> = self
            .counts
            .iter()
            .map(|count| {
                let row = self.rows.iter().find(|row| {
                    row.report.seal == count.seal && row.report.container.id == count.id
                });
                let history = self.histories.get(&count.seal);
                let mut count = count.clone();
                if let Some(row) = row {
                    count.name.clone_from(&row.report.container.name);
                }
                Line {
                    id: count.id.clone(),
                    name: count.name.clone(),
                    state: match row {
                        Some(row) if believed => row.report.state,
                        _ => SealState::Unknown,
                    },
                    reading: row.is_none() && !failed && is_new(count.seal),
                    problems: row.map_or_else(Vec::new, problems),
                    report: row.map(|row| row.report.clone()),
                    rate: history.and_then(History::rate),
                    seconds: history.map_or_else(Vec::new, History::seconds),
                    count: Some(count),
                }
            })
            .collect();
        for row in &self.rows {
            let counted = |id: &str| self.counts.iter().any(|count| count.id == id);
            // A record of which no seal is in force.
            let container = &row.report.container;
            if row.report.seal == 0 && !counted(&container.id) {
                lines.push(Line {
                    report: Some(row.report.clone()),
                    state: row.report.state,
                    ..open(&container.id, &container.name, problems(row))
                });
            }
            if let Some(other) = row.not_sealed.as_deref().filter(|id| !counted(id)) {
                let why = "a sealed container's name is now this one's, which is not sealed: airgap attach";
                let name = row.recorded_name.as_ref().unwrap_or(&container.name);
                lines.push(open(other, name, vec![why.to_owned()]));
            }
        }
        lines.sort_by(|a, b| self.sort.compare(a, b));
        self.lines = lines;
    }
}

impl Detail {
    fn press(&mut self, key: Key, lengths: [usize; PANES]) {
        if key == Key::Next {
            self.pane = (self.pane + 1) % PANES;
            return;
        }
        // The last three lines stay in sight.
        let last = lengths[self.pane].saturating_sub(3);
        let offset = &mut self.offsets[self.pane];
        *offset = moved((*offset).min(last), key).min(last);
    }
}

/// Lines of the lists of a container, in the order of the panes.
fn lengths(count: Option<&Count>) -> [usize; PANES] {
    count.map_or([0; PANES], |count| {
        let ranking = &count.ranking;
        [
            ranking.destinations.len(),
            ranking.processes.len(),
            count.denials.by_reason.len(),
            ranking.recent.len(),
        ]
    })
}

/// Where a key leads to from line `at`; not bounded below.
fn moved(at: usize, key: Key) -> usize {
    match key {
        Key::Up => at.saturating_sub(1),
        Key::Down => at.saturating_add(1),
        Key::PageUp => at.saturating_sub(10),
        Key::PageDown => at.saturating_add(10),
        Key::Home => 0,
        Key::End => usize::MAX,
        _ => at,
    }
}

#[cfg(test)]
pub(super) mod tests;
