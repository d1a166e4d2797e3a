//! Frames that no kernel would make, through the real frame programs (`BPF_PROG_TEST_RUN`): nothing
//! passes but what the kernel may say on a flow that a client opened, and every refusal is counted.

use airgap::events::{Event, Follower};
use airgap_common::map::{MAX_UPLINKS, Mac, Policy, PortRange, Veth, name};
use airgap_tests::Frame;
use airgap_tests::scratch::{Scratch, id};
use aya::TestRun as _;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::{ProgramError, SchedClassifier, TestRunOptions};
use std::net::SocketAddr;
use std::time::Duration;

/// `TCX_NEXT`, `TCX_DROP`.
const NEXT: u32 = u32::MAX;
const DROP: u32 = 2;
/// A test run's packet is on lo.
const LO: u32 = 1;

const CLIENT: [u8; 4] = [198, 51, 100, 9];
const OWN: [u8; 4] = [198, 51, 100, 2];
const CLIENT_PORT: u16 = 4000;
const SERVICE: u16 = 5060;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// xorshift64 (Marsaglia, 2003): the same frames in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

struct Bench {
    scratch: Scratch,
    seal: u64,
    outward: SchedClassifier,
    inward: SchedClassifier,
}

fn bench() -> Bench {
    let mut scratch = Scratch::new("fuzz", None);
    let programs = scratch.place.pins.join("programs");
    let seal = scratch.seal(&id(60));
    let open = |name: &str| SchedClassifier::from_pin(programs.join(name)).expect("the program");
    let map = |name| {
        let data = MapData::from_pin(scratch.place.pins.join("maps").join(name));
        Map::from_map_data(data.expect("the map")).expect("a map")
    };
    let mut veths: HashMap<_, u32, Veth> = HashMap::try_from(map(name::VETHS)).expect("its layout");
    // It serves the same port over UDP, and more.
    let mut policies: HashMap<_, u64, Policy> =
        HashMap::try_from(map(name::POLICIES)).expect("its layout");
    let mut policy = policies.get(&seal, 0).expect("sealed");
    policy.flags |= Policy::SERVES_UDP;
    policy.udp[0] = PortRange::one(SERVICE);
    policy.udp[1] = PortRange {
        first: 10_000,
        last: 10_100,
    };
    scratch.gate().provide(&policy).expect("tables of peers");
    policies.insert(seal, policy, 0).expect("write");
    // The client's SYN comes from the outside.
    let mut uplinks = [0; MAX_UPLINKS];
    uplinks[0] = LO;
    let veth = Veth {
        seal,
        bridge: 0,
        gateway: 0,
        uplinks,
        mac: Mac::default(),
    };
    veths.insert(LO, veth, 0).expect("write");
    Bench {
        seal,
        outward: open("airgap_frame_out"),
        inward: open("airgap_frame_in"),
        scratch,
    }
}

/// `None`: a test run takes no IP packet that is shorter than its header (EINVAL).
fn verdict(program: &SchedClassifier, frame: &[u8]) -> Option<u32> {
    let options = TestRunOptions {
        data_in: Some(frame),
        ..TestRunOptions::default()
    };
    match program.test_run(options) {
        Ok(result) => Some(result.return_value),
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::EINVAL) && frame.len() < 14 + 40 =>
        {
            None
        }
        Err(error) => panic!("{error}: {frame:02x?}"),
    }
}

fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    out.extend(kind.to_be_bytes());
    out.extend(body);
    out
}

fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend((20 + body.len() as u16).to_be_bytes());
    out.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    out.extend(from);
    out.extend(to);
    out.extend(body);
    ethernet(0x0800, &out)
}

fn ipv6(protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend([protocol, 255]);
    out.extend(
        "2001:db8::2"
            .parse::<std::net::Ipv6Addr>()
            .expect("v6")
            .octets(),
    );
    out.extend(
        "2001:db8::9"
            .parse::<std::net::Ipv6Addr>()
            .expect("v6")
            .octets(),
    );
    out.extend(body);
    ethernet(0x86dd, &out)
}

