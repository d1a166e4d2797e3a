//! Exceptions in the maps: what was asked for, what the kernel makes of it, and how it
//! was used.

mod entry;
mod leases;
mod view;

use std::collections::{BTreeSet, HashSet};

use airgap_common::map::{
    Client, Exception as Entry, Exits as Value, Gate as GateInfo, ID_LEN, SealNumber, Use, name,
};
use anyhow::{Context as _, Result, anyhow};
use aya::maps::{
    HashMap, LpmTrie, Map, MapData, MapError, PerCpuHashMap, PerCpuValues, lpm_trie::Key,
};

use self::entry::{entry, exception};
pub use self::view::{Exit, ExitsView};
use super::{Gate, Lock, hash, map};
use crate::{
    host::clock,
    policy::{Cidr, Exception, Lease, earlier, narrower, settled, unions},
};

const BPF_NOEXIST: u64 = 1;

/// Handles to the maps of exceptions.
pub(super) struct Maps {
    exceptions: HashMap<MapData, u32, Entry>,
    exits: LpmTrie<MapData, Client, airgap_common::map::Exits>,
    used: PerCpuHashMap<MapData, u32, Use>,
    neighbours: HashMap<MapData, u64, u32>,
}

impl Maps {
    pub(super) fn open(place: &super::Place) -> Result<Self> {
        let wrong = |name| move || format!("cannot use the map {name}");
        let take = |name| Map::from_map_data(map(place, name)?).with_context(wrong(name));
        Ok(Self {
            exceptions: hash(place, name::EXCEPTIONS)?,
            exits: LpmTrie::try_from(take(name::EXITS)?).with_context(wrong(name::EXITS))?,
            used: PerCpuHashMap::try_from(take(name::EXIT_USE)?)
                .with_context(wrong(name::EXIT_USE))?,
            neighbours: hash(place, name::NEIGHBOURS)?,
        })
    }

    fn entries(&self) -> Result<Vec<(u32, Entry)>> {
        let mut entries = self
            .exceptions
            .iter()
            .collect::<Result<Vec<_>, _>>()
            .context("cannot read the map EXCEPTIONS")?;
        entries.sort_by_key(|(number, _)| *number);
        Ok(entries)
    }

    /// What the kernel side reads, by seal and prefix.
    fn values(&self) -> Result<Vec<(SealNumber, Cidr, Value)>> {
        let mut values = Vec::new();
        for found in self.exits.iter() {
            let (key, value) = found.context("cannot read the map EXITS")?;
            values.push((key.data().seal, net_of(&key), value));
        }
        Ok(values)
    }

    /// Removes prefixes of these seals that `keep` does not want.
    fn remove_prefixes(
        &mut self,
        of: impl Fn(SealNumber) -> bool,
        keep: impl Fn(&Key<Client>) -> bool,
    ) -> Result<()> {
        let mut stale = Vec::new();
        for key in self.exits.keys() {
            let key = key.context("cannot read the map EXITS")?;
            if of(key.data().seal) && !keep(&key) {
                stale.push(key);
            }
        }
        for key in &stale {
            self.exits
                .remove(key)
                .context("cannot write the map EXITS")?;
        }
        Ok(())
    }

    /// Has the prefixes of a seal say this, and no others.
    fn write(&mut self, seal: SealNumber, wanted: &[(Cidr, Value)]) -> Result<()> {
        // What goes goes first: it must not depend on room for what comes. Until that is
        // there, wider prefixes say what held before, which is not more than both.
        let keep: Vec<_> = wanted.iter().map(|(net, _)| *net).collect();
        self.remove_prefixes(|of| of == seal, |key| keep.contains(&net_of(key)))?;
        for (net, exits) in wanted {
            self.exits
                .insert(&key(seal, *net), exits, 0)
                .context("cannot write the map EXITS")?;
        }
        Ok(())
    }

    fn remove_entry(&mut self, number: u32) -> Result<()> {
        self.exceptions
            .remove(&number)
            .context("cannot write the map EXCEPTIONS")
    }

