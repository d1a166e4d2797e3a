//! Promise: a sealed service works as before, also where runtimes and Docker do the less obvious.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Outcome, Outside, SERVICE_PORT, airgap, cmd, http, kernel, wait};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

/// Larger than every buffer on the way.
const LARGE: usize = 2_000_000;

fn both(container: &Container) -> [IpAddr; 2] {
    [container.ip4().into(), container.ip6().into()]
}

/// A request by MPTCP, and whether the connection still is one when its answer has come.
/// `meanwhile` runs when half of the request is sent, so that the connection is in use and open.
fn by_mptcp(
    outside: &Outside,
    address: Ipv4Addr,
    meanwhile: impl FnOnce() + Send,
) -> (String, bool) {
    const IPPROTO_MPTCP: i32 = 262;
    const TCP_IS_MPTCP: i32 = 43;
    let at = SocketAddr::new(address.into(), SERVICE_PORT);
    outside.netns.run(|| {
        // SAFETY: socket takes no pointers; the descriptor is owned once.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_MPTCP);
            assert!(fd >= 0, "this kernel has no MPTCP");
            OwnedFd::from_raw_fd(fd)
        };
        let mut raw = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: at.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(address.octets()),
            },
            sin_zero: [0; 8],
        };
        // SAFETY: the pointer and length describe `raw`.
        let rc = unsafe {
            let len = size_of::<libc::sockaddr_in>() as u32;
            libc::connect(socket.as_raw_fd(), (&raw mut raw).cast(), len)
        };
        assert_eq!(rc, 0, "connect: {}", std::io::Error::last_os_error());
        let (mut is_mptcp, mut len) = (0_i32, 4_u32);
        let fd = socket.as_raw_fd();
        let mut stream = TcpStream::from(socket);
        let limit = Some(Duration::from_secs(5));
        stream.set_read_timeout(limit).expect("a timeout");
        write!(stream, "GET /mptcp HTTP/1.0\r\n").expect("send");
        meanwhile();
        write!(stream, "\r\n").expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        // SAFETY: the pointers describe `is_mptcp` and `len`.
        unsafe {
            let value = (&raw mut is_mptcp).cast();
            libc::getsockopt(fd, libc::IPPROTO_TCP, TCP_IS_MPTCP, value, &raw mut len);
        }
        (answer, is_mptcp == 1)
    })
}

#[test]
fn a_listener_that_was_mptcp_keeps_answering() {
    let outside = Outside::new();
    let web = outside
        .container("mptcp")
        .command(&["airgap-probe", "serve", "mptcp"])
        .run();
    let (answer, mptcp) = by_mptcp(&outside, web.ip4(), || ());
    assert!(mptcp, "the control: unsealed, the listener speaks MPTCP");
    assert!(answer.ends_with("/mptcp"), "{answer:?}");
    seal(&web.name, &[]);
    outside.clear();
    for address in both(&web) {
        let body = outside.get(address, SERVICE_PORT, "/tcp");
        body.unwrap_or_else(|e| panic!("a TCP client on {address}: {e:#}"));
    }
    let (answer, mptcp) = by_mptcp(&outside, web.ip4(), || ());
    assert!(answer.ends_with("/mptcp"), "an MPTCP client: {answer:?}");
    println!("sealed, an MPTCP client speaks MPTCP: {mptcp}");
}

/// The client announces another address. A container that may follow opens a subflow there.
#[test]
fn an_mptcp_connection_opens_no_subflow() {
    let outside = Outside::new();
    let web = outside
        .container("mptcp")
        .command(&["airgap-probe", "serve", "mptcp"])
        .run();
    let ns = &outside.plan.name;
    let [a, b, c, d] = outside.plan.outside4.octets();
    let other = Ipv4Addr::new(a, b, c, d + 1);
    cmd::ok(&format!("ip -n {ns} addr add {other}/28 dev out0"));
    cmd::ok(&format!(
        "ip -n {ns} mptcp endpoint add {other} dev out0 signal"
    ));
    cmd::ok(&format!(
        "nsenter -t {} -n ip mptcp limits set add_addr_accepted 4 subflows 4",
        web.pid()
    ));
    let subflow = |when: &str| {
        outside.clear();
        let mut opened = None;
        let (answer, _) = by_mptcp(&outside, web.ip4(), || {
            opened = outside.tap.watch(Duration::from_secs(1), |f| {
                f.ip()
                    .is_some_and(|ip| ip.destination == IpAddr::from(other))
            });
        });
        assert!(answer.ends_with("/mptcp"), "{when}: {answer:?}");
        opened
    };
    // On a busy machine the kernel may announce the address too late for one.
    assert!(
        (0..5).any(|_| subflow("unsealed").is_some()),
        "the control: a subflow is opened"
    );
    seal(&web.name, &[]);
    let opened = subflow("sealed");
    assert!(
        opened.is_none(),
        "the container opened a subflow: {opened:?}"
    );
}

