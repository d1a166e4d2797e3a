//! The gate without Docker: real BPF on scratch cgroups, with pins and limits of its own.

use std::{fs, process::Command};

use airgap::{
    container::Cgroup,
    gate::{Gate, Lock},
    policy::Cidr,
};
use airgap_common::map::{Policy, Stat, name};
use airgap_tests::scratch::{Network, Scratch, id, try_in};
use airgap_tests::sweep;
use aya::maps::{Array, HashMap, Map, MapData};

const EPERM: i32 = libc::EPERM;
const ENETUNREACH: i32 = libc::ENETUNREACH;

/// Errno of a UDP send from inside `cgroup`, in a network namespace without routes: EPERM where
/// it is sealed, ENETUNREACH where nothing stands in the way.
fn udp_errno(cgroup: &Cgroup) -> i32 {
    try_in(cgroup, Network::Own, "udp4", "airgap").errno
}

/// Errno of a raw socket's send, the same: also where there is no policy that could ask for EPERM.
fn raw_errno(cgroup: &Cgroup) -> i32 {
    try_in(cgroup, Network::Own, "raw4-icmp", "airgap").errno
}

#[test]
fn a_cgroup_with_a_sealed_id_is_born_sealed() {
    let mut scratch = Scratch::new("born", None);
    let number = scratch.seal(&id(1));
    let name = |n: u32| id(n);
    for (dir, errno) in [
        (name(1), EPERM),
        (format!("docker-{}.scope", name(1)), EPERM),
        (format!("libpod-{}.scope", name(1)), EPERM),
        (format!("libpod-{}", name(1)), EPERM),
        (format!("libpod-payload-{}", name(1)), EPERM),
        (format!("cri-containerd-{}.scope", name(1)), EPERM),
        (format!("crio-{}.scope", name(1)), EPERM),
        (format!("crio-{}", name(1)), EPERM),
        (format!("nerdctl-{}.scope", name(1)), EPERM),
        (name(2), ENETUNREACH),
        (format!("libpod-conmon-{}.scope", name(1)), ENETUNREACH),
        (format!("crio-conmon-{}.scope", name(1)), ENETUNREACH),
        (format!("other-{}.scope", name(1)), ENETUNREACH),
        (format!("x{}", name(1)), ENETUNREACH),
        (format!("docker-{}", name(1)), ENETUNREACH),
        (format!("docker-{}.scopf", name(1)), ENETUNREACH),
        (format!("{}.scope", name(1)), ENETUNREACH),
        (format!("{}{}", name(1), "f".repeat(180)), ENETUNREACH),
        (format!("{}-x", name(1)), ENETUNREACH),
        (format!("docker-{}.slice", name(1)), ENETUNREACH),
        ("airgap-test-plain".to_owned(), ENETUNREACH),
    ] {
        let cgroup = scratch.mkdir(&dir);
        assert_eq!(udp_errno(&cgroup), errno, "{dir}");
        let marked = scratch
            .gate()
            .is_marked(cgroup.id, 1, number)
            .expect("read");
        assert_eq!(marked, errno == EPERM, "{dir}");
    }
}

