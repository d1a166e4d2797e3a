//! From what is recorded to what is in force, without an engine.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};

use super::{
    Existing,
    attach::older_sockets::{self, Found, Layers, Terms},
};
use crate::{
    container::{Cgroup, Look, interfaces_of},
    gate::{Gate, Lock, Sealed, Sealing},
    policy::Rules,
    preflight::Risk,
    state::{Entry, Record},
    subtree::is_subtree,
};

/// Puts a seal in force as it is recorded; what is made from here on is born under it.
///
/// # Errors
/// If the gate's maps cannot be written, or what is recorded is not enough.
pub(crate) fn seal_id(gate: &mut Gate, entry: &Entry, lock: &Lock) -> Result<Sealed> {
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
///
/// # Errors
/// If it cannot be marked, guarded or looked at.
pub(crate) fn seal_running(
    gate: &mut Gate,
    entry: &Entry,
    done: Sealed,
    cgroup: &Cgroup,
    lock: &Lock,
    tell: fn(&str, &Existing),
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
    let tell = |socket: &Existing| tell(entry.name(), socket);
    older_sockets::settle(gate, done.number, &look, &found, &terms, tell);
    Ok(())
}
