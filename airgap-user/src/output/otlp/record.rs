//! Events as log records of OTLP in JSON (OTLP specification, "JSON Protobuf Encoding";
//! `opentelemetry/proto/logs/v1/logs.proto`). Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{
    container::Identity,
    events::Event,
    output::{json, line},
};

/// `SEVERITY_NUMBER_WARN`, and its text.
const REFUSED: (u8, &str) = (13, "WARN");
/// `SEVERITY_NUMBER_INFO`, and its text.
const ALLOWED: (u8, &str) = (9, "INFO");

/// One event: its text as the body, each leaf of the JSON event as an attribute.
pub(super) fn record(event: &Event, container: &Identity, observed: SystemTime) -> Value {
    let told = json::event(event, container);
    let action = told["event"]["action"].as_str().unwrap_or_default();
    let mut attributes = Vec::new();
    leaves(&mut attributes, "", &told);
    let (number, text) = if event.is_refusal() { REFUSED } else { ALLOWED };
    json!({
        "timeUnixNano": nanoseconds(event.time()),
        "observedTimeUnixNano": nanoseconds(observed),
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("airgap.{action}"),
        "body": { "stringValue": line::event(event, container, false, false).trim_end() },
        "attributes": attributes,
    })
}

/// What is sent at once.
pub(super) fn request(records: &[Value], host: &str) -> Value {
    let resource = [
        attribute("service.name", &json!("airgap")),
        attribute("service.version", &json!(env!("CARGO_PKG_VERSION"))),
        attribute("host.name", &json!(host)),
    ];
    json!({ "resourceLogs": [{
        "resource": { "attributes": resource },
        "scopeLogs": [{
            "scope": { "name": "airgap", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }]})
}

/// 64-bit numbers are strings in this encoding.
fn nanoseconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

fn leaves(out: &mut Vec<Value>, name: &str, value: &Value) {
    match value {
        // It is the record's own time.
        _ if name == "@timestamp" => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                match name {
                    "" => leaves(out, key, value),
                    name => leaves(out, &format!("{name}.{key}"), value),
                }
            }
        }
        Value::Null => {}
        other => out.push(attribute(name, other)),
    }
}

fn attribute(name: &str, value: &Value) -> Value {
    json!({ "key": name, "value": any(value) })
}

/// `AnyValue` (`opentelemetry/proto/common/v1/common.proto`).
fn any(value: &Value) -> Value {
    match value {
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(any).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Denial, Process};
    use std::time::Duration;

    #[test]
    fn a_record_has_every_field_of_the_event_and_its_text() {
        let event = Event::Denial(Box::new(Denial {
            process: Some(Process::example("curl", 9)),
            ..Denial::example()
        }));
        let web = Identity {
            name: "web".into(),
            ..Identity::default()
        };
        let record = record(&event, &web, UNIX_EPOCH + Duration::from_secs(2));
        assert_eq!(record["observedTimeUnixNano"], "2000000000");
        assert_eq!(record["eventName"], "airgap.denied");
        let body = record["body"]["stringValue"].as_str().unwrap();
        assert!(
            body.ends_with("egress (connect4)  would need --to 198.51.100.7:443/tcp"),
            "{body}"
        );
        let attributes = record["attributes"].as_array().unwrap();
        let of = |key: &str| {
            let found = attributes.iter().find(|a| a["key"] == key);
            found.map(|a| a["value"].clone())
        };
        assert_eq!(of("container.name"), Some(json!({ "stringValue": "web" })));
        let port = Some(json!({ "intValue": "443" }));
        assert_eq!(of("destination.port"), port);
        let kinds = json!({ "arrayValue": { "values": [{ "stringValue": "network" }] } });
        assert_eq!(of("event.category"), Some(kinds));
        assert_eq!(of("@timestamp"), None);
        for attribute in attributes {
            assert!(attribute["key"].is_string(), "{attribute}");
            assert_eq!(attribute["value"].as_object().unwrap().len(), 1);
        }
    }

    #[test]
    fn a_request_says_who_sends_it() {
        let request = request(&[json!({ "body": 1 })], "host.example");
        let logs = &request["resourceLogs"][0];
        assert_eq!(logs["scopeLogs"][0]["logRecords"], json!([{ "body": 1 }]));
        let name = &logs["resource"]["attributes"][2];
        assert_eq!(name["value"]["stringValue"], "host.example");
    }
}
