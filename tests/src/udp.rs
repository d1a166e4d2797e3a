//! Clients outside that speak UDP.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::airgap::{airgap, seal};
use crate::cmd::Output;
use crate::{Container, Frame, Outside};

/// The service port, of UDP here.
pub const PORT: u16 = 5060;
/// Longer than an answer takes.
const MOMENT: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(5);

/// An outside with clients.
#[derive(Debug)]
pub struct World {
    pub outside: Outside,
}

impl World {
    /// # Panics
    /// As [`Outside::new`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            outside: Outside::new(),
        }
    }

    /// Seals a new container for clients outside, with these ports and options.
    #[track_caller]
    pub fn sealed(&self, name: &str, ports: &[&str], options: &[&str]) -> Container {
        let container = self.outside.container(name).run();
        let all: Vec<_> = ports.iter().chain(options).copied().collect();
        self.seal(&container, &all);
        container
    }

    /// Seals it for clients outside.
    #[track_caller]
    pub fn seal(&self, container: &Container, options: &[&str]) -> Output {
        let plan = &self.outside.plan;
        let (v4, v6) = (plan.outside4.to_string(), plan.outside6.to_string());
        let mut all = options.to_vec();
        all.extend(["--from", &v4, "--from", &v6]);
        seal(&container.name, &all)
    }

    pub fn client(&self, version: &str) -> Client {
        let address: IpAddr = match version {
            "6" => self.outside.plan.outside6.into(),
            _ => self.outside.plan.outside4.into(),
        };
        let bind = || UdpSocket::bind((address, 0)).expect("bind");
        let socket = self.outside.netns.run(bind);
        socket.set_read_timeout(Some(SOON)).expect("setsockopt");
        let at = socket.local_addr().expect("getsockname");
        Client { socket, at }
    }

    /// One datagram from each of so many ports.
    pub fn flood(&self, web: &Container, port: u16, count: usize) {
        let from = self.outside.plan.outside4;
        let to = (web.ip4(), port);
        self.outside.netns.run(|| {
            for _ in 0..count {
                let socket = UdpSocket::bind((from, 0)).expect("bind");
                socket.send_to(b"flood", to).expect("send");
                // The next one gets another port: they are drawn.
                std::mem::forget(socket);
            }
        });
    }

    /// Nothing of the container is on the wire but what comes from these ports.
    #[track_caller]
    pub fn nothing_else_left(&self, web: &Container, ports: &[u16]) {
        let own = [IpAddr::from(web.ip4()), web.ip6().into()];
        let left = self.outside.arrivals();
        let strange = left.iter().find(|frame| {
            let ours = frame.ip().is_some_and(|ip| own.contains(&ip.source));
            let from = frame.ports().map(|(from, _)| from);
            let fine = is_later_fragment(frame) || from.is_none_or(|from| ports.contains(&from));
            ours && !fine
        });
        assert!(strange.is_none(), "{strange:?}");
    }
}

/// One that has no ports.
fn is_later_fragment(frame: &Frame) -> bool {
    /// Next header (RFC 8200 §4.5).
    const FRAGMENT: u8 = 44;
    let word = |at: usize| match frame.bytes.get(at..at + 2) {
        Some(bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        None => 0,
    };
    match word(12) {
        0x0800 => word(14 + 6) & 0x1fff != 0,
        0x86dd => frame.bytes.get(14 + 6) == Some(&FRAGMENT) && word(14 + 42) & 0xfff8 != 0,
        _ => false,
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A socket outside.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    pub at: SocketAddr,
}

impl Client {
    #[track_caller]
    pub fn say(&self, web: &Container, port: u16, text: &str) {
        self.say_bytes(web, port, text.as_bytes());
    }

    /// # Panics
    /// When the kernel does not send it.
    #[track_caller]
    pub fn say_bytes(&self, web: &Container, port: u16, bytes: &[u8]) {
        let to: IpAddr = match self.at {
            SocketAddr::V4(_) => web.ip4().into(),
            SocketAddr::V6(_) => web.ip6().into(),
        };
        self.say_to((to, port).into(), bytes);
    }

    /// # Panics
    /// When the kernel does not send it.
    #[track_caller]
    pub fn say_to(&self, to: SocketAddr, bytes: &[u8]) {
        let sent = self.socket.send_to(bytes, to);
        sent.expect("a client outside is not sealed");
    }

    /// All of the next datagram, if it comes in time.
    pub fn hears_all_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        self.socket
            .set_read_timeout(Some(time))
            .expect("setsockopt");
        let heard = self.socket.recv(&mut buffer);
        self.socket
            .set_read_timeout(Some(SOON))
            .expect("setsockopt");
        buffer.truncate(heard.ok()?);
        Some(buffer)
    }

    /// What comes, and from which port.
    pub fn hears(&self) -> Option<(String, u16)> {
        let mut buffer = [0; 65_536];
        let (len, from) = self.socket.recv_from(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        Some((text, from.port()))
    }

    /// How long what comes is.
    pub fn hears_bytes(&self) -> Option<usize> {
        let mut buffer = [0; 65_536];
        self.socket.recv(&mut buffer).ok()
    }

    /// What comes within a moment: nothing, if all is well.
    pub fn heard_nothing(&self) -> Option<(String, u16)> {
        self.socket
            .set_read_timeout(Some(MOMENT))
            .expect("setsockopt");
        let heard = self.hears();
        self.socket
            .set_read_timeout(Some(SOON))
            .expect("setsockopt");
        heard
    }
}

/// How often a container was refused for a reason.
#[track_caller]
pub fn refused(container: &Container, reason: &str) -> u64 {
    let out = airgap(&["status", "--json", &container.id]);
    let report: serde_json::Value =
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()));
    let reasons = report["denials"]["by_reason"].as_array().cloned();
    let found = reasons.into_iter().flatten().find(|r| r[0] == reason);
    found.and_then(|r| r[1].as_u64()).unwrap_or(0)
}
