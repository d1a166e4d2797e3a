//! Promise: a policy holds from the moment it is set, also for connections that were open before
//! and whose packets were judged in short until then.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use airgap::gate::{Gate, Lock, Place, Sealing};
use airgap::policy::Rules;
use airgap_common::denial::Reason;
use airgap_common::map::{Policy, PortRange, SealNumber, name};
use airgap_tests::airgap::{airgap, airgap_ok, seal};
use airgap_tests::{Container, Outside, SERVICE_PORT, wait};
use aya::maps::{Array, HashMap, Map, MapData};

struct Seal {
    gate: Gate,
    number: SealNumber,
    id: [u8; 64],
    name: String,
}

impl Seal {
    fn of(container: &Container) -> Self {
        let place = Place::host().expect("cgroup v2");
        let gate = Gate::open(&place).expect("a gate").expect("it stands");
        let seals = gate.seals().expect("read");
        let [(number, seal)] = seals[..] else {
            panic!("{seals:?}");
        };
        let id = container.id.as_bytes().try_into().expect("64 digits");
        assert_eq!(seal.id, id);
        let name = container.name.clone();
        Self {
            gate,
            number,
            id,
            name,
        }
    }

    /// As `airgap attach` does, but open connections are left as they are.
    fn set(&mut self, ports: &[&str], from: &[&str]) {
        let clients: Vec<_> = from.iter().map(|c| c.parse().expect("a CIDR")).collect();
        let ports = ports.iter().map(|p| p.parse().expect("a port")).collect();
        let rules = Rules::new(ports, clients.clone()).expect("rules");
        let sealing = Sealing {
            id: &self.id,
            name: &self.name,
            policy: rules.compile(),
            clients: &clients,
            exits: &[],
            accepted: 0,
            since: 0,
        };
        let lock = Lock::take().expect("lock");
        let sealed = self.gate.seal_id(&sealing, &lock).expect("renew");
        assert!(sealed.renewed && sealed.number == self.number);
    }

    /// Packets refused so far because the policy is not what it was.
    fn refused(&self) -> u64 {
        let (_, counters) = self.gate.state(self.number).expect("in force");
        let because = [Reason::StaleProvenance, Reason::Client];
        because.map(|r| counters.by_reason[r as usize]).iter().sum()
    }

    fn map(&self, name: &str) -> Map {
        let pin = self.gate.place().pins.join("maps").join(name);
        Map::from_map_data(MapData::from_pin(pin).expect("the pin")).expect("a map")
    }

    fn epoch(&self) -> Array<MapData, u32> {
        self.map(name::EPOCH).try_into().expect("its layout")
    }

    fn policies(&self) -> HashMap<MapData, SealNumber, Policy> {
        self.map(name::POLICIES).try_into().expect("its layout")
    }
}

/// Half a request on a connection of its own: the server waits for the rest, then closes.
fn half_a_request(outside: &Outside, web: &Container) -> TcpStream {
    let to = SocketAddr::new(web.ip4().into(), SERVICE_PORT);
    let mut stream = outside
        .netns
        .run(|| TcpStream::connect(to).expect("connect"));
    stream.write_all(b"GET /half HTTP/1.0\r\n").expect("write");
    stream
}

/// The server gives up on half a request after some seconds: nothing of that may arrive.
#[track_caller]
fn refused_from_now_on(outside: &Outside, held: &Seal, when: &str) {
    outside.clear();
    let before = held.refused();
    wait::until("the server's end is refused", wait::SOON, || {
        (held.refused() > before).then_some(())
    });
    let left = outside.arrivals();
    assert!(left.is_empty(), "{when}: {left:?}");
}

#[test]
fn open_connections_are_judged_by_the_policy_of_now() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    seal(&web.name, &[]);
    let mut held = Seal::of(&web);
    let narrow: [(&[&str], &[&str]); 2] = [(&["8080"], &[]), (&[], &["198.51.100.254/32"])];
    for (ports, from) in narrow {
        let get = || outside.get(web.ip4(), SERVICE_PORT, "/");
        get().expect("served before");
        let open = half_a_request(&outside, &web);
        held.set(ports, from);
        refused_from_now_on(&outside, &held, &format!("{ports:?} {from:?}"));
        drop(open);
        held.set(&[], &[]);
        get().expect("served again");
    }
}

#[test]
fn while_policies_change_packets_are_judged_in_full() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    seal(&web.name, &[]);
    let held = Seal::of(&web);
    let settled = held.epoch().get(&0, 0).expect("read");
    assert_eq!(settled % 2, 0, "attach leaves a settled gate");
    // As if airgap were in the middle of a change.
    held.epoch().set(0, settled + 1, 0).expect("write");
    for _ in 0..20 {
        outside
            .get(web.ip4(), SERVICE_PORT, "/bytes/100000")
            .expect("served");
    }
    // Its next write counts at once, for connections too that were opened in between.
    let open = half_a_request(&outside, &web);
    let (mut policy, _) = held.gate.state(held.number).expect("in force");
    policy.tcp[0] = PortRange::one(8080);
    held.policies()
        .insert(held.number, policy, 0)
        .expect("write");
    refused_from_now_on(&outside, &held, "policy written while the epoch is odd");
    drop(open);
    let doctor = airgap(&["doctor"]);
    assert!(doctor.stdout.contains("cut short"), "{}", doctor.describe());
    // Killed there: restore settles it, as doctor says.
    airgap_ok(&["restore"]);
    let doctor = airgap(&["doctor"]);
    assert!(
        !doctor.stdout.contains("cut short"),
        "{}",
        doctor.describe()
    );
    let now = held.epoch().get(&0, 0).expect("read");
    assert!(now > settled && now.is_multiple_of(2), "{settled}, {now}");
    outside
        .get(web.ip4(), SERVICE_PORT, "/")
        .expect("served again");
}
