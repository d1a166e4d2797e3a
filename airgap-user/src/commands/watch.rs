//! `airgap watch`: seals containers by their labels, lets unlabelled ones out
//! of quarantine, guards veths that come later, and tells of security hooks that
//! fall silent.
//!
//! Nothing that is sealed needs it. Without quarantine a labelled container is
//! open from its start until its event was read; with it, it starts denied.

mod arrivals;
mod asked;
mod called;
mod guards;
mod hooks;
mod judge;
mod places;
mod queue;
mod workers;

use std::{
    cell::Cell,
    collections::HashSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use clap::Args;
use futures_util::future::join_all;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use self::{guards::Guards, judge::Judge, queue::Happening, workers::Workers};
use super::{only_one, sites::prepare, with_metrics};
use crate::{
    config::{Config, Policies},
    container::{Engine, EngineEvent, Happened, Hosts},
    failure::exit,
    gate::{KeeperLock, Place},
    host::sd_notify::notify,
    metrics::Address,
    names::keeper,
    preflight::Risk,
    state::{Entry, Origin, State},
};

/// Arguments of `watch`.
#[derive(Args, Debug)]
pub struct Watch {
    /// Containers that nobody has judged start denied everything, until this
    /// process has read their labels; stays on until: airgap quarantine off
    #[arg(long)]
    pub quarantine: bool,
    /// Let the label airgap.accept accept this risk, by its name; repeatable
    /// [default: none]
    #[arg(long, value_name = "RISK", value_parser = Risk::by_label)]
    pub allow_accept: Vec<Risk>,
    /// Serve OpenMetrics of all seals meanwhile
    #[arg(long, value_name = "unix:PATH|127.0.0.1:PORT")]
    pub metrics: Option<Address>,
}

/// What is open without quarantine.
const OPEN: &str = "a labelled container can send from its start until its seal, unless airgap run started it (airgap watch --quarantine)";
/// A veth is guarded within so long.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between two looks at every container, whatever events said: a minute.
const RESYNC: u32 = 1200;
/// For systemd.
const WATCHING: &str = "READY=1\nSTATUS=watching labels\nWATCHDOG=1";
/// Ticks until systemd is told that it watches, if the first look at what there
/// is takes so long.
const FIRST: u32 = 100;
/// What is under way at the end has so long to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an engine that does not answer is left alone.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config, args: &Watch) -> Result<u8> {
    let mut alone = Vec::new();
    for host in hosts.all() {
        let socket = Path::new(host.strip_prefix("unix://").unwrap_or(&host));
        alone.push(only_one(
            "watch",
            socket,
            "seals by its labels what is made at",
        )?);
    }
    let place = Place::host()?;
    let watched = async {
        tokio::select! {
            done = watch(hosts, state, config, args) => done,
            never = hooks::look_after(&place) => match never {},
            never = places::look_after(&place) => match never {},
        }
    };
    let metrics = config.metrics.as_ref().map(|given| &given.value);
    with_metrics(args.metrics.as_ref().or(metrics), hosts, state, watched).await?
}

async fn watch(hosts: &Hosts, state: &State, config: &Config, args: &Watch) -> Result<u8> {
    let policies = Policies::read(config)?;
    let place = Place::host()?;
    prepare(state, args.quarantine, OPEN)?;
    keeper::begin(hosts, KeeperLock::try_take()?)?;
    let _arrivals = arrivals::Arrivals::begin(&place);
    // The same engines for all its life: another's containers are not these' that are gone.
    let hosts = hosts.all();
    let soon = Cell::new(false);
    let unsettled = Cell::new(hosts.len());
    let mut watchers = Vec::new();
    for host in &hosts {
        watchers.push(Watcher {
            state,
            stop: Stop::new()?,
            ticks: 0,
            timer: interval(TICK),
            soon: &soon,
            unsettled: &unsettled,
            settled: false,
            workers: Workers::begin(Judge::new(
                host.clone(),
                state.clone(),
                place.clone(),
                config.limits(&args.allow_accept),
                (config.clone(), policies.clone()),
            ))?,
        });
    }
    let each = watchers.iter_mut().zip(&hosts);
    let all = join_all(each.map(|(watcher, host)| watcher.watch(host)));
    tokio::select! {
        _ = all => Ok(exit::OK),
        never = Guards::new(&place, &soon).look_after() => match never {},
    }
}

/// Ctrl-C, or SIGTERM by systemd.
struct Stop(Signal, Signal);

