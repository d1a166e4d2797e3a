//! What the gate's maps take of the kernel's memory: counted by the kernel, so exact.

use airgap::gate::{KernelVersion, Lock, Sealing};
use airgap::policy::Rules;
use airgap_tests::scratch::{Scratch, id};
use aya::maps::{ArrayOfMaps, Map, MapData};
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

/// The first that counts what a map takes, and not what it may take
/// (`htab_map_mem_usage`, kernel/bpf/hashtab.c).
const COUNTS: KernelVersion = KernelVersion::new(6, 4, 0);
const ONE_SEAL: u64 = 8_000_000;
const THOUSAND_SEALS: u64 = 9_000_000;

fn bytes(map: &MapData) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).expect("read fdinfo");
    let line = text.lines().find_map(|l| l.strip_prefix("memlock:"));
    line.and_then(|l| l.trim().parse().ok()).expect("memlock")
}

/// Bytes of each map by its pin, those within it counted; the largest first.
fn maps(scratch: &Scratch) -> Vec<(u64, String)> {
    let pins = fs::read_dir(scratch.place.pins.join("maps")).expect("the maps");
    let one = |pin: fs::DirEntry| {
        let open = || MapData::from_pin(pin.path()).expect("open the map");
        let outer = Map::from_map_data(open()).expect("a map");
        let inner = ArrayOfMaps::<_, MapData>::try_from(outer).ok();
        let inner = inner.and_then(|outer| outer.get(&0, 0).ok());
        let inner = inner.as_ref().map_or(0, bytes);
        (
            bytes(&open()) + inner,
            pin.file_name().to_string_lossy().into_owned(),
        )
    };
    let mut maps: Vec<_> = pins.flatten().map(one).collect();
    maps.sort_unstable_by(|a, b| b.cmp(a));
    maps
}

fn total(scratch: &Scratch, what: &str) -> u64 {
    let maps = maps(scratch);
    let total = maps.iter().map(|(bytes, _)| bytes).sum();
    eprintln!("{what}: {total} bytes");
    for (bytes, name) in maps {
        eprintln!("  {bytes:>9} {name}");
    }
    total
}

#[test]
fn the_maps_take_little_memory() {
    if !KernelVersion::current().is_ok_and(|version| version >= COUNTS) {
        eprintln!("skipped: before Linux 6.4 what a map takes is not counted");
        return;
    }
    let mut scratch = Scratch::new("memory", None);
    scratch.seal(&id(1));
    let one = total(&scratch, "one seal");
    for n in 2..=1_000 {
        scratch.seal(&id(n));
    }
    let thousand = total(&scratch, "a thousand seals");
    assert!(one <= ONE_SEAL, "{one} bytes with one seal");
    assert!(thousand <= THOUSAND_SEALS, "{thousand} with a thousand");

    // What few seals need is there with the first of them, all at once.
    let first = id(1);
    let port = "5060/udp".parse().expect("a port");
    let udp = Rules::named(vec![port], vec![]).expect("rules");
    let lock = Lock::take().expect("lock");
    let sealing = Sealing {
        id: first.as_bytes().try_into().expect("64 digits"),
        name: "serves UDP",
        policy: udp.compile(),
        clients: &[],
        exits: &[],
        accepted: 0,
        since: 0,
    };
    scratch.gate().seal_id(&sealing, &lock).expect("renew");
    drop(lock);
    let with_peers = total(&scratch, "one of them serves UDP");
    assert!(with_peers > thousand + 8_000_000, "no room for peers");
}

#[test]
fn a_full_gate_takes_no_more_and_says_so() {
    let mut scratch = Scratch::new("most", None);
    let mut sealed = 0;
    let refused = loop {
        match scratch.try_seal(&id(sealed)) {
            Ok(_) => sealed += 1,
            Err(error) => break format!("{error:#}"),
        }
        assert!(sealed < 20_000, "a gate without an end");
    };
    eprintln!("{sealed} seals: {refused}");
    assert!(sealed >= 1_800, "room for {sealed} only");
    assert!(refused.contains("no room for more"), "{refused}");
    let seals = scratch.gate().seals().expect("read").len();
    assert_eq!(seals, sealed as usize, "the refused one left something");
    // One that goes makes room for another.
    let first = scratch
        .gate()
        .number_of(id(0).as_bytes().try_into().expect("64 digits"));
    let lock = Lock::take().expect("lock");
    let first = first.expect("sealed");
    scratch.gate().unseal(&[first], &lock).expect("unseal");
    drop(lock);
    scratch.seal(&id(sealed));
}