fn tcp(from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(from.to_be_bytes());
    out.extend(to.to_be_bytes());
    out.extend([0, 0, 0, 7, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    out.extend(payload);
    out
}

/// One valid frame of each kind that the programs tell apart.
fn seeds() -> Vec<Vec<u8>> {
    let arp = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 198, 51, 100, 2, 0, 0, 0, 0, 0, 0, 198, 51, 100,
        9,
    ];
    let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
    solicitation.extend(
        "2001:db8::9"
            .parse::<std::net::Ipv6Addr>()
            .expect("v6")
            .octets(),
    );
    solicitation.extend([1, 1, 2, 0, 0, 0, 0, 2]);
    let udp = [0x13, 0xc4, 0, 53, 0, 12, 0, 0, b'd', b'a', b't', b'a'];
    let words = b"stolen words";
    let mut seeds: Vec<_> = [SYN, ACK, SYN | ACK, 4, 4 | ACK, 1 | ACK]
        .into_iter()
        .flat_map(|flags| {
            let bare = tcp(SERVICE, CLIENT_PORT, flags, b"");
            let full = tcp(SERVICE, CLIENT_PORT, flags, words);
            [
                ipv4(OWN, CLIENT, 6, &bare),
                ipv4(OWN, CLIENT, 6, &full),
                ipv6(6, &bare),
                ipv6(6, &full),
            ]
        })
        .collect();
    seeds.extend([
        ethernet(0x0806, &arp),
        ethernet(0x88b5, words),
        ethernet(0x8100, &[0, 5, 8, 0]),
        ipv4(OWN, CLIENT, 17, &udp),
        fragment(ipv4(OWN, CLIENT, 17, &udp)),
        ipv4(OWN, CLIENT, 1, &[8, 0, 0, 0, 0, 1, 0, 1]),
        ipv4(OWN, CLIENT, 2, &[0x16, 0, 0, 0, 239, 1, 2, 3]),
        ipv6(17, &udp),
        ipv6(58, &solicitation),
        ipv6(0, &[58, 0, 5, 2, 0, 0, 0, 0, 143, 0, 0, 0, 0, 0, 0, 0]),
        ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 7]),
    ]);
    seeds
}

/// The first fragment of it.
fn fragment(mut frame: Vec<u8>) -> Vec<u8> {
    frame[14 + 6] = 0x20;
    frame
}

/// What the kernel may say without a socket on a flow that the client opened: no word of payload.
fn is_allowed(bytes: &[u8]) -> bool {
    let frame = Frame {
        bytes: bytes.to_vec(),
        wire_len: bytes.len(),
        outgoing: false,
        ifindex: 1,
    };
    let (Some(ip), Some((from, to)), Some(flags)) = (frame.ip(), frame.ports(), frame.tcp_flags())
    else {
        return false;
    };
    let flow = SocketAddr::new(ip.destination, to) == SocketAddr::new(CLIENT.into(), CLIENT_PORT)
        && ip.source == std::net::IpAddr::from(OWN)
        && from == SERVICE;
    flow && flags & (SYN | ACK) != SYN && !frame.contains("stolen")
}