impl Stop {
    fn new() -> Result<Self> {
        Ok(Self(
            signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        ))
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

fn tell(state: &str) {
    if let Err(error) = notify(state) {
        log::debug!("systemd cannot be told: {error}");
    }
}

/// Watches one engine.
struct Watcher<'a> {
    state: &'a State,
    stop: Stop,
    ticks: u32,
    timer: Interval,
    /// Has all veths looked at thoroughly.
    soon: &'a Cell<bool>,
    /// How many engines were neither judged once nor found silent.
    unsettled: &'a Cell<usize>,
    /// Whether this one was.
    settled: bool,
    workers: Workers,
}

impl Watcher<'_> {
    /// Until asked to stop.
    async fn watch(&mut self, host: &str) {
        self.timer
            .set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            // Before the engine is asked for all of them, so that nothing falls in between.
            let since = SystemTime::now();
            match Engine::connect(host).await {
                Ok(engine) => {
                    told = false;
                    match self.follow(&engine, since).await {
                        // What is half done would be done again by the next watch.
                        Ok(()) => return self.workers.end(PATIENCE),
                        Err(error) => log::warn!("lost the container engine: {error:#}"),
                    }
                }
                Err(error) if !told => {
                    log::warn!("waiting for the container engine: {error:#}");
                    told = true;
                }
                Err(_) => {}
            }
            // Seals hold without an engine; systemd is told that all is well.
            self.settle("READY=1\nSTATUS=waiting for the container engine\nWATCHDOG=1");
            tokio::select! {
                () = sleep(RETRY) => {}
                () = self.stop.asked() => return,
            }
        }
    }

    /// systemd waits until each engine was looked at once.
    fn settle(&mut self, state: &str) {
        if !std::mem::replace(&mut self.settled, true) {
            self.unsettled.set(self.unsettled.get() - 1);
        }
        if self.unsettled.get() == 0 {
            tell(state);
        }
    }

    /// Until asked to stop.
    ///
    /// # Errors
    /// When the engine is gone; what is sealed stays so.
    async fn follow(&mut self, engine: &Engine, since: SystemTime) -> Result<()> {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut events = engine.events(since);
        // What there is, until it was judged once; systemd waits for that, but not for ever.
        let mut first: HashSet<String> = self.resync(engine).await?.into_iter().collect();
        let mut patience = FIRST;
        loop {
            if patience > 0 && first.is_empty() {
                patience = 0;
                self.settle(WATCHING);
            }
            tokio::select! {
                () = self.stop.asked() => return Ok(()),
                event = events.next() => self.happened(event?),
                done = self.workers.done() => {
                    first.remove(&done);
                }
                _ = self.timer.tick() => {
                    self.ticks += 1;
                    if patience == 1 {
                        log::warn!("{} containers are judged still", first.len());
                        self.settle(WATCHING);
                    }
                    patience = patience.saturating_sub(1);
                    if self.ticks.is_multiple_of(RESYNC) {
                        self.resync(engine).await?;
                    }
                    self.workers.start();
                }
            }
        }
    }

    /// Has every container judged that there is, and every one that was sealed
    /// by its label and may have been removed while nobody watched.
    async fn resync(&mut self, engine: &Engine) -> Result<Vec<String>> {
        let listed = engine.list().await?;
        let mut ids: Vec<String> = listed.into_iter().map(|(id, _, _)| id).collect();
        for entry in self.state.entries()? {
            if let Entry::Known(record) = entry
                && record.by == Origin::Label
                && !ids.contains(&record.id)
            {
                ids.push(record.id);
            }
        }
        for id in &ids {
            self.workers.ask(id, Happening::Found);
        }
        Ok(ids)
    }

    fn happened(&mut self, event: EngineEvent) {
        match event.what {
            Happened::Destroyed => self.workers.ask(&event.id, Happening::Destroyed),
            Happened::Appeared => self.workers.ask(&event.id, Happening::Appeared),
            // Its new veth is found by the next look.
            // Addresses are looked after by somebody else.
            Happened::Left => {}
            Happened::Connected => self.soon.set(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Risk;

    #[test]
    fn no_flag_lets_a_label_accept_older_connections() {
        assert_eq!(Risk::by_label("log-driver"), Ok(Risk::LogDriver));
        assert!(Risk::by_label("existing-connections").is_err() && Risk::by_label("all").is_err());
    }
}
