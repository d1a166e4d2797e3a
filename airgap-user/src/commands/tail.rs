//! `airgap tail`, and the tail of `attach`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    names::Names,
    reference::{Directory, seals_of},
    standing, with_metrics,
};
use crate::{
    container::Hosts,
    events::{Event, Follower, POLL, Uses, past},
    failure::{Failure, exit},
    gate::{Gate, bpf_log_level},
    host::clock::parse_ago,
    metrics::Address,
    output::{
        self, Format, Sink, Syslog,
        otlp::{self, Collector, Exporter},
    },
    seal::keep::Keeper,
    state::State,
};

/// Arguments of `tail`.
#[derive(Args, Debug)]
pub struct Tail {
    /// One JSON object a line (`airgap schema event`)
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// Where to, and how
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
    /// Send to this syslog over UDP, and not to the host's own
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub syslog: Option<Syslog>,
    /// Begin with what was refused so long ago, whether anybody watched or not
    #[arg(long, value_name = "90s|15m|1h|2d", value_parser = parse_ago)]
    pub since: Option<Duration>,
    /// Tell what the kernel remembers (all of it without --since), and end
    #[arg(long)]
    pub no_follow: bool,
    /// Send to this collector over OTLP/HTTP [default: $OTEL_EXPORTER_OTLP_ENDPOINT, or
    /// http://127.0.0.1:4318]
    #[arg(long, value_name = "http://ADDRESS:PORT")]
    pub otlp: Option<Collector>,
    /// Serve OpenMetrics of all seals meanwhile
    #[arg(
        long,
        value_name = "unix:PATH|127.0.0.1:PORT",
        conflicts_with = "no_follow"
    )]
    pub metrics: Option<Address>,
    /// Tell what exceptions let out, too: each connection, and each far side of datagrams
    /// once a minute
    #[arg(long, conflicts_with = "no_follow")]
    pub allowed: bool,
    /// Only these containers [default: all that are sealed]
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line for people on stdout
    Text,
    /// A line of JSON on stdout
    Json,
    /// Entries of the systemd journal
    Journald,
    /// Messages of syslog (RFC 5424): to /dev/log, or where --syslog says
    Syslog,
    /// Logs of OpenTelemetry, to the collector that --otlp names
    Otlp,
}

impl Tail {
    /// Where events go; somebody has to listen there.
    async fn sink(&self) -> Result<Sink> {
        let format = match self.output {
            _ if self.json => Format::Json,
            Output::Text => Format::Text,
            Output::Json => Format::Json,
            Output::Journald => {
                output::journal::check()?;
                Format::Journald
            }
            Output::Syslog => {
                let syslog = self.syslog.unwrap_or(Syslog::Local);
                syslog.check()?;
                Format::Syslog(syslog)
            }
            Output::Otlp => {
                let collector = self.otlp.clone().map_or_else(usual, Ok)?;
                return Ok(Sink::Export(Exporter::start(collector).await?));
            }
        };
        Ok(Sink::Print(format))
    }
}

/// The collector that the environment names as OpenTelemetry's own programs read it, or the
/// host's.
fn usual() -> Result<Collector> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let named = std::env::var(VARIABLE)
        .ok()
        .filter(|named| !named.is_empty());
    named
        .as_deref()
        .unwrap_or(otlp::DEFAULT)
        .parse()
        .map_err(|wrong: String| {
            Failure::new(format!("${VARIABLE}: {wrong}"), "or give --otlp")
                .with_code(exit::USAGE)
                .into()
        })
}

pub(crate) async fn run(hosts: &Hosts, state: &State, args: &Tail) -> Result<u8> {
    for (named, output, flag, place) in [
        (
            args.syslog.is_some(),
            Output::Syslog,
            "syslog",
            "ADDRESS:PORT",
        ),
        (
            args.otlp.is_some(),
            Output::Otlp,
            "otlp",
            "http://ADDRESS:PORT",
        ),
    ] {
        if named && args.output != output {
            return Err(Failure::new(
                format!("--{flag} says where to, and the output is another"),
                format!("airgap tail --output {flag} --{flag} {place}"),
            )
            .with_code(exit::USAGE)
            .into());
        }
    }
    let mut gate = standing()?;
    let seals = seals_of(gate.as_ref())?;
    let directory = Directory::open(hosts, &seals, state, &args.containers).await?;
    let mut chosen = Vec::new();
    for reference in &args.containers {
        let (number, _) = directory.find(reference).await?.in_force(&seals)?;
        chosen.push(number);
    }
    let gate = gate.take().ok_or_else(nothing_sealed)?;
    let sink = args.sink().await?;
    let since = args.since.map(|ago| SystemTime::now() - ago);
    if args.no_follow {
        let mut names = Names::new(hosts).await;
        for event in past(&gate, &chosen, since.unwrap_or(UNIX_EPOCH))? {
            let container = names.of(&gate, event.seal()).await?;
            sink.tell_past(&event, &container).await?;
        }
        log::info!("what a reason means, and what to do: airgap explain REASON");
        return Ok(match sink.finish().await {
            0 => exit::OK,
            _ => exit::FAILED,
        });
    }
    let following = Following {
        hosts,
        seals: &chosen,
        sink: &sink,
        since,
        allowed: args.allowed,
        keep: false,
    };
    drop(gate);
    let end = with_metrics(args.metrics.as_ref(), hosts, state, follow(&following)).await?;
    sink.finish().await;
    Ok(match end? {
        End::Asked => exit::OK,
        End::Unsealed => exit::NOT_SEALED,
    })
}

