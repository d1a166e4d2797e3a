//! What is remembered of refusals has room for so much: the oldest goes first, but for what is
//! repeated, and what was counted goes on being counted.

use airgap_common::map::{
    ATTEMPTS_BURST, Attempt, AttemptKey, MAX_ATTEMPTS, SHARE_BURST, SHARE_RESERVED, SealNumber,
};
use airgap_tests::scratch::{Scratch, id};
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

/// What one process may add at once, of one kind of thing.
const EACH: u16 = (SHARE_BURST + SHARE_RESERVED) as u16;
/// Together they add more than there is room for.
const SEALS: u32 = MAX_ATTEMPTS / (2 * EACH) as u32 + 20;
const FIRST_PORT: u16 = 1_001;

/// This process, in one cgroup after another; back in its own on drop.
struct Moving(PathBuf);

impl Moving {
    fn begin(root: &Path) -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").expect("its cgroup");
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
        Self(root.join(own.expect("cgroup v2")))
    }

    fn enter(&self, cgroup: &Path) {
        let pid = std::process::id().to_string();
        fs::write(cgroup.join("cgroup.procs"), pid).expect("enter the cgroup");
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.enter(&self.0);
    }
}

fn refused_datagram(port: u16) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let sent = socket.send_to(b"x", ("198.51.100.9", port));
    let errno = sent.expect_err("refused").raw_os_error();
    assert_eq!(errno, Some(libc::EPERM), "port {port}");
}

fn refused_socket(protocol: u16) {
    // SAFETY: takes no pointer.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, protocol.into()) };
    assert_eq!(socket, -1, "protocol {protocol}");
}

#[test]
fn the_oldest_makes_room_but_for_what_is_repeated() {
    const { assert!(2 * EACH as u64 <= ATTEMPTS_BURST) };
    // SAFETY: takes no pointer. This thread's network leads nowhere from here on.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
    let mut scratch = Scratch::new("order", None);
    let seals: Vec<_> = (0..SEALS)
        .map(|n| (scratch.seal(&id(n)), scratch.mkdir(&id(n)).path))
        .collect();
    let (first, last) = (seals[0].0, seals[seals.len() - 1].0);
    let moving = Moving::begin(&scratch.place.cgroup);
    for (_, cgroup) in &seals {
        moving.enter(cgroup);
        (FIRST_PORT..FIRST_PORT + EACH).for_each(refused_datagram);
        (1..=EACH).for_each(refused_socket);
        if cgroup == &seals[0].1 {
            refused_datagram(FIRST_PORT);
        }
    }
    drop(moving);

    let attempts = scratch.gate().attempts().expect("the maps");
    let mut kept: BTreeMap<SealNumber, Vec<(u16, u64)>> = BTreeMap::new();
    let note = |key: &AttemptKey, attempt: &Attempt| {
        kept.entry(key.seal)
            .or_default()
            .push((key.dport, attempt.count));
    };
    attempts.each_attempt(note).expect("read");
    let all: usize = kept.values().map(Vec::len).sum();
    eprintln!("{all} attempts of {} seals are kept", kept.len());
    assert!(all <= MAX_ATTEMPTS as usize, "{all} are too many");
    assert!(all > MAX_ATTEMPTS as usize / 10 * 9, "only {all}");
    assert_eq!(kept[&last].len(), 2 * EACH as usize, "the newest are there");
    assert_eq!(kept[&first], [(FIRST_PORT, 2)], "the repeated one alone");
    assert!(!kept.contains_key(&seals[1].0), "older ones stayed");
    // Nothing of it is lost from the sums.
    let numbers: Vec<_> = seals.iter().map(|(number, _)| *number).collect();
    for (seal, refused) in attempts.totals(&numbers).expect("counters") {
        let again = u64::from(seal == first);
        assert_eq!(refused, u64::from(2 * EACH) + again, "seal {seal}");
    }
}