/// By its path alone: whatever is made there, again and again, and nothing else.
#[test]
fn a_cgroup_at_a_sealed_path_is_born_sealed() {
    let mut scratch = Scratch::new("paths", None);
    let number = scratch.seal(&id(90));
    let outer = scratch.mkdir("airgap-test-slice");
    let root = scratch.place.cgroup.clone();
    let path = |relative: &str| {
        let within = outer.path.strip_prefix(&root).expect("below the root");
        format!("/{}/{relative}", within.display())
    };
    let long = "x".repeat(252 - path("").len());
    let lock = Lock::take().expect("lock");
    for relative in ["nginx.service", &format!("{long}yz")] {
        let gate = scratch.gate();
        gate.seal_path(number, &path(relative), &lock)
            .expect("seal");
    }
    drop(lock);
    let mut ids = Vec::new();
    for (relative, errno) in [
        ("nginx.service", EPERM),
        ("nginx.service", EPERM),
        ("nginx.servic", ENETUNREACH),
        ("nginx.service2", ENETUNREACH),
        (&format!("{long}yz"), EPERM),
        (&format!("{long}y"), ENETUNREACH),
        (&format!("{long}yzz"), ENETUNREACH),
        ("other.service", ENETUNREACH),
        ("other.service/nginx.service", ENETUNREACH),
    ] {
        let cgroup = scratch.mkdir(&format!("airgap-test-slice/{relative}"));
        assert_eq!(udp_errno(&cgroup), errno, "{relative}");
        let marked = scratch.gate().cgroups_of(number).expect("read");
        assert_eq!(marked.contains(&cgroup.id), errno == EPERM, "{relative}");
        if errno == EPERM {
            let below = scratch.mkdir(&format!("airgap-test-slice/{relative}/below"));
            assert_eq!(udp_errno(&below), EPERM, "{relative}");
            fs::remove_dir(&below.path).expect("remove");
            fs::remove_dir(&cgroup.path).expect("remove");
        }
        ids.push(cgroup.id);
    }
    assert_ne!(ids[0], ids[1], "another one at the same path");
    let lock = Lock::take().expect("lock");
    let known = scratch.gate().path_of(number).expect("read");
    assert!(known.is_some_and(|known| known.starts_with(&path(""))));
    scratch.gate().unseal(&[number], &lock).expect("unseal");
    drop(lock);
    assert_eq!(scratch.gate().path_of(number).expect("read"), None);
    let free = scratch.mkdir("airgap-test-slice/nginx.service");
    assert_eq!(udp_errno(&free), ENETUNREACH, "its seal was lifted");
}

#[test]
fn what_is_nested_is_covered_and_fills_no_map() {
    let mut scratch = Scratch::new("nested", None);
    let number = scratch.seal(&id(3));
    let top = scratch.mkdir(&id(3));
    let mut path = id(3);
    let mut deepest = top.clone();
    // Deeper than the levels the gate looks at, and with the container's own id as a name.
    for _ in 0..14 {
        path = format!("{path}/{}", id(3));
        deepest = scratch.mkdir(&path);
    }
    assert_eq!(udp_errno(&deepest), EPERM);
    assert_eq!(scratch.gate().cgroups_of(number).expect("read"), [top.id]);
}

#[test]
fn a_full_map_denies_the_container_and_nobody_else() {
    let mut scratch = Scratch::new("full", Some(2));
    let ids: Vec<_> = (10..14).map(id).collect();
    for id in &ids {
        scratch.seal(id);
    }
    let cgroups: Vec<_> = ids.iter().map(|id| scratch.mkdir(id)).collect();
    let bystander = scratch.mkdir("airgap-test-bystander");
    let overflowed = scratch.gate().stat(Stat::Overflowed);
    assert!(
        overflowed >= 1,
        "four sealed cgroups fitted into a map for two"
    );
    for cgroup in &cgroups {
        assert_eq!(raw_errno(cgroup), EPERM, "{}", cgroup.path.display());
    }
    assert_eq!(raw_errno(&bystander), ENETUNREACH);
}

