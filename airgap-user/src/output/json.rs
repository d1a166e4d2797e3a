//! Events as JSON, schema 1. Field names follow the Elastic Common Schema;
//! what ECS has no field for is under `airgap`.

use std::{net::IpAddr, time::SystemTime};

use serde_json::{Map, Value, json};

use crate::{
    container::Identity,
    events::{Allowed, Denial, Event, Lost, Process, Suppressed, Untold},
    host::systemd,
    notation::{self, timestamp},
};

/// Version of the Elastic Common Schema whose names are used.
pub(super) const ECS: &str = "8.11.0";

/// JSON Schema (draft 2020-12) of an event.
pub const SCHEMA: &str = include_str!("../../assets/event.schema.json");

/// One event as an object of `airgap schema event`.
pub fn event(event: &Event, container: &Identity) -> Value {
    match event {
        Event::Denial(denial) => self::denial(denial, container),
        Event::Suppressed(suppressed) => self::suppressed(suppressed, container),
        Event::Lost(lost) => self::lost(lost, container),
        Event::Allowed(allowed) => self::allowed(allowed, container),
        Event::Untold(untold) => self::untold(untold, container),
    }
}

fn denial(denial: &Denial, container: &Identity) -> Value {
    let action = match denial.let_through {
        true => "audited",
        false => "denied",
    };
    let mut out = frame(action, denial.time, Some(denial.first), container);
    let mut unknown = Vec::new();
    out["airgap"] = json!({
        "count": denial.count, "hook": denial.hook, "reason": denial.reason, "seal": denial.seal,
    });
    match &denial.process {
        Some(process) => {
            out["process"] = self::process(process, &mut unknown);
            let by = if process.by_socket { "socket" } else { "task" };
            out["airgap"]["attribution"] = json!(by);
        }
        None => unknown.push("process"),
    }
    out["network"] = network(denial.protocol, denial.destination);
    if let Some((ip, port)) = denial.destination {
        out["destination"] = endpoint(ip, port);
        if let Some(port) = denial.translated_port {
            out["destination"]["nat"] = json!({ "port": port });
        }
    }
    if let Some(peer) = &denial.unix_peer {
        out["destination"] = json!({ "address": peer });
    }
    if let Some((ip, port)) = denial.source {
        out["source"] = endpoint(ip, port);
    }
    if let Some((family, kind)) = denial.socket {
        out["airgap"]["socket"] =
            json!({ "family": notation::family(family), "type": notation::socket_type(kind) });
    }
    if let Some((name, kind)) = &denial.question {
        out["dns"] = json!({ "question": { "name": name, "type": kind } });
    }
    if let Some(to) = denial.exception() {
        out["airgap"]["allow"] = json!(to.to_string());
    }
    if denial.let_through {
        let_through(&mut out);
    }
    if container.image.is_none() {
        unknown.push("container.image.name");
    }
    if !unknown.is_empty() {
        out["airgap"]["unknown"] = json!(unknown);
    }
    out
}

fn suppressed(suppressed: &Suppressed, container: &Identity) -> Value {
    let mut out = frame(
        "suppressed",
        suppressed.time,
        Some(suppressed.first),
        container,
    );
    out["airgap"] = json!({
        "count": suppressed.count, "hook": suppressed.hook, "reason": suppressed.reason,
        "seal": suppressed.seal, "unknown": ["process"],
    });
    out["network"] = network(suppressed.protocol, suppressed.destination);
    if let Some((ip, port)) = suppressed.destination {
        out["destination"] = endpoint(ip, port);
    }
    if suppressed.let_through {
        let_through(&mut out);
    }
    out
}

/// An audit refused nothing of it.
fn let_through(out: &mut Value) {
    out["event"]["type"] = json!(["allowed"]);
    out["airgap"]["let_through"] = json!(true);
}

