//! Promise: no pretend. Which veth is a container's is not guessed from indices, which repeat
//! across namespaces: a wrong one would be guarded in its place, and its container cut off.

use airgap::{container::interfaces, host::netns::Netns};
use airgap_tests::{cmd, wait};
use std::{
    fs,
    process::{Child, Command},
};

/// A process in a network namespace of its own, which goes with it and takes its veths along.
struct Lone(Child);

impl Lone {
    fn new() -> Self {
        // It must not outlive a test that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "-n", "sleep", "300"])
            .spawn()
            .expect("start setpriv");
        let lone = Self(child);
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        wait::until("it is in a namespace of its own", wait::SOON, || {
            let of_it = of(&lone.pid().to_string());
            (of_it.is_some() && of_it != of("self")).then_some(())
        });
        lone
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The other end of its interface of this index on the host, by name. There may be others:
    /// some modules make one in every namespace.
    fn host_end(&self, index: u32) -> Option<String> {
        let netns = Netns::of(self.pid()).expect("its namespace");
        let found = interfaces([&netns]).expect("its interfaces");
        let name = format!("eth{index}");
        let interface = found.into_iter().find(|i| i.name == name);
        interface.expect("the interface").host.map(|end| end.name)
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One end where `near` runs, of this name and index, the other in the namespace of `far`.
fn veth(near: &str, name: &str, index: u32, far: &Lone, far_index: u32) {
    let far = far.pid();
    cmd::ok(&format!(
        "{near}ip link add {name} index {index} type veth peer index {far_index} name eth{far_index} netns {far}"
    ));
}

#[test]
fn a_pair_is_known_by_its_namespaces_too() {
    let (contained, engine, other) = (Lone::new(), Lone::new(), Lone::new());
    // An engine with a namespace of its own, as rootless ones have.
    let inside = format!("nsenter -t {} -n ", engine.pid());
    veth(&inside, "agti0", 50_020, &contained, 50_010);
    veth("", "agti1", 50_020, &other, 50_010);
    let end = contained.host_end(50_010);
    assert_eq!(end, None, "its other end is not here");
    assert_eq!(other.host_end(50_010), Some("agti1".into()));
    veth("", "agti3", 50_040, &contained, 50_041);
    assert_eq!(contained.host_end(50_010), None);
    assert_eq!(contained.host_end(50_041), Some("agti3".into()));
}

#[test]
fn both_ends_may_have_one_index() {
    let contained = Lone::new();
    veth("", "agti2", 50_030, &contained, 50_030);
    assert_eq!(contained.host_end(50_030), Some("agti2".into()));
}
