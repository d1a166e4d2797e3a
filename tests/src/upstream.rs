//! A DNS server that says what it is told, in a network namespace of its own beside the outside,
//! and hosts that its names lead to.

use crate::plan::Plan;
use crate::reach::Echo;
use crate::{cmd, netns::Netns};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const DNS: u16 = 53;
const A: u16 = 1;
const AAAA: u16 = 28;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// These addresses, each in the answer of its family, with this time to live.
    Addresses(Vec<IpAddr>, u32),
    /// That it stands for another, with what that one says if `whole`.
    Other { name: &'static str, whole: bool },
    /// A code of failure.
    Code(u8),
    /// By datagram only that the answer is cut short; by connection these.
    Long(Vec<IpAddr>),
    /// By datagram the same; a connection is closed with no answer.
    Broken,
    /// Nothing.
    Silent,
}

/// A question as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// In small letters.
    pub name: String,
    pub from: SocketAddr,
    /// The whole message.
    pub wire: Vec<u8>,
}

type Names = Arc<Mutex<HashMap<&'static str, Says>>>;
type Log = Arc<Mutex<Vec<Asked>>>;

/// Gone on drop, before the [`Outside`](crate::Outside) that it is beside.
#[derive(Debug)]
pub struct Upstream {
    pub server: Ipv4Addr,
    /// Two hosts that answer, with IPv4.
    pub one: Ipv4Addr,
    pub two: Ipv4Addr,
    /// And one with IPv6.
    pub six: Ipv6Addr,
    netns: String,
    names: Names,
    asked: Log,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    echo: Option<Echo>,
    undo: Vec<String>,
}

impl Upstream {
    /// With an echo on this port of each host.
    ///
    /// # Panics
    /// When a step fails.
    #[must_use]
    #[track_caller]
    pub fn beside(plan: &Plan, port: u16) -> Self {
        let [a, b, c, d] = plan.host4.octets();
        let v4 = |last: u8| Ipv4Addr::new(a, b, c, d - 33 + last);
        let v6 = |part: u16, last: u16| {
            let [x, y, site, ..] = plan.host6.segments();
            Ipv6Addr::new(x, y, site, part, 0, 0, 0, last)
        };
        let (near, server, one, two) = (v4(49), v4(50), v4(56), v4(57));
        let (near6, server6, six) = (v6(0xd, 1), v6(0xd, 2), v6(0xe, 16));
        let (name, link) = (
            format!("{}-dns", plan.name),
            format!("agtn-{}", plan.suffix),
        );
        let inside = format!("ip -n {name}");
        let bridge = &plan.bridge;
        let mut upstream = Self {
            server,
            one,
            two,
            six,
            netns: name.clone(),
            names: Names::default(),
            asked: Log::default(),
            stop: Arc::default(),
            threads: Vec::new(),
            echo: None,
            undo: Vec::new(),
        };
        for (line, undo) in [
            (
                format!("ip netns add {name}"),
                format!("ip netns del {name}"),
            ),
            (
                format!("ip link add {link} type veth peer name up0 netns {name}"),
                format!("ip link del {link}"),
            ),
        ] {
            cmd::ok(&line);
            upstream.undo.push(undo);
        }
        for line in [
            format!("{inside} link set lo up"),
            format!("{inside} link set up0 up"),
            format!("ip link set {link} up"),
            format!("ip -4 addr add {near}/30 dev {link}"),
            format!("ip -6 addr add {near6}/64 dev {link} nodad"),
            format!("{inside} -4 addr add {server}/30 dev up0"),
            format!("{inside} -6 addr add {server6}/64 dev up0 nodad"),
            format!("{inside} -4 addr add {one}/32 dev lo"),
            format!("{inside} -4 addr add {two}/32 dev lo"),
            format!("{inside} -6 addr add {six}/128 dev lo nodad"),
            format!("{inside} -4 route add {} via {near} src {one}", plan.net4),
            format!("{inside} -6 route add {} via {near6}", plan.net6),
            format!("ip -4 route add {}/29 via {server}", v4(56)),
            format!("ip -6 route add {}/64 via {server6}", v6(0xe, 0)),
        ] {
            cmd::ok(&line);
        }
        for (table, chain) in [("iptables", "DOCKER-USER"), ("ip6tables", "FORWARD")] {
            for rule in [
                format!("-i {bridge} -o {link} -j ACCEPT"),
                format!("-i {link} -o {bridge} -j ACCEPT"),
            ] {
                cmd::ok(&format!("{table} -w -I {chain} {rule}"));
                upstream.undo.push(format!("{table} -w -D {chain} {rule}"));
            }
        }
        let netns = Netns::named(&name);
        upstream.echo = Some(Echo::on(&netns, port));
        let (udp, tcp) = netns.run(|| {
            let at = (Ipv4Addr::UNSPECIFIED, DNS);
            let udp = UdpSocket::bind(at).unwrap_or_else(|e| panic!("udp {DNS}: {e}"));
            let tcp = TcpListener::bind(at).unwrap_or_else(|e| panic!("tcp {DNS}: {e}"));
            (udp, tcp)
        });
        upstream.serve(udp, tcp);
        upstream
    }