    /// Has uses counted from now on, unless they are.
    fn count(&mut self, number: u32) -> Result<()> {
        if self.used.get(&number, 0).is_ok() {
            return Ok(());
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        let zero = PerCpuValues::try_from(vec![Use::default(); cpus])
            .context("cannot tell the number of processors")?;
        self.used
            .insert(number, zero, BPF_NOEXIST)
            .context("cannot write the map EXIT_USE")
    }

    /// Removes counts of what is no exception any more.
    fn remove_orphaned_counts(&mut self, entries: &[(u32, Entry)]) -> Result<()> {
        let numbers: HashSet<u32> = entries.iter().map(|(number, _)| *number).collect();
        let counted: Vec<u32> = self
            .used
            .keys()
            .collect::<Result<_, _>>()
            .context("cannot read the map EXIT_USE")?;
        for number in counted.iter().filter(|number| !numbers.contains(number)) {
            self.used
                .remove(number)
                .context("cannot write the map EXIT_USE")?;
        }
        Ok(())
    }
}

impl Gate {
    /// The exceptions of a seal that are in force, by number.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn exits_of(&self, seal: SealNumber) -> Result<Vec<Exit>> {
        let mut standing = Vec::new();
        let mut values: Option<Vec<(Cidr, Value)>> = None;
        for (number, entry) in self.exits.entries()? {
            if entry.seal != seal {
                continue;
            }
            let exit = exit(number, &entry);
            let Some(net) = exit.exception.to.target.net() else {
                let known = match values.take() {
                    Some(known) => known,
                    None => self.values_of(seal)?,
                };
                let own = known.iter().map(|(net, value)| (*net, value));
                standing.push(exit.leased(own));
                values = Some(known);
                continue;
            };
            // A shorter prefix may be found in the place of its own; it has others in it.
            let value = self.exits.exits.get(&key(seal, net), 0).ok();
            standing.extend(value.and_then(|value| exit.found_in(&value)));
        }
        Ok(standing)
    }

    fn values_of(&self, seal: SealNumber) -> Result<Vec<(Cidr, Value)>> {
        let values = self.exits.values()?.into_iter();
        let own = values.filter(|(of, ..)| *of == seal);
        Ok(own.map(|(_, net, value)| (net, value)).collect())
    }

