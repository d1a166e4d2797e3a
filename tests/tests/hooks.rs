//! The security hooks: what no packet shows is refused, by name, and what a container does with
//! itself is not. (Multicast joins are proven by `product.rs`, which has an interface to join on.)
//! Each refusal has its control in a cgroup that is not sealed.
//!
//! `AIRGAP_HOOKS` says by what the kernel must refuse: `lsm` or `fmod_ret`; unset, the tests say
//! why they are skipped.

#[path = "hooks/audit.rs"]
mod audit;

use airgap::{
    container::Cgroup,
    events::{Denial, Event, Follower},
    gate::{Security, Silence},
    technique::{HOST_TABLE, Outcome, Report, pass},
};
use airgap_tests::airgap::expected_mechanism;
use airgap_tests::scratch::{Network, Scratch, id, probe_in, reports, try_in};
use airgap_tests::{disk, disk::Disk, preempt, wait};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A sealed cgroup beside one that is not.
struct Pair {
    scratch: Scratch,
    sealed: Cgroup,
    open: Cgroup,
}

/// `None`, said aloud, where this kernel runs no security hooks and need not.
fn pair() -> Option<Pair> {
    let mut scratch = Scratch::new("hooks", None);
    match (scratch.gate().security(), expected_mechanism()) {
        (Security::InForce(mechanism), Some(expected)) => assert_eq!(mechanism.name(), expected),
        (Security::Skipped(mechanism), Some(expected)) => {
            assert!(preempt::preempts(), "this kernel does not preempt");
            assert_eq!(mechanism.name(), expected);
        }
        (Security::InForce(_) | Security::Skipped(_), None) => {}
        (security, Some(expected)) => panic!("no security hooks by {expected}: {security:?}"),
        (_, None) => {
            eprintln!("SKIPPED: this kernel does not run security hooks");
            return None;
        }
    }
    scratch.seal(&id(50));
    let sealed = scratch.mkdir(&id(50));
    let open = scratch.mkdir("airgap-test-open");
    Some(Pair {
        scratch,
        sealed,
        open,
    })
}

fn is_refused(report: &Report) -> bool {
    report.outcome == Outcome::Refused && report.errno == libc::EPERM
}

type Step = (&'static str, fn(&mut Pair));

/// One gate for all: loading it takes an emulated processor ten seconds.
#[test]
fn the_security_hooks_refuse_what_no_packet_shows() {
    let Some(mut pair) = pair() else {
        return;
    };
    let steps: [Step; 9] = [
        ("sockets around the network", sockets_around_the_network),
        ("unix sockets", unix_sockets_of_others_are_refused_by_name),
        ("inherited sockets", inherited_sockets_cannot_be_sent_on),
        ("inherited netlink", netlink_of_others_cannot_be_sent_on),
        ("received sockets", sockets_of_others_cannot_be_received),
        ("a network disk", disks_of_the_host_are_written),
        ("rebirth", what_is_born_again_is_refused_raw_sockets),
        ("an audit", audit::refuses_none_of_it),
        ("a missing hook", a_missing_hook_is_noticed),
    ];
    for (name, step) in steps {
        println!("step: {name}");
        step(&mut pair);
    }
}

#[test]
fn a_gate_without_hooks_pins_none() {
    let mut scratch = Scratch::new("whole", None);
    let pinned = fs::read_dir(scratch.place.pins.join("links")).expect("links");
    let hooks = pinned
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("lsm_"))
        .count();
    assert_eq!(
        hooks,
        if scratch.gate().security() == Security::Absent {
            0
        } else {
            7
        }
    );
}

fn a_missing_hook_is_noticed(pair: &mut Pair) {
    let pin = pair.scratch.place.pins.join("links/lsm_receive");
    fs::remove_file(pin).expect("remove the pin");
    assert_eq!(
        pair.scratch.gate().security(),
        Security::Silent(Silence::Broken),
        "one hook is gone"
    );
    assert_eq!(
        pair.scratch.gate().broken_links(),
        ["lsm_receive: its pin is gone"]
    );
}

/// No frame layer, and nobody to put it back: what a restart is on a host without airgap running.
fn what_is_born_again_is_refused_raw_sockets(pair: &mut Pair) {
    let again = pair.scratch.mkdir(&format!("docker-{}.scope", id(50)));
    for technique in ["packet-socket", "xdp-socket"] {
        let report = try_in(&again, Network::Own, technique, "m");
        assert!(is_refused(&report), "{report:?}");
    }
}

/// Kinds of sockets that lead around the network.
const AROUND: [&str; 6] = [
    "vsock-stream",
    "vsock-dgram",
    "netlink-audit",
    "netlink-usersock",
    "packet-socket",
    "xdp-socket",
];

