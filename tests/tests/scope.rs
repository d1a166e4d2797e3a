//! Promise: exactly the sealed container is sealed: its nested cgroups and `docker exec` too, and
//! neither its neighbours nor the host.

use airgap::{
    container::Cgroup,
    gate::{Gate, Place},
};
use airgap_tests::airgap::{airgap, seal};
use airgap_tests::kernel;
use airgap_tests::scratch::{Network, try_in};
use airgap_tests::{Container, Outcome, Outside, Report, SERVICE_PORT, Tail, airgap_ok, wait};
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

const PORT: u16 = 20_000;

#[track_caller]
fn assert_refused(attempt: &Report) {
    let refused = attempt.outcome == Outcome::Refused && attempt.errno == kernel::refused();
    assert!(refused, "{attempt:?}");
}

#[track_caller]
fn assert_sent(attempt: &Report) {
    assert_eq!(attempt.outcome, Outcome::Sent, "{attempt:?}");
}

/// A cgroup below the container's; emptied and removed on drop.
struct Nested(PathBuf, PathBuf);

impl Nested {
    fn under(container: &Container, path: &str) -> Self {
        let parent = container.cgroup();
        let dir = parent.join(path);
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("mkdir {}: {e}", dir.display()));
        Self(dir, parent)
    }

    fn enter(&self, pid: u32) {
        let procs = self.0.join("cgroup.procs");
        fs::write(&procs, pid.to_string())
            .unwrap_or_else(|e| panic!("move {pid} to {}: {e}", procs.display()));
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        let procs = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            drop(fs::write(self.1.join("cgroup.procs"), pid));
        }
        let mut dir = self.0.clone();
        while dir != self.1 && fs::remove_dir(&dir).is_ok() {
            dir.pop();
        }
    }
}

/// A knocker in the container, moved to a nested cgroup, is refused there.
#[track_caller]
fn assert_nested_refused(outside: &Outside, container: &Container, nested: &Nested) {
    let pid = container.pid();
    nested.enter(pid);
    assert_eq!(container.cgroup(), nested.0, "init moved");
    let before = refusals(container);
    wait::until("the moved process is refused", wait::SOON, || {
        (refusals(container) > before + 5).then_some(())
    });
    outside.clear();
    let heard = outside
        .tap
        .watch(Duration::from_millis(300), |f| f.contains("nested"));
    assert!(heard.is_none(), "a nested cgroup gets out: {heard:?}");
}

fn refusals(container: &Container) -> usize {
    let records = container.log_records();
    records
        .iter()
        .filter(|r| r["outcome"] == "refused" && r["errno"] == kernel::refused())
        .count()
}

fn knocker(outside: &Outside, name: &str) -> Container {
    let v4 = outside.plan.outside4.to_string();
    let port = PORT.to_string();
    let line = [
        "airgap-probe",
        "knock",
        "udp4",
        "--v4",
        &v4,
        "--port",
        &port,
        "--marker",
        "nested",
    ];
    outside.container(name).command(&line).run()
}

/// It would start without a mark of its own, and the outer one's end would open it.
#[test]
fn a_container_that_is_to_start_within_another_is_refused() {
    let outside = Outside::new();
    let outer = outside.container("outer").run();
    let parent = format!("/docker/{}", outer.id);
    let inner = outside
        .container("inner")
        .options(&["--cgroup-parent", &parent])
        .create();
    let refused = airgap(&["attach", "-d", &inner.id]).expect_code(1);
    assert!(
        refused.stderr.contains("within the cgroup of another"),
        "{}",
        refused.describe()
    );
    // The control: elsewhere it may.
    let elsewhere = outside
        .container("elsewhere")
        .options(&["--cgroup-parent", "/docker/shelf"])
        .create();
    seal(&elsewhere.name, &[]);
}

#[test]
fn nested_cgroups_are_covered() {
    let outside = Outside::new();
    let container = knocker(&outside, "nest");
    let heard = outside.tap.watch(wait::SOON, |f| f.contains("nested"));
    assert!(
        heard.is_some(),
        "the control: the knocker is heard unsealed"
    );
    let older = Nested::under(&container, "older/deep");
    seal(&container.name, &[]);
    let younger = Nested::under(&container, "younger/deep/deeper");
    assert_nested_refused(&outside, &container, &older);
    drop(older);
    assert_nested_refused(&outside, &container, &younger);
    drop(younger);
    airgap_ok(&["detach", &container.name]);
    outside.clear();
    let heard = outside.tap.watch(wait::SOON, |f| f.contains("nested"));
    assert!(heard.is_some(), "after detach the knocker is heard again");
}

