//! Promise: told live, and never a lost count. What the workload counts of its own refused calls
//! is what the events add up to, whoever watches and whatever else goes on.

use airgap_tests::airgap::seal;
use airgap_tests::kernel;
use airgap_tests::session::Session;
use airgap_tests::{Container, Outside, Tail, airgap_ok, wait};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PORT: u16 = 20_000;
/// How long the short soak takes, unless `AIRGAP_SOAK_SECONDS` says otherwise.
const SOAK: u64 = 8;

/// Refused calls by `TRANSPORT ADDRESS PORT`.
type Counts = BTreeMap<String, u64>;

/// A workload in a container, running.
struct Phone(Child);

impl Phone {
    fn start(outside: &Outside, container: &Container, kind: &str, time: Duration) -> Self {
        let (v4, v6) = (&outside.plan.outside4, &outside.plan.outside6);
        let child = Command::new("docker")
            .args(["exec", &container.id, "airgap-probe", "phone", kind])
            .arg(time.as_millis().to_string())
            .args(["--v4", &v4.to_string(), "--v6", &v6.to_string()])
            .args(["--port", &PORT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start docker exec");
        Self(child)
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end, and says what it counted.
    fn counts(self) -> Counts {
        let out = self.0.wait_with_output().expect("the workload's output");
        assert!(out.status.success(), "{}", out.status);
        serde_json::from_slice(&out.stdout).expect("counts as JSON")
    }
}

fn count(event: &Value) -> u64 {
    event["airgap"]["count"].as_u64().unwrap_or(0)
}

/// Sums of a container's events.
fn told(tail: &Tail, container: &Container) -> Counts {
    let mut counts = Counts::new();
    for event in tail.events() {
        if event["container"]["id"] == container.id.as_str() {
            *counts.entry(destination(&event)).or_default() += count(&event);
        }
    }
    counts
}

/// Sums of the events by container id, taken as they come: a long soak has millions.
#[derive(Default)]
struct Sums(BTreeMap<String, Counts>);

impl Sums {
    fn take(&mut self, tail: &Tail) {
        for line in tail.take_lines() {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            let container = event["container"]["id"].as_str().unwrap_or("?");
            let counts = self.0.entry(container.to_owned()).or_default();
            *counts.entry(destination(&event)).or_default() += count(&event);
        }
    }

    fn of(&self, container: &Container) -> &Counts {
        static NONE: Counts = Counts::new();
        self.0.get(&container.id).unwrap_or(&NONE)
    }
}

fn destination(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!(
        "{} {} {}",
        text(&event["network"]["transport"]),
        text(&event["destination"]["ip"]),
        event["destination"]["port"].as_u64().unwrap_or(0)
    )
}

/// The resident set of a process, KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("read /proc");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    kib.expect("VmRSS")
}

/// Calls of five containers that phone home in different ways, to the last one.
#[test]
fn events_add_up_to_the_refused_calls_exactly() {
    let seconds = std::env::var("AIRGAP_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(SOAK, |s| s.parse().expect("AIRGAP_SOAK_SECONDS"));
    let outside = Outside::new();
    let kinds = ["tcp", "udp", "dns", "children", "udp6"];
    let containers: Vec<Container> = kinds
        .iter()
        .map(|kind| outside.container(kind).run())
        .collect();
    for container in &containers {
        seal(&container.name, &[]);
    }
    let all: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    let tail = Tail::json(&all);
    tail.await_start();
    let time = Duration::from_secs(seconds);
    let mut phones: Vec<Phone> = kinds
        .iter()
        .zip(&containers)
        .map(|(kind, container)| Phone::start(&outside, container, kind, time))
        .collect();
    let mut sums = Sums::default();
    wait::until("the workloads end", time + Duration::from_secs(60), || {
        sums.take(&tail);
        phones.iter_mut().all(Phone::has_ended).then_some(())
    });
    for ((kind, container), phone) in kinds.iter().zip(&containers).zip(phones) {
        let counted = phone.counts();
        let sum: u64 = counted.values().sum();
        assert!(
            sum > 100,
            "{kind}: hardly anything was refused: {counted:?}"
        );
        wait::within(wait::SOON, || {
            sums.take(&tail);
            (*sums.of(container) == counted).then_some(())
        });
        assert_eq!(*sums.of(container), counted, "{kind}");
        println!("{kind}: {sum} refused calls, all told");
    }
    let resident = resident(tail.pid());
    println!("tail: {resident} KiB resident");
    assert!(resident < 15 * 1024, "tail holds {resident} KiB");
    assert_eq!(outside.seen(), [], "something got out");
}

/// Nobody watched; the kernel's own tables are read afterwards.
#[test]
fn what_nobody_watched_is_told_afterwards() {
    let outside = Outside::new();
    let container = outside.container("alone").run();
    seal(&container.name, &[]);
    let time = Duration::from_millis(300);
    let counted = Phone::start(&outside, &container, "tcp", time).counts();
    let asked = Phone::start(&outside, &container, "dns", time).counts();
    let lines = |args: &[&str]| -> Vec<Value> {
        let mut all = vec!["tail", "--json", "--no-follow"];
        all.extend(args);
        all.push(&container.name);
        let out = airgap_ok(&all).stdout;
        out.lines()
            .map(|l| serde_json::from_str(l).expect("JSON"))
            .collect()
    };
    let mut sums = Counts::new();
    for event in lines(&["--since", "1h"]) {
        *sums.entry(destination(&event)).or_default() += count(&event);
    }
    let mut expected = counted;
    expected.extend(asked);
    assert_eq!(sums, expected);
    let events = lines(&[]);
    let names = |e: &&Value| e["dns"]["question"]["name"] == "n1.phone.example";
    let named = events.iter().filter(names).count();
    assert_eq!(named, 1, "each name is one attempt: {events:#?}");
    assert_eq!(lines(&["--since", "0s"]), Vec::<Value>::new());
    // A follower that comes late begins with the same.
    let late = Tail::json(&["--since", "1h", &container.name]);
    late.await_event("the past", wait::SOON, |e| count(e) > 1);
    wait::within(wait::SOON, || {
        (told(&late, &container) == expected).then_some(())
    });
    assert_eq!(told(&late, &container), expected);
}

/// A million refused calls a second, or what the machine makes of it.
#[test]
fn a_flood_is_counted_and_delays_nobody() {
    let outside = Outside::new();
    let (loud, quiet) = (
        outside.container("loud").run(),
        outside.container("quiet").run(),
    );
    seal(&loud.name, &[]);
    seal(&quiet.name, &[]);
    let tail = Tail::json(&[]);
    tail.await_start();
    let time = Duration::from_secs(4);
    let floods = [
        Phone::start(&outside, &loud, "flood", time),
        Phone::start(&outside, &loud, "scan", time),
    ];
    tail.await_event("the flood", wait::SOON, |e| {
        e["container"]["id"] == loud.id.as_str()
    });
    for port in 30_000..30_005 {
        quiet.attempt("tcp4", port, "quiet");
        let done = Instant::now();
        tail.await_event("the quiet one", wait::SOON, |e| {
            e["container"]["id"] == quiet.id.as_str() && e["destination"]["port"] == port
        });
        let waited = done.elapsed();
        assert!(waited < Duration::from_secs(1), "told after {waited:?}");
    }
    let [flood, scan] = floods.map(Phone::counts);
    let sum = flood.values().sum::<u64>() + scan.values().sum::<u64>();
    println!("{} refused calls a second", sum / time.as_secs());
    let total = || -> u64 {
        let status = sealed_json(&["status", "--json", &loud.name]);
        status["denials"]["total"].as_u64().unwrap_or(0)
    };
    assert_eq!(total(), sum, "the counters are exact");
    let sum_told = || told(&tail, &loud).values().sum::<u64>();
    wait::within(wait::SOON, || (sum_told() == sum).then_some(()));
    assert_eq!(sum_told(), sum, "the events add up");
    let actions: Vec<String> = tail
        .events()
        .iter()
        .map(|e| e["event"]["action"].as_str().unwrap_or("?").to_owned())
        .collect();
    for wanted in ["denied", "suppressed", "lost"] {
        assert!(actions.iter().any(|a| a == wanted), "no event is {wanted}");
    }
    for (name, bytes, most) in table_bytes() {
        assert!(bytes <= most, "{name}: {bytes} bytes, {most} at most");
    }
    // What the quiet one did is still known.
    let past = airgap_ok(&["tail", "--json", "--no-follow", &quiet.name]).stdout;
    for port in 30_000..30_005 {
        assert!(past.contains(&format!("\"port\":{port}")), "{port}: {past}");
    }
    assert_eq!(outside.seen(), [], "something got out");
}

/// Some processes of a container make noise; what others of it do meanwhile is told, live and in
/// the report: of one that tries something new each second, and of new ones.
#[test]
fn a_flood_hides_nothing_of_another_process() {
    let outside = Outside::new();
    let container = outside.container("both").run();
    seal(&container.name, &[]);
    let tail = Tail::json(&[&container.name]);
    tail.await_start();
    let start = |kind: &str, seconds| {
        Phone::start(&outside, &container, kind, Duration::from_secs(seconds))
    };
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    let silent = start("slow", 2).counts();
    let time = 10;
    let floods = ["scan", "dns", "scan", "dns"].map(|kind| start(kind, time));
    tail.await_event("the flood has used up what it may", wait::SOON, |e| {
        e["event"]["action"] == "suppressed" || e["event"]["action"] == "lost"
    });
    let slow = start("slow", time - 1);
    // New processes, one each second for as long as the flood goes on.
    let (mut session, begun) = (Session::new(&container), Instant::now());
    let mut next = 32_000;
    wait::until("the flood ends", Duration::from_secs(60), || {
        if begun.elapsed() > Duration::from_secs(next - 32_000) {
            let order = container.order("tcp4", next as u16, "quiet");
            assert_eq!(session.attempt(&order).errno, kernel::refused());
            expected.insert(format!("tcp {} {next}", outside.plan.outside4), "exe");
            next += 1;
        }
        (begun.elapsed() > Duration::from_secs(time - 1)).then_some(())
    });
    let slow = slow.counts();
    assert!(silent.len() >= 2 && slow.len() >= 5 && expected.len() >= 5);
    let quiet = expected.len() as u64 + silent.values().chain(slow.values()).sum::<u64>();
    for (text, count) in silent.into_iter().chain(slow) {
        assert_eq!(count, 1, "{text}");
        expected.insert(text, "airgap-probe");
    }

    let told = |text: &str, name: &str| {
        let is = |e: &Value| destination(e) == text && e["process"]["name"] == name;
        tail.events().iter().any(is)
    };
    for (text, name) in &expected {
        wait::within(wait::SOON, || told(text, name).then_some(()));
        assert!(told(text, name), "{text} of {name} was not told live");
    }
    let report = airgap_tests::airgap(&["report", "--json", &container.name]);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    let places = report["destinations"].as_array().expect("a list");
    for (text, name) in &expected {
        let is = |p: &&Value| {
            let (transport, ip) = (p["transport"].as_str(), p["ip"].as_str());
            let (transport, ip) = (transport.unwrap_or("?"), ip.unwrap_or("?"));
            format!("{transport} {ip} {}", p["port"]) == **text
        };
        let place = places.iter().find(is);
        let place = place.unwrap_or_else(|| panic!("{text} is not in the report"));
        assert_eq!(place["unattributed"], 0, "{place}");
        assert_eq!(place["processes"][0]["what"], *name, "{place}");
    }
    let counted = floods.map(Phone::counts);
    let counted: u64 = counted.iter().flat_map(Counts::values).sum();
    let status = sealed_json(&["status", "--json", &container.name]);
    let total = status["denials"]["total"].as_u64().unwrap_or(0);
    assert_eq!(total, counted + quiet, "exact");
}

fn sealed_json(args: &[&str]) -> Value {
    let out = airgap_tests::airgap(args);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    serde_json::from_str(&out.stdout).expect("JSON")
}

/// Kernel memory of the gate's tables, and how much each may take, bytes.
fn table_bytes() -> Vec<(&'static str, u64, u64)> {
    use airgap_common::map::{MAX_ATTEMPTS, MAX_BURSTS, MAX_DESTINATIONS, MAX_SHARES};
    use aya::maps::MapData;
    // Elements with what the kernel keeps of each, and what finds them.
    const ROOM: u64 = 64 + 32;
    let pins = format!("/sys/fs/bpf/airgap/v{}/maps", airgap_common::ABI_VERSION);
    [
        ("ATTEMPTS", MAX_ATTEMPTS, 56 + 432),
        ("BURSTS", MAX_BURSTS, 56 + 432),
        ("SHARES", MAX_SHARES, 24 + 48),
        ("DESTINATIONS", MAX_DESTINATIONS, 32 + 24),
    ]
    .iter()
    .map(|(name, most, element)| {
        let map = MapData::from_pin(format!("{pins}/{name}")).expect("open the map");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(map.fd()));
        let path = format!("/proc/self/fdinfo/{fd}");
        let text = std::fs::read_to_string(&path).expect("read fdinfo");
        let lock = text.lines().find_map(|l| l.strip_prefix("memlock:"));
        let bytes = lock.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
        assert!(bytes > 0, "{path}: {text}");
        (*name, bytes, u64::from(*most) * (element + ROOM))
    })
    .collect()
}

/// Four followers see the same; one that is killed harms no one.
#[test]
fn four_followers_see_everything() {
    let outside = Outside::new();
    let container = outside.container("watched").run();
    seal(&container.name, &[]);
    let tails: Vec<Tail> = (0..4).map(|_| Tail::json(&[&container.name])).collect();
    let mut killed = Tail::json(&[&container.name]);
    for tail in tails.iter().chain([&killed]) {
        tail.await_start();
    }
    killed.kill();
    let time = Duration::from_secs(1);
    let counted = Phone::start(&outside, &container, "udp", time).counts();
    for (at, tail) in tails.iter().enumerate() {
        wait::within(wait::SOON, || {
            (told(tail, &container) == counted).then_some(())
        });
        assert_eq!(told(tail, &container), counted, "follower {at}");
    }
    // The slot of the killed one is free again.
    let next: Vec<Tail> = (0..4).map(|_| Tail::json(&[&container.name])).collect();
    next.iter().for_each(Tail::await_start);
}