/// What is followed, and how it is shown.
pub(super) struct Following<'a> {
    pub(super) hosts: &'a Hosts,
    /// Empty: all.
    pub(super) seals: &'a [SealNumber],
    pub(super) sink: &'a Sink,
    /// Begin with what happened since.
    pub(super) since: Option<SystemTime>,
    /// Tell what exceptions let out, too.
    pub(super) allowed: bool,
    /// Guard the veths that they get meanwhile.
    pub(super) keep: bool,
}

/// Why a display of denials ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Ctrl-C or SIGTERM.
    Asked,
    /// The last of the seals was lifted: there is nothing left to show.
    Unsealed,
}

/// How often the seals are looked at, in polls: about once a second.
const SEAL_CHECK: u32 = 50;

fn nothing_sealed() -> Failure {
    Failure::new(
        "no container is sealed on this host",
        "airgap attach CONTAINER",
    )
    .with_code(exit::NOT_SEALED)
}

/// Prints events until asked to end or nothing is sealed any more.
pub(super) async fn follow(following: &Following<'_>) -> Result<End> {
    let Following { seals, sink, .. } = *following;
    let mut gate = standing()?.ok_or_else(nothing_sealed)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut follower = match following.since {
        Some(since) => Follower::start_since(&mut gate, seals, since)?,
        None => Follower::start(&mut gate, seals)?,
    };
    let mut uses = following
        .allowed
        .then(|| Uses::start(&mut gate, seals))
        .transpose()?;
    let what = match uses {
        Some(_) => "refused attempts, and what exceptions let out",
        None => "refused attempts",
    };
    log::info!(
        "showing {what}; Ctrl-C ends this, not the seal; what a reason means: airgap explain REASON"
    );
    let mut debug_log = match bpf_log_level() {
        0 => None,
        _ => Some(gate.debug_log()?),
    };
    let mut names = Names::new(following.hosts).await;
    let mut timer = interval(POLL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut polls = 0;
    let mut keeper = following
        .keep
        .then(|| Keeper::new(&gate, seals))
        .transpose()?;
    if following.since.is_some() {
        log::info!(
            "first what happened since, then what happens; --no-follow ends after the first"
        );
    }
    let mut dated = following.since.is_some();
    loop {
        tokio::select! {
            _ = timer.tick() => polls += 1,
            _ = interrupt.recv() => return Ok(End::Asked),
            _ = terminate.recv() => return Ok(End::Asked),
        }
        // Read before the ring, so that nothing refused until then is lost.
        let unsealed = polls % SEAL_CHECK == 0
            && !gate
                .seals()?
                .iter()
                .any(|(n, _)| seals.is_empty() || seals.contains(n));
        if let Some(keeper) = &mut keeper {
            keeper.look(&mut gate, polls % SEAL_CHECK == 0);
        }
        if let Some(log) = &mut debug_log {
            log.flush();
        }
        for event in follower.poll()? {
            tell(&event.known_by(&gate), &gate, &mut names, sink, dated).await?;
        }
        if let Some(uses) = &mut uses {
            for event in uses.poll(&gate)? {
                tell(&event, &gate, &mut names, sink, false).await?;
            }
        }
        dated = false;
        if unsealed {
            log::warn!("the seal was lifted: nothing is refused any more");
            return Ok(End::Unsealed);
        }
    }
}

async fn tell(
    event: &Event,
    gate: &Gate,
    names: &mut Names,
    sink: &Sink,
    dated: bool,
) -> Result<()> {
    let container = names.of(gate, event.seal()).await?;
    sink.tell(event, &container, dated)
}
