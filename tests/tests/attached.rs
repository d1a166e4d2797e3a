//! Where the hooks are attached: at the root, or only at those cgroups just below it that sealed
//! containers are in. Whatever is born elsewhere gets no socket, and what is refused while they
//! are moved is counted once.
//!
//! `AIRGAP_HOOKS` as in `hooks.rs`: without security hooks they stay at the root, and are replaced
//! there. `AIRGAP_MOVES` says how often.

use airgap::{
    container::Cgroup,
    events::{Event, Follower},
    gate::{Gate, Lock, Placing, Reading, Security},
    technique::Outcome,
};
use airgap_common::map::Stat;
use airgap_tests::airgap::expected_mechanism;
use airgap_tests::ftrace::FtraceOff;
use airgap_tests::scratch::{Network, Scratch, id, probe_in, reports, try_in};
use airgap_tests::{preempt, wait};
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process::{Child, Stdio};
use std::time::Duration;

/// How often hooks are replaced while calls are refused, unless `AIRGAP_MOVES` says otherwise.
const MOVES: u32 = 5;
/// Milliseconds for which calls are made.
const CALLS: &str = "4000";

/// Workloads that count their own refused calls: in the task, and as packets.
struct Phones(Vec<Child>);

impl Phones {
    fn begin(cgroup: &Cgroup) -> Self {
        let kinds = [("udp", "198.51.100.1"), ("dns", "127.0.0.2")];
        let start = |(kind, to)| {
            let args = ["phone", kind, CALLS, "--v4", to, "--v6", "2001:db8::1"];
            let mut probe = probe_in(cgroup, Network::Own, &args);
            probe.args(["--port", "20000"]).stdout(Stdio::piped());
            probe.spawn().expect("start the probe")
        };
        Self(kinds.map(start).into())
    }

    fn are_calling(&mut self) -> bool {
        self.0
            .iter_mut()
            .any(|phone| matches!(phone.try_wait(), Ok(None)))
    }

    /// How many calls were refused to them.
    fn refused(self) -> u64 {
        let counts = self.0.into_iter().map(|phone| {
            let out = phone.wait_with_output().expect("the probe's output");
            assert!(out.status.success(), "{}", out.status);
            let counts: BTreeMap<String, u64> = serde_json::from_slice(&out.stdout).expect("JSON");
            counts.values().sum::<u64>()
        });
        counts.sum()
    }
}

fn refused(scratch: &mut Scratch, number: u64) -> u64 {
    let (_, counters) = scratch.gate().state(number).expect("a seal");
    counters.refused()
}

/// Programs of one load after the other, which are attached side by side for a moment.
fn replace(scratch: &mut Scratch) {
    let lock = Lock::take().expect("lock");
    // What makes the gate be loaded again.
    fs::remove_file(scratch.place.pins.join("links/cgroup_rmdir")).expect("remove a pin");
    Gate::arm(&scratch.place, &lock).expect("arm it again");
}

/// Side by side both refuse, and one counts.
#[test]
fn what_is_refused_while_hooks_are_replaced_is_counted_once() {
    let wanted = std::env::var("AIRGAP_MOVES").ok();
    // An emulated processor takes long for each.
    let usual = expected_mechanism().map_or(MOVES, |_| 1);
    let wanted = wanted.map_or(usual, |n| n.parse().expect("AIRGAP_MOVES"));
    let mut scratch = Scratch::new("replaced", None);
    let number = scratch.seal(&id(90));
    let sealed = scratch.mkdir(&id(90));
    let mut follower = Follower::start(scratch.gate(), &[]).expect("follow");
    let (mut moves, mut called, mut told) = (0, 0, 0);
    while moves < wanted {
        let mut phones = Phones::begin(&sealed);
        while moves < wanted && phones.are_calling() {
            replace(&mut scratch);
            moves += 1;
            told += counts_of(&mut follower);
        }
        called += phones.refused();
    }
    assert!(called > 100, "{called} calls were refused");
    assert_eq!(refused(&mut scratch, number), called, "in {moves} moves");
    told += counts_of(&mut follower);
    assert!(told <= called, "{told} were told of {called}");
    println!("{moves} moves, {called} calls");
}

fn counts_of(follower: &mut Follower) -> u64 {
    let events = follower.poll().expect("poll").into_iter();
    let counts = events.map(|event| match event {
        Event::Denial(denial) => denial.count,
        _ => 0,
    });
    counts.sum()
}

/// A sealed cgroup in one that the hooks can be attached to, and one that is elsewhere.
struct World {
    scratch: Scratch,
    number: u64,
    sealed: Cgroup,
    open: Cgroup,
}

impl World {
    /// Where the hooks are attached; nowhere: the root.
    fn attached(&mut self) -> Vec<String> {
        let gate = self.scratch.gate();
        assert_eq!(gate.broken_links(), [""; 0]);
        gate.attached_below().expect("the gate's maps")
    }

