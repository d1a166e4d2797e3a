//! Promise: no pretend. Sockets that lead out of the container without a packet of its own are
//! found at attach: refused, cut, or named as open.

use ::airgap::technique::pass;
use airgap_tests::airgap::hooks_refuse;
use airgap_tests::kernel::assert_comes_back;
use airgap_tests::{Outside, airgap, kernel_state, wait};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// A folder of the host that a container sees at `/shared`; removed on drop.
struct Shared(PathBuf);

impl Shared {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("airgap-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("create a folder");
        Self(dir)
    }

    fn option(&self) -> String {
        format!("{}:/shared", self.0.display())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The report of an attach, whatever is open.
fn sealed(args: &[&str]) -> serde_json::Value {
    let out = airgap(args);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

#[test]
fn a_socket_of_another_namespace_is_refused_or_accepted_by_name() {
    let shared = Shared::new("foreign");
    let outside = Outside::new();
    let container = outside
        .container("foreign")
        .options(&["-v", &shared.option()])
        .command(&["airgap-probe", "receive", "/shared/s"])
        .run();
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let carried = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = receiver.local_addr().expect("address");
    carried.connect(address).expect("connect");
    let path = shared.0.join("s");
    let stream = wait::within(wait::SOON, || UnixStream::connect(&path).ok());
    let stream = stream.expect("the container listens");
    assert!(pass::send(stream.as_fd(), carried.as_fd()).is_ok());
    // The control: it is a way out.
    receiver
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("timeout");
    assert!(
        receiver.recv(&mut [0; 64]).is_ok(),
        "the control is not heard"
    );

    let before = kernel_state();
    let refused = airgap(&["attach", "--detach", &container.name]);
    assert_eq!(refused.code, 1, "{}", refused.describe());
    assert!(
        refused
            .stderr
            .contains("holds a socket of another network namespace (ip)")
            && refused.stderr.contains("--accept foreign-socket"),
        "{}",
        refused.describe()
    );
    assert_comes_back(&before, "after the refusal");
    let accepted = ["attach", "-d", "--json", "--accept", "foreign-socket"];
    let report = sealed(&[&accepted[..], &[&container.name]].concat());
    assert_eq!(report["accepted"][0], "foreign-socket");
    let named = report["existing"].as_array().expect("existing");
    assert!(named.iter().any(|e| e["kind"] == "ip"), "{report}");
}

/// Whoever has it forks and ends all the time: it is found all the same.
#[test]
fn a_socket_that_is_handed_from_process_to_process_is_refused() {
    let shared = Shared::new("handed-on");
    let outside = Outside::new();
    let container = outside
        .container("handed-on")
        .options(&["-v", &shared.option()])
        .command(&["airgap-probe", "receive", "/shared/s", "hop"])
        .run();
    let path = shared.0.join("s");
    let stream = wait::within(wait::SOON, || UnixStream::connect(&path).ok());
    let stream = stream.expect("the container listens");
    let attach = || airgap(&["attach", "-d", &container.name]);
    // The control: without it the container is sealed.
    assert!(matches!(attach().code, 0 | 4));
    airgap(&["detach", &container.id]).expect_code(0);
    let carried = UdpSocket::bind("127.0.0.1:0").expect("bind");
    assert!(pass::send(stream.as_fd(), carried.as_fd()).is_ok());
    let refused = |out: &airgap_tests::cmd::Output| {
        out.code == 1 && out.stderr.contains("of another network namespace (ip)")
    };
    wait::until("it is refused", wait::SOON, || {
        refused(&attach()).then_some(())
    });
    for _ in 0..5 {
        let out = attach();
        assert!(refused(&out), "{}", out.describe());
    }
}

/// Nobody can look at it there: it is named, and what is shut is said of own sockets alone.
#[test]
fn a_socket_in_a_queue_is_named() {
    let shared = Shared::new("queued");
    let outside = Outside::new();
    let container = outside
        .container("queue")
        .options(&["-v", &shared.option()])
        .command(&["airgap-probe", "receive", "/shared/s", "queue"])
        .run();
    let path = shared.0.join("s");
    let stream = wait::within(wait::SOON, || UnixStream::connect(&path).ok());
    let stream = stream.expect("the container listens");
    let named = || {
        let out = airgap(&["attach", "--dry-run", "--json", &container.name]);
        out.stdout
            .contains("descriptors in the queue of a unix socket")
    };
    // The control: nothing is in a queue yet.
    assert!(!named());
    let carried = UdpSocket::bind("127.0.0.1:0").expect("bind");
    assert!(pass::send(stream.as_fd(), carried.as_fd()).is_ok());
    wait::until("it is in the queue", wait::SOON, || {
        container.logs().contains("kept").then_some(())
    });
    let out = airgap(&["attach", "-d", &container.name]);
    let status = airgap(&["status", "--explain", &container.name]);
    if hooks_refuse() {
        // Taking it out is refused.
        assert!(matches!(out.code, 0 | 4), "{}", out.describe());
        return;
    }
    assert!(named());
    assert_eq!((out.code, status.code), (4, 4), "{}", status.describe());
    assert!(
        status.stdout.contains("in the queue of a unix socket")
            && status.stdout.contains("datagrams of its own sockets"),
        "{}",
        status.describe()
    );
}

#[test]
fn a_unix_connection_to_the_host_is_named() {
    let shared = Shared::new("unix");
    let outside = Outside::new();
    let listener = UnixListener::bind(shared.0.join("s")).expect("bind");
    let container = outside
        .container("unixpeer")
        .options(&["-v", &shared.option()])
        .command(&["airgap-probe", "stay", "/shared/s"])
        .run();
    let _accepted = listener.accept().expect("the container connects");
    let dry = airgap(&["attach", "--dry-run", &container.name]);
    assert!(
        dry.stdout
            .contains("unix socket that leads out of the container, airgap-probe["),
        "{}",
        dry.describe()
    );
    let report = sealed(&["attach", "-d", "--json", &container.name]);
    let found = report["existing"].as_array().expect("existing");
    let unix = found.iter().find(|e| e["kind"] == "unix");
    // Where the security hooks run it is cut; elsewhere it would be back at once, and status says so.
    let action = if hooks_refuse() { "cut" } else { "open" };
    assert_eq!(unix.map(|e| &e["action"]), Some(&action.into()));
}

#[test]
fn a_unix_connection_from_the_host_is_named() {
    let shared = Shared::new("unixclient");
    let outside = Outside::new();
    let container = outside
        .container("unixclient")
        .options(&["-v", &shared.option()])
        .command(&["airgap-probe", "receive", "/shared/s"])
        .run();
    let path = shared.0.join("s");
    let _client = wait::within(wait::SOON, || UnixStream::connect(&path).ok());
    // Accepted once the container holds a second socket.
    wait::until("the container names it", wait::SOON, || {
        let dry = airgap(&["attach", "--dry-run", &container.name]);
        let named = "unix socket that leads out of the container, airgap-probe[";
        dry.stdout.contains(named).then_some(())
    });
}
