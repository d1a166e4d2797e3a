//! A probe in a container that opens sockets as it is told, and something that answers it.

use crate::container::Container;
use crate::kernel;
use crate::netns::Netns;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One `docker exec` of `airgap-probe reach`; its sockets end with it, on drop.
#[derive(Debug)]
pub struct Reach {
    child: Child,
    orders: Option<ChildStdin>,
    reports: BufReader<ChildStdout>,
}

impl Reach {
    /// # Panics
    /// When Docker cannot be started.
    #[must_use]
    #[track_caller]
    pub fn new(container: &Container) -> Self {
        Self::of(Command::new("docker"), &container.id)
    }

    /// In a container of the engine that this client speaks to.
    #[track_caller]
    pub(crate) fn of(mut client: Command, container: &str) -> Self {
        let mut child = client
            .args(["exec", "-i", container, "airgap-probe", "reach"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start the engine's client");
        let orders = child.stdin.take();
        let reports = BufReader::new(child.stdout.take().expect("it was given a pipe"));
        Self {
            child,
            orders,
            reports,
        }
    }

    /// What came of an order: its result, or the error's number.
    ///
    /// # Errors
    /// As the system call had it.
    ///
    /// # Panics
    /// When the probe does not report.
    #[track_caller]
    pub fn say(&mut self, order: &str) -> Result<Value, i32> {
        let orders = self.orders.as_mut().expect("open until dropped");
        writeln!(orders, "{order}").expect("the probe has ended");
        let mut line = String::new();
        let read = self.reports.read_line(&mut line);
        read.expect("the probe's report cannot be read");
        let report: Value =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{order}: {e}: {line:?}"));
        match report["errno"].as_i64() {
            Some(errno) => Err(i32::try_from(errno).unwrap_or(-1)),
            None => Ok(report["ok"].clone()),
        }
    }

    /// # Panics
    /// When the order fails.
    #[track_caller]
    pub fn does(&mut self, order: &str) -> Value {
        self.say(order)
            .unwrap_or_else(|errno| panic!("{order}: errno {errno}"))
    }

    /// # Panics
    /// When the call, or its packet, is not refused.
    #[track_caller]
    pub fn is_refused(&mut self, order: &str) {
        let said = self.say(order);
        let refused = said == Err(libc::EPERM) || said == Err(kernel::refused());
        assert!(refused, "{order}: {said:?}");
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        // The end of its stdin ends the probe.
        self.orders = None;
        drop(self.child.wait());
    }
}

/// Answers on a port of the outside, over TCP and UDP, with what it is told.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// # Panics
    /// When the port is taken.
    #[must_use]
    #[track_caller]
    pub fn on(netns: &Netns, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let any = (Ipv6Addr::UNSPECIFIED, port);
        let (tcp, udp) = netns.run(|| {
            let tcp = TcpListener::bind(any).unwrap_or_else(|e| panic!("tcp {port}: {e}"));
            let udp = UdpSocket::bind(any).unwrap_or_else(|e| panic!("udp {port}: {e}"));
            (tcp, udp)
        });
        tcp.set_nonblocking(true).expect("fcntl");
        let pause = Duration::from_millis(20);
        udp.set_read_timeout(Some(pause)).expect("setsockopt");
        let streams = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match tcp.accept() {
                        Ok((stream, _)) => drop(std::thread::spawn(|| repeat(stream))),
                        Err(_) => std::thread::sleep(pause),
                    }
                }
            })
        };
        let datagrams = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((len, from)) = udp.recv_from(&mut buffer) {
                        drop(udp.send_to(&buffer[..len], from));
                    }
                }
            })
        };
        Self {
            stop,
            threads: vec![streams, datagrams],
        }
    }
}

fn repeat(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    drop(stream.set_nonblocking(false));
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