#[test]
fn exec_is_covered_and_neighbours_and_host_are_not() {
    let outside = Outside::new();
    let sealed = outside.container("sealed").run();
    let neighbour = outside.container("neighbour").run();
    seal(&sealed.name, &[]);
    let tail = Tail::json(&[]);

    assert_refused(&sealed.attempt("tcp4", PORT, "exec"));
    let event = |e: &serde_json::Value| e["container"]["name"] == sealed.name.as_str();
    tail.await_event("the exec's denial", wait::SOON, event);

    for technique in [
        "tcp4",
        "tcp6",
        "udp4",
        "udp6",
        "ping4",
        "raw4-udp",
        "dns-embedded",
        "mptcp4",
    ] {
        assert_sent(&neighbour.attempt(technique, PORT + 1, "neighbour"));
    }
    host_traffic(&outside);
    let foreign = |e: &&serde_json::Value| e["container"]["name"] != sealed.name.as_str();
    let others: Vec<_> = tail.events().into_iter().filter(|e| foreign(&e)).collect();
    assert_eq!(others.len(), 0, "events about others: {others:?}");

    // The neighbour is an outside too: it can be served, and cannot be reached.
    let service = format!("{}:{SERVICE_PORT}", sealed.ip4());
    neighbour
        .exec(&["airgap-probe", "get", &service, "/hello"])
        .expect_code(0);
    let neighbour_at = format!("{}:{SERVICE_PORT}", neighbour.ip4());
    let reach = sealed.exec(&["airgap-probe", "get", &neighbour_at, "/hello"]);
    assert_eq!(
        reach.code,
        1,
        "the sealed one reached its neighbour\n{}",
        reach.describe()
    );
}

fn host_traffic(outside: &Outside) {
    for address in [
        IpAddr::from(outside.plan.outside4),
        outside.plan.outside6.into(),
    ] {
        let at = SocketAddr::new(address, PORT + 2);
        TcpStream::connect_timeout(&at, Duration::from_secs(3))
            .unwrap_or_else(|e| panic!("the host cannot connect to {at}: {e}"));
        let any: IpAddr = if at.is_ipv4() {
            [0, 0, 0, 0].into()
        } else {
            [0_u16; 8].into()
        };
        let udp = UdpSocket::bind((any, 0)).unwrap_or_else(|e| panic!("bind: {e}"));
        udp.send_to(b"host", at)
            .unwrap_or_else(|e| panic!("the host cannot send to {at}: {e}"));
    }
}

/// A container that joins the sealed one's namespace later is a way out over loopback.
#[test]
fn a_later_guest_in_the_namespace_is_no_relay() {
    let outside = Outside::new();
    let sealed = outside.container("host").run();
    let shared = format!("container:{}", sealed.id);
    let guest = |name: &str| {
        let line = ["airgap-probe", "serve", "--port", "7000"];
        outside
            .container(name)
            .network(&shared)
            .command(&line)
            .run()
    };
    let relay = |address: &str| sealed.exec(&["airgap-probe", "get", address, "/relay"]);
    let addresses = [
        "127.0.0.1:7000".to_owned(),
        "[::1]:7000".to_owned(),
        format!("{}:7000", sealed.ip4()),
    ];
    let older = guest("older");
    for address in &addresses {
        relay(address).expect_code(0);
    }
    drop(older);
    seal(&sealed.name, &[]);
    let _younger = guest("younger");
    for address in &addresses {
        let out = relay(address);
        assert_eq!(
            out.code,
            1,
            "the guest can be used as a relay\n{}",
            out.describe()
        );
    }
}

/// A cgroup below the root; removed on drop.
struct Named(Cgroup);

impl Named {
    fn new(name: &str) -> Self {
        let path = Place::host().expect("cgroup v2").cgroup.join(name);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        let id = fs::metadata(&path).expect("stat").ino();
        let level = 1;
        Self(Cgroup { path, id, level })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0.path));
    }
}

/// The engine's monitor has such a name (`libpod-conmon-<id>.scope`), and anybody can choose one.
#[test]
fn a_name_that_merely_carries_the_id_is_not_the_containers() {
    let outside = Outside::new();
    let sealed = outside.container("alike").run();
    let id = &sealed.id;
    let alike = |n: u32| {
        [
            format!("x{n}{id}"),
            format!("libpod-conmon-{id}.scope"),
            format!("other{n}-{id}.scope"),
        ]
    };
    let older: Vec<_> = alike(1).iter().map(|name| Named::new(name)).collect();
    // As without a network it could not be told from one.
    seal(&sealed.name, &["--errno", "eperm"]);
    let younger = [format!("x2{id}"), format!("crio-conmon-{id}.scope")];
    let younger: Vec<_> = younger.iter().map(|name| Named::new(name)).collect();
    let exact = Named::new(&format!("docker-{id}.scope"));

    let gate = Gate::open(&Place::host().expect("cgroup v2")).expect("the gate");
    let gate = gate.expect("it stands");
    let (number, _) = gate.seals().expect("read")[0];
    let errno = |named: &Named| try_in(&named.0, Network::Own, "udp4", "alike").errno;
    for named in older.iter().chain(&younger) {
        let marked = gate.is_marked(named.0.id, 1, number).expect("read");
        assert!(!marked, "{}", named.0.path.display());
        assert_eq!(
            errno(named),
            libc::ENETUNREACH,
            "{}",
            named.0.path.display()
        );
    }
    assert!(gate.is_marked(exact.0.id, 1, number).expect("read"));
    assert_eq!(errno(&exact), libc::EPERM, "the control: the exact form");
    let status = airgap(&["status", "--verbose", &sealed.name]);
    assert!(
        status.code != 3 && !status.stdout.contains("BROKEN"),
        "{}",
        status.describe()
    );
    for named in older.iter().chain(&younger) {
        let shown = named.0.path.display().to_string();
        assert!(!status.stdout.contains(&shown), "{}", status.describe());
    }
}
