//! Sealing and unsealing: map writes in an order that never opens a gap.

mod nesting;

use std::os::fd::{AsFd as _, OwnedFd};

use airgap_common::map::{
    Gate as GateInfo, ID_LEN, MAX_LEVEL, Mark, Member, Near, Policy, Seal, SealNumber, Storage,
    Tag, name,
};
use anyhow::{Context as _, Result, bail};
use aya::maps::{Map, SkStorage};

use super::{
    Gate, Lock, Next, Reading,
    attached::top_of,
    hints::{Hints, Levels},
    map, sys,
};
use crate::{
    container::Cgroup,
    failure::{Failure, exit},
    host::clock,
    policy::{Cidr, Exception, Rules, settled},
};

/// Ids read by one system call.
const BATCH: usize = 1024;

const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

/// What is to be sealed.
pub struct Sealing<'a> {
    /// Container id.
    pub id: &'a [u8; ID_LEN],
    /// Container name, for people.
    pub name: &'a str,
    /// What it may do.
    pub policy: Policy,
    /// Clients that may connect; empty: any.
    pub clients: &'a [Cidr],
    /// Where it may connect or send to; the policy has a flag if there are any.
    pub exits: &'a [Exception],
    /// Risks accepted by name, one bit each.
    pub accepted: u64,
    /// Sealed since, seconds since 1970-01-01 UTC; a renewal keeps what it was.
    pub since: u64,
}

/// What is in force for a container that is sealed already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it may do.
    pub policy: Policy,
    /// Clients that may connect; empty: any.
    pub clients: Vec<Cidr>,
    /// Where it may connect or send to.
    pub exits: Vec<Exception>,
    /// Risks accepted by name, one bit each.
    pub accepted: u64,
}

impl Standing {
    /// Policy and clients as the user would name them.
    pub fn rules(&self) -> Rules {
        Rules {
            ports: Rules::ports_of(&self.policy),
            clients: self.clients.clone(),
            exits: self.exits.clone(),
            errno: Rules::errno_of(&self.policy),
            audit: Rules::is_audit(&self.policy),
        }
    }
}

/// A seal that was put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub number: SealNumber,
    /// Whether the container was sealed before (then only the policy changed).
    pub renewed: bool,
}

