//! `airgap restore`: what is recorded, in force; without the engine, which is
//! to start only afterwards.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    container::all_cgroups,
    failure::{Failure, exit},
    gate::{Gate, Lock, Next, Place, Reading, mount_bpffs},
    host::clock::now,
    output,
    seal::recorded::{seal_id, seal_running},
    state::{Entry, Origin, Record, State, UNKNOWN},
    subtree::Subtree,
};

/// Arguments of `restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// Record anew, as it is in force, what cannot be read: without any service
    /// port, unless one still stands. The engine can start then
    #[arg(long)]
    pub close_unreadable: bool,
}

pub(crate) fn run(state: &State, args: &Restore) -> Result<u8> {
    let lock = Lock::take()?;
    let mut place = Place::host()?;
    let mut entries = state.entries()?;
    if entries.is_empty() && !state.is_prepared()? {
        return Err(Failure::new(
            format!(
                "{} is gone, or never was: what was sealed is not known",
                state.dir().display()
            ),
            "bring it back; if no container was ever sealed here, airgap install makes it",
        )
        .into());
    }
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    if entries.is_empty() && !state.quarantine() {
        log::info!("no seal is recorded");
        return Ok(exit::OK);
    }
    Gate::clear_remains(&place, &lock)?;
    if let Err(error) = Gate::open(&place) {
        log::error!("the gate is damaged and built anew beside what is left: {error:#}");
        let ids = Gate::set_aside(&place, &lock)?.into_iter();
        let unknown: Vec<_> = ids
            .filter(|id| !entries.iter().any(|entry| entry.id() == id))
            .map(|id| Entry::Unreadable {
                id,
                why: "it was never recorded".into(),
            })
            .collect();
        entries.extend(unknown);
    }
    place.seals = entries.len();
    // What starts after a boot may come anywhere.
    let mut gate = Gate::arm_for(&Next::Anywhere, None, &Reading::default(), &place, &lock)?;
    let mut failed = 0;
    if state.quarantine() {
        gate.set_quarantine(true, &lock)?;
        log::info!("containers that nobody has judged start denied (airgap watch)");
    }
    // Ids first: from then on the kernel catches whatever starts.
    let mut sealed = Vec::new();
    for entry in &entries {
        match seal_id(&mut gate, entry, &lock) {
            Ok(done) => sealed.push((entry, done)),
            Err(error) => {
                failed += 1;
                log::error!("{} is NOT SEALED: {error:#}", entry.id());
            }
        }
    }
    let (mut running, mut unreadable) = (HashMap::new(), Vec::new());
    for (id, cgroup) in all_cgroups(&place.cgroup) {
        running.entry(id).or_insert_with(Vec::new).push(cgroup);
    }
    for (entry, done) in &sealed {
        if let Some(path) = gate.path_of(done.number)?
            && let Some(cgroup) = Subtree::at(&place.cgroup, &path).cgroup
        {
            running.insert(entry.id().to_owned(), vec![cgroup]);
        }
    }
    for (entry, done) in sealed {
        for cgroup in running.get(entry.id()).into_iter().flatten() {
            if let Err(error) = seal_running(&mut gate, entry, done, cgroup, &lock, output::peer)
                && cgroup.path.exists()
            {
                failed += 1;
                log::error!("{} runs and is NOT SEALED: {error:#}", entry.id());
            }
        }
        gate.complete(done.number, &lock)?;
        output::restored(entry, done.renewed)?;
        if let Entry::Unreadable { id, why } = entry {
            match done.renewed {
                true => log::error!("{id} stays sealed as it was: {why}"),
                false => log::error!("{id} is sealed without any service port: {why}"),
            }
            unreadable.push(id.as_str());
        }
    }
    gate.drop_replaced(&lock)?;
    match (unreadable.as_slice(), args.close_unreadable) {
        ([], _) => {}
        (ids, true) => record_as_in_force(state, &mut gate, ids, &lock)?,
        (ids, false) => {
            failed += ids.len();
            log::error!(
                "until airgap restore --close-unreadable has recorded that, each restore fails, \
                 and no engine starts after it; then open ports: airgap attach -p PORT CONTAINER"
            );
        }
    }
    let broken = gate.broken_links();
    if !broken.is_empty() {
        return Err(Failure::new(
            format!("the gate does not stand: {}", broken.join("; ")),
            "airgap doctor",
        )
        .with_code(exit::NOT_SEALED)
        .into());
    }
    // What was damaged stays in force until all of it is sealed again.
    if failed == 0 && Gate::drop_aside(&place, &lock)? > 0 {
        log::info!("what was left of the damaged gate is gone");
    }
    Ok(if failed == 0 { exit::OK } else { exit::FAILED })
}

/// What cannot be read is recorded as it is in force now, so that the next
/// restore can read it.
fn record_as_in_force(state: &State, gate: &mut Gate, ids: &[&str], lock: &Lock) -> Result<()> {
    for id in ids {
        let key = id.as_bytes().try_into().context("it is no container id")?;
        let standing = gate.standing(key)?;
        let standing = standing.with_context(|| format!("{id} is not sealed"))?;
        let record = Record {
            id: (*id).to_owned(),
            // Neither is known without the engine; attach records both.
            name: UNKNOWN.to_owned(),
            engine: UNKNOWN.to_owned(),
            rules: standing.rules(),
            accepted: standing.accepted,
            since: now(),
            by: Origin::Operator,
            withdrawn: vec![],
            by_hand: 0,
            cgroup: match gate.number_of(key) {
                Some(number) => gate.path_of(number)?,
                None => None,
            },
        };
        state.write(&record, lock)?;
        log::warn!("{id} is recorded as it is in force: airgap status {id}");
    }
    Ok(())
}