    /// Name of its network namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        self.netns.clone()
    }

    /// From now on, of a name in small letters; a name that it was told nothing of is none.
    pub fn says(&self, name: &'static str, what: Says) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name, what);
    }

    /// All that came so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    fn serve(&mut self, udp: UdpSocket, tcp: TcpListener) {
        const PAUSE: Duration = Duration::from_millis(20);
        udp.set_read_timeout(Some(PAUSE)).expect("setsockopt");
        tcp.set_nonblocking(true).expect("fcntl");
        let tools = || {
            (
                Arc::clone(&self.names),
                Arc::clone(&self.asked),
                Arc::clone(&self.stop),
            )
        };
        let (names, log, stop) = tools();
        let datagrams = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((len, from)) = udp.recv_from(&mut buffer)
                    && let Some(answer) = answer(&buffer[..len], from, &names, &log, false)
                {
                    drop(udp.send_to(&answer, from));
                }
            }
        });
        let (names, log, stop) = tools();
        let connections = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok((mut stream, from)) = tcp.accept() else {
                    std::thread::sleep(PAUSE);
                    continue;
                };
                drop(stream.set_nonblocking(false));
                drop(stream.set_read_timeout(Some(Duration::from_secs(1))));
                let mut size = [0; 2];
                if stream.read_exact(&mut size).is_err() {
                    continue;
                }
                let mut wire = vec![0; u16::from_be_bytes(size).into()];
                if stream.read_exact(&mut wire).is_ok()
                    && let Some(answer) = answer(&wire, from, &names, &log, true)
                {
                    let size = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes();
                    drop(stream.write_all(&[&size[..], &answer].concat()));
                }
            }
        });
        self.threads = vec![datagrams, connections];
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        self.echo = None;
        for line in self.undo.iter().rev() {
            let out = cmd::attempt(line);
            if out.code != 0 {
                eprintln!("cannot clean up\n{}", out.describe());
            }
        }
    }
}

fn answer(
    wire: &[u8],
    from: SocketAddr,
    names: &Names,
    log: &Log,
    by_tcp: bool,
) -> Option<Vec<u8>> {
    let (name, end) = question(wire)?;
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.push(Asked {
        name: name.clone(),
        from,
        wire: wire.to_vec(),
    });
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let kind = u16::from_be_bytes([wire[end - 4], wire[end - 3]]);
    let (mut flags, mut records) = ([0x81_u8, 0x80], Vec::new());
    match names.get(name.as_str()) {
        None => flags[1] |= 3,
        Some(Says::Code(code)) => flags[1] |= code,
        Some(Says::Silent) => return None,
        Some(Says::Long(_) | Says::Broken) if !by_tcp => flags[0] |= 2,
        Some(Says::Broken) => return None,
        Some(Says::Addresses(list, ttl)) => records = addresses(&[0xc0, 12], list, *ttl, kind),
        Some(Says::Long(list)) => records = addresses(&[0xc0, 12], list, 60, kind),
        Some(Says::Other { name: other, whole }) => {
            let owner = encoded(other);
            records.push(record(&[0xc0, 12], 5, 60, &owner));
            if let Some(Says::Addresses(list, ttl)) = names.get(other).filter(|_| *whole) {
                records.extend(addresses(&owner, list, *ttl, kind));
            }
        }
    }
    let mut reply = wire[..end].to_vec();
    (reply[2], reply[3]) = (flags[0], flags[1]);
    let count = u16::try_from(records.len()).ok()?;
    reply[6..12].copy_from_slice(&[count.to_be_bytes(), [0; 2], [0; 2]].concat());
    reply.extend(records.concat());
    Some(reply)
}

/// The name in small letters, and where the question ends.
fn question(wire: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let len = usize::from(*wire.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = wire.get(at..at + len)?.to_ascii_lowercase();
        labels.push(String::from_utf8_lossy(&label).into_owned());
        at += len;
    }
    wire.get(at..at + 4)?;
    Some((labels.join("."), at + 4))
}

fn encoded(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap_or(0));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn addresses(owner: &[u8], list: &[IpAddr], ttl: u32, kind: u16) -> Vec<Vec<u8>> {
    let records = list.iter().filter_map(|address| match (address, kind) {
        (IpAddr::V4(four), A) => Some(record(owner, A, ttl, &four.octets())),
        (IpAddr::V6(six), AAAA) => Some(record(owner, AAAA, ttl, &six.octets())),
        _ => None,
    });
    records.collect()
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap_or(0);
    let fixed = [
        &kind.to_be_bytes()[..],
        &[0, 1],
        &ttl.to_be_bytes(),
        &len.to_be_bytes(),
    ];
    [owner, &fixed.concat(), data].concat()
}
