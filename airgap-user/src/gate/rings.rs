//! A follower's own ring buffer in the gate's array of rings.
//!
//! A BPF ring buffer has one consumer, so each follower brings its own and
//! claims a slot for it. A follower that was killed harms nobody: its ring
//! fills up, and whoever comes next frees the slot.

use airgap_common::map::{Follower, MAX_FOLLOWERS, name};
use anyhow::{Context as _, Result};
use aya::maps::{Array, ArrayOfMaps, Map, MapData, RingBuf};
use aya_obj::generated::bpf_map_type;

use super::{Gate, Lock, array, map, sys};
use crate::{failure::Failure, host::clock::start_ticks};

/// Room for about 4,000 denials between two polls.
const RING_BYTES: u32 = 1 << 20;

/// A claimed slot; given back on drop.
pub struct Ring {
    slot: u32,
    ring: RingBuf<MapData>,
    followers: Array<MapData, Follower>,
    rings: MapData,
    lost: u64,
    me: Follower,
}

impl Gate {
    /// Claims a slot. From its return on, every record of this kind, as [`Follower`] has
    /// them, of every seal goes into the ring.
    ///
    /// # Errors
    /// If all slots are taken by live processes.
    pub fn follow(&mut self, kind: u32, _lock: &Lock) -> Result<Ring> {
        let place = self.place.clone();
        self.reap();
        let slot = (0..MAX_FOLLOWERS)
            .find(|i| self.followers.get(i, 0).is_ok_and(|f| f.pid == 0))
            .ok_or_else(|| {
                Failure::new(
                    format!("{MAX_FOLLOWERS} displays follow the events of this host already"),
                    "end an airgap tail or attach that is not needed",
                )
            })?;
        let params = aya_obj::Map::new_from_params(
            bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32,
            0,
            0,
            RING_BYTES,
            0,
        );
        let ring = MapData::create(params, "airgap_follower", None)
            .context("cannot create a ring buffer")?;
        let ring =
            RingBuf::try_from(Map::from_map_data(ring).context("cannot use the ring buffer")?)
                .context("cannot use the ring buffer")?;
        let rings = map(&place, name::RINGS)?;
        let claimed = Follower {
            pid: std::process::id(),
            live: 0,
            start: start_ticks("self"),
            lost: 0,
        };
        self.followers
            .set(slot, claimed, 0)
            .context("cannot claim a slot for the ring buffer")?;
        let mut outer: ArrayOfMaps<_, RingBuf<MapData>> = ArrayOfMaps::try_from(
            Map::from_map_data(map(&place, name::RINGS)?).context("cannot use the map RINGS")?,
        )
        .context("cannot use the map RINGS")?;
        outer
            .set(slot, &ring, 0)
            .context("cannot put the ring buffer in its slot")?;
        let me = Follower {
            live: kind,
            ..claimed
        };
        self.followers
            .set(slot, me, 0)
            .context("cannot open the slot of the ring buffer")?;
        Ok(Ring {
            slot,
            ring,
            followers: array(&place, name::FOLLOWERS)?,
            rings,
            lost: 0,
            me,
        })
    }

    /// Frees the slots of processes that are gone.
    fn reap(&mut self) {
        for slot in 0..MAX_FOLLOWERS {
            let Ok(follower) = self.followers.get(&slot, 0) else {
                continue;
            };
            if follower.pid != 0 && start_ticks(&follower.pid.to_string()) != follower.start {
                let _ = self.followers.set(slot, Follower::default(), 0);
                if let Ok(rings) = map(&self.place, name::RINGS) {
                    let _ = sys::delete(rings.fd(), slot);
                }
            }
        }
    }
}

impl Ring {
    /// Hands each waiting record to `each`, in order; returns how many were lost since the
    /// last call.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> u64 {
        while let Some(item) = self.ring.next() {
            each(&item);
        }
        let lost = self.followers.get(&self.slot, 0).map_or(0, |f| f.lost);
        lost.wrapping_sub(std::mem::replace(&mut self.lost, lost))
    }

    /// Whether the slot is still ours, and nobody took us for dead.
    fn is_mine(&self) -> bool {
        self.followers
            .get(&self.slot, 0)
            .is_ok_and(|f| f.pid == self.me.pid && f.start == self.me.start)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.is_mine() {
            let _ = self
                .followers
                .set(self.slot, Follower { live: 0, ..self.me }, 0);
            let _ = sys::delete(self.rings.fd(), self.slot);
            let _ = self.followers.set(self.slot, Follower::default(), 0);
        }
    }
}