fn lost(lost: &Lost, container: &Identity) -> Value {
    let mut out = frame("lost", lost.time, None, container);
    out["airgap"] = json!({ "count": lost.count, "unknown": ["process", "destination"] });
    if let Some(seal) = lost.seal {
        out["airgap"]["seal"] = json!(seal);
    }
    out
}

fn allowed(allowed: &Allowed, container: &Identity) -> Value {
    let mut out = frame("allowed", allowed.time, None, container);
    let mut unknown = Vec::new();
    out["airgap"] = json!({
        "count": 1, "hook": allowed.hook, "seal": allowed.seal, "attribution": "task",
        "exception": { "number": allowed.number },
    });
    match &allowed.exception {
        Some(to) => out["airgap"]["exception"]["to"] = json!(to),
        None => unknown.push("airgap.exception.to"),
    }
    out["process"] = process(&allowed.process, &mut unknown);
    out["network"] = network(Some(allowed.protocol), Some(allowed.destination));
    let (ip, port) = allowed.destination;
    out["destination"] = endpoint(ip, port);
    if container.image.is_none() {
        unknown.push("container.image.name");
    }
    if !unknown.is_empty() {
        out["airgap"]["unknown"] = json!(unknown);
    }
    out
}

fn untold(untold: &Untold, container: &Identity) -> Value {
    let mut out = frame("allowed-lost", untold.time, None, container);
    out["airgap"] = json!({ "count": untold.count, "unknown": ["process", "destination"] });
    out
}

/// What every event has.
fn frame(action: &str, time: SystemTime, first: Option<SystemTime>, container: &Identity) -> Value {
    let kind = match action {
        "allowed" | "allowed-lost" => "allowed",
        _ => "denied",
    };
    let mut out = json!({
        "schema": 1,
        "ecs": { "version": ECS },
        "@timestamp": timestamp(time),
        "event": {
            "kind": "event", "category": ["network"], "type": [kind], "action": action,
        },
        "container": { "name": container.name },
    });
    if let Some(first) = first {
        out["event"]["start"] = json!(timestamp(first));
        out["event"]["end"] = json!(timestamp(time));
    }
    if !container.id.is_empty() {
        out["container"]["id"] = json!(container.id);
    }
    if let Some(unit) = systemd::unit_of(&container.name) {
        out["systemd"] = json!({ "unit": unit });
    }
    if let Some(image) = &container.image {
        out["container"]["image"] = json!({ "name": image });
    }
    if let Some((project, service)) = &container.compose {
        // Dots in label names are underscores, as Elastic's own shippers have them.
        out["container"]["labels"] = json!({
            "com_docker_compose_project": project, "com_docker_compose_service": service,
        });
    }
    out
}

fn process(process: &Process, unknown: &mut Vec<&'static str>) -> Value {
    let mut out = json!({
        "pid": process.pid,
        "thread": { "id": process.tid },
        "name": process.name,
        "user": { "id": process.uid.to_string() },
    });
    let mut put = |name: &'static str, short: &str, value: Option<Value>| match value {
        Some(value) => out[short] = value,
        None => unknown.push(name),
    };
    put("process.vpid", "vpid", process.inner_pid.map(Value::from));
    let parent = process.parent.as_ref();
    put(
        "process.parent",
        "parent",
        parent.map(|(pid, name)| json!({ "pid": pid, "name": name })),
    );
    let text = |value: &Option<String>| value.as_ref().map(|v| json!(v));
    put(
        "process.executable",
        "executable",
        text(&process.executable),
    );
    put(
        "process.command_line",
        "command_line",
        text(&process.command_line),
    );
    out
}

fn network(protocol: Option<u8>, destination: Option<(IpAddr, u16)>) -> Value {
    let mut network = Map::new();
    if let Some(protocol) = protocol {
        network.insert("iana_number".into(), json!(protocol.to_string()));
        if let Some(name) = notation::transport(protocol) {
            network.insert("transport".into(), json!(name));
        }
    }
    if let Some((ip, _)) = destination {
        let kind = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        network.insert("type".into(), json!(kind));
    }
    network.insert("direction".into(), json!("egress"));
    Value::Object(network)
}

