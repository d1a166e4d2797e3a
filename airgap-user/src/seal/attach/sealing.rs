//! From what is wanted to a seal that was read back. Shared by `attach`, `run` and
//! `watch`.
//!
//! What the operator and the engine say is judged before anything changes. Then the
//! cgroup is marked, with the full policy. Only then comes what the container's own
//! making can prolong, with a budget and without the gate's lock, so that one container
//! delays no other. Nothing is cut until all is judged.

use std::os::fd::AsRawFd as _;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use super::{
    marked::Marked,
    marking::mark,
    older_sockets::{self, Found, Layers, Terms, cut_exits},
    refusing::{not_accepted, refuse, refuse_broken, refuse_gaps, refuse_removed},
    taking_back::{take_back, withdraw_pending},
    wanted::{Site, Wanted},
};
use crate::{
    container::{Container, Look, interfaces_of},
    failure::Failure,
    gate::{Gate, Lock, Place, UnderWay},
    names::lease_and_tell,
    policy::Rules,
    preflight::{Facts, Risk},
    seal::{Existing, Report, Seen},
    state::Entry,
};

/// Seals one container, or renews its seal. On an error everything, kernel and
/// record, is as before, but for a seal that a label asked for: that stays.
pub(crate) async fn seal(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
) -> Result<Report> {
    let _under_way = UnderWay::begin(&container.id)?;
    let marked = mark(site, container, wanted)?;
    match settle(site, &marked, wanted).await {
        Ok(report) => Ok(report),
        Err(error) if marked.narrows => {
            log::warn!("what was taken back stays so, whatever failed after it");
            Err(error)
        }
        // Where its end was not seen, the seal is the safe side of a label's wish.
        Err(error) if !wanted.refuse && site.engine.has(&container.id).await.unwrap_or(true) => {
            Err(error)
        }
        Err(error) => Err(take_back(site, marked, error)),
    }
}

/// Looks at what is marked, judges it, reads the seal back, and ends what is older.
async fn settle(site: &Site<'_>, marked: &Marked, wanted: &Wanted) -> Result<Report> {
    let container = site.engine.find(&marked.record.id).await?;
    let mut look = Look::live(&site.place.cgroup, &container, Look::TIME);
    let facts = Facts::gather(&container, look.as_mut());
    let rules = &marked.record.rules;
    let refuses = wanted.refuse && !marked.narrows;
    let facts = facts
        .with_clients(&container, &rules.ports, &rules.clients)
        .with_exits(&container, &rules.exits);
    let audit = rules.audit;
    let accepted = match audit {
        true => marked.record.accepted & !Risk::of_the_network(),
        false => marked.record.accepted,
    };
    let found = not_accepted(&facts, accepted);
    if refuses {
        refuse(&container, &found, audit)?;
    }
    let sockets = match &mut look {
        Some(look) if marked.fresh => {
            let gate = open(site.place)?;
            let storage = gate.storage()?;
            Found::now(
                look,
                Some(storage.as_raw_fd()),
                marked.number,
                wanted.shares(),
            )?
        }
        _ => Found::default(),
    };
    let sockets = match sockets.is_empty() {
        true => sockets,
        false => sockets.knowing(site.engine.neighbours().await),
    };
    let seen = Seen {
        look: look.as_ref(),
        facts: &facts,
    };
    let before = marked
        .before
        .as_ref()
        .map_or(&[][..], |before| &before.exits);
    let had = before.iter().any(|exit| exit.to.target.net().is_none());
    let first = marked.pending.as_ref().unwrap_or(rules);
    let mut report = read_back(site, marked, &container, &seen, first)?;
    report.ports_by_default = marked.ports_by_default;
    if wanted.full {
        refuse_gaps(&report.coverage)?;
    }
    if marked.pending.is_some() {
        refuse_removed(site, &container).await?;
        withdraw_pending(site, marked)?;
        report = read_back(site, marked, &container, &seen, &marked.record.rules)?;
    }
    // Before they were allowed nothing was: only a renewal can have taken any back.
    if let Some(look) = look.as_ref().filter(|_| !marked.fresh && !audit) {
        cut_exits(&open(site.place)?, marked.number, look)?;
    }
    if let Some(look) = look.as_mut().filter(|_| marked.fresh) {
        let tell = |peer: &Existing| (site.tell)(&container.name, peer);
        let ended = end_older(site, marked, wanted, look, &sockets, tell)?;
        report = report.with_existing(ended);
    }
    // Last, as others are asked for it: what is removed is cut by now.
    if had
        || rules
            .exits
            .iter()
            .any(|exit| exit.to.target.net().is_none())
    {
        lease_and_tell(
            site.engine,
            site.place,
            &container,
            marked.number,
            had,
            wanted.by,
        )
        .await;
        let existing = std::mem::take(&mut report.existing);
        let seen = Seen {
            look: look.as_ref(),
            facts: &facts,
        };
        report = read_back(site, marked, &container, &seen, &marked.record.rules)?;
        report.existing = existing;
        report.ports_by_default = marked.ports_by_default;
    }
    // Removed meanwhile: nobody would lift it.
    refuse_removed(site, &container).await?;
    for finding in found.iter().filter(|_| !refuses) {
        let level = match marked.narrows {
            true => log::Level::Warn,
            false => log::Level::Error,
        };
        log::log!(
            level,
            "{} is sealed although {} ({})",
            container.name,
            finding.what,
            finding.risk
        );
    }
    Ok(report)
}

