//! Results on stdout: text for people, JSON for programs.

mod diff;
mod document;
pub mod journal;
pub mod json;
mod learned;
mod line;
pub mod otlp;
mod proof;
mod status;
mod syslog;
mod text;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};

pub use learned::Form;
pub(crate) use line::attempt;
pub use status::Detail;
pub(crate) use status::{after_end, used};
pub use syslog::Syslog;

use crate::{
    config::Setting,
    container::Identity,
    events::Event,
    gate::Unsealed,
    notation::escape,
    remote::Answer,
    report::{Difference, Document, Learned},
    seal::{Check, DryRun, Existing, Report, Row},
    state::Entry,
    subtree::DropIn,
    verify::Proof,
};

/// Writes to stdout at once; a closed pipe is the end, not an error.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("cannot write to stdout"),
    }
}

/// Text that is a result as it is.
///
/// # Errors
/// If stdout cannot be written.
pub fn raw(text: &str) -> Result<()> {
    print(text)
}

/// What became of something, for programs; without that, text for people.
///
/// # Errors
/// If stdout cannot be written.
pub fn applied(outcome: Option<&impl serde::Serialize>, text: &str) -> Result<()> {
    match outcome {
        Some(outcome) => print_json(outcome),
        None => print(text),
    }
}

/// Whether stdout is a terminal and `NO_COLOR` is not set.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut line = serde_json::to_string(value).context("cannot write JSON")?;
    line.push('\n');
    print(&line)
}

/// What is in force for one container.
///
/// # Errors
/// If stdout cannot be written.
pub fn report(report: &Report, json: bool, detail: Detail) -> Result<()> {
    if json {
        print_json(report)
    } else {
        print(&status::report(report, detail, colour()))
    }
}

/// The exceptions of one container.
///
/// # Errors
/// If stdout cannot be written.
pub fn exits(report: &Report) -> Result<()> {
    print(&status::exceptions(report, colour()))
}

/// The list of seals; without `all` ended tasks are but counted, outside of JSON.
///
/// # Errors
/// If stdout cannot be written.
pub fn list(rows: &[Row], json: bool, all: bool) -> Result<()> {
    if json {
        print_json(&serde_json::json!({ "schema": 1, "containers": rows }))
    } else {
        print(&text::list(rows, all))
    }
}

/// What an attach would do.
///
/// # Errors
/// If stdout cannot be written.
pub fn dry_run(would: &DryRun, json: bool) -> Result<()> {
    if json {
        print_json(&serde_json::json!({
            "schema": 1,
            "dry_run": true,
            "container": { "name": would.name },
            "ports": would.ports,
            "exits": would.exits,
            "stops": would.stops,
            "existing": would.existing,
            "state": would.state,
            "summary": would.summary,
            "coverage": would.coverage,
            "exit": would.exit,
        }))
    } else {
        print(&status::dry_run(would))
    }
}

/// What becomes of one socket that is older than the seal, on stderr.
pub fn peer(container: &str, existing: &Existing) {
    log::warn!("{}", text::peer(container, existing));
}

/// What a service lacks so that it cannot leave around a seal, on stderr: the whole file,
/// and what to do with it.
pub fn lacks(unit: &str, drop_in: &DropIn) {
    let asked: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    eprint!("{}", text::lacks(unit, drop_in, &asked));
}

/// What a service is going to be restarted under, on stderr.
pub fn hardens(unit: &str, drop_in: &DropIn) {
    eprint!("{}", text::hardens(unit, drop_in));
}

/// What this host can do.
///
/// # Errors
/// If stdout cannot be written.
pub fn doctor(checks: &[Check], json: bool) -> Result<()> {
    if json {
        print_json(&serde_json::json!({ "schema": 1, "checks": checks }))
    } else {
        print(&text::doctor(checks))
    }
}

/// What is in effect on this host, and where it comes from.
///
/// # Errors
/// If stdout cannot be written.
pub fn settings(rows: &[Setting], json: bool) -> Result<()> {
    if json {
        print_json(&serde_json::json!({ "schema": 1, "settings": rows }))
    } else {
        print(&text::settings(rows))
    }
}

/// What was shown of a seal.
///
/// # Errors
/// If stdout cannot be written.
pub fn proof(proof: &Proof, json: bool) -> Result<()> {
    if json {
        print_json(proof)
    } else {
        print(&proof::text(proof, colour()))
    }
}

/// A report on one seal.
///
/// # Errors
/// If stdout cannot be written.
pub fn document(document: &Document, json: bool) -> Result<()> {
    if json {
        print_json(document)
    } else {
        print(&document::document(document, colour()))
    }
}