#[test]
fn no_made_up_frame_passes() {
    let mut bench = bench();
    let mut random = Random(0x5eed_0a19_a900_0001);
    let seeds = seeds();
    let mut run = |bench: &Bench, allowed: fn(&[u8]) -> bool| {
        let (mut dropped, mut passed) = (0_u64, 0_u64);
        for turn in 0..20_000 {
            let mut frame = seeds[turn % seeds.len()].clone();
            // The first round is the seeds as they are.
            if turn >= seeds.len() {
                mutate(&mut frame, &mut random);
            }
            match verdict(&bench.outward, &frame) {
                None => {}
                Some(DROP) => dropped += 1,
                Some(NEXT) if allowed(&frame) => passed += 1,
                Some(other) => panic!("verdict {other} on {frame:02x?}"),
            }
        }
        (dropped, passed)
    };
    let refused = |bench: &mut Bench| {
        let (_, counters) = bench.scratch.gate().state(bench.seal).expect("the seal");
        counters.by_reason.iter().sum::<u64>()
    };
    let (dropped, passed) = run(&bench, |_| false);
    assert!(dropped > 18_000 && passed == 0, "{dropped} {passed}");
    assert_eq!(refused(&mut bench), dropped, "every refusal is counted");

    let syn = ipv4(CLIENT, OWN, 6, &tcp(CLIENT_PORT, SERVICE, SYN, b""));
    assert_eq!(verdict(&bench.inward, &syn), Some(NEXT));
    let (more, passed) = run(&bench, is_allowed);
    println!(
        "{passed} of {} frames passed on the client's flow",
        more + passed
    );
    assert_eq!(
        refused(&mut bench),
        dropped + more,
        "every refusal is counted"
    );
}

/// What the programs write is read back, whatever they were given.
#[test]
fn every_record_of_a_made_up_frame_is_read() {
    let mut bench = bench();
    let follower = Follower::start(bench.scratch.gate(), &[]).expect("follow");
    let mut follower = follower.looking_every(Duration::ZERO);
    let mut random = Random(0x5eed_0a19_a900_0002);
    let seeds = seeds();
    let before = silent(&mut bench);
    let (mut dropped, mut told, mut unread) = (0_u64, 0_u64, 0_u64);
    for turn in 0..4_000 {
        let mut frame = seeds[turn % seeds.len()].clone();
        mutate(&mut frame, &mut random);
        dropped += u64::from(verdict(&bench.outward, &frame) == Some(DROP));
        if turn % 500 == 499 {
            for event in follower.poll().expect("poll") {
                match event {
                    Event::Denial(denial) => {
                        assert_eq!((denial.seal, denial.hook), (bench.seal, "frame"));
                        told += denial.count;
                    }
                    Event::Suppressed(suppressed) => told += suppressed.count,
                    Event::Lost(lost) if lost.seal.is_none() => unread += lost.count,
                    Event::Lost(lost) => told += lost.count,
                    Event::Allowed(_) | Event::Untold(_) => panic!("a denial is no use"),
                }
            }
        }
    }
    assert_eq!((told + silent(&mut bench) - before, unread), (dropped, 0));
    assert!(dropped > 3_500, "{dropped}");
}

/// Refusals that are counted and make no record.
fn silent(bench: &mut Bench) -> u64 {
    let (_, counters) = bench.scratch.gate().state(bench.seal).expect("the seal");
    counters.by_reason.iter().sum::<u64>() - counters.refused()
}

fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        match random.below(8) {
            // The kernel takes no packet that is shorter than its link header.
            0 => frame.truncate(15 + random.below(frame.len())),
            1 => frame.extend([random.below(256) as u8; 40]),
            2 => {
                let at = 12 + random.below(2);
                frame[at] = [0, 8, 6, 0x86, 0xdd, 0x81][random.below(6)];
            }
            _ => {
                let at = 14 + random.below(frame.len() - 14);
                frame[at] = match random.below(3) {
                    0 => random.below(256) as u8,
                    1 => 0,
                    _ => frame[at] ^ (1 << random.below(8)),
                };
            }
        }
    }
}

/// A gate without a seal on the device judges nothing.
#[test]
fn a_device_that_is_not_sealed_is_left_alone() {
    let bench = bench();
    let map = MapData::from_pin(bench.scratch.place.pins.join("maps").join(name::VETHS));
    let map = Map::from_map_data(map.expect("the map")).expect("a map");
    let mut veths: HashMap<_, u32, Veth> = HashMap::try_from(map).expect("its layout");
    veths.remove(&LO).expect("remove");
    for seed in seeds() {
        assert_eq!(verdict(&bench.outward, &seed), Some(NEXT), "{seed:02x?}");
        assert_eq!(verdict(&bench.inward, &seed), Some(NEXT), "{seed:02x?}");
    }
}
