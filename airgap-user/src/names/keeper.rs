//! Looking after the addresses of exceptions by name, for `airgap keep` and `airgap watch`.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::leasing::{Asked, has_names, lease};
use crate::{
    container::{Engine, Hosts},
    gate::{Gate, KeeperLock, Place, seal_id},
};

/// Addresses are looked at so often, whatever events said.
const RENEW: Duration = Duration::from_secs(20);
/// Events come in heaps; one look is for all that came so soon after another.
const HEAP: Duration = Duration::from_millis(50);
/// How long an engine that does not answer is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Looks after them from a thread of its own, as engines and locks may take their time,
/// until the process ends; without the lock as soon as nobody else does.
///
/// # Errors
/// If no thread can be started.
pub(crate) fn begin(hosts: &Hosts, lock: Option<KeeperLock>) -> Result<()> {
    let hosts = hosts.all();
    let place = Place::host()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    thread::Builder::new()
        .name("names".into())
        .spawn(move || runtime.block_on(look_after(&hosts, &place, lock)))
        .context("cannot start a thread")?;
    Ok(())
}

async fn look_after(hosts: &[String], place: &Place, mut lock: Option<KeeperLock>) {
    while lock.is_none() {
        match KeeperLock::try_take() {
            Ok(taken) => lock = taken,
            Err(error) => log::debug!("{error:#}"),
        }
        sleep(RETRY).await;
    }
    // One that is slow delays no other's.
    join_all(hosts.iter().map(|host| look_after_one(host, place))).await;
}

/// What one engine has, for ever.
async fn look_after_one(host: &str, place: &Place) {
    let mut known = Known::default();
    loop {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        if let Ok(engine) = Engine::connect(host).await {
            let error = follow(&engine, place, since.unwrap_or_default(), &mut known).await;
            log::debug!("addresses are not looked after: {error:#}");
        }
        sleep(RETRY).await;
    }
}

/// What is known from one look to the next.
#[derive(Default)]
struct Known {
    /// What was said of each container: once is enough.
    said: HashMap<String, Vec<String>>,
    asked: Asked,
}

/// Until the engine is gone.
async fn follow(
    engine: &Engine,
    place: &Place,
    since: Duration,
    known: &mut Known,
) -> anyhow::Error {
    let mut events = engine.events(since);
    let mut timer = interval(RENEW);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = events.next() => Some(event),
            _ = timer.tick() => None,
        };
        if let Some(event) = event {
            if let Err(error) = event {
                return error;
            }
            let end = Instant::now() + HEAP;
            while let Ok(event) = timeout_at(end, events.next()).await {
                if let Err(error) = event {
                    return error;
                }
            }
        }
        if let Err(error) = renew(engine, place, known).await {
            log::debug!("addresses cannot be looked after: {error:#}");
        }
    }
}

/// Looks at each seal once; what is in the way of one is said when it changes.
async fn renew(engine: &Engine, place: &Place, known: &mut Known) -> Result<()> {
    let Some(gate) = Gate::open(place)? else {
        *known = Known::default();
        return Ok(());
    };
    let seals = gate.seals()?.into_iter();
    let seals: Vec<_> = seals
        .filter(|(number, _)| has_names(&gate, *number))
        .collect();
    drop(gate);
    let said = &mut known.said;
    said.retain(|id, _| seals.iter().any(|(_, seal)| seal_id(seal) == *id));
    for (number, seal) in seals {
        let id = seal_id(&seal);
        // One that the engine cannot tell of keeps no other from being looked after.
        let (name, told) = match engine.look_up(&id).await {
            Ok(Some(container)) if container.id == id => {
                let told = lease(engine, place, &container, number, &mut known.asked, true).await;
                (
                    container.name,
                    told.unwrap_or_else(|error| vec![format!("{error:#}")]),
                )
            }
            Ok(_) => continue,
            Err(error) => (id[..12].to_owned(), vec![format!("{error:#}")]),
        };
        if said.get(&id).is_none_or(|before| *before != told) {
            for line in &told {
                log::warn!("{name}: {line}");
            }
            said.insert(id, told);
        }
    }
    Ok(())
}