    fn place(&mut self) -> bool {
        let lock = Lock::take().expect("lock");
        let placed = self
            .scratch
            .gate()
            .attach_where_needed(&Reading::default(), &lock);
        placed.expect("attach where needed")
    }

    fn placing(&mut self) -> Placing {
        self.scratch.gate().placing().expect("the gate's maps")
    }

    /// Errno of a UDP send, and the call that failed.
    fn udp(cgroup: &Cgroup) -> (i32, String) {
        let report = try_in(cgroup, Network::Own, "udp4", "m");
        (report.errno, report.detail)
    }

    fn is_sealed(&self, cgroup: &Cgroup) -> bool {
        Self::udp(cgroup) == (libc::EPERM, "sendto".into())
    }
}

/// `None`, said aloud, where this kernel runs no security hooks and need not.
fn world() -> Option<World> {
    let mut scratch = Scratch::new("attached", None);
    let security = scratch.gate().security();
    let Security::InForce(_) = security else {
        eprintln!("SKIPPED: the hooks stay at the root: {security:?}");
        assert!(expected_mechanism().is_none() || preempt::preempts());
        scratch.seal(&id(91));
        scratch.mkdir("airgap-test-top");
        scratch.mkdir(&format!("airgap-test-top/{}", id(91)));
        let lock = Lock::take().expect("lock");
        let moved = scratch
            .gate()
            .attach_where_needed(&Reading::default(), &lock);
        assert!(!moved.expect("attach where needed"));
        assert!(!scratch.gate().is_apart().expect("the gate's maps"));
        return None;
    };
    let number = scratch.seal(&id(91));
    scratch.mkdir("airgap-test-top");
    let sealed = scratch.mkdir(&format!("airgap-test-top/{}", id(91)));
    let open = scratch.mkdir("airgap-test-open");
    Some(World {
        scratch,
        number,
        sealed,
        open,
    })
}

