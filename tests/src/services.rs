//! What listens in the outside world: DNS, and TCP and UDP on many ports, all recording.

use crate::netns::Netns;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Ports with a recording TCP listener and UDP socket, one for each technique under test.
pub const PORTS: std::ops::Range<u16> = 20_000..20_350;
const DNS: u16 = 53;

/// What reached an application outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A TCP connection was completed.
    Connection { port: u16, from: IpAddr },
    /// Bytes came over TCP.
    Stream { port: u16, payload: Vec<u8> },
    /// A UDP datagram came.
    Datagram {
        port: u16,
        from: IpAddr,
        payload: Vec<u8>,
    },
    /// A name was asked for.
    Question { name: String, over_tcp: bool },
}

#[derive(Debug)]
pub(crate) struct Services {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Sockets {
    listeners: Vec<(u16, TcpListener)>,
    datagrams: Vec<(u16, UdpSocket)>,
    streams: Vec<(u16, TcpStream)>,
    answers: (Ipv4Addr, Ipv6Addr),
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Services {
    pub(crate) fn start(ns: &Netns, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut sockets = Sockets {
            listeners: Vec::new(),
            datagrams: Vec::new(),
            streams: Vec::new(),
            answers: (v4, v6),
            seen: Arc::clone(&seen),
        };
        ns.run(|| {
            for port in PORTS.chain([DNS, 80, 443]) {
                let any = (Ipv6Addr::UNSPECIFIED, port);
                let tcp = TcpListener::bind(any).unwrap_or_else(|e| panic!("tcp {port}: {e}"));
                let udp = UdpSocket::bind(any).unwrap_or_else(|e| panic!("udp {port}: {e}"));
                tcp.set_nonblocking(true)
                    .and_then(|()| udp.set_nonblocking(true))
                    .expect("fcntl");
                sockets.listeners.push((port, tcp));
                sockets.datagrams.push((port, udp));
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    sockets.wait();
                    sockets.serve();
                }
            }
        });
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn clear(&self) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Sockets {
    /// Blocks until a socket has something or 50 ms have passed.
    fn wait(&self) {
        let listeners = self.listeners.iter().map(|(_, s)| s.as_raw_fd());
        let datagrams = self.datagrams.iter().map(|(_, s)| s.as_raw_fd());
        let streams = self.streams.iter().map(|(_, s)| s.as_raw_fd());
        let fds = listeners.chain(datagrams).chain(streams);
        let mut fds: Vec<libc::pollfd> = fds
            .map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        // SAFETY: the pointer and count describe `fds`; the sockets outlive the call.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 50) };
    }

    fn serve(&mut self) {
        for (port, listener) in &self.listeners {
            while let Ok((stream, from)) = listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    record(
                        &self.seen,
                        Seen::Connection {
                            port: *port,
                            from: plain(from),
                        },
                    );
                    self.streams.push((*port, stream));
                }
            }
        }
        let mut buffer = [0_u8; 4096];
        for (port, socket) in &self.datagrams {
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let payload = buffer[..len].to_vec();
                if *port == DNS
                    && let Some((name, answer)) = answer(&payload, self.answers)
                {
                    record(
                        &self.seen,
                        Seen::Question {
                            name,
                            over_tcp: false,
                        },
                    );
                    drop(socket.send_to(&answer, from));
                }
                record(
                    &self.seen,
                    Seen::Datagram {
                        port: *port,
                        from: plain(from),
                        payload,
                    },
                );
            }
        }
        let (seen, answers) = (&self.seen, self.answers);
        self.streams.retain_mut(|(port, stream)| {
            match stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(len) => {
                    let payload = buffer[..len].to_vec();
                    if *port == DNS
                        && let Some((name, answer)) =
                            payload.get(2..).and_then(|q| answer(q, answers))
                    {
                        record(
                            seen,
                            Seen::Question {
                                name,
                                over_tcp: true,
                            },
                        );
                        let size = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes();
                        drop(stream.write_all(&[size.as_slice(), &answer].concat()));
                    }
                    record(
                        seen,
                        Seen::Stream {
                            port: *port,
                            payload,
                        },
                    );
                }
                Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
            }
            true
        });
    }
}

fn record(seen: &Mutex<Vec<Seen>>, what: Seen) {
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(what);
}

/// IPv4 clients of a dual-stack socket under their IPv4 address.
fn plain(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}

/// The first question's name and a reply with the outside's own address.
fn answer(query: &[u8], (v4, v6): (Ipv4Addr, Ipv6Addr)) -> Option<(String, Vec<u8>)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + len)?).into_owned());
        at += len;
    }
    let question = query.get(12..at + 4)?;
    let data: &[u8] = match query.get(at..at + 2)? {
        [0, 1] => &v4.octets(),
        [0, 28] => &v6.octets(),
        _ => &[],
    };
    let mut reply = query.get(..2)?.to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
    reply.extend(question);
    if !data.is_empty() {
        reply.extend([0xc0, 12]);
        reply.extend(query.get(at..at + 4)?);
        reply.extend([0, 0, 0, 1, 0, u8::try_from(data.len()).unwrap_or(0)]);
        reply.extend(data);
    }
    Some((labels.join("."), reply))
}