fn endpoint(ip: IpAddr, port: u16) -> Value {
    let mut out = json!({ "ip": ip.to_string() });
    if port != 0 {
        out["port"] = json!(port);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    /// A contract: change it only with a new schema number.
    #[test]
    fn schema_1() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_363_200_500);
        let denial = Denial {
            time,
            first: time - Duration::from_secs(60),
            count: 7,
            hook: "egress",
            reason: "dns",
            process: Some(Process {
                executable: Some("/usr/bin/python3".into()),
                by_socket: true,
                ..Process::example("py\x1b", 4242)
            }),
            protocol: Some(17),
            source: Some(("198.51.100.2".parse().unwrap(), 1024)),
            destination: Some(("127.0.0.11".parse().unwrap(), 53)),
            translated_port: Some(41_000),
            question: Some(("evil.example".into(), "A".into())),
            ..Denial::example()
        };
        let identity = Identity {
            id: "ab".into(),
            name: "web".into(),
            image: Some("shop:1".into()),
            compose: Some(("shop".into(), "web".into())),
        };
        let json = event(&Event::Denial(Box::new(denial)), &identity);
        assert_eq!(
            json,
            json!({
                "schema": 1, "ecs": { "version": "8.11.0" },
                "@timestamp": "2026-11-22T16:00:00.500000Z",
                "event": {
                    "kind": "event", "category": ["network"], "type": ["denied"], "action": "denied",
                    "start": "2026-11-22T15:59:00.500000Z", "end": "2026-11-22T16:00:00.500000Z",
                },
                "container": {
                    "id": "ab", "name": "web", "image": { "name": "shop:1" },
                    "labels": { "com_docker_compose_project": "shop", "com_docker_compose_service": "web" },
                },
                "process": {
                    "pid": 4242, "thread": { "id": 4242 }, "name": "py\u{1b}", "user": { "id": "0" },
                    "vpid": 7, "parent": { "pid": 1, "name": "sh" }, "executable": "/usr/bin/python3",
                },
                "network": {
                    "iana_number": "17", "transport": "udp", "type": "ipv4", "direction": "egress",
                },
                "source": { "ip": "198.51.100.2", "port": 1024 },
                "destination": { "ip": "127.0.0.11", "port": 53, "nat": { "port": 41000 } },
                "dns": { "question": { "name": "evil.example", "type": "A" } },
                "airgap": {
                    "attribution": "socket", "count": 7, "hook": "egress", "reason": "dns",
                    "seal": 3, "unknown": ["process.command_line"],
                },
            })
        );
    }

    #[test]
    fn what_an_audit_lets_through_is_no_denial() {
        let seen = Denial {
            let_through: true,
            ..Denial::example()
        };
        let told = event(&Event::Denial(Box::new(seen)), &Identity::of_seal(3));
        assert_eq!(told["event"]["action"], "audited");
        assert_eq!(told["event"]["type"], json!(["allowed"]));
        assert_eq!(told["airgap"]["let_through"], true);
        let denied = event(
            &Event::Denial(Box::new(Denial::example())),
            &Identity::of_seal(3),
        );
        assert_eq!(denied["event"]["type"], json!(["denied"]));
        assert!(denied["airgap"].get("let_through").is_none());
    }

    #[test]
    fn a_unix_socket_is_a_destination() {
        let denial = Denial {
            protocol: None,
            socket: Some((1, 0)),
            destination: None,
            unix_peer: Some("/run/\x1bx".into()),
            ..Denial::example()
        };
        let json = event(&Event::Denial(Box::new(denial)), &Identity::of_seal(3));
        assert_eq!(json["destination"]["address"], "/run/\x1bx");
        assert_eq!(json["airgap"]["socket"]["family"], "unix");
        assert_eq!(
            json["airgap"]["unknown"],
            json!(["process", "container.image.name"])
        );
    }
}