/// Guards what was found since, and reads all of the seal back, as one with the lock;
/// `rules` are in force now.
fn read_back(
    site: &Site<'_>,
    marked: &Marked,
    container: &Container,
    seen: &Seen<'_>,
    rules: &Rules,
) -> Result<Report> {
    let lock = Lock::take()?;
    let mut gate = open(site.place)?;
    if gate.number_of(&container.key()?) != Some(marked.number) {
        return Err(Failure::new(
            "another airgap has lifted or replaced the seal meanwhile",
            "attach again",
        )
        .into());
    }
    if let Some(look) = seen.look {
        guard(&mut gate, marked.number, look, &lock)?;
    }
    gate.complete(marked.number, &lock)?;
    let seal = gate.seal(marked.number)?;
    let mut entry = site.state.entry(&container.id);
    // The record has what is to be in the end.
    if let Some(Entry::Known(record)) = &mut entry
        && record.rules == marked.record.rules
    {
        record.rules = rules.clone();
    }
    let report = Report::with(
        &gate,
        marked.number,
        &seal,
        Some(container),
        entry.as_ref(),
        Some(seen),
    )?;
    refuse_broken(
        &report,
        "airgap status shows what is there; detach and attach again",
    )?;
    Ok(report)
}

/// Guards every interface of its networks; one that has gone with its cgroup is none.
fn guard(gate: &mut Gate, number: SealNumber, look: &Look, lock: &Lock) -> Result<()> {
    let found = match interfaces_of(&look.networks) {
        Ok(found) => found,
        // Said by the report: what is not known is not covered.
        Err(error) => {
            log::warn!("the container's interfaces are not known: {error:#}");
            return Ok(());
        }
    };
    match gate.guard_frames(number, &found, lock) {
        Err(_) if look.cgroups.iter().all(|cgroup| !cgroup.path.exists()) => Ok(()),
        done => done,
    }
}

fn open(place: &Place) -> Result<Gate> {
    Gate::open(place)?.context("the gate is gone again")
}

/// Cuts and keeps the sockets that are older than the seal, and names them.
fn end_older(
    site: &Site<'_>,
    marked: &Marked,
    wanted: &Wanted,
    look: &mut Look,
    sockets: &Found,
    tell: impl Fn(&Existing),
) -> Result<Vec<Existing>> {
    let gate = open(site.place)?;
    let layers = Layers::now(Some(&gate));
    let terms = Terms {
        keep: wanted.keeps(),
        audit: marked.record.rules.audit,
        ports: &marked.record.rules.ports,
        layers,
    };
    let mut ended = older_sockets::settle(&gate, marked.number, look, sockets, &terms, &tell);
    let mut carried = older_sockets::carried_in(look, layers, !terms.audit);
    if terms.audit {
        carried.iter_mut().for_each(|socket| socket.action = "kept");
    }
    carried.iter().for_each(&tell);
    ended.extend(carried);
    // Handshakes that were under way when it was marked have ended by now.
    let storage = gate.storage()?;
    let late = Found::now(
        look,
        Some(storage.as_raw_fd()),
        marked.number,
        wanted.shares(),
    )?;
    let late = late.without(sockets);
    ended.extend(older_sockets::settle(
        &gate,
        marked.number,
        look,
        &late,
        &terms,
        &tell,
    ));
    Ok(ended)
}
