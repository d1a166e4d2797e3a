//! A minimal HTTP client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// Prints the answer to `GET PATH`; any failure is an error that names the step.
pub(crate) fn run(address: &str, path: &str) -> Result<(), String> {
    let mut found = address
        .to_socket_addrs()
        .map_err(|e| format!("{address}: {e}"))?;
    let at = found
        .next()
        .ok_or_else(|| format!("{address}: no address"))?;
    let limit = Duration::from_secs(3);
    let mut stream =
        TcpStream::connect_timeout(&at, limit).map_err(|e| format!("connect {at}: {e}"))?;
    let mut answer = String::new();
    stream
        .set_read_timeout(Some(limit))
        .and_then(|()| write!(stream, "GET {path} HTTP/1.0\r\n\r\n"))
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|e| format!("talk to {at}: {e}"))?;
    println!("{answer}");
    Ok(())
}

/// Sends one line and prints one line back; `turncoat` understands it.
pub(crate) fn tell(address: &str, words: &[&str]) -> Result<(), String> {
    let at: SocketAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
    let mut stream = TcpStream::connect(at).map_err(|e| format!("connect {at}: {e}"))?;
    let mut answer = String::new();
    writeln!(stream, "{}", words.join(" "))
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|e| format!("talk to {at}: {e}"))?;
    print!("{answer}");
    Ok(())
}
