//! Promise: the peer of a connection that is older than the seal hears of its end, at once or with
//! its next segment, and whoever was kept may close; none of it is an attempt of the container's,
//! and a connection that the container opened itself says no more than one RST.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, SERVICE_PORT, airgap, cmd, wait};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const RST: u8 = 4;
/// Where the outside listens, and records.
const PORT: u16 = 20_000;

fn connect(outside: &Outside, container: &Container) -> TcpStream {
    let at = (container.ip4(), SERVICE_PORT);
    let stream = outside.netns.run(|| TcpStream::connect(at));
    stream.expect("connect to the service")
}

/// What a client gets that asks again on this connection; `TimedOut`: nothing, and it waits.
fn asks_again(stream: &mut TcpStream) -> Result<String, ErrorKind> {
    let limit = Some(Duration::from_secs(1));
    stream.set_read_timeout(limit).expect("a timeout");
    let mut answer = String::new();
    let done = stream
        .write_all(b"GET /again HTTP/1.0\r\n\r\n")
        .and_then(|()| stream.read_to_string(&mut answer));
    done.map(|_| answer).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut,
        kind => kind,
    })
}

fn is_reset(got: &Result<String, ErrorKind>) -> bool {
    matches!(got, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

/// Reasons of its denials that are attempts of the container's own.
fn attempts(container: &Container) -> Vec<String> {
    let status = airgap(&["status", "--json", &container.name]).stdout;
    let json: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let reasons = json["denials"]["by_reason"].as_array().expect("a list");
    let silent = ["inbound", "kernel-chatter"];
    let told = reasons.iter().filter_map(|pair| pair[0].as_str());
    let told = told.filter(|reason| !silent.contains(reason));
    told.map(str::to_owned).collect()
}

/// RSTs of this container's that reached the outside.
fn resets(outside: &Outside, container: &Container) -> usize {
    let own = IpAddr::V4(container.ip4());
    outside.tap.barrier();
    let frames = outside.arrivals();
    let reset = frames.iter().filter(|frame| {
        frame.ip().is_some_and(|ip| ip.source == own)
            && frame.tcp_flags().is_some_and(|flags| flags & RST != 0)
    });
    reset.count()
}

/// Nothing of a container's comes in at the outside while this lives: there is no way back to it,
/// and the kernel there checks that.
struct Deaf<'a>(&'a Outside);

impl<'a> Deaf<'a> {
    fn to(outside: &'a Outside) -> Self {
        outside.netns.run(|| filter("1"));
        cmd::ok(&format!("{} del {}", routes(outside), outside.plan.net4));
        Self(outside)
    }
}

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        let plan = &self.0.plan;
        let (net, gateway) = (&plan.net4, &plan.host4);
        cmd::attempt(&format!("{} add {net} via {gateway}", routes(self.0)));
        self.0.netns.run(|| filter("0"));
    }
}

fn routes(outside: &Outside) -> String {
    format!("ip -n {} -4 route", outside.plan.name)
}

/// Reverse path filtering (RFC 3704), in the namespace of this thread.
fn filter(mode: &str) {
    let path = "/proc/sys/net/ipv4/conf/out0/rp_filter";
    std::fs::write(path, mode).unwrap_or_else(|e| panic!("{path}: {e}"));
}

#[test]
fn an_idle_client_hears_of_the_end() {
    let outside = Outside::new();
    let container = outside.container("pooled").run();
    let mut idle = connect(&outside, &container);
    seal(&container.name, &[]);
    let got = asks_again(&mut idle);
    assert!(is_reset(&got), "{got:?}");
    let fresh = outside.get(container.ip4(), SERVICE_PORT, "/new");
    assert_eq!(fresh.expect("a new connection is served"), b"/new");
    assert_eq!(attempts(&container), Vec::<String>::new());
}

/// Also one that the container does not admit hears nothing: the control.
#[test]
fn a_client_that_missed_it_hears_of_it_when_it_asks() {
    let outside = Outside::new();
    let container = outside.container("missed").run();
    let mut idle = connect(&outside, &container);
    let deaf = Deaf::to(&outside);
    seal(&container.name, &[]);
    drop(deaf);
    let got = asks_again(&mut idle);
    assert!(is_reset(&got), "{got:?}");
    assert_eq!(attempts(&container), Vec::<String>::new());

    let shut = outside.container("shut").run();
    let mut stranger = connect(&outside, &shut);
    seal(&shut.name, &["--from", "198.51.100.255/32"]);
    outside.clear();
    let got = asks_again(&mut stranger);
    assert_eq!(got, Err(ErrorKind::TimedOut));
    assert_eq!(resets(&outside, &shut), 0);
}

#[test]
fn kept_connections_can_be_closed() {
    let outside = Outside::new();
    let container = outside.container("closing").run();
    let mut kept: Vec<_> = (0..20).map(|_| connect(&outside, &container)).collect();
    seal(&container.name, &["--accept", "existing-connections"]);
    for stream in &mut kept {
        // To its end: the server closes first.
        let got = asks_again(stream);
        assert!(
            got.as_ref().is_ok_and(|got| got.contains("/again")),
            "{got:?}"
        );
    }
    drop(kept);
    let closing = || {
        outside
            .netns
            .run(|| last_acks(SocketAddr::from((container.ip4(), SERVICE_PORT))))
    };
    wait::until("no client is in LAST_ACK", Duration::from_secs(5), || {
        (closing() == 0).then_some(())
    });
    assert_eq!(attempts(&container), Vec::<String>::new());
}

/// Connections to `peer` whose last FIN nobody acknowledged, in this namespace.
fn last_acks(peer: SocketAddr) -> usize {
    const LAST_ACK: &str = "09";
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("a table");
    let SocketAddr::V4(peer) = peer else {
        unreachable!("IPv4");
    };
    let peer = format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(peer.ip().octets()),
        peer.port()
    );
    let lines = table.lines().map(str::split_ascii_whitespace);
    let fields = lines.map(Iterator::collect::<Vec<_>>);
    fields
        .filter(|f| f.get(2) == Some(&peer.as_str()) && f.get(3) == Some(&LAST_ACK))
        .count()
}

fn holder(outside: &Outside, kind: &str) -> Container {
    let (v4, port) = (outside.plan.outside4.to_string(), PORT.to_string());
    let v6 = outside.plan.outside6.to_string();
    let line = [
        "airgap-probe",
        "hold",
        kind,
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        &port,
    ];
    let container = outside.container(kind).command(&line).run();
    let marker = format!("held-{kind}");
    let heard = outside
        .tap
        .watch(wait::SOON, |frame| frame.contains(&marker));
    assert!(heard.is_some(), "the control: {kind} is not heard");
    container
}

#[test]
fn a_connection_of_its_own_says_one_rst_at_most() {
    let outside = Outside::new();
    for (kind, most) in [("service4", 1), ("tcp4", 0)] {
        let container = holder(&outside, kind);
        let deaf = Deaf::to(&outside);
        outside.clear();
        seal(&container.name, &[]);
        // The peer asks nothing.
        let resets = resets(&outside, &container);
        assert!(resets <= most, "{kind}: {resets}");
        drop(deaf);
    }
}
