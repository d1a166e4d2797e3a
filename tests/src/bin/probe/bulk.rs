//! Much data from one own socket to another, in writes larger than a packet may be.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Bytes of one write.
const PIECE: usize = 1 << 20;
const PIECES: usize = 64;
/// Longer than any pause but a stall.
const LIMIT: Option<Duration> = Some(Duration::from_secs(20));

/// Sends 64 MiB over `ADDRESS:PORT` and prints how many bytes came.
pub(crate) fn run(address: &str) -> Result<(), String> {
    let listener = TcpListener::bind(address).map_err(|e| format!("bind {address}: {e}"))?;
    let sender = std::thread::spawn({
        let address = address.to_owned();
        move || send(&address)
    });
    let (mut stream, _) = listener.accept().map_err(|e| format!("accept: {e}"))?;
    let limited = stream.set_read_timeout(LIMIT);
    limited.map_err(|e| format!("set the limit: {e}"))?;
    let (mut buffer, mut total) = (vec![0; PIECE], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => total += n,
            Err(error) => return Err(format!("read after {total} bytes: {error}")),
        }
    }
    sender.join().or(Err("the sender panicked"))??;
    println!("{total}");
    Ok(())
}

fn send(address: &str) -> Result<(), String> {
    let mut stream =
        TcpStream::connect(address).map_err(|e| format!("connect to {address}: {e}"))?;
    let limited = stream.set_write_timeout(LIMIT);
    limited.map_err(|e| format!("set the limit: {e}"))?;
    let piece = vec![7; PIECE];
    for n in 0..PIECES {
        let sent = stream.write_all(&piece);
        sent.map_err(|e| format!("write {n}: {e}"))?;
    }
    Ok(())
}
