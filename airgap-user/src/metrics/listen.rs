//! Serves the exposition to whoever asks, on a unix socket or on loopback.

use std::{
    convert::Infallible,
    fmt, fs, io,
    net::SocketAddr,
    os::unix::{fs::FileTypeExt as _, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
    time::timeout,
};

/// A client takes no longer to ask, or to take the answer, and asks no more; one is served
/// at a time.
const LIMIT: Duration = Duration::from_secs(2);
const LARGEST: usize = 8 << 10;

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket file that only root can connect to.
    Unix(PathBuf),
    /// An address of this host's loopback.
    Loopback(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "{address}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|p| p.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            _ => Err(format!(
                "'{text}' is neither unix:/path/to/socket nor a loopback address as 127.0.0.1:9060"
            )),
        }
    }
}

enum Socket {
    Unix(UnixListener, PathBuf),
    Loopback(TcpListener),
}

/// A socket on which metrics are served; a socket file goes with it.
pub struct Listener(Socket);

impl Listener {
    /// Binds it.
    ///
    /// # Errors
    /// If the address is taken or cannot be used.
    pub async fn bind(address: &Address) -> Result<Self> {
        Ok(Self(match address {
            Address::Unix(path) => {
                remove_stale(path);
                let listener = UnixListener::bind(path);
                let listener =
                    listener.with_context(|| format!("cannot listen on {}", path.display()))?;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                fs::set_permissions(path, mode)
                    .with_context(|| format!("cannot protect {}", path.display()))?;
                Socket::Unix(listener, path.clone())
            }
            Address::Loopback(address) => {
                let listener = TcpListener::bind(address).await;
                Socket::Loopback(listener.with_context(|| format!("cannot listen on {address}"))?)
            }
        }))
    }

    /// Answers each request with what `render` gives, for ever.
    pub async fn serve(self, render: impl AsyncFn() -> Result<String>) -> Infallible {
        loop {
            let served = match &self.0 {
                Socket::Unix(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => answer(stream, &render).await,
                    Err(error) => Err(error),
                },
                Socket::Loopback(listener) => match listener.accept().await {
                    Ok((stream, _)) => answer(stream, &render).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = served {
                log::debug!("metrics: {error}");
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket file that nobody listens on any more.
fn remove_stale(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        let _ = fs::remove_file(path);
    }
}

/// Whatever is asked for, the answer is the exposition. What the client does is limited
/// in time; what is told takes as long as it takes.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    render: &impl AsyncFn() -> Result<String>,
) -> io::Result<()> {
    timeout(LIMIT, hear(&mut stream)).await??;
    let (status, kind, body) = match render().await {
        Ok(text) => (
            "200 OK",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            text,
        ),
        Err(error) => (
            "500 Internal Server Error",
            "text/plain; charset=utf-8",
            format!("{error:#}\n"),
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let tell = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(LIMIT, tell).await?
}

/// Reads a request to its end, or as much as one may have.
async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") && request.len() < LARGEST {
        let mut piece = [0; 512];
        match stream.read(&mut piece).await? {
            0 => break,
            n => request.extend_from_slice(&piece[..n]),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unix_and_loopback_addresses_are_taken() {
        for good in ["unix:/run/a", "127.0.0.1:9060", "[::1]:1"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "unix:a",
            "0.0.0.0:9060",
            "198.51.100.1:1",
            "localhost:1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
