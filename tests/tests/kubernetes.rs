//! Promise: a pod whose manifest asks for it is sealed before its first instruction, by what its
//! runtime asks; or it is not made, and its event says why. Under quarantine that holds whenever
//! that is dead, too.

use airgap_tests::airgap::{number_of, sealed};
use airgap_tests::beacon::{self, assert_refused, assert_sent};
use airgap_tests::containerd::Containerd;
use airgap_tests::cri::{Pod, PodSpec};
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, SERVICE_PORT, airgap, http, wait};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

struct World {
    // In this order: the plugin hears of the pods' ends.
    containerd: Containerd,
    plugin: Watch,
    log: PathBuf,
    args: Vec<String>,
    _anchor: Container,
    outside: Outside,
}

impl World {
    fn new(args: &[&str]) -> Self {
        let outside = Outside::new();
        // A bridge that just came up is no way for IPv6 yet.
        let anchor = outside.container("anchor").run();
        let containerd = Containerd::start(&outside);
        let log = PathBuf::from(format!("/run/airgap-test-nri-{}.log", std::process::id()));
        drop(fs::remove_file(&log));
        let plugin = Watch::asked(&containerd.nri(), args, &log);
        Self {
            containerd,
            plugin,
            log,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            _anchor: anchor,
            outside,
        }
    }

    /// A pod with one first-instruction sender, which serves.
    fn pod(&self, spec: &PodSpec, attempt: u32) -> Result<Pod<'_>, String> {
        let pod = Pod::run(&self.containerd, spec, attempt)?;
        pod.launch("web", attempt, &beacon(&self.outside))?;
        Ok(pod)
    }

    #[track_caller]
    fn refused(&self, spec: &PodSpec) -> String {
        match self.pod(spec, 0) {
            Err(why) => why,
            Ok(_) => panic!("{} was made", spec.name),
        }
    }

    /// Starts the plugin again, and waits until it has judged what there is.
    #[track_caller]
    fn ask_again(&mut self) {
        let args: Vec<_> = self.args.iter().map(String::as_str).collect();
        let socket = self.containerd.nri();
        self.plugin.again(&socket, &args, &self.log);
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    fn silence(&self) {
        let arrivals = self.outside.arrivals();
        assert!(arrivals.is_empty(), "{arrivals:?}\n{}", self.told());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of airgap nri\n{}\n---", self.told());
        }
        drop(fs::remove_file(&self.log));
    }
}

/// The command line, without the image that Docker's begins with.
fn beacon(outside: &Outside) -> Vec<String> {
    beacon::command(outside).split_off(1)
}

