//! Puts the seal of a cgroup in force, and takes it back.

use airgap_common::map::SealNumber;
use anyhow::Result;

use super::{Marked, Site};
use crate::{
    gate::{Gate, Lock, Next, Sealing, Standing},
    host::clock::now,
    seal::attach::cgroups::attach_where_needed,
    state::{Entry, Origin, Record},
};

impl Site<'_> {
    /// Record, gate, path and cgroup, in that order.
    pub(super) fn mark(&self) -> Result<Marked> {
        let lock = Lock::take()?;
        Gate::clear_remains(self.place, &lock)?;
        let earlier = self.state.raw(&self.subtree.id)?;
        let recorded = match self.state.entry(&self.subtree.id) {
            Some(Entry::Known(record)) => Some(record),
            _ => None,
        };
        let before = self.standing()?;
        let rules_before = before.as_ref().map(Standing::rules);
        let rules_before = rules_before.or_else(|| recorded.as_ref().map(|r| r.rules.clone()));
        let accepted = match (&before, &recorded) {
            (Some(before), _) => before.accepted,
            (None, Some(recorded)) => recorded.accepted,
            (None, None) => 0,
        };
        let record = Record {
            id: self.subtree.id.clone(),
            name: self.subtree.name.clone(),
            engine: String::new(),
            rules: self.wanted.rules_after(rules_before.as_ref()),
            accepted: self.wanted.accepted_after(accepted),
            since: recorded.map_or_else(now, |record| record.since),
            by: Origin::Operator,
            withdrawn: Vec::new(),
            by_hand: 0,
            cgroup: Some(self.subtree.path.clone()),
        };
        // First of all: from here on a reboot comes up sealed, whatever happens.
        let done = self.state.write(&record, &lock);
        match done.and_then(|()| self.in_kernel(&record, before.as_ref(), &lock)) {
            Ok((number, fresh)) => Ok(Marked {
                number,
                record,
                fresh,
                before,
                earlier,
            }),
            Err(error) => {
                Gate::clear_remains(self.place, &lock)?;
                self.state
                    .put_back(&self.subtree.id, earlier.as_deref(), &lock)?;
                Err(error)
            }
        }
    }

    fn in_kernel(
        &self,
        record: &Record,
        before: Option<&Standing>,
        lock: &Lock,
    ) -> Result<(SealNumber, bool)> {
        let path = self.subtree.path.trim_start_matches('/');
        let next = Next::At(self.place.cgroup.join(path));
        let mut gate = Gate::arm_for(&next, None, self.kernel, self.place, lock)?;
        let key = self.subtree.key()?;
        let sealed = gate.seal_id(&sealing(&key, record), lock);
        let done = sealed.and_then(|sealed| {
            let marked = gate
                .seal_path(sealed.number, &self.subtree.path, lock)
                .and_then(|()| match &self.subtree.cgroup {
                    Some(cgroup) => match gate.seal_cgroup(sealed.number, cgroup, lock) {
                        // The kernel has marked the one that came in its place.
                        Err(_) if !cgroup.path.exists() => Ok(()),
                        done => done,
                    },
                    None => Ok(()),
                });
            match marked {
                Ok(()) => Ok(sealed),
                Err(error) if before.is_none() => {
                    gate.unseal(&[sealed.number], lock)?;
                    Err(error)
                }
                Err(error) => Err(error),
            }
        });
        match done {
            Ok(sealed) => {
                attach_where_needed(&mut gate, self.kernel, lock);
                let whole = gate.seal(sealed.number)?.complete == 1;
                Ok((sealed.number, !sealed.renewed || !whole))
            }
            Err(error) => {
                if let Some(before) = before {
                    gate.seal_id(&as_before(&key, record, before), lock)?;
                }
                gate.disarm_if_idle(lock)?;
                Err(error)
            }
        }
    }

    /// Lifts what `mark` has put in force, unless somebody else has taken it over since.
    pub(super) fn take_back(&self, marked: &Marked) -> Result<()> {
        let lock = Lock::take()?;
        let Some(mut gate) = Gate::open(self.place)? else {
            return Ok(());
        };
        let key = self.subtree.key()?;
        if gate.number_of(&key) != Some(marked.number) {
            return Ok(());
        }
        match &marked.before {
            Some(before) => {
                gate.seal_id(&as_before(&key, &marked.record, before), &lock)?;
            }
            None => {
                gate.unseal(&[marked.number], &lock)?;
                gate.disarm_if_idle(&lock)?;
            }
        }
        self.state
            .put_back(&self.subtree.id, marked.earlier.as_deref(), &lock)
    }
}

pub(super) fn sealing<'a>(
    key: &'a [u8; airgap_common::map::ID_LEN],
    record: &'a Record,
) -> Sealing<'a> {
    Sealing {
        id: key,
        name: &record.name,
        policy: record.rules.compile_on_host(),
        clients: &record.rules.clients,
        exits: &record.rules.exits,
        accepted: record.accepted,
        since: record.since,
    }
}

fn as_before<'a>(
    key: &'a [u8; airgap_common::map::ID_LEN],
    record: &'a Record,
    before: &'a Standing,
) -> Sealing<'a> {
    Sealing {
        policy: before.policy,
        clients: &before.clients,
        exits: &before.exits,
        accepted: before.accepted,
        ..sealing(key, record)
    }
}
