//! What single calls cost, whether they are refused or not.

use airgap::technique::sys::{Fail, Socket, Step};
use airgap::technique::target::Target;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const TIMES: usize = 2000;
/// A call that takes as long as this waits in vain: once is enough.
const SLOW: Duration = Duration::from_millis(100);

/// One JSON object: call → median, nanoseconds.
pub(crate) fn run(t: &Target) -> Result<(), String> {
    match measure(t) {
        Ok(()) => Ok(()),
        Err(Fail::Os { step, errno }) => Err(format!("{step}: errno {errno}")),
        Err(Fail::Skip(why)) => Err(why),
    }
}

fn measure(t: &Target) -> Step<()> {
    let listener = Socket::tcp(t.at4())?;
    listener.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    listener.listen()?;
    let here = listener.local()?;
    let udp = Socket::udp(t.at4())?;
    let connect = |at: SocketAddr| -> Step<Duration> {
        let socket = Socket::tcp(at)?;
        // Closed with a reset: two thousand of them must not use up the ports.
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        socket.set("SO_LINGER", libc::SOL_SOCKET, libc::SO_LINGER, &at_once)?;
        let start = Instant::now();
        // Whether it is refused is not the question here.
        drop(socket.connect(at));
        Ok(start.elapsed())
    };
    let line = json!({
        "connect": median(|| connect(t.at4()))?,
        "sendto": median(|| {
            let start = Instant::now();
            drop(udp.send_to(b"cost", 0, t.at4()));
            Ok(start.elapsed())
        })?,
        "loopback": median(|| {
            let taken = connect(here)?;
            drop(listener.accept()?);
            Ok(taken)
        })?,
        "socket": median(|| {
            let start = Instant::now();
            drop(Socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?);
            Ok(start.elapsed())
        })?,
    });
    println!("{line}");
    Ok(())
}

fn median(call: impl Fn() -> Step<Duration>) -> Step<u64> {
    let mut taken = Vec::with_capacity(TIMES);
    while taken.len() < TIMES {
        let one = call()?;
        taken.push(one);
        if one > SLOW {
            break;
        }
    }
    taken.sort_unstable();
    Ok(u64::try_from(taken[taken.len() / 2].as_nanos()).unwrap_or(u64::MAX))
}