fn sockets_around_the_network(pair: &mut Pair) {
    for technique in AROUND {
        let control = try_in(&pair.open, Network::Own, technique, "m");
        // Some kernels have no such family; none of them says EPERM.
        assert!(!is_refused(&control), "{control:?}");
        let errno = if technique.starts_with("netlink") {
            assert_eq!(control.outcome, Outcome::Sent, "{control:?}");
            libc::EPROTONOSUPPORT
        } else {
            libc::EPERM
        };
        let report = try_in(&pair.sealed, Network::Own, technique, "m");
        assert_eq!(
            (report.outcome, report.errno),
            (Outcome::Refused, errno),
            "{report:?}"
        );
    }
    let packet = try_in(&pair.open, Network::Own, "packet-socket", "m");
    assert_eq!(packet.outcome, Outcome::Sent, "{packet:?}");
    assert!(pair.scratch.gate().broken_links().is_empty());
}

/// Somebody outside, at one abstract name for each kind of unix socket.
struct Outsider {
    _stream: UnixListener,
    _seqpacket: OwnedFd,
    dgram: UnixDatagram,
}

fn abstract_address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).expect("name")
}

/// Names of each kind; one name belongs to one socket.
fn name_of(technique: &str) -> String {
    let kind = technique.split('-').nth(1).expect("kind");
    format!("agt{}-{kind}", std::process::id())
}

fn outsider() -> Outsider {
    use airgap::technique::{sys::Socket, unix::abstract_name};
    let seqpacket =
        Socket::open(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0).unwrap_or_else(|_| panic!("socket"));
    let (address, len) = abstract_name(&name_of("unix-seqpacket"));
    // SAFETY: the pointer and length describe `address`.
    let bound = unsafe { libc::bind(seqpacket.fd(), (&raw const address).cast(), len) };
    assert_eq!(bound, 0, "bind");
    assert!(seqpacket.listen().is_ok(), "listen");
    let stream = UnixListener::bind_addr(&abstract_address(&name_of("unix-stream")));
    let dgram = UnixDatagram::bind_addr(&abstract_address(&name_of("unix-dgram")));
    let dgram = dgram.expect("bind");
    dgram.set_nonblocking(true).expect("nonblocking");
    Outsider {
        _stream: stream.expect("bind"),
        _seqpacket: seqpacket.0,
        dgram,
    }
}

fn unix_sockets_of_others_are_refused_by_name(pair: &mut Pair) {
    let outsider = outsider();
    let mut follower = Follower::start(pair.scratch.gate(), &[]).expect("follow");
    for (technique, _) in HOST_TABLE.iter().filter(|(n, _)| n.starts_with("unix-")) {
        let name = name_of(technique);
        let control = try_in(&pair.open, Network::Shared, technique, &name);
        assert_eq!(control.outcome, Outcome::Sent, "{control:?}");
        while outsider.dgram.recv(&mut [0; 64]).is_ok() {}
        let report = try_in(&pair.sealed, Network::Shared, technique, &name);
        assert!(is_refused(&report), "{report:?}");
        assert!(outsider.dgram.recv(&mut [0; 64]).is_err(), "{technique}");
        let denial = next(&mut follower);
        assert_eq!(
            (denial.hook, denial.reason, denial.unix_peer.as_deref()),
            ("lsm", "unix-peer", Some(format!("@{name}").as_str()))
        );
        assert_eq!(
            denial.process.map(|p| p.name).as_deref(),
            Some("airgap-probe")
        );
    }
}

fn next(follower: &mut Follower) -> Denial {
    let found = wait::within(Duration::from_secs(5), || {
        let events = follower.poll().expect("poll");
        events.into_iter().find_map(|event| match event {
            Event::Denial(denial) => Some(*denial),
            _ => None,
        })
    });
    found.expect("a record of the refusal")
}

/// Sockets of this test, connected to this test: two ways out for whoever gets them.
fn connected() -> (UdpSocket, TcpStream, UdpSocket, TcpStream) {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    udp.connect(receiver.local_addr().expect("address"))
        .expect("connect");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let tcp = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    receiver.set_nonblocking(true).expect("nonblocking");
    server.set_nonblocking(true).expect("nonblocking");
    (udp, tcp, receiver, server)
}

fn got_any(receiver: &UdpSocket, server: &mut TcpStream) -> bool {
    let mut buffer = [0; 64];
    receiver.recv(&mut buffer).is_ok() || server.read(&mut buffer).is_ok()
}

fn inherited_sockets_cannot_be_sent_on(pair: &mut Pair) {
    let (udp, tcp, receiver, mut server) = connected();
    for fd in [udp.as_fd(), tcp.as_fd()] {
        let number = fd.as_raw_fd();
        // SAFETY: clears close-on-exec of a descriptor this test owns.
        assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
        let args = ["inherit", &number.to_string()];
        let try_it = |cgroup: &Cgroup| reports(&mut probe_in(cgroup, Network::Shared, &args)).pop();
        let control = try_it(&pair.open).expect("report");
        assert_eq!(control.outcome, Outcome::Sent, "{control:?}");
        assert!(got_any(&receiver, &mut server));
        let report = try_it(&pair.sealed).expect("report");
        assert!(is_refused(&report), "{report:?}");
        assert!(!got_any(&receiver, &mut server));
    }
}

