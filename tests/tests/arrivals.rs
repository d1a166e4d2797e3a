//! Promise: a veth that comes up is guarded before anybody asks: `airgap guard`, which udev
//! runs for each, takes the right one, harms no other, and is gone with the last seal.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outside, airgap, airgap_ok, cmd, wait};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

const PROBES: &str = "answers to probes (echo replies, RSTs)";

/// Whether a knock at a closed port is answered: by the kernel, no process has a say in it.
fn answers(address: Ipv4Addr) -> bool {
    const CLOSED: u16 = 9;
    let knock = TcpStream::connect_timeout(&(address, CLOSED).into(), Duration::from_secs(2));
    match knock.expect_err("a closed port").kind() {
        ErrorKind::ConnectionRefused => true,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable => false,
        other => panic!("{address}: {other}"),
    }
}

fn index(interface: &str) -> String {
    let path = format!("/sys/class/net/{interface}/ifindex");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.trim().to_owned()
}

fn guard(interface: &str) {
    airgap_ok(&["guard", &index(interface)]);
}

/// Pinned links of the frame programs on this interface.
fn links(interface: &str) -> usize {
    let start = format!("veth{}_", index(interface));
    let gates = fs::read_dir("/sys/fs/bpf/airgap").into_iter().flatten();
    let links = gates.flatten().map(|gate| gate.path().join("links"));
    let names = links.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&start))
        .count()
}

#[track_caller]
fn is_covered(container: &Container, vector: &str) -> bool {
    let out = airgap(&["status", "--json", &container.name]);
    let report: Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    let rows = report["coverage"].as_array().expect("coverage");
    let row = rows.iter().find(|row| row["vector"] == vector);
    row.expect("the vector")["covered"] == true
}

#[test]
fn the_veth_of_a_restarted_container_is_guarded() {
    let outside = Outside::new();
    let container = outside.container("web").run();
    let other = outside.container("other").run();
    assert!(answers(container.ip4()), "the control: unsealed");
    seal(&container.name, &[]).expect_code(0);
    assert!(!answers(container.ip4()) && is_covered(&container, PROBES));

    container.restart();
    assert!(answers(container.ip4()), "the control: nothing guards it");
    assert!(!is_covered(&container, PROBES));
    guard(&container.veth());
    assert!(is_covered(&container, PROBES));
    assert!(!answers(container.ip4()));
    let body = outside.get(container.ip4(), airgap_tests::SERVICE_PORT, "/");
    body.expect("the service answers");

    // Neither is the neighbour guarded, nor the bridge, nor what is not there.
    guard(&other.veth());
    guard(&outside.plan.bridge);
    airgap_ok(&["guard", "2147483647"]);
    assert_eq!(links(&other.veth()), 0);
    assert!(answers(other.ip4()));
    assert!(airgap(&["guard", "x"]).code == 2);

    airgap_ok(&["detach", &container.name]);
    assert!(answers(container.ip4()), "detached");
    guard(&container.veth());
    assert!(!Path::new("/sys/fs/bpf/airgap").exists(), "a gate is left");
}

/// A network namespace, and a veth into it; both gone with it.
struct Network {
    name: String,
    veth: String,
    address: Ipv4Addr,
}

impl Network {
    fn new() -> Self {
        let id = std::process::id();
        let (name, veth) = (format!("agtn{id}"), format!("agtv{id}"));
        let network = Self {
            name,
            veth,
            address: Ipv4Addr::new(198, 51, 100, 134),
        };
        let Self { name, veth, .. } = &network;
        for line in [
            format!("ip netns add {name}"),
            format!("ip link add {veth} type veth peer name eth0 netns {name}"),
            format!("ip addr add 198.51.100.133/30 dev {veth}"),
            format!("ip link set {veth} up"),
            format!("ip -n {name} addr add {}/30 dev eth0", network.address),
            format!("ip -n {name} link set eth0 up"),
        ] {
            cmd::ok(&line);
        }
        let up = || answers(network.address).then_some(());
        wait::until("the new network answers", Duration::from_secs(10), up);
        network
    }

    /// Runs a shell in it, in this cgroup.
    fn shell(&self, cgroup: &Path, line: &str) -> cmd::Output {
        let procs = cgroup.join("cgroup.procs");
        let inside = format!("echo $$ > {}; {line}", procs.display());
        // Not by ip(8), which mounts another /sys.
        let network = format!("--net=/run/netns/{}", self.name);
        let mut command = std::process::Command::new("nsenter");
        command.args([network.as_str(), "sh", "-c", &inside]);
        cmd::run_command(&mut command)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        cmd::run("ip", &["link", "del", &self.veth]);
        cmd::run("ip", &["netns", "del", &self.name]);
    }
}

/// A datagram to this address, as a command of a shell.
fn attempt(target: &str) -> String {
    let probe = std::env::var("AIRGAP_PROBE").expect("AIRGAP_PROBE is not set");
    format!("exec {probe} try udp4 --v4 {target} --v6 2001:db8::1 --port 20001 --marker arrivals")
}

/// An engine may make the network before there is any process of the container.
#[test]
fn the_first_socket_tells_whose_a_veth_is() {
    let outside = Outside::new();
    let container = outside.container("web").run();
    let other = outside.container("other").run();
    seal(&container.name, &[]).expect_code(0);
    let network = Network::new();
    guard(&network.veth);
    assert_eq!(links(&network.veth), 2, "it is guarded");
    assert!(answers(network.address), "and nobody's");

    // A bystander's socket changes nothing, and what it sends passes.
    let sent = network.shell(&other.cgroup(), &attempt("198.51.100.133"));
    assert!(sent.stdout.contains("\"sent\""), "{}", sent.describe());
    assert!(answers(network.address));

    // The sealed one's is refused what it asks for, and was made.
    let tried = network.shell(&container.cgroup(), &attempt("198.51.100.133"));
    assert!(tried.stdout.contains("\"refused\""), "{}", tried.describe());
    assert!(!answers(network.address), "the sealed container's kernel");

    // A second look takes it from nobody.
    guard(&network.veth);
    assert!(!answers(network.address));
    airgap_ok(&["detach", &container.name]);
    assert!(answers(network.address), "detached");
    assert!(!Path::new("/sys/fs/bpf/airgap").exists(), "a gate is left");
}

/// A guard that waits for an owner is in nobody's way, and goes with the last seal.
#[test]
fn a_guard_that_is_nobodys_goes_with_the_last_seal() {
    let outside = Outside::new();
    let container = outside.container("web").run();
    seal(&container.name, &[]).expect_code(0);
    let network = Network::new();
    guard(&network.veth);
    assert_eq!(links(&network.veth), 2);
    airgap_ok(&["detach", &container.name]);
    assert!(answers(network.address));
    assert!(!Path::new("/sys/fs/bpf/airgap").exists(), "a gate is left");
}