type Step = (&'static str, fn(&mut World));

/// One gate for all, as in `hooks.rs`.
#[test]
fn the_hooks_are_where_sealed_containers_are() {
    let Some(mut world) = world() else {
        return;
    };
    let steps: [Step; 8] = [
        ("to single cgroups", to_single_cgroups),
        ("sockets of others", sockets_of_others_are_not_connected),
        ("born again", what_is_born_again_is_sealed_at_once),
        ("born elsewhere", what_is_born_elsewhere_gets_no_socket),
        ("quarantine", quarantine_is_at_the_root),
        ("calls meanwhile", calls_meanwhile_are_counted_once),
        ("silent hooks", silent_hooks_bring_them_back),
        ("the end", the_last_seal_takes_them_away),
    ];
    for (name, step) in steps {
        println!("step: {name}");
        step(&mut world);
    }
}

fn to_single_cgroups(world: &mut World) {
    assert_eq!(world.placing(), Placing::Less);
    assert!(world.place());
    assert_eq!(world.placing(), Placing::Right);
    assert!(!world.place());
    assert_eq!(world.attached(), ["/airgap-test-top"]);
    let missing = |world: &mut World, path| {
        world
            .scratch
            .gate()
            .missing_hooks(path)
            .expect("a query")
            .len()
    };
    let (sealed, open) = (world.sealed.path.clone(), world.open.path.clone());
    assert_eq!(missing(world, &sealed), 0);
    assert_eq!(missing(world, &open), 9, "nothing is called elsewhere");
    assert!(world.is_sealed(&world.sealed));
    assert_eq!(World::udp(&world.open).0, libc::ENETUNREACH);
}

/// A cgroup's own hooks run for its sockets alone.
fn sockets_of_others_are_not_connected(world: &mut World) {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let to = receiver.local_addr().expect("address").to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let fd = socket.as_raw_fd();
    // SAFETY: clears close-on-exec of a descriptor this test owns.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }, 0);
    let fd = fd.to_string();
    let connect = |cgroup: &Cgroup| {
        let mut probe = probe_in(cgroup, Network::Shared, &["inherit", &fd, &to]);
        reports(&mut probe).pop().expect("report")
    };
    let mut follower = Follower::start(world.scratch.gate(), &[]).expect("follow");
    let report = connect(&world.sealed);
    assert_eq!(
        (report.outcome, report.errno),
        (Outcome::Refused, libc::EPERM)
    );
    let denial = wait::within(Duration::from_secs(5), || {
        let events = follower.poll().expect("poll").into_iter();
        let mut denials = events.filter_map(|event| match event {
            Event::Denial(denial) => Some(*denial),
            _ => None,
        });
        denials.next()
    });
    let denial = denial.expect("a record of the refusal");
    assert_eq!((denial.hook, denial.reason), ("lsm", "foreign-socket"));
    let (ip, port) = denial.destination.expect("a destination");
    assert_eq!(std::net::SocketAddr::new(ip, port).to_string(), to);
    assert_eq!(connect(&world.open).outcome, Outcome::Sent);
}

fn what_is_born_again_is_sealed_at_once(world: &mut World) {
    fs::remove_dir(&world.sealed.path).expect("rmdir");
    fs::create_dir(&world.sealed.path).expect("mkdir");
    assert!(world.is_sealed(&world.sealed));
    assert_eq!(world.placing(), Placing::Right);
}

/// An engine was given another parent.
fn what_is_born_elsewhere_gets_no_socket(world: &mut World) {
    world.scratch.mkdir("airgap-test-other");
    let elsewhere = format!("airgap-test-other/docker-{}.scope", id(91));
    let elsewhere = world.scratch.mkdir(&elsewhere);
    assert_eq!(world.scratch.gate().stat(Stat::Unguarded), 1);
    assert_eq!(world.placing(), Placing::Unguarded);
    let (socket, eperm) = ("socket".to_owned(), libc::EPERM);
    for technique in ["udp4", "udp6", "tcp4", "packet-socket", "netlink-audit"] {
        let report = try_in(&elsewhere, Network::Own, technique, "m");
        assert_eq!(
            (report.errno, &report.detail),
            (eperm, &socket),
            "{report:?}"
        );
        let control = try_in(&world.open, Network::Own, technique, "m");
        assert!(control.errno != eperm, "{control:?}");
    }
    assert!(world.is_sealed(&world.sealed), "it is not concerned");
    let counted = refused(&mut world.scratch, world.number);
    let _ = try_in(&elsewhere, Network::Own, "udp4", "m");
    let counted = refused(&mut world.scratch, world.number) - counted;
    assert!(counted > 0, "they are counted by its seal");
    let number = world.number;
    let marked = world.scratch.gate().is_marked(elsewhere.id, 2, number);
    assert!(!marked.expect("the gate's maps"), "it is told as broken");

    let lock = Lock::take().expect("lock");
    let mended = world.scratch.gate().mend_unguarded(&lock);
    assert_eq!(mended.expect("mend"), 1);
    drop(lock);
    assert_eq!(world.scratch.gate().stat(Stat::Unguarded), 0);
    assert_eq!(world.attached(), ["/airgap-test-other", "/airgap-test-top"]);
    assert!(world.is_sealed(&elsewhere));
    assert_eq!(world.placing(), Placing::Right);

    // Its seal is where it was last, and nothing hangs where nothing is any more.
    fs::remove_dir(&elsewhere.path).expect("rmdir");
    let gone = wait::within(Duration::from_secs(60), || {
        world.place();
        (world.attached() == ["/airgap-test-top"]).then_some(())
    });
    assert!(gone.is_some(), "{:?}", world.attached());
}

fn quarantine_is_at_the_root(world: &mut World) {
    let switch = |world: &mut World, on| {
        let lock = Lock::take().expect("lock");
        let done = world.scratch.gate().set_quarantine(on, &lock);
        done.expect("switch quarantine");
    };
    switch(world, true);
    assert!(world.attached().is_empty());
    assert!(world.is_sealed(&world.sealed));
    assert!(!world.place(), "as long as it is on");
    switch(world, false);
    assert!(world.attached().is_empty());
    assert_eq!(world.placing(), Placing::Less);
    assert!(world.place());
    assert_eq!(world.attached(), ["/airgap-test-top"]);
}

fn calls_meanwhile_are_counted_once(world: &mut World) {
    let number = world.number;
    let before = refused(&mut world.scratch, number);
    let (mut called, mut moves) = (0, 0);
    while moves == 0 {
        let mut phones = Phones::begin(&world.sealed);
        while moves == 0 && phones.are_calling() {
            let lock = Lock::take().expect("lock");
            let gate = world.scratch.gate();
            gate.set_quarantine(true, &lock).expect("to the root");
            gate.set_quarantine(false, &lock).expect("off");
            let kernel = Reading::default();
            assert!(gate.attach_where_needed(&kernel, &lock).expect("back"));
            moves += 1;
        }
        called += phones.refused();
    }
    assert!(called > 100, "{called} calls were refused");
    assert_eq!(refused(&mut world.scratch, number) - before, called);
}

fn silent_hooks_bring_them_back(world: &mut World) {
    let Some(off) = FtraceOff::now() else {
        println!("ftrace: this kernel keeps it on");
        return;
    };
    assert_eq!(world.placing(), Placing::Wrong);
    assert!(world.place());
    assert!(world.attached().is_empty());
    assert!(world.is_sealed(&world.sealed));
    drop(off);
    assert_eq!(world.placing(), Placing::Less);
    assert!(world.place());
    assert_eq!(world.attached(), ["/airgap-test-top"]);
}

fn the_last_seal_takes_them_away(world: &mut World) {
    let lock = Lock::take().expect("lock");
    let gate = world.scratch.gate.take().expect("the gate stands");
    let mut gate = gate;
    gate.unseal(&[world.number], &lock).expect("unseal");
    assert!(gate.disarm_if_idle(&lock).expect("disarm"));
    assert!(!world.scratch.place.pins.exists());
    drop(lock);
    assert_eq!(World::udp(&world.sealed).0, libc::ENETUNREACH);
}
