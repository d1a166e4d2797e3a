//! A minimal HTTP/1.0 client for the service under test.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Long enough for a lost SYN to be sent again, short enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches `path` and returns the body. Errors name the step and the address.
///
/// # Errors
/// When the connection or the transfer fails, or the status is not 200.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context as _;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")
        .with_context(|| format!("cannot send the request to {address}"))?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .with_context(|| format!("{address} stopped after {} bytes", answer.len()))?;
    let head = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .context("no HTTP header came")?;
    let status = String::from_utf8_lossy(&answer[..head]);
    anyhow::ensure!(status.contains(" 200 "), "{address} answered: {status}");
    Ok(answer.split_off(head + 4))
}