/// What was refused, as the exceptions that would have let it out; without a form as JSON.
///
/// # Errors
/// If stdout cannot be written.
pub fn learned(learned: &Learned, form: Option<Form>) -> Result<()> {
    match form {
        Some(form) => print(&learned::learned(learned, form)),
        None => print_json(learned),
    }
}

/// What `--hosts` prints as JSON.
#[derive(serde::Serialize)]
struct Answers<'a> {
    /// Version of this shape.
    schema: u32,
    hosts: &'a [Answer],
}

/// What other hosts have said, each under its name.
///
/// # Errors
/// If stdout cannot be written.
pub fn answers(answers: &[Answer], json: bool) -> Result<()> {
    if json {
        return print_json(&Answers {
            schema: 1,
            hosts: answers,
        });
    }
    for answer in answers.iter().filter(|answer| answer.code.is_some()) {
        for line in &answer.said {
            let line = line.strip_prefix("warning: ").unwrap_or(line);
            log::warn!("{}: {}", answer.host, escape(line));
        }
    }
    print(&text::answers(answers))
}

/// What two reports tell apart.
///
/// # Errors
/// If stdout cannot be written.
pub fn difference(difference: &Difference, json: bool) -> Result<()> {
    if json {
        print_json(difference)
    } else {
        print(&document::difference(difference))
    }
}

/// What a detach removed.
///
/// # Errors
/// If stdout cannot be written.
pub fn unsealed(unsealed: &Unsealed, by_verify: u64) -> Result<()> {
    print(&text::unsealed(unsealed, by_verify))
}

/// A record that was removed where there was no seal in force.
///
/// # Errors
/// If stdout cannot be written.
pub fn forgotten(entry: &Entry) -> Result<()> {
    print(&text::restored(
        entry,
        "record removed, it was not in force",
    ))
}

/// What a restore did with a record; `kept`: it was in force already.
///
/// # Errors
/// If stdout cannot be written.
pub fn restored(entry: &Entry, kept: bool) -> Result<()> {
    let audit = matches!(entry, Entry::Known(record) if record.rules.audit);
    let what = match (audit, kept) {
        (true, true) => "under audit, NOT SEALED",
        (true, false) => "under audit again, NOT SEALED",
        (false, true) => "in force",
        (false, false) => "sealed again",
    };
    print(&text::restored(entry, what))
}

/// What becomes of a file; `None`: no file.
///
/// # Errors
/// If stdout cannot be written.
pub fn diff(path: &Path, old: Option<&str>, new: Option<&str>) -> Result<()> {
    print(&diff::unified(&path.display().to_string(), old, new))
}

/// Whether containers that nobody has judged start denied, and which do now.
///
/// # Errors
/// If stdout cannot be written.
pub fn quarantine(on: bool, denied: &[String]) -> Result<()> {
    let mut text = format!("quarantine is {}\n", if on { "on" } else { "off" });
    for id in denied {
        text += &format!("denied everything until judged: {id}\n");
    }
    print(&text)
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    Text,
    /// A line of JSON.
    Json,
    /// An entry of the systemd journal.
    Journald,
    /// A message to a syslog.
    Syslog(Syslog),
}

/// Where events go.
pub enum Sink {
    /// To whoever reads them here, or to the host's own logs.
    Print(Format),
    /// To a collector of OpenTelemetry.
    Export(otlp::Exporter),
}

impl Sink {
    /// One event of a container; `dated`: with the date in text.
    ///
    /// # Errors
    /// As for [`event`].
    pub fn tell(&self, event: &Event, container: &Identity, dated: bool) -> Result<()> {
        match self {
            Self::Print(format) => self::event(event, container, *format, dated),
            Self::Export(exporter) => {
                exporter.send(event, container);
                Ok(())
            }
        }
    }

    /// The same of what is past: waits until there is room for it.
    ///
    /// # Errors
    /// As for [`event`].
    pub async fn tell_past(&self, event: &Event, container: &Identity) -> Result<()> {
        match self {
            Self::Print(_) => self.tell(event, container, true),
            Self::Export(exporter) => {
                exporter.send_all(event, container).await;
                Ok(())
            }
        }
    }

    /// After the last event: waits until a collector has them all; returns how many are lost.
    pub async fn finish(self) -> u64 {
        match self {
            Self::Print(_) => 0,
            Self::Export(exporter) => exporter.finish().await,
        }
    }
}

/// One event of a container; `dated`: with the date in text.
///
/// # Errors
/// If stdout, the journal or the syslog cannot be written.
pub fn event(event: &Event, container: &Identity, format: Format, dated: bool) -> Result<()> {
    match format {
        Format::Text => print(&line::event(event, container, colour(), dated)),
        Format::Json => print_json(&json::event(event, container)),
        Format::Journald => journal::event(event, container),
        Format::Syslog(syslog) => syslog.send(event, container),
    }
}
