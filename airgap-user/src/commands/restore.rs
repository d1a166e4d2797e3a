//! `airgap restore`: what is recorded, in force; without the engine, which is
//! to start only afterwards.

use std::{collections::HashMap, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use clap::Args;

use super::existing::{self, Found, Layers, Terms};
use crate::{
    container::{Cgroup, Look, all_cgroups, interfaces_of},
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Sealing, mount_bpffs},
    host::clock::now,
    output,
    policy::Rules,
    preflight::Risk,
    seal::Existing,
    state::{Entry, Origin, Record, State, UNKNOWN},
    subtree::{Subtree, is_subtree},
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
    let mut gate = Gate::arm(&place, &lock)?;
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
            if let Err(error) = seal_running(&mut gate, entry, done, cgroup, &lock)
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

fn seal_id(gate: &mut Gate, entry: &Entry, lock: &Lock) -> Result<crate::gate::Sealed> {
    let nothing = Rules {
        ports: Vec::new(),
        clients: Vec::new(),
        exits: Vec::new(),
        errno: None,
        audit: false,
    };
    let id = entry.id().as_bytes();
    let id = id
        .try_into()
        .context("the record's name is no container id")?;
    // What is in force is at least as narrow as what the lost record said.
    let path = match entry {
        Entry::Known(record) => record.cgroup.clone(),
        // What the lost record said of it; a gate that stands has it.
        Entry::Unreadable { .. } => match gate.number_of(id) {
            Some(number) => gate.path_of(number)?,
            None => None,
        },
    };
    if path.is_none() && is_subtree(entry.id()) {
        anyhow::bail!("it is a cgroup, and which one its record does not say any more");
    }
    let kept = gate.standing(id)?.map(|kept| (kept.rules(), kept.accepted));
    // Sealed in the kernel, or of a record that nobody can read: no audit opens it.
    let sealed = kept.as_ref().is_some_and(|(rules, _)| !rules.audit);
    let audits = matches!(entry, Entry::Known(record) if record.rules.audit) && !sealed;
    let (rules, accepted, since) = match entry {
        Entry::Known(Record {
            rules,
            accepted,
            since,
            ..
        }) => (rules, *accepted, *since),
        Entry::Unreadable { .. } => match &kept {
            Some((rules, accepted)) => (rules, *accepted, 0),
            None => (&nothing, 0, 0),
        },
    };
    let rules = &rules.clone().audited(audits);
    let policy = match is_subtree(entry.id()) {
        true => rules.compile_on_host(),
        false => rules.compile_in(Risk::share_network(accepted)),
    };
    let sealed = gate.seal_id(
        &Sealing {
            id,
            name: entry.name(),
            policy,
            clients: &rules.clients,
            exits: &rules.exits,
            accepted,
            since,
        },
        lock,
    )?;
    if let Some(path) = path {
        gate.seal_path(sealed.number, &path, lock)?;
    }
    Ok(sealed)
}

/// One that runs already is sealed as by attach: what is open is cut.
fn seal_running(
    gate: &mut Gate,
    entry: &Entry,
    done: crate::gate::Sealed,
    cgroup: &Cgroup,
    lock: &Lock,
) -> Result<()> {
    gate.seal_cgroup(done.number, cgroup, lock)?;
    if cgroup.first_process().is_none() {
        return Ok(());
    }
    let (ports, accepted, audit) = match entry {
        Entry::Known(record) => (
            record.rules.ports.as_slice(),
            record.accepted,
            record.rules.audit,
        ),
        Entry::Unreadable { .. } => (&[][..], 0, false),
    };
    let accepts = |risk: Risk| accepted & risk.bit() != 0;
    let subtree = is_subtree(entry.id());
    let shared = subtree || Risk::share_network(accepted);
    let mut look = match subtree {
        true => Look::at_subtree(cgroup.clone())?,
        false => Look::within(vec![cgroup.clone()]),
    };
    if !subtree {
        gate.guard_frames(done.number, &interfaces_of(&look.networks)?, lock)?;
    }
    // What lives under a renewal was judged.
    if done.renewed {
        return Ok(());
    }
    let storage = gate.storage()?;
    let found = Found::now(&mut look, Some(storage.as_raw_fd()), done.number, shared)?;
    let terms = Terms {
        keep: accepts(Risk::ExistingConnections),
        audit,
        ports,
        layers: match subtree {
            true => Layers::without_frames(gate),
            false => Layers::now(Some(gate)),
        },
    };
    let tell = |socket: &Existing| output::peer(entry.name(), socket);
    existing::settle(gate, done.number, &look, &found, &terms, tell);
    Ok(())
}