impl Gate {
    /// What is in force for this id; `None` if it is not sealed.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn standing(&self, id: &[u8; ID_LEN]) -> Result<Option<Standing>> {
        let Ok(number) = self.ids.get(id, 0) else {
            return Ok(None);
        };
        Ok(Some(Standing {
            policy: self
                .policies
                .get(&number, 0)
                .context("cannot read the map POLICIES")?,
            clients: self.clients_of(number)?,
            exits: {
                let exits = self.exits_of(number)?.into_iter();
                exits.map(|exit| exit.exception).collect()
            },
            accepted: self
                .seals
                .get(&number, 0)
                .context("cannot read the map SEALS")?
                .accepted,
        }))
    }

    /// Number of the seal of this id, if it is sealed.
    pub fn number_of(&self, id: &[u8; ID_LEN]) -> Option<SealNumber> {
        self.ids.get(id, 0).ok()
    }

    /// The map of socket storage, for sock_diag(7).
    ///
    /// # Errors
    /// If its pin is gone.
    pub fn storage(&self) -> Result<OwnedFd> {
        let storage = map(&self.place, name::SOCKETS)?;
        storage
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .context("cannot use the map SOCKETS")
    }

    /// Puts a container's id under seal. From here on each new cgroup of it is
    /// sealed by the kernel at its creation; [`Self::seal_cgroup`] does the one
    /// that exists already.
    ///
    /// # Errors
    /// If a map is full or cannot be written; then nothing has changed.
    pub fn seal_id(&mut self, sealing: &Sealing<'_>, _lock: &Lock) -> Result<Sealed> {
        // What the maps have no room for is refused before anything changes.
        settled(sealing.exits.to_vec()).map_err(|error| {
            Failure::new(error, "airgap disallow takes exceptions back").with_code(exit::USAGE)
        })?;
        self.provide(&sealing.policy)?;
        if let Ok(number) = self.ids.get(sealing.id, 0)
            && let Ok(standing) = self.policies.get(&number, 0)
            && Rules::is_audit(&standing) != Rules::is_audit(&sealing.policy)
        {
            // What an audit let by is no provenance for a seal.
            self.lift(&[number])?;
        }
        if let Ok(number) = self.ids.get(sealing.id, 0) {
            // New clients first, old ones last: none is refused in between who
            // is allowed before and after.
            self.add_clients(number, sealing.clients)?;
            self.set_exits(number, sealing.exits)?;
            self.unsettle()?;
            // One element, replaced as a whole.
            let written = self.policies.insert(number, sealing.policy, 0);
            self.settle()?;
            written.context("cannot write the map POLICIES")?;
            self.retain_clients(number, sealing.clients)?;
            let mut seal = self.seal(number)?;
            seal.accepted = sealing.accepted;
            seal.name = padded(sealing.name);
            self.seals
                .insert(number, seal, 0)
                .context("cannot write the map SEALS")?;
            return Ok(Sealed {
                number,
                renewed: true,
            });
        }
        // What an earlier seal left on sockets, however that ended, is of an earlier epoch.
        self.unsettle()?;
        self.settle()?;
        // Numbers are never given twice, so few numbers are few seals; only beyond
        // that is each of them counted.
        let most = self.most_seals()?;
        if self.info()?.last_seal >= u64::from(most) && self.sealed()? >= most {
            return Err(Failure::new(
                format!(
                    "{most} containers are sealed on this host, and its gate has no room for more"
                ),
                "detach containers that are gone: airgap list, airgap detach; the next boot makes room for twice as many as are sealed then",
            )
            .into());
        }
        let info = self.info()?;
        let number = info.last_seal + 1;
        // First of all: a number is never given twice.
        self.info
            .set(
                0,
                GateInfo {
                    last_seal: number,
                    ..info
                },
                0,
            )
            .context("cannot write the map GATE")?;
        let seal = Seal {
            id: *sealing.id,
            name: padded(sealing.name),
            since: sealing.since,
            accepted: sealing.accepted,
            complete: 0,
            boot: u32::try_from(clock::since_boot().as_secs()).unwrap_or(0),
            top: 0,
        };
        let write = |gate: &mut Self| -> Result<()> {
            gate.count(number)?;
            gate.add_clients(number, sealing.clients)?;
            gate.set_exits(number, sealing.exits)?;
            gate.policies
                .insert(number, sealing.policy, BPF_NOEXIST)
                .context("map POLICIES")?;
            gate.seals
                .insert(number, seal, BPF_NOEXIST)
                .context("map SEALS")?;
            gate.ids
                .insert(sealing.id, number, BPF_NOEXIST)
                .context("map IDS")
        };
        if let Err(error) = write(self) {
            self.forget(&[(number, *sealing.id)]);
            return Err(error.context(format!("cannot seal {}", sealing.name)));
        }
        self.forget_judged(sealing.id);
        Ok(Sealed {
            number,
            renewed: false,
        })
    }

    /// How many ids are sealed.
    fn sealed(&self) -> Result<u32> {
        let (ids, mut count) = (map(&self.place, name::IDS)?, 0);
        let mut each = |_: &[u8; ID_LEN], _: &SealNumber| count += 1;
        sys::each(ids.fd(), BATCH, &mut each).context("cannot read the map IDS")?;
        Ok(count)
    }

    /// Seals a cgroup that exists, with all that is below it.
    ///
    /// # Errors
    /// If it is too deep, inside or around another sealed container, or a map
    /// cannot be written.
    pub fn seal_cgroup(&mut self, number: SealNumber, cgroup: &Cgroup, lock: &Lock) -> Result<()> {
        if cgroup.level == 0 || cgroup.level > MAX_LEVEL {
            bail!(Failure::new(
                format!(
                    "the cgroup {} is {} levels deep, airgap looks at {MAX_LEVEL}",
                    cgroup.path.display(),
                    cgroup.level
                ),
                "run the container with a shorter --cgroup-parent",
            ));
        }
        self.refuse_nesting(number, cgroup)?;
        let top = top_of(&self.place.cgroup, &cgroup.path).map_or(0, |top| top.id);
        if !self.is_guarded(top)? {
            let next = Next::At(cgroup.path.clone());
            self.attach_for(&next, &Reading::default(), lock)?;
        }
        let hints = self.hints()?;
        // Level and hint first: without them the entry would not be looked for.
        Levels::map(self.levels.fd())
            .context("cannot write the map LEVELS")?
            .add(cgroup.level);
        self.remember_top(number, top)?;
        let member = Member {
            seal: number,
            of: number,
            top,
        };
        let marked = self.cgroups.get(&cgroup.id, 0);
        let is_taken = |marked: &Member| marked.of != number && self.is_in_force(marked.of);
        if marked.is_ok_and(|marked| marked.seal != number && !is_taken(&marked)) {
            // Its level and hint are there; from denied everything to its policy at once.
            self.unsettle()?;
            let written = self.cgroups.insert(cgroup.id, member, BPF_EXIST);
            self.settle()?;
            written.with_context(|| format!("cannot seal the cgroup {}", cgroup.path.display()))?;
            return self.count_unguarded();
        }
        hints.add(cgroup.id);
        match self.cgroups.insert(cgroup.id, member, BPF_NOEXIST) {
            Ok(()) => Ok(()),
            Err(error) => {
                hints.remove(cgroup.id);
                // Sealed before, or by the kernel a moment ago.
                let marked = self.cgroups.get(&cgroup.id, 0);
                if marked.is_ok_and(|marked| marked.seal == number) {
                    return Ok(());
                }
                Err(error)
                    .with_context(|| format!("cannot seal the cgroup {}", cgroup.path.display()))
            }
        }
    }

    /// Where its container is, for when that has ended.
    pub(super) fn remember_top(&mut self, number: SealNumber, top: u64) -> Result<()> {
        let seal = self.seal(number)?;
        if seal.top == top {
            return Ok(());
        }
        let written = self.seals.insert(number, Seal { top, ..seal }, 0);
        written.context("cannot write the map SEALS")
    }

    /// Whether an id is sealed under this number: it is not in quarantine, nor
    /// where an attach or a detach was killed half-way.
    pub(super) fn is_in_force(&self, number: SealNumber) -> bool {
        let seal = self.seals.get(&number, 0);
        seal.is_ok_and(|seal| self.ids.get(&seal.id, 0).is_ok_and(|now| now == number))
    }

    /// Gives a connection that is older than the seal the provenance it would
    /// have, had it been opened under it (`--accept existing-connections`).
    ///
    /// # Errors
    /// If it is no socket any more.
    pub fn adopt(&self, socket: &OwnedFd, seal: SealNumber, port: u16) -> Result<()> {
        let sockets = Map::from_map_data(map(&self.place, name::SOCKETS)?)
            .context("cannot use the map SOCKETS")?;
        let mut sockets: SkStorage<_, Storage> =
            sockets.try_into().context("cannot use the map SOCKETS")?;
        let tag = Tag {
            seal,
            // Until the first packet was judged.
            epoch: Tag::NO_EPOCH,
            port,
            peer_only: 0,
            told: 0,
        };
        // What else it may have is of an earlier seal.
        let (near, mark) = (Near::default(), Mark::default());
        sockets
            .insert(socket, Storage { tag, near, mark }, 0)
            .context("cannot tag it")
    }

    /// Records that every step was read back.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn complete(&mut self, number: SealNumber, _lock: &Lock) -> Result<()> {
        let seal = self
            .seals
            .get(&number, 0)
            .context("cannot read the map SEALS")?;
        self.seals
            .insert(
                number,
                Seal {
                    complete: 1,
                    ..seal
                },
                0,
            )
            .context("cannot write the map SEALS")
    }

    pub(super) fn hints(&self) -> Result<Hints> {
        Hints::map(map(&self.place, name::HINTS)?.fd()).context("cannot map HINTS")
    }
}

fn padded(name: &str) -> [u8; 128] {
    let mut out = [0; 128];
    let bytes = name.as_bytes();
    let len = bytes.len().min(out.len());
    out[..len].copy_from_slice(&bytes[..len]);
    out
}
