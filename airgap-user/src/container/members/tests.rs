//! Tests of `members`.

use super::*;

#[test]
fn counts_every_set_of_capabilities() {
    let status = "Name:\tx\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000002\n\
                  CapEff:\t0000000000000000\nCapBnd:\t0000000000000008\nCapAmb:\t0000000000000010\n";
    assert_eq!(capabilities(status), Some(0b1_1011));
    // What is missing or is none is never good news.
    assert_eq!(capabilities(&status.replace("CapBnd", "x")), None);
    assert_eq!(capabilities(&status.replace("0010", "zz")), None);
}

#[test]
fn finds_the_first_line_of_a_name_only() {
    // A name cannot hold a line break: the kernel escapes it (fs/proc/array.c).
    assert_eq!(
        field("Name:\ta\\nSeccomp:\t0\nSeccomp:\t2\n", "Seccomp:"),
        Some("2")
    );
}

#[test]
fn looks_at_threads_of_this_process() {
    let mut budget = Budget::of(std::time::Duration::from_secs(10));
    let me = std::process::id();
    assert!(threads(me, usize::MAX, &mut budget).contains(&me));
    let mut members = Members::default();
    let threads = members.add(me, me, &Own::read(), &mut Seen::default(), &mut budget);
    assert!(threads > 0);
    assert!(members.host_user && members.host_pid.is_some());
    let [credentials] = members.credentials.as_slice() else {
        panic!("one task: {:?}", members.credentials);
    };
    // SAFETY: takes nothing.
    let uid = unsafe { libc::geteuid() };
    assert_eq!(credentials.users[1], uid);
    assert_eq!((members.networks.len(), members.mounts.len()), (1, 1));
    assert!(budget.skipped().is_empty());
}
