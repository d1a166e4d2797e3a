//! What the gate remembers of who has asked.

use airgap::gate::{Gate, Place};
use airgap_common::map::{UdpPeer, UdpPrefix, UdpQuota, UdpSeen, name};
use airgap_tests::Container;
use aya::maps::{ArrayOfMaps, HashMap, Map, MapData};

/// What the gate remembers of who has asked a container.
#[derive(Debug)]
pub(crate) struct Peers {
    seal: u64,
    peers: std::cell::RefCell<HashMap<MapData, UdpPeer, UdpSeen>>,
    quotas: std::cell::RefCell<HashMap<MapData, UdpPrefix, UdpQuota>>,
}

impl Peers {
    #[track_caller]
    pub(crate) fn of(container: &Container) -> Self {
        let place = Place::host().expect("a gate");
        let gate = Gate::open(&place).expect("read").expect("it stands");
        let id = container.id.as_bytes().try_into().expect("64 digits");
        let open = |name: &str| {
            let data = MapData::from_pin(place.pins.join("maps").join(name)).expect("the map");
            let outer = Map::from_map_data(data).expect("a map");
            let outer = ArrayOfMaps::<_, MapData>::try_from(outer).expect("of maps");
            Map::from_map_data(outer.get(&0, 0).expect("a seal serves UDP")).expect("a map")
        };
        Self {
            seal: gate.number_of(id).expect("sealed"),
            peers: HashMap::try_from(open(name::UDP_PEERS))
                .expect("its layout")
                .into(),
            quotas: HashMap::try_from(open(name::UDP_PREFIXES))
                .expect("its layout")
                .into(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        let peers = self.peers.borrow();
        let keys = peers.keys().filter_map(Result::ok);
        keys.filter(|peer| peer.seal == self.seal).count()
    }

    /// Has all that is remembered be so many nanoseconds older.
    pub(crate) fn age(&self, by: u64) {
        let mut peers = self.peers.borrow_mut();
        let all: Vec<_> = peers.iter().filter_map(Result::ok).collect();
        for (peer, seen) in all.iter().filter(|(peer, _)| peer.seal == self.seal) {
            let older = UdpSeen {
                at: seen.at - by,
                ..*seen
            };
            peers.insert(peer, older, 0).expect("write");
        }
        let mut quotas = self.quotas.borrow_mut();
        let all: Vec<_> = quotas.iter().filter_map(Result::ok).collect();
        for (prefix, quota) in all.iter().filter(|(prefix, _)| prefix.seal == self.seal) {
            let older = UdpQuota {
                since: quota.since - by,
                ..*quota
            };
            quotas.insert(prefix, older, 0).expect("write");
        }
    }
}
