//! Maps that only some seals need, made for the first of them, and what each seal takes of
//! the others.

use std::collections::HashSet;

use airgap_common::map::{
    Flow, MAX_FLOWS, MAX_UDP_PEERS, MAX_UDP_PREFIXES, Policy, Questions, SealNumber, UdpPeer,
    UdpPrefix, UdpQuota, UdpSeen, name,
};
use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{ArrayOfMaps, HashMap, Map, MapData, MapError},
};
use aya_obj::generated::bpf_map_type;

use super::{Gate, arm::NO_DENIALS, hash, map};

const BPF_NOEXIST: u64 = 1;

impl Gate {
    /// How many seals this gate takes.
    pub(super) fn most_seals(&self) -> Result<u32> {
        let ids = map(&self.place, name::IDS)?;
        let info = ids.info().context("cannot read the map IDS")?;
        Ok(info.max_entries() / 10 * 9)
    }

    /// Has the programs count for a seal, which nothing was counted for.
    ///
    /// # Errors
    /// If a map cannot be written.
    pub(super) fn count(&mut self, number: SealNumber) -> Result<()> {
        self.counters
            .insert(number, NO_DENIALS, BPF_NOEXIST)
            .context("map COUNTERS")?;
        hash(&self.place, name::QUESTIONS)?
            .insert(number, Questions::ZERO, BPF_NOEXIST)
            .context("map QUESTIONS")
    }

    /// Forgets what was counted.
    pub(super) fn forget_counts(&mut self, seals: &HashSet<SealNumber>) {
        let mut questions = hash::<SealNumber, Questions>(&self.place, name::QUESTIONS).ok();
        for seal in seals {
            let _ = self.counters.remove(seal);
            let _ = questions.as_mut().map(|questions| questions.remove(seal));
        }
    }

    /// Makes what seals with this policy need, unless it is there.
    ///
    /// # Errors
    /// If the kernel has no memory for it.
    pub fn provide(&self, policy: &Policy) -> Result<()> {
        if policy.flags & Policy::HAS_EXITS != 0 {
            self.table::<Flow, u64>(name::EXIT_FLOWS, MAX_FLOWS)?;
        }
        if policy.flags & Policy::SERVES_UDP != 0 {
            self.table::<UdpPeer, UdpSeen>(name::UDP_PEERS, MAX_UDP_PEERS)?;
            self.table::<UdpPrefix, UdpQuota>(name::UDP_PREFIXES, MAX_UDP_PREFIXES)?;
        }
        Ok(())
    }

    /// The map in the map of this name; made, if it is not there, with all of its memory, so
    /// that no verdict depends on whether there is some left.
    pub(super) fn table<K: Pod, V: Pod>(
        &self,
        name: &str,
        most: u32,
    ) -> Result<HashMap<MapData, K, V>> {
        if let Some(table) = self.known_table(name)? {
            return Ok(table);
        }
        let make = || -> Result<_> {
            let kind = bpf_map_type::BPF_MAP_TYPE_LRU_HASH as u32;
            let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
            let params = aya_obj::Map::new_from_params(kind, key, value, most, 0);
            let made = MapData::create(params, name, None)?;
            self.outer(name)?.set(0, &made, 0)?;
            Ok(HashMap::try_from(Map::from_map_data(made)?)?)
        };
        make().with_context(|| format!("cannot make the map {name}"))
    }

    /// As [`Gate::table`], if it was made.
    pub(super) fn known_table<K: Pod, V: Pod>(
        &self,
        name: &str,
    ) -> Result<Option<HashMap<MapData, K, V>>> {
        let wrong = || format!("the pinned map {name} has another layout");
        match self.outer(name)?.get(&0, 0) {
            Err(MapError::KeyNotFound) => Ok(None),
            found => {
                let found = Map::from_map_data(found.with_context(wrong)?).with_context(wrong)?;
                HashMap::try_from(found).map(Some).with_context(wrong)
            }
        }
    }

    fn outer(&self, name: &str) -> Result<ArrayOfMaps<MapData, MapData>> {
        let wrong = || format!("the pinned map {name} has another layout");
        ArrayOfMaps::try_from(Map::from_map_data(map(&self.place, name)?).with_context(wrong)?)
            .with_context(wrong)
    }
}