#[test]
fn a_new_mptcp_socket_fails_as_if_the_kernel_had_none() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let (port, marker) = (20_000, "mptcp");
    let control = web.attempt("mptcp4", port, marker);
    assert_eq!(control.outcome, Outcome::Sent, "the control: {control:?}");
    seal(&web.name, &[]);
    for technique in ["mptcp4", "mptcp6"] {
        let attempt = web.attempt(technique, port, marker);
        let step = (attempt.detail.as_str(), attempt.errno);
        assert_eq!(
            step,
            ("socket", libc::EPROTONOSUPPORT),
            "{technique}: {attempt:?}"
        );
    }
}

/// All processes answer: the kernel spreads connections over their listeners.
#[test]
fn forked_listeners_on_one_port_all_answer() {
    let outside = Outside::new();
    let web = outside
        .container("forked")
        .command(&["airgap-probe", "serve", "forked", "4"])
        .run();
    let answering = |when: &str| -> usize {
        let mut processes = HashSet::new();
        for round in 0..120 {
            let address = both(&web)[round % 2];
            let body = outside.get(address, SERVICE_PORT, "/pid");
            processes.insert(body.unwrap_or_else(|e| panic!("{when}, round {round}: {e:#}")));
        }
        processes.len()
    };
    wait::until("the control: all four answer unsealed", wait::SOON, || {
        (answering("unsealed") == 4).then_some(())
    });
    seal(&web.name, &[]);
    assert_eq!(answering("sealed"), 4, "processes that answer");
}

/// Docker's own view of a container's health after one more check.
fn next_health(container: &Container) -> String {
    let line = format!(
        "docker inspect -f {{{{range.State.Health.Log}}}}{{{{.Start.UnixNano}}}},{{{{end}}}}|{{{{.State.Health.Status}}}} {}",
        container.id
    );
    let last = |text: &str| -> (String, String) {
        let (log, status) = text.split_once('|').unwrap_or((text, ""));
        let last = log.trim_end_matches(',').rsplit(',').next();
        (last.unwrap_or("").to_owned(), status.to_owned())
    };
    let (before, _) = last(&cmd::ok(&line));
    let mut new = HashSet::new();
    wait::until("two health checks", Duration::from_secs(20), || {
        let (start, status) = last(&cmd::ok(&line));
        if start != before {
            new.insert(start);
        }
        // The first of them may have begun before the call.
        (new.len() > 1).then_some(status)
    })
}

#[test]
fn health_checks_judge_as_before() {
    let outside = Outside::new();
    let neighbour = outside.container("neighbour").run();
    let checked = |name: &str, check: &str| {
        let command = format!("airgap-probe get {check} /health");
        let options = ["--hostname", name, "--health-cmd", &command];
        outside
            .container(name)
            .options(&options)
            .options(&["--health-interval", "500ms", "--health-retries", "1"])
            .run()
    };
    let near = checked("near", "127.0.0.1:5060");
    // Its own name leads to its own address, by /etc/hosts.
    let named = checked("named", "named:5060");
    let far = checked("far", &format!("{}:5060", neighbour.ip4()));
    for container in [&near, &named, &far] {
        assert_eq!(
            next_health(container),
            "healthy",
            "unsealed {}",
            container.name
        );
    }
    for container in [&near, &named, &far] {
        seal(&container.name, &[]);
    }
    assert_eq!(next_health(&near), "healthy", "over loopback");
    assert_eq!(next_health(&named), "healthy", "by its own name");
    assert_eq!(
        next_health(&far),
        "unhealthy",
        "the control: what leaves is refused"
    );
}

