//! Promise: nothing leaves, whatever a container does with its sockets and in whatever order. No
//! SYN of its own leaves, and every packet belongs to a flow that a client opened.

use airgap_tests::airgap::seal;
use airgap_tests::{Container, Frame, Outside, SERVICE_PORT, Tap, airgap_ok, client, wait};
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long each container churns under a seal.
const CHURN: Duration = Duration::from_secs(6);

fn churning(outside: &Outside, seed: u16) -> Container {
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let seed = seed.to_string();
    let line = [
        "airgap-probe",
        "churn",
        "--v4",
        &v4,
        "--v6",
        &v6,
        "--port",
        &seed,
    ];
    outside.container("churn").command(&line).run()
}

/// One client's life; its address is remembered before its first packet.
fn visit(outside: &Outside, to: SocketAddr, flows: &mut HashSet<SocketAddr>, turn: u32) {
    let limit = Duration::from_millis(60);
    outside.netns.run(|| {
        // Nobody may listen just now, and no answer is an answer.
        let Ok((socket, own)) = client::bound(to) else {
            return;
        };
        flows.insert(own);
        let Ok(mut stream) = client::connect(socket, to, limit) else {
            return;
        };
        let _ = stream.set_read_timeout(Some(limit));
        let _ = stream.write_all(b"a client's words");
        if !turn.is_multiple_of(3) {
            let _ = stream.read(&mut [0; 64]);
        }
    });
}

/// What is wrong with a packet of the container, if anything is.
fn wrong(frame: &Frame, own: &[IpAddr], flows: &HashSet<SocketAddr>) -> Option<String> {
    let ip = frame.ip().filter(|ip| own.contains(&ip.source));
    let Some(ip) = ip else {
        return (!frame.outgoing).then(|| format!("from another address: {frame:?}"));
    };
    if ip.protocol != 6 {
        return Some(format!("not TCP: {frame:?}"));
    }
    let (from, to) = frame.ports()?;
    let flags = frame.tcp_flags()?;
    if flags & 0x12 == 0x02 {
        return Some(format!("a SYN: {frame:?}"));
    }
    if from != SERVICE_PORT || !flows.contains(&SocketAddr::new(ip.destination, to)) {
        return Some(format!("no client's flow: {frame:?}"));
    }
    None
}

fn answers_without_a_word(frame: &Frame) -> bool {
    frame.is_bare_answer() && frame.ports().is_some_and(|(from, _)| from == SERVICE_PORT)
}

/// `flows`: of this container's clients so far; their last segments may still be answered.
fn watch(
    outside: &Outside,
    container: &Container,
    flows: &mut HashSet<SocketAddr>,
) -> (usize, Vec<String>) {
    let own: [IpAddr; 2] = [container.ip4().into(), container.ip6().into()];
    let link = Tap::host(&container.veth());
    let bridge = Tap::host(&outside.plan.bridge);
    outside.clear();
    let mut turn = 0;
    let start = Instant::now();
    while start.elapsed() < CHURN {
        let to = SocketAddr::new(own[turn as usize % 2], SERVICE_PORT);
        visit(outside, to, flows, turn);
        turn += 1;
    }
    let mut problems = Vec::new();
    // What the kernel answers for connections that the seal cut gets as far as the veth, where
    // the frame programs stop it.
    let on_link = heard(&link);
    let answers = on_link.len();
    let spoken = on_link.iter().filter(|frame| !frame.is_bare_answer());
    problems.extend(spoken.filter_map(|f| wrong(f, &own, flows)));
    let behind = heard(&bridge);
    // Which side opened a connection that the seal cut nobody can tell: what its kernel answers
    // without a word is let out for a minute, also to where a service port connected to.
    let spoken = behind.iter().filter(|frame| !answers_without_a_word(frame));
    problems.extend(spoken.filter_map(|f| wrong(f, &own, flows)));
    problems.extend(
        outside
            .seen()
            .iter()
            .map(|seen| format!("reached outside: {seen:?}")),
    );
    (answers, problems)
}

/// Both families, so that no packet from before the seal waits for its neighbour to answer.
fn gets_out(outside: &Outside) {
    outside.clear();
    let both = || {
        let seen = outside.tap.incoming();
        let v6 = |wanted: bool| {
            let ips = seen.iter().filter_map(Frame::ip);
            ips.into_iter()
                .any(|ip| ip.protocol == 6 && ip.source.is_ipv6() == wanted)
        };
        (v6(true) && v6(false)).then_some(())
    };
    wait::within(wait::SOON, both).expect("the control: unsealed, it reaches the outside");
}

/// From the container, neighbour discovery left out.
fn heard(tap: &Tap) -> Vec<Frame> {
    tap.barrier();
    let frames = tap.suspicious().into_iter();
    frames.filter(|frame| !frame.outgoing).collect()
}

#[test]
fn random_lives_of_sockets_never_leave() {
    let outside = Outside::new();
    // Of all containers: the next one may get the same address, and a RST answers late segments.
    let mut flows = HashSet::new();
    for seed in [1, 2] {
        let container = churning(&outside, seed);
        gets_out(&outside);
        // It may listen elsewhere just now.
        seal(&container.name, &["-p", "5060"]);
        let (answers, problems) = watch(&outside, &container, &mut flows);
        assert!(problems.is_empty(), "seed {seed}: {problems:#?}");
        assert!(answers > 0, "seed {seed}: no client was ever answered");
        // What it does in between must give it nothing afterwards.
        airgap_ok(&["detach", &container.name]);
        gets_out(&outside);
        // It may listen elsewhere just now.
        seal(&container.name, &["-p", "5060"]);
        let (_, problems) = watch(&outside, &container, &mut flows);
        assert!(
            problems.is_empty(),
            "seed {seed}, sealed again: {problems:#?}"
        );
    }
}
