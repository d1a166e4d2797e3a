//! Denials as JSON, schema 1. Field names follow the Elastic Common Schema;
//! what ECS has no field for is under `airgap`.

use serde_json::{Map, Value, json};

use super::text::{self, timestamp};
use crate::events::Denial;

pub(super) fn denial(denial: &Denial, (id, name): &(String, String)) -> Value {
    let mut out = json!({
        "schema": 1,
        "@timestamp": timestamp(denial.time),
        "event": { "kind": "event", "action": "denied" },
        "container": { "name": name },
        "airgap": { "hook": denial.hook, "reason": denial.reason, "seal": denial.seal },
    });
    if !id.is_empty() {
        out["container"]["id"] = json!(id);
    }
    if let Some(process) = &denial.process {
        out["process"] = json!({
            "pid": process.pid,
            "thread": { "id": process.tid },
            "name": process.name,
            "user": { "id": process.uid.to_string() },
        });
        out["airgap"]["attribution"] = json!(if process.by_socket { "socket" } else { "task" });
    }
    let mut network = Map::new();
    if let Some(protocol) = denial.protocol {
        network.insert("iana_number".into(), json!(protocol.to_string()));
        if let Some(name) = text::transport(protocol) {
            network.insert("transport".into(), json!(name));
        }
    }
    if let Some((ip, port)) = denial.destination {
        network.insert(
            "type".into(),
            json!(if ip.is_ipv4() { "ipv4" } else { "ipv6" }),
        );
        out["destination"] = endpoint(ip, port);
    }
    if let Some(peer) = &denial.unix_peer {
        out["destination"] = json!({ "address": peer });
    }
    if let Some((ip, port)) = denial.source {
        out["source"] = endpoint(ip, port);
    }
    if let Some((family, kind)) = denial.socket {
        out["airgap"]["socket"] =
            json!({ "family": text::family(family), "type": text::socket_type(kind) });
    }
    if let Some((name, kind)) = &denial.question {
        out["dns"] = json!({ "question": { "name": name, "type": kind } });
    }
    if !network.is_empty() {
        out["network"] = Value::Object(network);
    }
    out
}

fn endpoint(ip: std::net::IpAddr, port: u16) -> Value {
    let mut out = json!({ "ip": ip.to_string() });
    if port != 0 {
        out["port"] = json!(port);
    }
    out
}

pub(super) fn lost(count: u64) -> Value {
    json!({
        "schema": 1,
        "@timestamp": timestamp(std::time::SystemTime::now()),
        "event": { "kind": "event", "action": "lost" },
        "airgap": { "lost": count },
    })
}

#[cfg(test)]
mod tests {
    use super::denial;
    use crate::events::{Denial, Process};
    use std::time::{Duration, UNIX_EPOCH};

    /// A contract: change it only with a new schema number.
    #[test]
    fn schema_1() {
        let event = Denial {
            time: UNIX_EPOCH + Duration::from_millis(1_795_363_200_500),
            seal: 3,
            hook: "egress",
            reason: "dns",
            process: Some(Process {
                pid: 7,
                tid: 8,
                uid: 0,
                name: "py\x1b".into(),
                by_socket: true,
            }),
            protocol: Some(17),
            socket: None,
            source: Some(("198.51.100.2".parse().unwrap(), 1024)),
            destination: Some(("127.0.0.11".parse().unwrap(), 53)),
            interface: 0,
            question: Some(("evil.example".into(), "A".into())),
            unix_peer: None,
        };
        let json = denial(&event, &("ab".into(), "web".into())).to_string();
        assert_eq!(
            json,
            "{\"@timestamp\":\"2026-11-22T16:00:00.500000Z\",\"airgap\":{\"attribution\":\"socket\",\"hook\":\"egress\",\"reason\":\"dns\",\"seal\":3},\"container\":{\"id\":\"ab\",\"name\":\"web\"},\"destination\":{\"ip\":\"127.0.0.11\",\"port\":53},\"dns\":{\"question\":{\"name\":\"evil.example\",\"type\":\"A\"}},\"event\":{\"action\":\"denied\",\"kind\":\"event\"},\"network\":{\"iana_number\":\"17\",\"transport\":\"udp\",\"type\":\"ipv4\"},\"process\":{\"name\":\"py\\u001b\",\"pid\":7,\"thread\":{\"id\":8},\"user\":{\"id\":\"0\"}},\"schema\":1,\"source\":{\"ip\":\"198.51.100.2\",\"port\":1024}}"
        );
    }

    #[test]
    fn a_unix_socket_is_a_destination() {
        let event = Denial {
            time: UNIX_EPOCH,
            seal: 3,
            hook: "lsm",
            reason: "unix-peer",
            process: None,
            protocol: None,
            socket: Some((1, 0)),
            source: None,
            destination: None,
            question: None,
            interface: 0,
            unix_peer: Some("/run/\x1bx".into()),
        };
        let json = denial(&event, &(String::new(), "web".into()));
        assert_eq!(json["destination"]["address"], "/run/\x1bx");
        assert_eq!(json["airgap"]["socket"]["family"], "unix");
    }
}