#[test]
fn published_ports_answer_through_the_proxy_and_nat() {
    let outside = Outside::new();
    let web = outside.container("web").publish(SERVICE_PORT).run();
    let port = web.published(SERVICE_PORT);
    let proxy = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let ask = |when: &str| {
        let body = http::get(proxy, "/proxy");
        body.unwrap_or_else(|e| panic!("{when}, by the host's loopback: {e:#}"));
        let body = outside.get(outside.plan.host4, port, "/nat");
        body.unwrap_or_else(|e| panic!("{when}, by the host's address: {e:#}"));
    };
    ask("unsealed");
    seal(&web.name, &[]);
    ask("sealed");
    seal(&web.name, &["-p", "8080"]);
    let shut = outside.get(outside.plan.host4, port, "/nat");
    assert!(
        shut.is_err(),
        "the control: another port's seal shuts this one"
    );
}

#[test]
fn large_answers_and_many_requests() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    seal(&web.name, &[]);
    for address in both(&web) {
        let body = outside.get(address, SERVICE_PORT, &format!("/bytes/{LARGE}"));
        let body = body.unwrap_or_else(|e| panic!("{address}: {e:#}"));
        assert_eq!(body.len(), LARGE, "{address}");
        for number in 0..1000 {
            let path = format!("/{number}");
            let body = outside.get(address, SERVICE_PORT, &path);
            let body = body.unwrap_or_else(|e| panic!("{address}, request {number}: {e:#}"));
            assert_eq!(body, path.as_bytes(), "{address}, request {number}");
        }
    }
}

const CALLS: [&str; 10] = [
    "tcp4",
    "tcp6",
    "tcp-mapped",
    "tcp4-nonblocking",
    "tcp4-fastopen",
    "udp4",
    "udp6",
    "udp4-connected",
    "udp6-connected",
    "udp4-sendmmsg",
];

/// To a program the seal looks like a host without a network, call by call; `--errno eperm` is
/// told from that.
#[test]
fn refused_calls_fail_as_without_a_network() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    let alone = outside.container("alone").network("none").run();
    let errnos = |container: &Container| {
        CALLS.map(|technique| {
            let attempt = container.attempt(technique, 20_000, "errno");
            // What goes on has an errno of its own.
            let refused = attempt.outcome == Outcome::Refused;
            if refused { attempt.errno } else { 0 }
        })
    };
    assert_eq!(errnos(&web), [0; 10], "the control: there is a network");
    seal(&web.name, &[]);
    let without = errnos(&alone);
    // A container has IPv6 by the engine's version, by its networks and by a sysctl.
    let with_ipv6 = offline(true);
    assert!(
        without == with_ipv6 || without == offline(false),
        "{without:?}"
    );
    let shown = || {
        let status = airgap(&["status", "--json", &web.name]);
        let json: Value = serde_json::from_str(&status.stdout).expect("JSON");
        json["errno"].as_str().unwrap_or("").to_owned()
    };
    if kernel::has_set_retval() {
        assert_eq!(errnos(&web), with_ipv6, "{CALLS:?}");
        seal(&alone.name, &[]);
        assert_eq!(errnos(&alone), without, "{CALLS:?}");
        assert_eq!(shown(), "offline");
    }
    seal(&web.name, &["--errno", "eperm"]);
    assert_eq!(errnos(&web), [libc::EPERM; 10], "{CALLS:?}");
    // What is not named stays.
    seal(&web.name, &["-p", "5060", "-p", "80"]);
    assert_eq!(errnos(&web), [libc::EPERM; 10], "{CALLS:?}");
    assert_eq!(shown(), "eperm");
    seal(&web.name, &["--errno", "offline"]);
    assert_eq!(errnos(&web), [kernel::refused(); 10], "{CALLS:?}");
}

/// By ip6_dst_lookup_tail (net/ipv6/ip6_output.c).
fn offline(has_ipv6: bool) -> [i32; 10] {
    CALLS.map(|technique| match technique {
        "tcp6" | "udp6" | "udp6-connected" if !has_ipv6 => libc::EADDRNOTAVAIL,
        _ => libc::ENETUNREACH,
    })
}
