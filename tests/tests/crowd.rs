//! The security hooks refuse without an exception: to many threads at once, while they are
//! replaced, and each gate's for itself. `AIRGAP_HOOKS` as in `hooks.rs`.

use airgap::{
    container::Cgroup,
    gate::{Gate, Lock, Mechanism, Security, Silence},
};
use airgap_tests::airgap::expected_mechanism;
use airgap_tests::preempt;
use airgap_tests::scratch::{Network, Scratch, id, probe_in};
use std::fs;
use std::io::Read as _;
use std::process::Stdio;

/// Many at once are refused as one is; and what a preempting kernel may pass over counts as no
/// cover, before anybody finds out.
#[test]
fn a_crowd_gets_through_no_hook_that_counts() {
    let mut scratch = Scratch::new("crowd", None);
    let before = scratch.gate().security();
    if before == Security::Absent {
        eprintln!("SKIPPED: this kernel does not run security hooks");
        assert_eq!(expected_mechanism(), None);
        return;
    }
    scratch.seal(&id(61));
    let sealed = scratch.mkdir(&id(61));
    let open = scratch.mkdir("airgap-test-crowd");
    let ask = |cgroup: &Cgroup| {
        let output = probe_in(cgroup, Network::Own, &["crowd", "2"]).output();
        let text = String::from_utf8(output.expect("run the probe").stdout).expect("text");
        let (got, asked) = text.trim().split_once(" of ").expect("two numbers");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        (number(got), number(asked))
    };
    let (got, asked) = ask(&open);
    assert!(got == asked && got > 0, "the control got {got} of {asked}");
    match before {
        Security::InForce(_) => {
            let (got, asked) = ask(&sealed);
            assert!(asked > 0 && got == 0, "{before:?}: got {got} of {asked}");
        }
        Security::Skipped(_) => assert!(preempt::preempts(), "{before:?}"),
        other => panic!("{other:?}"),
    }
    if expected_mechanism().is_some()
        && let Some(full) = preempt::Full::chosen()
    {
        let now = scratch.gate().security();
        let counts = now == Security::InForce(Mechanism::BpfLsm);
        assert!(counts || matches!(now, Security::Skipped(_)), "{now:?}");
        drop(full);
        assert_eq!(scratch.gate().security(), before);
    }
}

/// A gate that another one answers for would end with that one; and hooks that are replaced
/// refuse until the new ones do.
#[test]
fn each_gate_is_proven_by_its_own_hooks() {
    let mut first = Scratch::new("first", None);
    let mut second = Scratch::new("second", None);
    let security = second.gate().security();
    let Security::InForce(_) = security else {
        eprintln!("SKIPPED: hooks that are no cover here: {security:?}");
        assert!(expected_mechanism().is_none() || preempt::preempts());
        return;
    };
    assert_eq!(first.gate().security(), security);
    drop(first);
    assert_eq!(second.gate().security(), security, "its own");

    second.seal(&id(60));
    let sealed = second.mkdir(&id(60));
    let mut crowd = probe_in(&sealed, Network::Own, &["crowd", "10"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the probe");
    fs::remove_file(second.place.pins.join("links/lsm_receive")).expect("remove the pin");
    assert_eq!(second.gate().security(), Security::Silent(Silence::Broken));
    let lock = Lock::take().expect("lock");
    second.gate = Some(Gate::arm(&second.place, &lock).expect("arm again"));
    drop(lock);
    assert_eq!(second.gate().security(), security, "attached anew");
    let mut said = String::new();
    let out = crowd.stdout.as_mut().expect("stdout");
    out.read_to_string(&mut said).expect("read");
    crowd.wait().expect("wait");
    println!("while hooks were replaced a crowd got {}", said.trim());
    assert!(said.starts_with("0 of "), "{said}");
}