#[track_caller]
fn status(pod: &PodSpec) -> Value {
    let out = airgap(&["status", "--json", &pod.reference()]);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

#[test]
fn a_manifest_seals_from_the_first_instruction() {
    let world = World::new(&[]);
    let control = world.pod(&PodSpec::open("control"), 0).expect("it is made");
    assert_sent(&control.tried("web", 0));
    drop(control);
    world.outside.clear();

    let mut spec = PodSpec::sealed("web");
    // Nobody but the pod's manifest is heard.
    spec.of_containers = vec![("airgap.dev/seal", "false".into())];
    spec.no_new_privs = true;
    let pod = world.pod(&spec, 0).expect("it is made");
    assert_refused(&pod.tried("web", 0));
    let said = status(&spec);
    assert_eq!(said["container"]["name"], spec.reference(), "{said}");
    assert_eq!(said["running"], true, "{said}");
    assert_eq!(said["problems"], Value::Array(vec![]), "{said}");
    assert_ne!(said["state"], "opened", "{said}");
    let port = format!("{SERVICE_PORT}/tcp");
    assert_eq!(said["ports"], serde_json::json!([port]), "{said}");

    // Clients outside, and the kubelet, whose probes come from the node.
    world.silence();
    let body = world.outside.get(pod.address(), SERVICE_PORT, "/");
    body.expect("the sealed service answers");
    let probe = SocketAddr::new(pod.address(), SERVICE_PORT);
    http::get(probe, "/").expect("it answers the node");
    world.outside.clear();

    // Another container of it, and the same once more.
    pod.launch("side", 0, &beacon(&world.outside))
        .expect("it starts");
    assert_refused(&pod.tried("side", 0));
    let again = pod.launch("side", 1, &beacon(&world.outside));
    assert_refused(&pod.tried("side", 1));
    pod.end(&again.expect("it starts"));

    let tail = ["tail", "--json", "--since", "1h", "--no-follow"];
    let tail = airgap(&[&tail[..], &[&spec.reference()]].concat());
    let told = tail.stdout.lines().map(serde_json::from_str::<Value>);
    let named = |event: &Value| event["container"]["name"] == spec.reference().as_str();
    assert!(
        told.flatten().any(|event| named(&event)),
        "{}",
        tail.describe()
    );
    // Each way out, from one of its containers, with a control beside it.
    let proof = airgap(&["verify", "--json", &spec.reference()]);
    let proven: Value =
        serde_json::from_str(&proof.stdout).unwrap_or_else(|e| panic!("{e}: {}", proof.describe()));
    assert_eq!(proven["verdict"], "PROVEN", "{}", proof.describe());
    proof.expect_code(0);
    world.outside.clear();
    for refused in [
        &["attach", "-d"][..],
        &["allow", "--to", "198.51.100.10:443"],
    ] {
        let out = airgap(&[refused, &[&spec.reference()]].concat());
        let hint = out.stderr.contains("airgap.dev/seal");
        assert!(out.code != 0 && hint, "{}", out.describe());
    }

    // A sandbox that is made anew is the same pod's.
    assert_eq!(sealed(), [spec.reference()]);
    pod.remove().expect("it goes");
    let pod = world.pod(&spec, 1).expect("it is made anew");
    assert_refused(&pod.tried("web", 1));
    assert_eq!(status(&spec)["problems"], Value::Array(vec![]));

    airgap(&["detach", &spec.reference()]).expect_code(0);
    assert!(sealed().is_empty());
    // With the last seal the gate was taken down; as the kubelet tries again.
    let mut attempt = 0;
    wait::until("it starts, sealed again", wait::SOON, || {
        attempt += 1;
        pod.launch("late", attempt, &beacon(&world.outside)).ok()
    });
    assert_refused(&pod.tried("late", attempt));
    world.silence();
    drop(pod);
    wait::until("its seal goes with it", wait::SOON, || {
        sealed().is_empty().then_some(())
    });
}

#[test]
fn what_cannot_be_sealed_is_not_made() {
    let dir = PathBuf::from(format!("/run/airgap-test-ceiling-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("mkdir");
    fs::write(dir.join("airgap.toml"), "").expect("a configuration");
    let ceiling = "accept = ['seccomp', 'capability']\nports = ['5000-6000']\n";
    fs::write(dir.join("ceiling.toml"), ceiling).expect("a ceiling");
    let config = dir.join("airgap.toml").display().to_string();
    let world = World::new(&["--config", &config, "--allow-accept", "seccomp"]);
    // Each a pod of its own: of one that is refused a sandbox may be there for a while.
    let mut count = 0;
    let mut spec = || {
        count += 1;
        PodSpec::sealed(&format!("web-{count}"))
    };
    let gateway = format!("{}/32", world.outside.plan.host4);
    let mut host_network = spec();
    host_network.host_network = true;
    let mut capable = spec();
    capable.capabilities = vec!["SYS_ADMIN"];
    let mut unconfined = spec();
    unconfined.unconfined = true;
    let mut elsewhere = spec();
    elsewhere.cgroup = Some(Containerd::CGROUPS.into());
    for (spec, why) in [
        (spec().with("airgap.dev/port", "80"), "airgap.dev/port:"),
        (spec().with("airgap.seal", "true"), "write airgap.dev/seal"),
        (spec().with("airgap.dev/ports", "80"), "ceiling"),
        (spec().with("airgap.dev/to", "198.51.100.10:443"), "ceiling"),
        (
            spec().with("airgap.dev/accept", "capability"),
            "no label accept",
        ),
        (spec().with("airgap.dev/from", &gateway), "proxied-clients"),
        (host_network, "host-network"),
        (capable, "CAP_SYS_ADMIN"),
        (unconfined.clone(), "seccomp"),
        (elsewhere, "not in one of its own"),
    ] {
        let said = world.refused(&spec);
        assert!(
            said.contains(why) && said.contains(&spec.reference()),
            "{why}: {said}"
        );
        // What was sealed at its start, and refused at its container's, goes with it.
        wait::until(why, wait::SOON, || sealed().is_empty().then_some(()));
    }
    // The control: what was refused is made once it is accepted, or right.
    let accepted = unconfined.with("airgap.dev/accept", "seccomp");
    let pod = world.pod(&accepted, 1).expect("it is made");
    assert_refused(&pod.tried("web", 1));
    assert_eq!(
        status(&accepted)["accepted"],
        serde_json::json!(["seccomp"])
    );
    world.silence();
    drop(pod);
    drop(fs::remove_dir_all(dir));
}

/// What an attempt made, and its number. What was not judged in time is refused, as on a busy
/// machine, and tried again.
#[track_caller]
fn as_a_kubelet<T>(first: u32, mut make: impl FnMut(u32) -> Result<T, String>) -> (u32, T) {
    for attempt in first..first + 10 {
        match make(attempt) {
            Ok(made) => return (attempt, made),
            Err(why) if why.contains("not judged within") => println!("tried again: {why}"),
            Err(why) => panic!("{why}"),
        }
    }
    panic!("never judged in time");
}

/// `AIRGAP_PODS`: how many; the full number is 200.
#[test]
fn pods_come_restart_and_go_without_a_packet() {
    let mut world = World::new(&[]);
    let count = number_of("AIRGAP_PODS", 4);
    for number in 0..count {
        let spec = PodSpec::sealed(&format!("pod-{number}"));
        let (at, pod) = as_a_kubelet(0, |attempt| world.pod(&spec, attempt));
        assert_refused(&pod.tried("web", at));
        let command = beacon(&world.outside);
        let (at, _) = as_a_kubelet(at + 1, |attempt| pod.launch("web", attempt, &command));
        assert_refused(&pod.tried("web", at));
        if number % 50 == 1 {
            // The runtime ends and comes back; pods live on.
            drop(pod);
            world.containerd.kill();
            world.containerd.run();
            world.plugin.hear("READY=1");
        }
    }
    world.silence();
    wait::until("all seals go", wait::SOON, || {
        sealed().is_empty().then_some(())
    });
}

/// When the plugin is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before the n-th call of the kubelet's.
    Before(usize),
    /// So long after the first.
    After(Duration),
    /// It hangs from the first call on.
    Hangs,
}

/// `AIRGAP_MOMENTS`: how many; the full number is 20.
#[test]
fn under_quarantine_a_dead_plugin_means_denied() {
    let mut world = World::new(&["--quarantine"]);
    let count = number_of("AIRGAP_MOMENTS", 5);
    for number in 0..count {
        let moment = match number {
            0..4 => Moment::Before(number as usize),
            4 => Moment::Hangs,
            later => Moment::After(Duration::from_millis(u64::from(later - 5) * 40)),
        };
        let spec = PodSpec::sealed(&format!("asks-{number}"));
        let open = PodSpec::open(&format!("open-{number}"));
        let mut made = Vec::new();
        made.push(die(&mut world, &spec, moment));
        // While nobody judges, whoever asks for nothing is denied, too.
        made.push(steps(&world.containerd, &world.outside, &open, |_| {}));
        world.silence();
        world.ask_again();
        world.silence();
        for (spec, failed) in [&spec, &open].into_iter().zip(made) {
            let sealed = !spec.annotations.is_empty();
            println!("{moment:?} {}: {failed:?}", spec.name);
            // As the kubelet tries again; and what was made meanwhile is not stuck.
            let pod = world
                .pod(spec, 1)
                .unwrap_or_else(|why| panic!("{moment:?}: {why}"));
            let tried = pod.tried("web", 1);
            match sealed {
                true => {
                    assert_refused(&tried);
                    assert_eq!(status(spec)["problems"], Value::Array(vec![]), "{moment:?}");
                    world.silence();
                }
                false => {
                    assert_sent(&tried);
                    world.outside.clear();
                }
            }
        }
    }
    let told = world.told();
    assert!(told.contains("has dropped airgap"), "{told}");
}

/// Makes a pod, and kills the plugin meanwhile; why it could not be made.
fn die(world: &mut World, spec: &PodSpec, moment: Moment) -> Option<String> {
    let World {
        containerd,
        plugin,
        outside,
        ..
    } = world;
    let failed = match moment {
        Moment::Before(step) => steps(containerd, outside, spec, |at| {
            if at == step {
                plugin.kill();
            }
        }),
        Moment::Hangs => {
            plugin.pause();
            let failed = steps(containerd, outside, spec, |_| {});
            plugin.resume();
            // It hears that it was dropped, and comes back by itself.
            plugin.hear("READY=1");
            failed
        }
        Moment::After(delay) => thread::scope(|scope| {
            let pod = scope.spawn(|| steps(containerd, outside, spec, |_| {}));
            wait::within(delay, || pod.is_finished().then_some(()));
            plugin.kill();
            pod.join().expect("it ends")
        }),
    };
    plugin.kill();
    failed
}

/// A pod and its container, a call after the other, with what comes before each; what they tried
/// is refused. Why it could not be made.
fn steps(
    containerd: &Containerd,
    outside: &Outside,
    spec: &PodSpec,
    mut before: impl FnMut(usize),
) -> Option<String> {
    before(0);
    let made = Pod::run(containerd, spec, 0).and_then(|pod| {
        before(1);
        let container = pod.create("web", 0, &beacon(outside))?;
        before(2);
        pod.start(&container)?;
        before(3);
        assert_refused(&pod.tried("web", 0));
        Ok(())
    });
    made.err()
}