#[test]
fn what_was_let_go_cannot_fill_the_map() {
    // Other tests' containers would be denied meanwhile; on a machine of its own there are none.
    let _turn = std::env::var_os("AIRGAP_HOOKS")
        .is_none()
        .then(sweep::take_turn);
    let mut scratch = Scratch::new("crowd", Some(3));
    let lock = Lock::take().expect("lock");
    scratch.gate().set_quarantine(true, &lock).expect("on");
    let outer = scratch.mkdir(&id(40));
    let denied = raw_errno(&outer);
    let key = id(40).into_bytes().try_into().expect("64 digits");
    let gate = scratch.gate();
    gate.let_go(&key, std::slice::from_ref(&outer), &lock)
        .expect("let go");
    let path = |n: u32| format!("{}/{}", id(40), id(n));
    let nested: Vec<_> = (41..45).map(|n| scratch.mkdir(&path(n))).collect();
    let deep = scratch.mkdir(&format!("{}/{}", path(41), id(46)));
    let unjudged = scratch.mkdir(&id(47));
    let (errnos, unjudged): (Vec<_>, _) = (
        nested.iter().chain([&deep]).map(raw_errno).collect(),
        raw_errno(&unjudged),
    );
    let overflowed = scratch.gate().stat(Stat::Overflowed);
    scratch.gate().set_quarantine(false, &lock).expect("off");
    drop(lock);
    assert_eq!((denied, unjudged), (EPERM, EPERM));
    assert_eq!(errnos, [ENETUNREACH; 5], "an inner container is denied");
    assert_eq!(overflowed, 0, "an inner container fills the map");
}

#[test]
fn a_cgroup_too_deep_to_guard_gets_no_process() {
    let mut scratch = Scratch::new("deep", None);
    scratch.seal(&id(20));
    let mut path = String::from("airgap-test-deep");
    scratch.mkdir(&path);
    for level in 2..=12 {
        path = format!("{path}/{level}");
        scratch.mkdir(&path);
    }
    let dir = scratch.place.cgroup.join(&path).join(id(20));
    let status = Command::new("mkdir").arg(&dir).status().expect("run mkdir");
    scratch.remember(dir);
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
}

#[test]
fn lifting_the_seal_opens_the_live_cgroup_and_leaves_nothing() {
    let mut scratch = Scratch::new("lift", None);
    let number = scratch.seal(&id(30));
    let cgroup = scratch.mkdir(&id(30));
    assert_eq!(udp_errno(&cgroup), EPERM);
    let lock = Lock::take().expect("lock");
    let lifted = scratch.gate().unseal(&[number], &lock).expect("unseal");
    let [lifted] = &lifted[..] else {
        panic!("{lifted:?}");
    };
    assert_eq!((lifted.cgroups, lifted.denials), (1, 1));
    assert_eq!(udp_errno(&cgroup), ENETUNREACH);
    let again = scratch.mkdir(&format!("docker-{}.scope", id(30)));
    assert_eq!(udp_errno(&again), ENETUNREACH);
    let gate = scratch.gate.take().expect("the gate stands");
    assert!(gate.disarm_if_idle(&lock).expect("disarm"));
    assert!(!scratch.place.pins.parent().expect("parent").exists());
}

#[test]
fn what_a_killed_attach_left_goes_once_another_stands() {
    let mut scratch = Scratch::new("torn", None);
    let torn = scratch.seal(&id(60));
    let cgroup = scratch.mkdir(&id(60));
    // As if the attach had been killed before its last write, or a detach after its first.
    let pin = scratch.place.pins.join("maps/IDS");
    let ids = Map::from_map_data(MapData::from_pin(pin).expect("the pin")).expect("a map");
    let mut ids = HashMap::<_, [u8; 64], u64>::try_from(ids).expect("its layout");
    ids.remove(&id(60).as_bytes().try_into().expect("64 digits"))
        .expect("remove");
    assert_eq!(scratch.gate().cgroups_of(torn).expect("read"), [cgroup.id]);

    let number = scratch.seal(&id(60));
    let lock = Lock::take().expect("lock");
    let gate = scratch.gate();
    gate.seal_cgroup(number, &cgroup, &lock).expect("seal");
    assert_eq!(gate.drop_replaced(&lock).expect("drop"), 1);
    let left: Vec<_> = gate.seals().expect("read").iter().map(|s| s.0).collect();
    assert_eq!(left, [number]);
    assert_eq!(gate.cgroups_of(number).expect("read"), [cgroup.id]);
    assert_eq!(gate.drop_replaced(&lock).expect("drop"), 0);
    assert_eq!(udp_errno(&cgroup), EPERM);
}

