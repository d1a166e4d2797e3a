//! Promise: on a node with five thousand sealed pods one more is sealed as the first was.

use airgap_tests::scratch::{Scratch, id};
use airgap_tests::syscalls::Syscalls;
use std::time::{Duration, Instant};

const SEALS: usize = 5_000;
/// How many are looked at, at first and at last.
const SOME: usize = 100;

fn median<T: Ord + Copy>(all: &[T]) -> T {
    let mut all = all.to_vec();
    all.sort_unstable();
    all[all.len() / 2]
}

#[test]
fn the_five_thousandth_seal_takes_what_the_first_took() {
    let mut scratch = Scratch::sized("fleet", None, SEALS);
    let counter = Syscalls::of_this_thread();
    let count = || counter.as_ref().map_or(0, Syscalls::count);
    let (mut took, mut calls): (Vec<Duration>, Vec<u64>) = Default::default();
    for n in 0..SEALS {
        let (before, start) = (count(), Instant::now());
        let _ = scratch.seal(&id(u32::try_from(n).expect("few")));
        took.push(start.elapsed());
        calls.push(count() - before);
    }
    let [first, last] = [&took[..SOME], &took[SEALS - SOME..]].map(median);
    println!("a seal, median of {SOME}: {first:?} at first, {last:?} at last");
    if counter.is_some() {
        let [first, last] = [&calls[..SOME], &calls[SEALS - SOME..]].map(median);
        println!("system calls: {first} at first, {last} at last");
        assert!(first > 5, "the control: a seal is made of calls");
        assert_eq!(first, last, "{calls:?}");
        let most = calls[SEALS - SOME..].iter().max();
        assert_eq!(most, Some(&last), "one of the last takes more");
    }
    let found = scratch.gate().seals().expect("read").len();
    assert_eq!(found, SEALS);
}
