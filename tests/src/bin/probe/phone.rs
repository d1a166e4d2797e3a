//! A workload that counts its own refused system calls, by destination.
//!
//! `phone KIND MILLISECONDS --v4 A --v6 A --port N`: one JSON object at the end,
//! `{"tcp 198.51.100.2:20000": 17, …}`.

use crate::ask::question;
use airgap::technique::target::Target;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Destinations a kind takes turns with.
const TURNS: u16 = 8;

pub(crate) fn run(kind: &str, milliseconds: &str, target: &Target) -> Result<(), String> {
    let time = milliseconds
        .parse()
        .or(Err(format!("{milliseconds} is no number of milliseconds")))?;
    let end = Instant::now() + Duration::from_millis(time);
    let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).map_err(|e| e.to_string())?;
    let v4 = UdpSocket::bind("0.0.0.0:0").map_err(|e| e.to_string())?;
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    let mut turn = 0;
    while Instant::now() < end {
        let port = target.port + turn % TURNS;
        let name = format!("n{turn}");
        turn = (turn + 1) % 4_096;
        let at4 = SocketAddr::new(target.v4.into(), port);
        let at6 = SocketAddr::new(target.v6.into(), port);
        let resolver = SocketAddr::new(target.v4.into(), 53);
        let outcome = match kind {
            "tcp" => (at4, tcp(at4)),
            "tcp6" => (at6, tcp(at6)),
            "udp" => (at4, udp(&v4, b"phone", at4)),
            "udp6" => (at6, udp(&v6, b"phone", at6)),
            "dns" => (resolver, udp(&v4, &question(&name, "phone", 1), resolver)),
            // One process, a destination of its own each second.
            "slow" => {
                let at = slow_destination(target, turn);
                let outcome = tcp(at);
                std::thread::sleep(Duration::from_secs(1));
                (at, outcome)
            }
            "children" => (at4, in_child(|| tcp(at4))),
            // As fast as it goes: the clock is not asked each time.
            "flood" => {
                let count = (0..1_000).filter(|_| udp(&v4, b"phone", at4)).count();
                *refused.entry(label("udp", at4)).or_default() += count as u64;
                continue;
            }
            "scan" => {
                let at = SocketAddr::new(target.v4.into(), 1_024 + turn * 15);
                (at, udp(&v4, b"phone", at))
            }
            _ => return Err(format!("there is no kind {kind}")),
        };
        let (to, was_refused) = outcome;
        if was_refused {
            let transport = match kind {
                "tcp" | "tcp6" | "slow" | "children" => "tcp",
                _ => "udp",
            };
            *refused.entry(label(transport, to)).or_default() += 1;
        }
        if kind != "scan" {
            // Otherwise one kind would take all of a machine with few processors.
            std::thread::yield_now();
        }
    }
    println!("{}", json!(refused));
    Ok(())
}

/// Ports that no other process of this kind, and no scan, tries.
fn slow_destination(target: &Target, turn: u16) -> SocketAddr {
    let block = (std::process::id() % 100) as u16;
    SocketAddr::new(target.v4.into(), 50_000 + block * 100 + turn)
}

fn label(transport: &str, to: SocketAddr) -> String {
    let ip: IpAddr = to.ip();
    format!("{transport} {ip} {}", to.port())
}

/// Whether it was refused, at once.
fn tcp(to: SocketAddr) -> bool {
    TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_err_and(|e| is_refusal(&e))
}

fn udp(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> bool {
    socket.send_to(bytes, to).is_err_and(|e| is_refusal(&e))
}

/// The same in a process of its own.
fn in_child(attempt: impl Fn() -> bool) -> bool {
    // SAFETY: this process has one thread; the child only makes system calls and exits.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(i32::from(attempt())),
            pid if pid > 0 => {
                let mut status = 0;
                libc::waitpid(pid, &raw mut status, 0);
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1
            }
            _ => false,
        }
    }
}

/// As a call is refused, or a packet.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::NetworkUnreachable
    )
}