#[test]
fn a_missing_link_is_noticed_and_mended() {
    let mut scratch = Scratch::new("mend", None);
    scratch.seal(&id(40));
    let cgroup = scratch.mkdir(&id(40));
    fs::remove_file(scratch.place.pins.join("links/sendmsg4")).expect("remove the pin");
    let broken = scratch.gate().broken_links();
    assert_eq!(broken, ["sendmsg4: its pin is gone"]);
    assert_eq!(
        scratch.gate().missing_hooks(&cgroup.path).expect("query"),
        ["sendmsg4"]
    );
    // Egress still stands in the way.
    scratch.gate = Some(Gate::arm(&scratch.place, &Lock::take().expect("lock")).expect("arm"));
    assert!(scratch.gate().broken_links().is_empty());
    assert!(
        scratch
            .gate()
            .missing_hooks(&cgroup.path)
            .expect("query")
            .is_empty()
    );
    assert_eq!(udp_errno(&cgroup), EPERM, "the seal outlives the mending");
}

#[test]
fn a_change_that_was_cut_short_is_settled_by_the_next_arm() {
    let mut scratch = Scratch::new("odd", None);
    scratch.seal(&id(41));
    for mended in [false, true] {
        let pin = scratch.place.pins.join("maps").join(name::EPOCH);
        let map = Map::from_map_data(MapData::from_pin(pin).expect("open")).expect("use");
        let mut epoch: Array<_, u32> = map.try_into().expect("its layout");
        let now = epoch.get(&0, 0).expect("read");
        epoch.set(0, now | 1, 0).expect("write");
        assert!(!scratch.gate().is_settled().expect("read"));
        if mended {
            fs::remove_file(scratch.place.pins.join("links/sendmsg4")).expect("remove the pin");
        }
        scratch.gate = Some(Gate::arm(&scratch.place, &Lock::take().expect("lock")).expect("arm"));
        assert!(scratch.gate().is_settled().expect("read"), "{mended}");
        assert_eq!(epoch.get(&0, 0).expect("read"), (now | 1) + 1);
    }
}

#[test]
fn no_client_is_not_any_client() {
    let mut scratch = Scratch::new("nobody", None);
    let number = scratch.seal(&id(70));
    let clients = scratch.gate().clients_of(number).expect("read");
    assert_eq!(clients, [], "any, by the policy's own flag");
    // As if those that it names had been lost.
    let (policy, _) = scratch.gate().state(number).expect("in force");
    let pin = scratch.place.pins.join("maps").join(name::POLICIES);
    let map = Map::from_map_data(MapData::from_pin(pin).expect("the pin")).expect("a map");
    let mut policies = HashMap::<_, u64, Policy>::try_from(map).expect("its layout");
    let limited = Policy { flags: 0, ..policy };
    policies.insert(number, limited, 0).expect("write");
    let clients = scratch.gate().clients_of(number).expect("read");
    assert_eq!(clients, [Cidr::NOBODY]);
}

/// The verifier of every kernel must have room to spare: it gives up at a million steps.
#[test]
fn programs_stay_far_below_the_verifiers_limit() {
    const LIMIT: u32 = 900_000;
    let mut scratch = Scratch::new("steps", None);
    scratch.seal(&id(1));
    let mut most = (0, String::new());
    for program in aya::programs::loaded_programs().map_while(Result::ok) {
        let name = program.name_as_str().unwrap_or_default().to_owned();
        // Before Linux 5.16 the kernel does not say.
        if let Some(steps) = program.verified_instruction_count()
            && name.starts_with("airgap_")
        {
            most = most.max((steps, name));
        }
    }
    println!("steps: {} of {}", most.0, most.1);
    assert!(most.0 < LIMIT, "{} takes {} steps", most.1, most.0);
}
