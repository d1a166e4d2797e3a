//! Events as entries of the systemd journal, by its native protocol
//! (systemd: docs/JOURNAL_NATIVE_PROTOCOL.md).

use std::{os::unix::net::UnixDatagram, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{json, line};
use crate::{container::Identity, events::Event, failure::Failure};

const SOCKET: &str = "/run/systemd/journal/socket";
/// `LOG_WARNING` (syslog(3)).
const REFUSED: &str = "4";
/// `LOG_INFO`.
const ALLOWED: &str = "6";

/// Sends one event.
///
/// # Errors
/// If no journal listens.
pub(super) fn event(event: &Event, container: &Identity) -> Result<()> {
    send(Path::new(SOCKET), &entry(event, container))
}

/// Whether a journal listens.
///
/// # Errors
/// If not, with what to do.
pub fn check() -> Result<()> {
    UnixDatagram::unbound()
        .and_then(|socket| socket.connect(SOCKET))
        .with_context(|| no_journal(Path::new(SOCKET)))
}

fn no_journal(path: &Path) -> Failure {
    Failure::new(
        format!("no journal listens at {}", path.display()),
        "start systemd-journald, or use --output text or json",
    )
}

fn send(path: &Path, entry: &[u8]) -> Result<()> {
    UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(entry, path))
        .with_context(|| no_journal(path))?;
    Ok(())
}

/// The entry's bytes: the text as message, and each leaf of the JSON event as
/// a field, `process.parent.pid` as `AIRGAP_PROCESS_PARENT_PID`.
fn entry(event: &Event, container: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    let message = line::event(event, container, false, false);
    field(&mut out, "MESSAGE", message.trim_end());
    let priority = if event.is_refusal() { REFUSED } else { ALLOWED };
    field(&mut out, "PRIORITY", priority);
    field(&mut out, "SYSLOG_IDENTIFIER", "airgap");
    leaves(&mut out, "AIRGAP", &json::event(event, container));
    out
}

fn leaves(out: &mut Vec<u8>, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.trim_start_matches('@').to_ascii_uppercase();
                leaves(out, &format!("{name}_{key}"), value);
            }
        }
        Value::Array(values) => {
            // A field may come several times.
            values.iter().for_each(|value| leaves(out, name, value));
        }
        Value::String(text) => field(out, name, text),
        other => field(out, name, &other.to_string()),
    }
}

/// With its length before the value, so that no value can begin another field.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend(name.as_bytes());
    out.push(b'\n');
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Denial, Process};

    fn example(name: &str) -> Event {
        Event::Denial(Box::new(Denial {
            process: Some(Process::example(name, 9)),
            ..Denial::example()
        }))
    }

    #[test]
    fn fields_carry_their_length() {
        let mut out = Vec::new();
        field(&mut out, "A", "b\nC=d");
        assert_eq!(out, b"A\n\x05\0\0\0\0\0\0\0b\nC=d\n");
    }

    #[test]
    fn a_journal_gets_message_and_leaves() {
        let dir = std::env::temp_dir().join(format!("airgap-journal-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let web = Identity {
            name: "web".into(),
            ..Identity::default()
        };
        send(&path, &entry(&example("x\nPRIORITY=0"), &web)).unwrap();
        let mut bytes = vec![0; 1 << 16];
        let len = journal.recv(&mut bytes).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
        for name in [
            "MESSAGE",
            "AIRGAP_EVENT_ACTION",
            "AIRGAP_DESTINATION_IP",
            "AIRGAP_PROCESS_PARENT_PID",
            "AIRGAP_AIRGAP_REASON",
        ] {
            assert!(text.contains(&format!("{name}\n")), "{name}: {text}");
        }
        let error = send(&dir.join("none"), b"x").unwrap_err();
        assert!(format!("{error:#}").contains("no journal listens"));
    }
}
