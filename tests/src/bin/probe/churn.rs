//! Random lives of sockets: whatever order of calls keeps or revives a right to send, it is tried.

use airgap::technique::pass;
use airgap::technique::sys::{Socket, Step};
use airgap::technique::target::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Sockets kept at a time.
const MANY: usize = 24;
/// Payload of every send; what a client's flow carries is allowed.
const WORDS: &[u8] = b"churn-payload";

/// Churns for ever; `--port` seeds the order, the service port is 5060.
pub(crate) fn run(target: &Target) -> Result<(), String> {
    let mut churn = Churn {
        sockets: Vec::new(),
        state: u64::from(target.port) << 1 | 1,
        target,
    };
    loop {
        churn.step();
        if churn.below(64) == 0 {
            churn.child();
        }
        if churn.below(16) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Churn<'a> {
    sockets: Vec<Socket>,
    state: u64,
    target: &'a Target,
}

impl Churn<'_> {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64 (Marsaglia, 2003).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % n
    }

    /// One random call; most fail, which is as good.
    fn step(&mut self) {
        if self.sockets.len() < MANY / 2 || (self.sockets.len() < MANY && self.below(3) == 0) {
            if let Ok(socket) = self.open() {
                self.sockets.push(socket);
            }
            return;
        }
        let at = self.below(self.sockets.len() as u64) as usize;
        let what = self.below(14);
        let address = self.address();
        let own = self.own_address();
        let socket = &self.sockets[at];
        let _ = match what {
            0 | 1 => socket.bind(own),
            2 | 3 => socket.listen(),
            4 | 5 => socket.connect(address),
            6 => socket.disconnect(),
            7 | 8 => socket.send(WORDS, libc::MSG_DONTWAIT),
            9 => socket.send_to(WORDS, libc::MSG_DONTWAIT | libc::MSG_FASTOPEN, address),
            10 => {
                // SAFETY: integers only.
                unsafe { libc::shutdown(socket.fd(), libc::SHUT_WR) };
                Ok(())
            }
            11 => {
                if let Ok(accepted) = socket.accept() {
                    let _ = nonblocking(&accepted);
                    self.sockets.push(accepted);
                }
                Ok(())
            }
            12 => self.pass(at),
            _ => {
                self.sockets.swap_remove(at);
                Ok(())
            }
        };
    }

    fn open(&mut self) -> Step<Socket> {
        let family = if self.below(2) == 0 {
            libc::AF_INET
        } else {
            libc::AF_INET6
        };
        let socket = Socket::open(family, libc::SOCK_STREAM, 0)?;
        nonblocking(&socket)?;
        socket.share_port()?;
        // Each by chance: none of them may give a right.
        for (level, option) in [
            (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
            (libc::IPPROTO_IP, libc::IP_FREEBIND),
            (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
            (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
            (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
        ] {
            if self.below(6) == 0 {
                let _ = socket.set("option", level, option, &1_i32);
            }
        }
        if self.below(8) == 0 {
            let device = b"eth0\0";
            let _ = socket.set_bytes("device", libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device);
        }
        Ok(socket)
    }

    /// Through a unix socket and back: the same socket by another descriptor.
    fn pass(&mut self, at: usize) -> Step<()> {
        let Ok((a, b)) = UnixStream::pair() else {
            return Ok(());
        };
        let socket: OwnedFd = self.sockets.swap_remove(at).0;
        pass::send(a.as_fd(), socket.as_fd())?;
        drop(socket);
        if let Some(back) = pass::receive(b.as_fd())? {
            self.sockets.push(Socket(back));
        }
        Ok(())
    }

    /// A child that goes on with the same sockets for a while.
    fn child(&mut self) {
        let turns = 20 + self.below(100);
        // SAFETY: this process has one thread; the child only makes system calls and exits.
        unsafe {
            match libc::fork() {
                0 => {
                    self.state ^= u64::from(libc::getpid().unsigned_abs()) << 20 | 1;
                    for _ in 0..turns {
                        self.step();
                    }
                    libc::_exit(0);
                }
                pid if pid > 0 => {
                    libc::waitpid(pid, std::ptr::null_mut(), 0);
                }
                _ => {}
            }
        }
    }

    fn address(&mut self) -> SocketAddr {
        let ip: IpAddr = match self.below(6) {
            0 | 1 => self.target.v4.into(),
            2 | 3 => self.target.v6.into(),
            4 => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, [5060, 53, 20_000][self.below(3) as usize])
    }

    fn own_address(&mut self) -> SocketAddr {
        let ip: IpAddr = match self.below(5) {
            0 | 1 => Ipv6Addr::UNSPECIFIED.into(),
            2 => Ipv4Addr::UNSPECIFIED.into(),
            3 => self.target.v4.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, [5060, 5060, 0, 20_001][self.below(4) as usize])
    }
}

fn nonblocking(socket: &Socket) -> Step<()> {
    // SAFETY: integers only.
    unsafe { libc::fcntl(socket.fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    Ok(())
}
