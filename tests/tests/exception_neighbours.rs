//! Promise: `--to container:NAME` leads to that container, for as long as it is the one that
//! has the address, and to nobody else.

#[path = "exception_neighbours/ends.rs"]
mod ends;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use airgap_tests::airgap::{airgap, airgap_ok, seal};
use airgap_tests::reach::Reach;
use airgap_tests::tap::Tap;
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, SERVICE_PORT, cmd, wait};
use serde_json::Value;

/// What a seal without a keeper must say.
const FOREVER: [&str; 4] = ["--hold", "forever", "--accept", "endless-lease"];
/// Longer than the shortest hold.
const PAST_THE_HOLD: Duration = Duration::from_secs(90);

struct World {
    outside: Outside,
    /// The neighbour, called `db` on the network.
    db: Container,
}

impl World {
    fn new() -> Self {
        let outside = Outside::new();
        let db = Self::neighbour(&outside, "database", host(&outside, 20));
        Self { outside, db }
    }

    fn neighbour(outside: &Outside, short_name: &str, address: Ipv4Addr) -> Container {
        let options = ["--network-alias", "db", "--ip", &address.to_string()];
        outside.container(short_name).options(&options).run()
    }

    /// The exception by the container's own name.
    fn to(&self) -> String {
        format!("container:{}:{SERVICE_PORT}", self.db.name)
    }

    #[track_caller]
    fn sealed(&self, options: &[&str]) -> Container {
        let web = self.outside.container("web").run();
        seal(&web.name, options);
        web
    }

    /// Somebody else gets an address; what reaches him is recorded.
    #[track_caller]
    fn inherit(&self, address: Ipv4Addr) -> (Container, Tap) {
        let options = ["--ip", &address.to_string()];
        let heir = self.outside.container("heir").options(&options).run();
        let tap = Tap::inside(&heir.netns(), "eth0");
        (heir, tap)
    }
}

/// An address of the containers' network.
fn host(outside: &Outside, last: u8) -> Ipv4Addr {
    let [a, b, c, d] = outside.plan.gateway4.octets();
    Ipv4Addr::new(a, b, c, d - 1 + last)
}

fn at(address: impl Into<IpAddr>) -> String {
    SocketAddr::new(address.into(), SERVICE_PORT).to_string()
}

#[track_caller]
fn status(container: &Container) -> (Value, u8) {
    let out = airgap(&["status", "--json", &container.id]);
    let report = serde_json::from_str(&out.stdout);
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    (report, u8::try_from(out.code).unwrap_or(255))
}

/// The only exception.
#[track_caller]
fn exit(container: &Container) -> Value {
    status(container).0["exits"][0].clone()
}

#[track_caller]
fn hosts(container: &Container) -> String {
    container.exec(&["cat", "/etc/hosts"]).stdout
}

/// Waits until the exception leads to just this IPv4 address, or to none.
#[track_caller]
fn leads_to(container: &Container, address: Option<Ipv4Addr>, limit: Duration) {
    let wanted = address.map(|address| address.to_string());
    let mut last = Value::Null;
    let done = wait::within(limit, || {
        last = exit(container);
        let all = last["addresses"].as_array().cloned().unwrap_or_default();
        let first = all
            .iter()
            .filter_map(Value::as_str)
            .find(|a| !a.contains(':'));
        (first.map(str::to_owned) == wanted && all.is_empty() == wanted.is_none()).then_some(())
    });
    assert!(done.is_some(), "it does not lead to {wanted:?}: {last}");
}

/// Nothing of this container's for the service's port reached the recorder.
#[track_caller]
fn got_nothing(tap: &Tap) {
    tap.barrier();
    let frames = tap.suspicious().into_iter();
    let reached: Vec<_> = frames
        .filter(|frame| frame.ports().is_some_and(|(_, to)| to == SERVICE_PORT))
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
}

