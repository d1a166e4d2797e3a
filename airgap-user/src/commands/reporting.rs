//! `airgap report`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    elsewhere::Elsewhere,
    reference::{Directory, seals_of},
    standing,
};
use crate::{
    container::{Hosts, Identity, Look},
    coverage::SealState,
    events::{Event, Origins, past},
    failure::{Failure, exit},
    host::clock::parse_ago,
    output,
    report::{Document, Material, Saved, Verified, compare, html},
    seal::Report,
    state::State,
};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct Reporting {
    /// Only kinds of attempts of which one was made since
    #[arg(long, value_name = "90s|15m|1h|2d", value_parser = parse_ago)]
    pub since: Option<Duration>,
    /// As JSON (`airgap schema report`)
    #[arg(long)]
    pub json: bool,
    /// Write one self-contained page to FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "hosts"])]
    pub html: Option<PathBuf>,
    /// Include what `airgap verify --json` printed
    #[arg(long, value_name = "FILE", conflicts_with = "hosts")]
    pub verify: Option<PathBuf>,
    /// Compare two reports that were saved with --json
    #[arg(
        long,
        num_args = 2,
        value_names = ["OLD.json", "NEW.json"],
        conflicts_with_all = ["container", "since", "html", "verify", "hosts"]
    )]
    pub diff: Option<Vec<PathBuf>>,
    /// Name, id or unique prefix of an id
    #[arg(value_name = "CONTAINER", required_unless_present = "diff")]
    pub container: Option<String>,
    /// Other hosts.
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// Compares saved reports; touches nothing else.
pub(crate) fn difference(old: &Path, new: &Path, json: bool) -> Result<u8> {
    let saved = |path: &Path| {
        Saved::parse(&read(path)?).map_err(|why| {
            Failure::new(
                format!("cannot compare {}: {why}", path.display()),
                "give two files saved with: airgap report --json CONTAINER",
            )
        })
    };
    fn read(path: &Path) -> Result<String, Failure> {
        fs::read_to_string(path).map_err(|error| unreadable(path, &error))
    }
    output::difference(&compare(&saved(old)?, &saved(new)?), json)?;
    Ok(exit::OK)
}

pub(crate) async fn run(hosts: &Hosts, state: &State, args: &Reporting) -> Result<u8> {
    let reference = args.container.as_deref().unwrap_or_default();
    let wanted = Wanted {
        since: args.since,
        verify: args.verify.as_deref(),
    };
    let document = gather(hosts, state, reference, &wanted).await?;
    match &args.html {
        Some(path) => {
            fs::write(path, html(&document))
                .with_context(|| format!("cannot write {}", path.display()))?;
            log::info!("{} is written", path.display());
        }
        None => output::document(&document, args.json)?,
    }
    Ok(document.status.code())
}

/// What of a seal is told.
pub(super) struct Wanted<'a> {
    /// Only kinds of attempts of which one was made in this time.
    pub(super) since: Option<Duration>,
    /// A saved proof.
    pub(super) verify: Option<&'a Path>,
}

/// All that the kernel, the records and the engine tell of one seal.
///
/// # Errors
/// If it is not in force, or cannot be read.
pub(super) async fn gather(
    hosts: &Hosts,
    state: &State,
    reference: &str,
    wanted: &Wanted<'_>,
) -> Result<Document> {
    let gate = standing()?;
    let seals = seals_of(gate.as_ref())?;
    let asked = [reference.to_owned()];
    let directory = Directory::open(hosts, &seals, state, &asked).await?;
    let meant = directory.find(reference).await?;
    let (number, seal) = meant.in_force(&seals)?;
    let Some(gate) = gate else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    let id = meant.id.clone();
    let verify = wanted.verify.map(|p| proof(p, &id)).transpose()?;
    // One seal's, all of it: what is left out is counted.
    let mut events = past(&gate, &[number], UNIX_EPOCH)?;
    let mut origins = Origins::default();
    let attempts = gate.attempts()?;
    for event in &mut events {
        if let Event::Denial(denial) = event
            && let Some(process) = &mut denial.process
        {
            origins.complete_by(process, &attempts);
        }
    }
    let now = SystemTime::now();
    let identity = Identity::of(&id, meant.name(&seal), meant.container.as_ref());
    let entry = state.entry(&id);
    let container = meant.container.as_ref();
    let mut status = Report::gather(&gate, number, &seal, container, entry.as_ref(), Look::TIME)?;
    let own = state.own_attempts(&id, number, seal.since);
    status.denials = status.denials.without(&own);
    if meant.is_gone() {
        status.set_state(SealState::Gone);
    }
    Ok(Document::collect(Material {
        now,
        identity,
        status,
        events,
        since: wanted.since.map(|ago| now - ago),
        verify,
    }))
}

/// A saved proof of the container `id`.
fn proof(path: &Path, id: &str) -> Result<Verified> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
    Ok(Verified::parse(&text, id, modified).map_err(|why| {
        Failure::new(
            format!("cannot include {}: {why}", path.display()),
            "give a file saved with: airgap verify --json CONTAINER",
        )
    })?)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("cannot read {}: {error}", path.display()),
        "give a file that was saved with --json",
    )
}