/// What may not be created may not be there already, either: `socket_create` came too late for it.
fn netlink_of_others_cannot_be_sent_on(pair: &mut Pair) {
    use airgap::technique::sys::Socket;
    let open = || Socket::open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_USERSOCK);
    let (Ok(receiver), Ok(sender)) = (open(), open()) else {
        panic!("no netlink socket");
    };
    // SAFETY: plain data.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    // Any number of its own; the kernel gives out process ids.
    address.nl_pid = 1 << 30;
    let (at, len) = (&raw const address, size_of_val(&address) as u32);
    // SAFETY: pointer and length describe `address`; the descriptor is this test's.
    unsafe {
        assert_eq!(libc::bind(receiver.fd(), at.cast(), len), 0, "bind");
        assert_eq!(libc::connect(sender.fd(), at.cast(), len), 0, "connect");
        assert_eq!(libc::fcntl(sender.fd(), libc::F_SETFD, 0), 0);
    }
    let got = || {
        let mut buffer = [0u8; 64];
        let into = buffer.as_mut_ptr().cast();
        // SAFETY: the pointer and length describe `buffer`.
        unsafe { libc::recv(receiver.fd(), into, 64, libc::MSG_DONTWAIT) > 0 }
    };
    let number = sender.fd().to_string();
    let try_it = |cgroup: &Cgroup| {
        let mut probe = probe_in(cgroup, Network::Shared, &["inherit", &number]);
        reports(&mut probe).pop().expect("report")
    };
    let control = try_it(&pair.open);
    assert_eq!(control.outcome, Outcome::Sent, "{control:?}");
    assert!(got());
    let report = try_it(&pair.sealed);
    assert!(is_refused(&report), "{report:?}");
    assert!(!got());
}

/// The kernel sends in the writer's name, on a socket of somebody else. Only in a machine of its
/// own: the device may be a disk of this one.
fn disks_of_the_host_are_written(pair: &mut Pair) {
    if std::env::var_os("AIRGAP_HOOKS").is_none() {
        eprintln!("SKIPPED: this needs a machine of its own, see cargo xtask kernels");
        return;
    }
    let _disk = Disk::connect();
    for cgroup in [&pair.open, &pair.sealed, &pair.open] {
        let mut probe = probe_in(cgroup, Network::Own, &["write", disk::DEVICE]);
        let output = probe.output().expect("run the probe");
        assert!(
            output.status.success(),
            "{}: {output:?}",
            cgroup.path.display()
        );
    }
}

/// A probe that waits for a descriptor; killed on drop.
struct Receiver(Child, BufReader<std::process::ChildStdout>, String);

impl Receiver {
    fn start(cgroup: &Cgroup, n: u32) -> Self {
        let name = format!("agtr{}-{n}", std::process::id());
        let mut command = probe_in(cgroup, Network::Shared, &["receive", &name]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("read");
        assert_eq!(line, "ready\n");
        Self(child, lines, name)
    }

    fn give(mut self, fd: &impl AsFd) -> Report {
        let stream = UnixStream::connect_addr(&abstract_address(&self.2)).expect("connect");
        assert!(pass::send(stream.as_fd(), fd.as_fd()).is_ok(), "send");
        let mut line = String::new();
        self.1.read_line(&mut line).expect("read");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sockets_of_others_cannot_be_received(pair: &mut Pair) {
    let (udp, tcp, receiver, mut server) = connected();
    let fds: [&dyn Fn(Receiver) -> Report; 2] = [&|r| r.give(&udp), &|r| r.give(&tcp)];
    for (n, give) in (0..).zip(fds) {
        let control = give(Receiver::start(&pair.open, 2 * n));
        assert_eq!(control.outcome, Outcome::Sent, "{control:?}");
        assert!(got_any(&receiver, &mut server));
        let report = give(Receiver::start(&pair.sealed, 2 * n + 1));
        assert!(is_refused(&report), "{report:?}");
        assert!(!got_any(&receiver, &mut server));
    }
}

/// Everything a container does with itself, sealed or not, with the hooks or without.
#[test]
fn what_a_container_does_with_itself_is_untouched() {
    let mut scratch = Scratch::new("legit", None);
    scratch.seal(&id(55));
    let sealed = scratch.mkdir(&id(55));
    let open = scratch.mkdir("airgap-test-legit");
    for cgroup in [&open, &sealed] {
        let done = reports(&mut probe_in(cgroup, Network::Own, &["legit"]));
        assert_eq!(done.len(), 12, "{done:?}");
        let failed: Vec<_> = done.iter().filter(|r| r.outcome != Outcome::Sent).collect();
        assert!(failed.is_empty(), "{}: {failed:?}", cgroup.path.display());
    }
}
