//! Connections over loopback from one and the same port, the server closing first: each meets
//! what is left of the last one, in TIME_WAIT.

use airgap::technique::sys::{Fail, Socket, Step};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

const ROUNDS: usize = 3;

/// One JSON line a round: whether it connected, and after how many microseconds.
pub(crate) fn run() -> Result<(), String> {
    match rounds() {
        Ok(()) => Ok(()),
        Err(Fail::Os { step, errno }) => Err(format!("{step} failed with errno {errno}")),
        Err(Fail::Skip(why)) => Err(why),
    }
}

fn rounds() -> Step<()> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = Socket::tcp(at(0))?;
    listener.bind(at(0))?;
    listener.listen()?;
    let server = listener.local()?;
    let mut port = 0;
    for _ in 0..ROUNDS {
        let client = Socket::tcp(server)?;
        client.share_port()?;
        client.bind(at(port))?;
        port = client.local()?.port();
        let start = Instant::now();
        let connected = client.connect(server).is_ok();
        println!(
            "{}",
            json!({ "ok": connected, "micros": start.elapsed().as_micros() as u64 })
        );
        if connected {
            drop(listener.accept()?);
            // Reads the end that the server sent first.
            client.receive(&mut [0; 8])?;
        }
    }
    Ok(())
}
