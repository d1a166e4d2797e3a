//! `airgap watch`: seals containers by their labels, lets unlabelled ones out
//! of quarantine, and guards veths that come later.
//!
//! Nothing that is sealed needs it. Without quarantine a labelled container is
//! open from its start until its event was read; with it, it starts denied.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use super::{
    keep::Keeper,
    quarantine,
    sealing::{self, Site, Wanted},
    with_metrics,
};
use crate::{
    container::{Cgroup, Container, Engine, EngineEvent, Happened, all_cgroups},
    failure::exit,
    gate::{Gate, Lock, Place, Reading, mount_bpffs},
    labels::{self, Asked, Terms},
    metrics::Address,
    policy::Rules,
    preflight::Risk,
    sd_notify::notify,
    state::{Entry, Origin, Record, State},
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
    #[arg(long, value_name = "RISK", value_parser = by_label)]
    pub allow_accept: Vec<Risk>,
    /// Serve OpenMetrics of all seals meanwhile
    #[arg(long, value_name = "unix:PATH|127.0.0.1:PORT")]
    pub metrics: Option<Address>,
}

/// A risk that labels may be allowed to accept.
fn by_label(text: &str) -> Result<Risk, String> {
    match text.parse()? {
        Risk::ExistingConnections => {
            Err("no label can accept it: nothing tells who opened those connections".into())
        }
        risk => Ok(risk),
    }
}

/// A veth is guarded within so long.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between two thorough looks, and signs of life to systemd.
const THOROUGH: u32 = 20;
/// Ticks between two looks at every container, whatever events said: a minute.
const RESYNC: u32 = 1200;
/// How long an engine that does not answer is left alone.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(host: Option<&str>, state: &State, args: &Watch) -> Result<u8> {
    with_metrics(args.metrics.as_ref(), watch(host, state, args)).await?
}

