//! One request at a time, client and server on one processor: how long that takes is what both
//! ends and all between them cost. Whatever else the machine does only adds to it, so of many
//! short runs the tenth percentile is taken. While the machine is as fast as before, that differs
//! by a hundredth or two, where requests a second of a loaded server differ by a tenth.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use airgap_tests::{Container, Outside};

use super::Wanted;
use super::figure::Figure;
use super::load::{HTTP, SERVER, server};
use super::setup::{ALL, requests};

/// For each round that is asked for.
const ROUNDS: usize = 3;
/// Runs of one measurement, and requests of each.
const RUNS: usize = 50;
const KEPT: usize = 200;
const FRESH: usize = 40;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let outside = Outside::unrecorded();
    let container = server(&outside, "single");
    let other = outside.container("other").run();
    let mut kept = requests("one request at a time, on a connection that lasts");
    let mut fresh = requests("one request at a time, each on a connection of its own");
    for round in 0..wanted.rounds * ROUNDS {
        let mut setups = ALL;
        if round % 2 == 1 {
            setups.reverse();
        }
        for setup in setups {
            let _raised = setup.raise(&container, &other);
            kept.push(setup.name(), rate(&outside, &container, false));
            fresh.push(setup.name(), rate(&outside, &container, true));
        }
    }
    vec![kept, fresh]
}

/// Requests a second.
fn rate(outside: &Outside, server: &Container, fresh: bool) -> f64 {
    let to = SocketAddr::new(server.ip4().into(), HTTP);
    outside.netns.run(|| {
        pin(SERVER.parse().expect("a processor"));
        let count = if fresh { FRESH } else { KEPT };
        let mut client = Client { to, stream: None };
        let mut runs: Vec<_> = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                (0..count).for_each(|_| client.request(fresh));
                start.elapsed().as_secs_f64() / count as f64
            })
            .collect();
        runs.sort_by(f64::total_cmp);
        1.0 / runs[RUNS / 10]
    })
}

struct Client {
    to: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    fn request(&mut self, fresh: bool) {
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(self.to).expect("connect");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            stream
        });
        let mut answer = [0; 4096];
        if fresh {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .expect("ask");
            while stream.read(&mut answer).expect("be answered") > 0 {}
            self.stream = None;
        } else {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .expect("ask");
            assert!(stream.read(&mut answer).expect("be answered") > 0);
        }
    }
}

/// Keeps this thread on one processor, and others off it while there is something to do.
fn pin(processor: usize) {
    // SAFETY: plain data, whole and of the size that is said; 0 is this thread.
    unsafe {
        let mut first: libc::sched_param = std::mem::zeroed();
        first.sched_priority = 10;
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        assert_eq!(
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set),
            0
        );
        assert_eq!(
            libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first),
            0
        );
    }
}
