//! `airgap top`: reads the kernel about once a second, off the display's thread.

mod allowing;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use self::allowing::Allowing;
use super::{list, standing};
use crate::{
    config::Config,
    container::{Engines, Hosts},
    events::{Event, past},
    failure::exit,
    gate::{Gate, Place, seal_id, seal_name},
    output,
    seal::Denials,
    state::State,
    top::{Count, Model, News, Ranking, Screen},
};

/// Keys are looked for so often.
const KEYS: Duration = Duration::from_millis(40);
/// The display is renewed at least so often.
const REDRAW: Duration = Duration::from_secs(1);
/// Counters are read so often.
const COUNTS: Duration = Duration::from_secs(1);
/// What is in force is read at most so often.
const ROWS: Duration = Duration::from_secs(2);

pub(crate) async fn run(hosts: &Hosts, state: &State, config: &Config) -> Result<u8> {
    let mut ends = [
        signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
        signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
        signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
    ];
    let mut screen = Screen::take()?;
    // Messages would be written across the screen; what they say is shown in it.
    log::set_max_level(log::LevelFilter::Off);
    let news = readers(hosts, state)?;
    let mut timer = interval(KEYS);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let [terminate, hangup, interrupt] = &mut ends;
    let mut view = View::new(Allowing::new(hosts, state, config.path.clone()));
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = terminate.recv() => return Ok(exit::OK),
            _ = hangup.recv() => return Ok(exit::OK),
            _ = interrupt.recv() => return Ok(exit::OK),
        }
        if !view.turn(&mut screen, &news)? {
            return Ok(exit::OK);
        }
    }
}

/// The model, and when it was shown.
struct View {
    model: Model,
    allowing: Allowing,
    begun: Instant,
    shown: Option<Instant>,
}

impl View {
    fn new(allowing: Allowing) -> Self {
        Self {
            model: Model::new(output::colour()),
            allowing,
            begun: Instant::now(),
            shown: None,
        }
    }

    /// Takes in what came, and shows it; `false`: the end was asked for.
    fn turn(&mut self, screen: &mut Screen, news: &Receiver<News>) -> Result<bool> {
        let (keys, mut changed) = screen.keys()?;
        if !keys.into_iter().all(|key| self.model.press(key)) {
            return Ok(false);
        }
        if let Some(ask) = self.model.agreed() {
            self.allowing.start(ask);
        }
        if let Ok(said) = self.allowing.said.try_recv() {
            self.model.say(said);
            changed = true;
        }
        loop {
            match news.try_recv() {
                Ok(news) => self.model.learn(self.begun.elapsed(), news),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => bail!("nothing reads the kernel any more"),
            }
            changed = true;
        }
        if changed || self.shown.is_none_or(|shown| shown.elapsed() >= REDRAW) {
            self.model.tick(self.begun.elapsed());
            screen.show(&self.model)?;
            self.shown = Some(Instant::now());
        }
        Ok(true)
    }
}

/// Starts what reads the kernel; it ends with the receiver.
fn readers(hosts: &Hosts, state: &State) -> Result<Receiver<News>> {
    let (to, news) = channel();
    let (counts, place, records) = (to.clone(), Place::host()?, state.clone());
    thread::Builder::new()
        .name("counts".into())
        .spawn(move || read_counts(&place, &records, &counts))
        .context("cannot start a thread")?;
    let (hosts, state) = (hosts.clone(), state.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a second runtime")?;
    thread::Builder::new()
        .name("rows".into())
        .spawn(move || runtime.block_on(read_rows(&hosts, &state, &to)))
        .context("cannot start a thread")?;
    Ok(news)
}

fn read_counts(place: &Place, state: &State, to: &Sender<News>) {
    let mut last = Vec::new();
    loop {
        let begun = Instant::now();
        // A detach of the last seal takes the gate down map by map: then again,
        // when it is done.
        let read = Gate::open(place)
            .and_then(|gate| counts(gate.as_ref(), state, &last))
            .or_else(|_| counts(standing()?.as_ref(), state, &last));
        if let Ok(counts) = &read {
            last.clone_from(counts);
        }
        let news = News::Counts(SystemTime::now(), read.map_err(|e| format!("{e:#}")));
        if to.send(news).is_err() {
            return;
        }
        thread::sleep(COUNTS.saturating_sub(begun.elapsed()));
    }
}

/// The counters of every seal. Where nothing was refused since `last`, the
/// kernel's list of attempts is not read again.
fn counts(gate: Option<&Gate>, state: &State, last: &[Count]) -> Result<Vec<Count>> {
    let Some(gate) = gate else {
        return Ok(Vec::new());
    };
    let mut counts = Vec::new();
    for (seal, known) in gate.seals()? {
        let counters = gate.state(seal).map(|(_, counters)| counters);
        counts.push(Count {
            seal,
            id: seal_id(&known),
            name: seal_name(&known),
            audit: gate.is_audit(seal),
            // Without them the seal is broken, and is shown to be.
            denials: counters
                .as_ref()
                .map_or_else(Denials::default, Denials::from)
                .without(&state.own_attempts(&seal_id(&known), seal, known.since)),
            ranking: Arc::default(),
        });
    }
    let mut stale: Vec<SealNumber> = Vec::new();
    for count in &mut counts {
        match last.iter().find(|l| l.seal == count.seal) {
            Some(last) if last.denials.total == count.denials.total => {
                count.ranking = Arc::clone(&last.ranking);
            }
            _ => stale.push(count.seal),
        }
    }
    if stale.is_empty() {
        return Ok(counts);
    }
    let mut events: HashMap<SealNumber, Vec<Event>> = HashMap::new();
    for event in past(gate, &stale, UNIX_EPOCH)? {
        events.entry(event.seal()).or_default().push(event);
    }
    for count in counts.iter_mut().filter(|c| stale.contains(&c.seal)) {
        if let Some(events) = events.get(&count.seal) {
            count.ranking = Arc::new(Ranking::of(events));
        }
    }
    Ok(counts)
}

async fn read_rows(hosts: &Hosts, state: &State, to: &Sender<News>) {
    loop {
        let begun = Instant::now();
        let engines = Engines::connect(hosts).await;
        let why = engines.is_empty().then(|| engines.why_silent());
        let why = why.flatten().map(|error| format!("{error:#}"));
        let rows = async { list::rows(standing()?.as_ref(), state, &engines).await };
        let rows = rows.await.map_err(|e| format!("{e:#}"));
        if to.send(News::Engine(why)).is_err() || to.send(News::Rows(rows)).is_err() {
            return;
        }
        // With many containers most of the time belongs to others.
        let pause = ROWS.max(begun.elapsed() * 4);
        tokio::time::sleep(pause).await;
    }
}
