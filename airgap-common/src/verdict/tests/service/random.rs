//! Datagrams thrown together.

use super::*;

/// Who has asked what, and when.
#[derive(Default)]
struct Table {
    seen: RefCell<HashMap<(Addr, u16, u16), u64>>,
    now: u64,
}

impl Kernel for Table {
    fn own_groups(&self) -> bool {
        false
    }
    fn udp_peer(&self, peer: &UdpPeer) -> bool {
        let key = (peer.addr, peer.port, peer.service);
        let seen = self.seen.borrow().get(&key).copied();
        seen.is_some_and(|seen| is_fresh(seen, self.now))
    }
    fn udp_ask(&self, peer: &UdpPeer) -> bool {
        let key = (peer.addr, peer.port, peer.service);
        self.seen.borrow_mut().insert(key, self.now);
        true
    }
    fn client_allowed(&self, client: Addr) -> bool {
        client != EVIL
    }
    fn peer(&self, _: &Ip, _: &Transport) -> Peer {
        unreachable!("not on loopback")
    }
    fn kernel_socket(&self) -> bool {
        false
    }
    fn answer_owed(&self) -> bool {
        false
    }
    fn neighbour_budget(&self) -> bool {
        false
    }
    fn client_opened(&self, _: &Ip, _: &Transport, _: bool) -> bool {
        false
    }
    fn older(&self, _: &Ip, _: &Transport) -> Ended {
        Ended::Unknown
    }
    fn was_cut(&self, _: &Ip, _: &Transport) -> bool {
        false
    }
    fn exit_segment(&self, _: &Flow, _: &Ip, _: &Transport, _: u32, _: Passage) -> Exit {
        Exit::None
    }
    fn exit_datagram(&self, _: &Flow, _: &Ip) -> Exit {
        Exit::None
    }
    fn exit_reply(&self, _: &Flow, _: &Ip, _: bool) -> bool {
        false
    }
    fn exit_cut(&self, _: &Flow) -> Ended {
        Ended::Unknown
    }
    fn exit_remembered(&self, _: &Flow) -> bool {
        false
    }
}

/// Random datagrams both ways: each that leaves goes to a client that sent to that very
/// port within the time.
#[test]
fn every_datagram_answers_one_of_a_moment_ago() {
    let mut table = Table::default();
    let mut truth: HashMap<(Addr, u16, u16), u64> = HashMap::new();
    let (mut passed, mut refused) = (0, 0);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for _ in 0..200_000 {
        table.now += below(UDP_PEER_LIFE / 8);
        let far = [CLIENT, EVIL, FAR][below(3) as usize];
        let far_port = [4000, 4001, 53][below(3) as usize];
        let port = [PORT, 10_000, 10_100, 10_101, 5061][below(5) as usize];
        let owner = [port, PORT][below(8) as usize / 7];
        let key = (far, far_port, port);
        if below(2) == 0 {
            let t = udp(far_port, port);
            if inward(&ip(far, OWN, UDP), t, bound(owner), &table) {
                assert!(owner == port && far != EVIL && rules().serves_udp(port));
                truth.insert(key, table.now);
            }
            continue;
        }
        let sent = out(
            &ip(OWN, far, UDP),
            udp(port, far_port),
            bound(owner),
            &table,
        );
        let asked = truth.get(&key).copied();
        let may = owner == port && asked.is_some_and(|at| table.now - at <= UDP_PEER_LIFE);
        assert_eq!(sent.is_ok(), may, "{key:?} {sent:?}");
        match sent {
            Ok(()) => passed += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(passed > 5_000 && refused > 5_000, "{passed} {refused}");
}