    /// What the maps say of a seal's exceptions, where they disagree, too.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn exits_view(&self, seal: SealNumber) -> Result<ExitsView> {
        Ok(view_of(seal, &self.exits.entries()?, &self.exits.values()?))
    }

    /// How an exception was used so far, all processors together; `None`: nothing counts
    /// it.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn use_of(&self, number: u32) -> Result<Option<Use>> {
        match self.exits.used.get(&number, 0) {
            Ok(used) => {
                let sum = used.iter().fold(Use::default(), |sum, one| sum.and(*one));
                Ok(Some(sum))
            }
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("cannot read the map EXIT_USE"),
        }
    }

    /// Puts these exceptions in force under a seal, and no others. One that stands
    /// keeps its number, and with it its connections; what is removed has no effect
    /// from then on.
    ///
    /// What is removed goes from `EXCEPTIONS` first, and what is new comes to `EXITS`
    /// last: whatever is in one of them alone, by a death in between, is to be no more.
    ///
    /// # Errors
    /// If a map is full or cannot be written: what is in force then is no wider than
    /// before and after together.
    pub(super) fn set_exits(&mut self, seal: SealNumber, exceptions: &[Exception]) -> Result<()> {
        let entries = self.exits.entries()?;
        let own = |(_, entry): &&(u32, Entry)| entry.seal == seal;
        let values = self.exits.values()?;
        if exceptions.is_empty()
            && !entries.iter().any(|one| own(&one))
            && !values.iter().any(|(of, ..)| *of == seal)
        {
            return Ok(());
        }
        let standing = view_of(seal, &entries, &values).standing;
        let mut last = self.info()?.last_exit;
        let exceptions = settled(exceptions.to_vec()).map_err(|error| anyhow!(error))?;
        let now = clock::since_boot_nanos();
        let mut numbered = Vec::new();
        for exception in &exceptions {
            let known = standing
                .iter()
                .find(|exit| exit.exception.to == exception.to);
            numbered.push(match known {
                Some(exit) => Exit {
                    exception: exception.clone(),
                    // A hold that is shorter now is shorter for what stands, too.
                    leases: exit
                        .leases
                        .iter()
                        .map(|lease| Lease {
                            until: earlier(
                                lease.until,
                                exception.hold.and_then(|hold| hold.until(now)),
                            ),
                            ..lease.clone()
                        })
                        .collect(),
                    ..exit.clone()
                },
                None => {
                    last = last
                        .checked_add(1)
                        .context("no number is left for an exception")?;
                    Exit {
                        number: last,
                        exception: exception.clone(),
                        leases: Vec::new(),
                        since: clock::since_boot_nanos(),
                    }
                }
            });
        }
        let pairs: Vec<_> = numbered.iter().map(Exit::numbered).collect();
        let wanted = unions(&pairs).map_err(|error| anyhow!(error))?;
        // First of all: a number is never given twice.
        let info = GateInfo {
            last_exit: last,
            ..self.info()?
        };
        self.info
            .set(0, info, 0)
            .context("cannot write the map GATE")?;
        let gone: Vec<u32> = entries
            .iter()
            .filter(own)
            .map(|(number, _)| *number)
            .filter(|number| !numbered.iter().any(|kept| kept.number == *number))
            .collect();
        for number in &gone {
            self.exits.remove_entry(*number)?;
        }
        for exit in &numbered {
            self.exits.count(exit.number)?;
            self.exits
                .exceptions
                .insert(exit.number, entry(seal, exit), 0)
                .context("cannot write the map EXCEPTIONS")?;
        }
        self.exits.write(seal, &wanted)?;
        self.exits.forget_neighbours()?;
        for number in &gone {
            let _ = self.exits.used.remove(number);
        }
        Ok(())
    }

    /// Ends what changes of exceptions that were cut short have left, on the whole host:
    /// of what only one map has, nothing stays in force. For the container `id`, what its
    /// record does not have was taken out of it by such a change, and goes, too.
    ///
    /// # Errors
    /// If a map cannot be read or written.
    pub fn mend_exits(
        &mut self,
        id: &[u8; ID_LEN],
        recorded: Option<&[Exception]>,
        _lock: &Lock,
    ) -> Result<()> {
        let entries = self.exits.entries()?;
        let values = self.exits.values()?;
        self.exits.remove_orphaned_counts(&entries)?;
        let of_entries = entries.iter().map(|(_, entry)| entry.seal);
        let seals: BTreeSet<SealNumber> = of_entries
            .chain(values.iter().map(|(of, ..)| *of))
            .collect();
        let meant = self.ids.get(id, 0).ok();
        let mut changed = false;
        for seal in seals {
            if matches!(self.seals.get(&seal, 0), Err(MapError::KeyNotFound)) {
                self.forget_exits(|of| of == seal)?;
                continue;
            }
            let view = view_of(seal, &entries, &values);
            let standing: Vec<_> = view.standing.into_iter().map(|e| e.exception).collect();
            let kept = match recorded.filter(|_| meant == Some(seal)) {
                Some(recorded) => narrower(&standing, recorded),
                None => standing.clone(),
            };
            if !view.whole || kept != standing {
                self.set_exits(seal, &kept)?;
                changed = true;
            }
        }
        if changed {
            // What was judged before is judged again.
            self.unsettle()?;
            self.settle()?;
        }
        Ok(())
    }

    /// Removes all exceptions of these seals.
    pub(super) fn forget_exits(&mut self, of: impl Fn(SealNumber) -> bool) -> Result<()> {
        let entries = self.exits.entries()?.into_iter();
        let gone: Vec<_> = entries.filter(|(_, entry)| of(entry.seal)).collect();
        for (number, _) in &gone {
            self.exits.remove_entry(*number)?;
        }
        self.exits.remove_prefixes(&of, |_| false)?;
        self.exits.forget_neighbours()?;
        for (number, _) in &gone {
            let _ = self.exits.used.remove(number);
        }
        Ok(())
    }
}

fn view_of(
    seal: SealNumber,
    entries: &[(u32, Entry)],
    values: &[(SealNumber, Cidr, Value)],
) -> ExitsView {
    let entries = entries.iter().filter(|(_, entry)| entry.seal == seal);
    let values = values.iter().filter(|(of, ..)| *of == seal);
    ExitsView::of(
        entries
            .map(|(number, entry)| exit(*number, entry))
            .collect(),
        values.map(|(_, net, value)| (*net, *value)).collect(),
    )
}

fn exit(number: u32, entry: &Entry) -> Exit {
    Exit {
        number,
        exception: exception(entry),
        leases: Vec::new(),
        since: entry.since,
    }
}

fn key(seal: SealNumber, net: Cidr) -> Key<Client> {
    let (addr, bits) = net.key();
    Key::new(Client::HEAD_BITS + bits, Client::new(seal, addr))
}

fn net_of(key: &Key<Client>) -> Cidr {
    Cidr::from_key(key.data().addr, key.prefix_len() - Client::HEAD_BITS)
}