async fn watch(host: Option<&str>, state: &State, args: &Watch) -> Result<u8> {
    let place = Place::host()?;
    mount_bpffs()?;
    state.prepare(&Lock::take()?)?;
    if args.quarantine {
        quarantine::turn_on(state)?;
    }
    if !state.quarantine() {
        log::warn!(
            "no quarantine: a labelled container can send from its start until its seal, unless airgap run started it (airgap watch --quarantine)"
        );
    }
    let mut watcher = Watcher {
        state,
        place: &place,
        allowed: &args.allow_accept,
        stop: Stop::new()?,
        ticks: 0,
        timer: interval(TICK),
        keeper: None,
    };
    watcher
        .timer
        .set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        // Before the engine is asked for all of them, so that nothing falls in between.
        let since = SystemTime::now();
        match Engine::connect(host).await {
            Ok(engine) => {
                told = false;
                match watcher.follow(&engine, since).await {
                    Ok(()) => return Ok(exit::OK),
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
        tell("READY=1\nSTATUS=waiting for the container engine\nWATCHDOG=1");
        tokio::select! {
            () = sleep(RETRY) => {}
            () = watcher.stop.asked() => return Ok(exit::OK),
        }
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

struct Watcher<'a> {
    state: &'a State,
    place: &'a Place,
    /// Risks that labels may accept.
    allowed: &'a [Risk],
    stop: Stop,
    ticks: u32,
    timer: Interval,
    keeper: Option<Keeper>,
}

impl Watcher<'_> {
    /// Until asked to stop.
    ///
    /// # Errors
    /// When the engine is gone; what is sealed stays so.
    async fn follow(&mut self, engine: &Engine, since: SystemTime) -> Result<()> {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut events = engine.events(since);
        self.resync(engine).await?;
        tell("READY=1\nSTATUS=watching labels\nWATCHDOG=1");
        loop {
            tokio::select! {
                () = self.stop.asked() => return Ok(()),
                event = events.next() => self.happened(engine, event?).await,
                _ = self.timer.tick() => {
                    self.ticks += 1;
                    if self.ticks.is_multiple_of(RESYNC) {
                        self.resync(engine).await?;
                    }
                    self.keep();
                }
            }
        }
    }

    /// Judges every container that there is, and forgets those that were
    /// removed while nobody watched.
    async fn resync(&mut self, engine: &Engine) -> Result<()> {
        let cgroups = cgroups(self.place);
        let listed = engine.list().await?;
        for (id, _, _) in &listed {
            self.judge(engine, id, &cgroups).await;
        }
        for entry in self.state.entries()? {
            let Entry::Known(record) = entry else {
                continue;
            };
            let there = listed.iter().any(|(id, _, _)| *id == record.id);
            // What runs stays sealed, whatever an engine that lost it says.
            if record.by != Origin::Label
                || there
                || engine.is_other(&record.engine)
                || cgroups.contains_key(&record.id)
                || engine.has(&record.id).await?
            {
                continue;
            }
            self.forget(&record.id);
        }
        Ok(())
    }

    async fn happened(&mut self, engine: &Engine, event: EngineEvent) {
        match event.what {
            Happened::Destroyed => self.forget(&event.id),
            Happened::Appeared => {
                let cgroups = cgroups(self.place);
                self.judge(engine, &event.id, &cgroups).await;
            }
            // Its new veth is found by the next look.
            Happened::Connected => self.ticks = self.ticks.next_multiple_of(THOROUGH),
        }
    }

    /// Seals it, or lets it go. What fails is tried again at the next resync,
    /// and is denied meanwhile if it is in quarantine.
    async fn judge(&self, engine: &Engine, id: &str, cgroups: &HashMap<String, Vec<Cgroup>>) {
        // Gone again: nothing to judge.
        let Ok(container) = engine.find(id).await else {
            return;
        };
        let image = engine.image_labels(&container).await;
        let done = match labels::read(&container.labels(), image.as_ref(), self.allowed) {
            Asked::Nothing => {
                let found = cgroups.get(&container.id).map_or(&[][..], Vec::as_slice);
                self.let_go(&container, found)
            }
            Asked::Seal(terms) => self.seal(engine, &container, &terms).await,
        };
        if let Err(error) = done {
            log::error!("{}: {error:#}", container.name);
        }
    }

    async fn seal(&self, engine: &Engine, container: &Container, terms: &Terms) -> Result<()> {
        let recorded = match self.state.entry(&container.id) {
            Some(Entry::Known(record)) => Some(record),
            _ => None,
        };
        let wanted = wanted(terms, recorded.as_ref());
        if self.is_in_force(container)?
            && let Some(recorded) = &recorded
        {
            if is_as_wanted(recorded, terms, &wanted) {
                return Ok(());
            }
            log::warn!("{}: {}", container.name, change(recorded, &wanted));
        }
        for label in &terms.wrong {
            log::error!("{}: a label allows nothing: {label}", container.name);
        }
        for label in &terms.ignored {
            log::warn!("{}: a label does not count: {label}", container.name);
        }
        let site = Site {
            engine,
            place: self.place,
            state: self.state,
            kernel: &Reading::default(),
        };
        let report = sealing::seal(&site, container, &wanted).await?;
        log::info!(
            "{} is sealed by its label, {}, ports {}",
            container.name,
            report.state,
            report.ports.join(", ")
        );
        Ok(())
    }

    fn is_in_force(&self, container: &Container) -> Result<bool> {
        let Some(gate) = Gate::open(self.place)? else {
            return Ok(false);
        };
        // One that was cut short is to be finished.
        Ok(match gate.number_of(&container.key()?) {
            Some(number) => gate.seal(number)?.complete == 1,
            None => false,
        })
    }

    fn let_go(&self, container: &Container, cgroups: &[Cgroup]) -> Result<()> {
        let key = container.key()?;
        let lock = Lock::take()?;
        let Some(mut gate) = Gate::open(self.place)? else {
            return Ok(());
        };
        if !gate.quarantine()? {
            return Ok(());
        }
        if gate.standing(&key)?.is_some() || gate.is_let_go(&key) {
            return Ok(());
        }
        if self.state.entry(&container.id).is_some() {
            log::error!(
                "{} has no label, but a record of a seal that is not in force, and is not let go: airgap restore",
                container.name
            );
            return Ok(());
        }
        if gate.let_go(&key, cgroups, &lock)? > 0 {
            log::info!(
                "{} has no label and is let out of quarantine",
                container.name
            );
        }
        Ok(())
    }

    /// A seal that came with a label goes with its container.
    fn forget(&self, id: &str) {
        let forget = || -> Result<()> {
            let lock = Lock::take()?;
            let Some(Entry::Known(record)) = self.state.entry(id) else {
                return Ok(());
            };
            if record.by != Origin::Label {
                return Ok(());
            }
            if let Some(mut gate) = Gate::open(self.place)? {
                let seals = gate.seals()?;
                let number = seals.iter().find(|(_, seal)| seal.id == *id.as_bytes());
                if let Some((number, _)) = number {
                    gate.unseal(&[*number], &lock)?;
                }
                gate.disarm_if_idle(&lock)?;
            }
            self.state.remove([id], &lock)
        };
        if let Err(error) = forget() {
            log::error!("the seal of the removed container {id} stays: {error:#}");
        }
    }

    /// Guards new veths, and shows systemd a sign of life.
    fn keep(&mut self) {
        let thorough = self.ticks.is_multiple_of(THOROUGH);
        if thorough {
            tell("WATCHDOG=1");
        }
        let kept = || -> Result<()> {
            let Some(mut gate) = Gate::open(self.place)? else {
                self.keeper = None;
                return Ok(());
            };
            if self.keeper.is_none() {
                self.keeper = Some(Keeper::new(&gate, &[])?);
            }
            if let Some(keeper) = &mut self.keeper {
                if thorough {
                    keeper.follow_all(&gate)?;
                }
                keeper.look(&mut gate, thorough);
            }
            Ok(())
        }();
        if let Err(error) = kept {
            log::debug!("veths cannot be looked after: {error:#}");
        }
    }
}

/// What labels make of a container of which this is recorded. Pure.
fn wanted(terms: &Terms, recorded: Option<&Record>) -> Wanted {
    // What an operator recorded, and is not in force, comes back as it was.
    if let Some(recorded) = recorded.filter(|r| r.by == Origin::Operator) {
        return Wanted {
            rules: recorded.rules.clone(),
            ports_named: false,
            from_named: false,
            accept: Vec::new(),
            full: false,
            refuse: false,
            by: Origin::Operator,
        };
    }
    let mut rules = terms.rules.clone();
    // A container's labels never change: what once kept clients out still does.
    if let Some(recorded) = recorded
        && rules.clients.is_empty()
    {
        rules.clients.clone_from(&recorded.rules.clients);
    }
    Wanted {
        rules,
        ports_named: true,
        from_named: true,
        accept: terms.accept.clone(),
        full: false,
        refuse: false,
        by: Origin::Label,
    }
}

fn bits(risks: &[Risk]) -> u64 {
    risks.iter().fold(0, |set, risk| set | risk.bit())
}

/// Whether the seal in force is the label's, or an operator's. While it is not
/// known what the image says, it stays as it is.
fn is_as_wanted(recorded: &Record, terms: &Terms, wanted: &Wanted) -> bool {
    recorded.by == Origin::Operator
        || terms.in_doubt
        || (recorded.rules == wanted.rules && recorded.accepted == bits(&wanted.accept))
}

/// What becomes another seal than it was, for the log.
fn change(recorded: &Record, wanted: &Wanted) -> String {
    let told = |rules: &Rules, accepted: u64| {
        let ports: Vec<_> = rules.ports.iter().map(ToString::to_string).collect();
        let clients: Vec<_> = rules.clients.iter().map(ToString::to_string).collect();
        let or = |list: Vec<String>, none: &str| match list.is_empty() {
            true => none.to_owned(),
            false => list.join(", "),
        };
        let risks = Risk::names(accepted).into_iter().map(str::to_owned);
        format!(
            "ports {}, clients {}, accepted {}",
            or(ports, "none"),
            or(clients, "any"),
            or(risks.collect(), "none")
        )
    };
    format!(
        "the seal by its label changes: it had {}; now {}",
        told(&recorded.rules, recorded.accepted),
        told(&wanted.rules, bits(&wanted.accept))
    )
}

/// Every container's cgroups by id.
fn cgroups(place: &Place) -> HashMap<String, Vec<Cgroup>> {
    let mut found = HashMap::new();
    for (id, cgroup) in all_cgroups(&place.cgroup) {
        found.entry(id).or_insert_with(Vec::new).push(cgroup);
    }
    found
}

#[cfg(test)]
mod tests;
