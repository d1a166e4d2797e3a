//! Events as messages of syslog (RFC 5424), to the host's own socket or over UDP (RFC 5426).

use std::{
    fmt, fs,
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    str::FromStr,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{json, line};
use crate::{
    container::Identity,
    events::Event,
    failure::Failure,
    notation::{escape, timestamp},
};

/// Where the host's syslog listens.
const SOCKET: &str = "/dev/log";
/// Facility `daemon`, severity `warning` (RFC 5424 §6.2.1).
const REFUSED: u8 = 3 * 8 + 4;
/// The same with severity `informational`.
const ALLOWED: u8 = 3 * 8 + 6;
/// The number behind `@` is the one for documentation (RFC 5612): airgap has none of its own.
const ELEMENT: &str = "airgap@32473";
/// Longest name of a parameter (RFC 5424 §6.3.3).
const NAME: usize = 32;
/// Over UDP, bytes: below what any path cuts into fragments is what RFC 5426 asks for; 8 KiB
/// is what receivers take.
const LARGEST: usize = 8 << 10;

/// Which syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syslog {
    /// The host's own.
    Local,
    /// One that listens on UDP.
    Udp(SocketAddr),
}

impl FromStr for Syslog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Udp).map_err(|e| {
            format!("'{text}' is no address and UDP port, such as 198.51.100.7:514: {e}")
        })
    }
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str(SOCKET),
            Self::Udp(address) => write!(f, "{address}"),
        }
    }
}

impl Syslog {
    /// Whether somebody listens, as far as that can be told: over UDP it cannot.
    ///
    /// # Errors
    /// If not, with what to do.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Local => UnixDatagram::unbound()
                .and_then(|socket| socket.connect(SOCKET))
                .with_context(|| nobody(Path::new(SOCKET))),
            Self::Udp(_) => Ok(()),
        }
    }

    /// Sends one event.
    ///
    /// # Errors
    /// If nobody listens at the host's socket, or nothing can be sent.
    pub(super) fn send(self, event: &Event, container: &Identity) -> Result<()> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let message = message(event, container, host.trim(), std::process::id());
        match self {
            Self::Local => send(Path::new(SOCKET), &message),
            Self::Udp(address) => {
                let any = match address {
                    SocketAddr::V4(_) => "0.0.0.0:0",
                    SocketAddr::V6(_) => "[::]:0",
                };
                let sent =
                    UdpSocket::bind(any).and_then(|s| s.send_to(message.as_bytes(), address));
                sent.with_context(|| format!("cannot send to the syslog at {address}"))?;
                Ok(())
            }
        }
    }
}

fn nobody(path: &Path) -> Failure {
    Failure::new(
        format!("no syslog listens at {}", path.display()),
        "start one such as rsyslog, or name another: --syslog ADDRESS:PORT",
    )
}

fn send(path: &Path, message: &str) -> Result<()> {
    UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(message.as_bytes(), path))
        .with_context(|| nobody(path))?;
    Ok(())
}

/// Header, each leaf of the JSON event as a parameter, and the text. Pure.
fn message(event: &Event, container: &Identity, host: &str, pid: u32) -> String {
    let told = json::event(event, container);
    let time = timestamp(event.time());
    let host = word(host, 255);
    let action = word(told["event"]["action"].as_str().unwrap_or_default(), NAME);
    let priority = if event.is_refusal() { REFUSED } else { ALLOWED };
    let mut out = format!("<{priority}>1 {time} {host} airgap {pid} {action} [{ELEMENT}");
    leaves(&mut out, "", &told);
    out.push_str("] ");
    let text = line::event(event, container, false, false);
    // UTF-8 is announced by a mark (RFC 5424 §6.4).
    out.push('\u{feff}');
    out.push_str(text.trim_end());
    if out.len() > LARGEST {
        let mut end = LARGEST;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
    }
    out
}

/// Printable ASCII without blanks, or `-` for nothing.
fn word(text: &str, most: usize) -> String {
    let word: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(most)
        .collect();
    match word.is_empty() {
        true => "-".to_owned(),
        false => word,
    }
}

fn leaves(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.trim_start_matches('@');
                let name = match name {
                    "" => key.to_owned(),
                    name => format!("{name}.{key}"),
                };
                leaves(out, &name, value);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| leaves(out, name, value)),
        Value::Null => {}
        Value::String(text) => parameter(out, name, text),
        other => parameter(out, name, &other.to_string()),
    }
}

/// No value can end the element: `"`, `\` and `]` have a `\` before them (RFC 5424 §6.3.3),
/// and control characters are written as text.
fn parameter(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    let allowed = |c: &char| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"');
    out.extend(name.chars().filter(allowed).take(NAME));
    out.push_str("=\"");
    for c in escape(value).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Denial, Process};

    fn event(name: &str) -> Event {
        Event::Denial(Box::new(Denial {
            process: Some(Process::example(name, 9)),
            ..Denial::example()
        }))
    }

    fn web() -> Identity {
        Identity {
            name: "web".into(),
            ..Identity::default()
        }
    }

    #[test]
    fn a_message_has_every_field_and_the_text() {
        let message = message(&event("curl"), &web(), "host.example", 7);
        let header =
            "<28>1 1970-01-01T00:00:00.000000Z host.example airgap 7 denied [airgap@32473 ";
        assert!(message.starts_with(header), "{message}");
        for part in [
            " container.name=\"web\"",
            " destination.ip=\"198.51.100.7\"",
            " destination.port=\"443\"",
            " process.name=\"curl\"",
            " airgap.reason=\"egress\"",
            "] \u{feff}",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(
            message.ends_with("egress (connect4)  would need --to 198.51.100.7:443/tcp"),
            "{message}"
        );
    }

    #[test]
    fn no_name_ends_its_parameter() {
        let message = message(&event("a\"] b=\\\n<1>"), &web(), "h h\n", 7);
        assert!(
            message.starts_with("<28>1 1970-01-01T00:00:00.000000Z hh airgap"),
            "{message}"
        );
        assert!(
            message.contains(" process.name=\"a\\\"\\] b=\\\\"),
            "{message}"
        );
        assert!(!message.contains('\n'), "{message}");
        assert!(super::message(&event("x"), &web(), "", 7).contains("Z - airgap"));
    }

    #[test]
    fn a_syslog_gets_it_by_either_way() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        Syslog::Udp(address).send(&event("curl"), &web()).unwrap();
        let mut bytes = vec![0; 1 << 16];
        let (len, _) = udp.recv_from(&mut bytes).unwrap();
        assert!(String::from_utf8_lossy(&bytes[..len]).contains("container.name=\"web\""));
        let dir = std::env::temp_dir().join(format!("airgap-syslog-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("socket");
        let local = UnixDatagram::bind(&path).unwrap();
        send(&path, "x").unwrap();
        assert_eq!(local.recv(&mut bytes).unwrap(), 1);
        let error = send(&dir.join("none"), "x").unwrap_err();
        fs::remove_dir_all(&dir).unwrap();
        assert!(format!("{error:#}").contains("no syslog listens"));
        assert!("198.51.100.7".parse::<Syslog>().is_err());
    }
}
