//! Exceptions in the maps: what was asked for, what the kernel makes of it, and how it
//! was used.

use airgap_common::map::{
    Client, Exception as Entry, Gate as GateInfo, REASON_LEN, SealNumber, Use, name,
};
use anyhow::{Context as _, Result, anyhow};
use aya::maps::{HashMap, LpmTrie, Map, MapData, PerCpuHashMap, PerCpuValues, lpm_trie::Key};

use super::{Gate, hash, map};
use crate::{
    clock,
    policy::{Cidr, Exception, To, unions},
};

const BPF_NOEXIST: u64 = 1;

/// An exception that stands, and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its number: it counts for sockets that were let out under it.
    pub number: u32,
    /// What it allows.
    pub exception: Exception,
    /// When it was put in force, `CLOCK_BOOTTIME`, nanoseconds.
    pub since: u64,
}

/// Handles to the maps of exceptions.
pub(super) struct Maps {
    exceptions: HashMap<MapData, u32, Entry>,
    exits: LpmTrie<MapData, Client, airgap_common::map::Exits>,
    used: PerCpuHashMap<MapData, u32, Use>,
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

    fn remove_entry(&mut self, number: u32) -> Result<()> {
        let _ = self.used.remove(&number);
        self.exceptions
            .remove(&number)
            .context("cannot write the map EXCEPTIONS")
    }
}

impl Gate {
    /// The exceptions of a seal, by number.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn exits_of(&self, seal: SealNumber) -> Result<Vec<Exit>> {
        let entries = self.exits.entries()?.into_iter();
        Ok(entries
            .filter(|(_, entry)| entry.seal == seal)
            .map(|(number, entry)| Exit {
                number,
                exception: exception(&entry),
                since: entry.since,
            })
            .collect())
    }

    /// How an exception was used so far, all processors together.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn use_of(&self, number: u32) -> Result<Use> {
        let used = self.exits.used.get(&number, 0);
        let used = used.context("cannot read the map EXIT_USE")?;
        Ok(used.iter().fold(Use::default(), |sum, one| sum.and(*one)))
    }

    /// Whether the kernel has all of these as they are written.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn has_exits(&self, seal: SealNumber, exits: &[Exit]) -> Result<bool> {
        let numbered: Vec<_> = exits.iter().map(|e| (e.number, &e.exception)).collect();
        let wanted = unions(&numbered).map_err(|error| anyhow!(error))?;
        Ok(wanted.iter().all(|(net, value)| {
            self.exits
                .exits
                .get(&key(seal, *net), 0)
                .is_ok_and(|found| found == *value)
        }))
    }

    /// Puts these exceptions in force under a seal, and no others. One that stands
    /// keeps its number, and with it its connections; what is removed has no effect
    /// from then on.
    ///
    /// # Errors
    /// If a map is full or cannot be written: what is in force then is no wider than
    /// before and after together.
    pub(super) fn set_exits(&mut self, seal: SealNumber, exceptions: &[Exception]) -> Result<()> {
        let standing = self.exits_of(seal)?;
        if standing.is_empty() && exceptions.is_empty() {
            return Ok(());
        }
        let mut last = self.info()?.last_exit;
        let mut numbered = Vec::new();
        for exception in exceptions {
            let known = standing
                .iter()
                .find(|exit| exit.exception.to == exception.to);
            let (number, since) = match known {
                Some(exit) => (exit.number, exit.since),
                None => {
                    last = last
                        .checked_add(1)
                        .context("no number is left for an exception")?;
                    (last, clock::since_boot_nanos())
                }
            };
            numbered.push((number, exception, since));
        }
        // As they are read back: the order of slots is theirs.
        numbered.sort_by_key(|(number, ..)| *number);
        let pairs: Vec<_> = numbered.iter().map(|(n, e, _)| (*n, *e)).collect();
        let wanted = unions(&pairs).map_err(|error| anyhow!(error))?;
        // First of all: a number is never given twice.
        let info = GateInfo {
            last_exit: last,
            ..self.info()?
        };
        self.info
            .set(0, info, 0)
            .context("cannot write the map GATE")?;
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        for (number, exception, since) in &numbered {
            let known = standing.iter().any(|exit| exit.number == *number);
            if !known {
                let zero = PerCpuValues::try_from(vec![Use::default(); cpus])
                    .context("cannot tell the number of processors")?;
                self.exits
                    .used
                    .insert(number, zero, BPF_NOEXIST)
                    .context("cannot write the map EXIT_USE")?;
            }
            self.exits
                .exceptions
                .insert(number, entry(seal, exception, *number, *since), 0)
                .context("cannot write the map EXCEPTIONS")?;
        }
        // What stays is in each value that is written, and in those it replaces.
        for (net, exits) in &wanted {
            self.exits
                .exits
                .insert(&key(seal, *net), exits, 0)
                .context("cannot write the map EXITS")?;
        }
        let keep: Vec<_> = wanted.iter().map(|(net, _)| *net).collect();
        self.exits
            .remove_prefixes(|of| of == seal, |key| keep.contains(&net_of(key)))?;
        for exit in &standing {
            if !pairs.iter().any(|(number, _)| *number == exit.number) {
                self.exits.remove_entry(exit.number)?;
            }
        }
        Ok(())
    }

    /// Removes all exceptions of these seals.
    pub(super) fn forget_exits(&mut self, of: impl Fn(SealNumber) -> bool) -> Result<()> {
        self.exits.remove_prefixes(&of, |_| false)?;
        for (number, entry) in self.exits.entries()? {
            if of(entry.seal) {
                self.exits.remove_entry(number)?;
            }
        }
        Ok(())
    }
}

fn key(seal: SealNumber, net: Cidr) -> Key<Client> {
    let (addr, bits) = net.key();
    Key::new(Client::HEAD_BITS + bits, Client::new(seal, addr))
}

fn net_of(key: &Key<Client>) -> Cidr {
    Cidr::from_key(key.data().addr, key.prefix_len() - Client::HEAD_BITS)
}

fn entry(seal: SealNumber, exception: &Exception, number: u32, since: u64) -> Entry {
    let (addr, bits) = exception.to.net.key();
    let mut reason = [0; REASON_LEN];
    let text = exception.reason.as_deref().unwrap_or_default().as_bytes();
    let len = text.len().min(REASON_LEN);
    reason[..len].copy_from_slice(&text[..len]);
    Entry {
        seal,
        addr,
        bits,
        allowed: exception.allowed.into(),
        slot: exception.slot(number),
        since,
        reason,
    }
}

fn exception(entry: &Entry) -> Exception {
    let end = entry.reason.iter().position(|byte| *byte == 0);
    let reason = &entry.reason[..end.unwrap_or(REASON_LEN)];
    Exception {
        to: To::of_map(entry.addr, entry.bits, &entry.slot),
        until: (entry.slot.until != 0).then_some(entry.slot.until),
        allowed: entry.allowed != 0,
        reason: (!reason.is_empty()).then(|| String::from_utf8_lossy(reason).into_owned()),
    }
}
