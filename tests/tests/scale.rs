//! Ten thousand sealed containers on one host, two thousand of them alive: sealing one more costs
//! what the first cost, each is denied, and the maps are as big as they were.

use airgap_common::map::Stat;
use airgap_tests::cmd;
use airgap_tests::scratch::{Network, Scratch, id, try_in};
use std::fs;
use std::time::{Duration, Instant};

const SEALS: u32 = 10_000;
const LIVE: u32 = 2_000;
/// How many are averaged.
const SOME: u32 = 200;

/// Kernel memory of the gate's maps, bytes.
fn memory(scratch: &Scratch) -> u64 {
    let maps = fs::read_dir(scratch.place.pins.join("maps")).expect("the maps");
    let bytes = |path: String| {
        let shown = cmd::ok(&format!("bpftool -j map show pinned {path}"));
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        shown["bytes_memlock"].as_u64().expect("bytes_memlock")
    };
    maps.flatten()
        .map(|pin| bytes(pin.path().display().to_string()))
        .sum()
}

fn each(count: u32, mut step: impl FnMut(u32)) -> Duration {
    let start = Instant::now();
    for n in 0..count {
        step(n);
    }
    start.elapsed() / count
}

/// Slower by a machine's moods, not by what is sealed already.
#[track_caller]
fn assert_flat(what: &str, first: Duration, last: Duration) {
    eprintln!("{what}: {first:?} at first, {last:?} at last");
    let most = first * 5 + Duration::from_micros(200);
    assert!(last < most, "{what}: {first:?} at first, {last:?} at last");
}

#[test]
fn the_ten_thousandth_seal_costs_what_the_first_did() {
    let mut scratch = Scratch::sized("scale", None, SEALS as usize);
    let empty = memory(&scratch);
    let first = each(SOME, |n| {
        let _ = scratch.seal(&id(n));
    });
    each(SEALS - 2 * SOME, |n| {
        let _ = scratch.seal(&id(SOME + n));
    });
    let last = each(SOME, |n| {
        let _ = scratch.seal(&id(SEALS - SOME + n));
    });
    assert_flat("a seal", first, last);

    let mut live = Vec::new();
    let first = each(SOME, |n| live.push(scratch.mkdir(&id(n))));
    each(LIVE - 2 * SOME, |n| live.push(scratch.mkdir(&id(SOME + n))));
    let last = each(SOME, |n| live.push(scratch.mkdir(&id(LIVE - SOME + n))));
    assert_flat("a cgroup born under a seal", first, last);

    assert_eq!(scratch.gate().stat(Stat::Overflowed), 0);
    let bystander = scratch.mkdir("airgap-test-bystander");
    for (cgroup, errno) in [
        (&live[0], libc::EPERM),
        (&live[LIVE as usize - 1], libc::EPERM),
        (&bystander, libc::ENETUNREACH),
    ] {
        let report = try_in(cgroup, Network::Own, "udp4", "scale");
        assert_eq!(report.errno, errno, "{}", cgroup.path.display());
    }
    let full = memory(&scratch);
    eprintln!("maps: {} KiB empty, {} KiB full", empty / 1024, full / 1024);
    // All but what is for people (names, dates) is there before the first seal.
    assert!(
        full < empty + u64::from(SEALS) * 1024,
        "{empty} became {full}"
    );
}