#[test]
fn a_neighbour_is_reached_by_its_name_and_nobody_else_is() {
    let world = World::new();
    let to = world.to();
    let web = world.outside.container("web").run();
    // Somebody must look after the address, or it must be said that nobody does.
    let refused = airgap(&["attach", "-d", "--to", &to, &web.name]).expect_code(2);
    for part in ["airgap keep", "--hold forever --accept endless-lease"] {
        assert!(refused.stderr.contains(part), "{}", refused.describe());
    }
    let refused = airgap(&["attach", "-d", "--to", &to, "--hold", "forever", &web.name]);
    assert!(
        refused.code != 0 && refused.stderr.contains("endless-lease"),
        "{}",
        refused.describe()
    );
    airgap(&["status", &web.name]).expect_code(3);
    // What it has open says by itself what to allow; what others opened does not.
    let mut before = Reach::new(&web);
    let mut others = Reach::new(&world.db);
    before.does(&format!("tcp a {}", at(world.db.ip4())));
    others.does(&format!("tcp a {}", at(web.ip4())));
    let mut options = vec!["--to", &to];
    options.extend(FOREVER);
    let sealed = seal(&web.name, &options);
    let hint = format!("to allow it: airgap allow --to {to} {}", web.name);
    assert_eq!(
        sealed.stderr.matches(&hint).count(),
        1,
        "{}",
        sealed.describe()
    );
    assert_eq!(
        sealed.stderr.matches("to allow it").count(),
        1,
        "{}",
        sealed.describe()
    );
    assert!(
        sealed
            .stdout
            .contains(&format!("{to}/tcp  IN FORCE: anything over TCP")),
        "{}",
        sealed.describe()
    );
    assert_eq!(status(&web).1, 0, "{}", status(&web).0);
    let mut reach = Reach::new(&web);
    let (v4, v6) = (world.db.ip4(), world.db.ip6());
    for (name, address) in [("a", at(v4)), ("b", at(v6))] {
        reach.does(&format!("tcp {name} {address}"));
    }
    reach.is_refused(&format!("tcp x {}", SocketAddr::new(v4.into(), 5061)));
    reach.is_refused(&format!("tcp x {}", at(world.outside.plan.gateway4)));
    reach.is_refused(&format!("tcp x {}", at(world.outside.plan.outside4)));
    // The name is known, and no question was let out for it.
    let looked = reach.does(&format!("look {}", world.db.name));
    assert_eq!(
        looked,
        serde_json::json!([v6.to_string(), v4.to_string()]).sorted()
    );
    assert_eq!(reach.say("look db"), Err(libc::ENOENT));
    let row = exit(&web);
    assert_eq!(row["to"], format!("{to}/tcp"));
    assert_eq!(row["addresses"].as_array().map(Vec::len), Some(2), "{row}");
    assert_eq!(row["connections"], 2, "{row}");
    assert!(row.get("held_until").is_none(), "{row}");
    // What is taken back is cut, and its name forgotten.
    airgap_ok(&["disallow", "--to", &to, &web.name]);
    reach.is_refused(&format!("tcp c {}", at(v4)));
    assert!(reach.say("send a x").is_err());
    assert!(!hosts(&web).contains(&world.db.name), "{}", hosts(&web));
    // By its name on the network, as Compose gives one; over the record, too.
    let mut allow = vec!["allow", "--to", "container:db:5060"];
    allow.extend(FOREVER);
    allow.push(&web.name);
    airgap_ok(&allow);
    reach.does(&format!("tcp d {}", at(v4)));
    assert_eq!(reach.does("look db").as_array().map(Vec::len), Some(2));
    airgap_ok(&["detach", &web.name]);
    assert!(!hosts(&web).contains(" db\n"), "{}", hosts(&web));
}

#[test]
fn nobody_is_kept_from_being_sealed_by_a_neighbour() {
    let world = World::new();
    let keeper = Watch::start(&[]);
    let network = &world.outside.plan.name;
    cmd::ok(&format!("docker stop -t 0 {}", world.db.id));
    let by_name = world.to();
    for (name, to, told) in [
        ("one", by_name.as_str(), "does not run"),
        (
            "two",
            "container:nobody:5060",
            "there is no container 'nobody'",
        ),
    ] {
        let web = world.outside.container(name).run();
        let out = airgap(&["attach", "-d", "--to", to, &web.name]).expect_code(4);
        assert!(out.stderr.contains(told), "{}", out.describe());
        assert!(
            out.stdout.contains("EXCEPTION CLOSED"),
            "{}",
            out.describe()
        );
        Reach::new(&web).is_refused(&format!("tcp x {}", at(world.outside.plan.outside4)));
    }
    // A label's is in force as soon as its neighbour runs.
    let labels = [
        "--label",
        "airgap.seal=true",
        "--label",
        "airgap.to=container:db:5060",
    ];
    let web = world.outside.container("label").options(&labels).run();
    let closed = || (airgap(&["status", &web.name]).code == 4).then_some(());
    wait::until("its seal is in force, and shut", wait::SOON, closed);
    cmd::ok(&format!("docker start {}", world.db.id));
    leads_to(&web, Some(world.db.ip4()), wait::SOON);
    Reach::new(&web).does(&format!("tcp a {}", at(world.db.ip4())));
    // No network in common.
    let apart = world.outside.container("apart").network("bridge").run();
    let out = airgap(&["attach", "-d", "--to", &by_name, &apart.name]).expect_code(4);
    assert!(
        out.stderr.contains("shares no network"),
        "{}",
        out.describe()
    );
    // Somebody else's line for the same name is read first.
    let line = format!("{}:198.51.100.66", world.db.name);
    let own = world
        .outside
        .container("own")
        .options(&["--add-host", &line])
        .run();
    let out = airgap(&["attach", "-d", "--to", &by_name, &own.name]);
    assert!(
        out.stderr.contains("an earlier line of"),
        "{}",
        out.describe()
    );
    // A file of its own is nobody's to write, although Docker says that it is its own.
    let mine = std::env::temp_dir().join(format!("airgap-hosts-{}", std::process::id()));
    std::fs::write(&mine, "127.0.0.1 localhost\n").expect("a file");
    let mounted = format!("{}:/etc/hosts", mine.display());
    let options = ["--volume", &mounted];
    let mounts = world.outside.container("mine").options(&options).run();
    let out = airgap(&["attach", "-d", "--to", &by_name, &mounts.name]);
    let text = std::fs::read_to_string(&mine).expect("a file");
    std::fs::remove_file(&mine).expect("a file");
    assert!(out.stderr.contains("cannot look up"), "{}", out.describe());
    assert_eq!(text, "127.0.0.1 localhost\n");
    drop(keeper);
    assert!(cmd::ok(&format!("docker network inspect {network}")).contains(network.as_str()));
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for Value {
    fn sorted(self) -> Self {
        let mut all = self.as_array().cloned().unwrap_or_default();
        all.sort_by_key(ToString::to_string);
        all.into()
    }
}
