//! `airgap explain`.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use crate::{
    events::{EXPLANATIONS, explain},
    failure::{Failure, exit},
    output::{self, escape},
};

/// Longest event that is read from stdin, bytes.
const LONGEST: u64 = 1 << 20;

const LOST: &str = "What: more destinations than are counted one by one, or records that could not be read. The number is exact.\nDo:   airgap status has the counts by reason.\n";

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// A line of `airgap tail --json`, a reason such as `dns`, or - for stdin
    #[arg(value_name = "EVENT|REASON|-")]
    pub event: String,
}

pub(super) fn run(args: &Explain) -> Result<u8> {
    let mut text = args.event.clone();
    if text == "-" {
        text.clear();
        std::io::stdin()
            .take(LONGEST)
            .read_to_string(&mut text)
            .context("cannot read the event from stdin")?;
    }
    output::raw(&words(text.trim())?)?;
    Ok(exit::OK)
}

/// The explanation of an event or reason, with what the event says of itself.
fn words(text: &str) -> Result<String> {
    if !text.starts_with('{') {
        return of_reason(text);
    }
    let event: Value = serde_json::from_str(text).map_err(|error| {
        Failure::new(
            format!("this is no event: {error}"),
            "give one line of airgap tail --json",
        )
        .with_code(exit::USAGE)
    })?;
    let mut out = told(&event);
    match event["event"]["action"].as_str() {
        Some("lost") => {
            out += LOST;
        }
        _ => out += &of_reason(event["airgap"]["reason"].as_str().unwrap_or(""))?,
    }
    Ok(out)
}

fn of_reason(reason: &str) -> Result<String> {
    let found = explain(reason).ok_or_else(|| {
        let all: Vec<_> = EXPLANATIONS.iter().map(|e| e.reason).collect();
        Failure::new(
            format!("there is no reason '{reason}'"),
            format!("the reasons are {}", all.join(", ")),
        )
        .with_code(exit::USAGE)
    })?;
    Ok(format!("What: {}\nDo:   {}\n", found.what, found.advice))
}

/// Who and where, as far as the event says it.
fn told(event: &Value) -> String {
    let text = |value: &Value| value.as_str().map(|text| escape(text).into_owned());
    let process = &event["process"];
    let who = match (text(&process["name"]), process["pid"].as_u64()) {
        (Some(name), Some(pid)) => format!("{name} (pid {pid})"),
        _ => "a process that is not known".to_owned(),
    };
    let container = text(&event["container"]["name"]).unwrap_or_else(|| "?".into());
    let mut out = format!("Who:  {who} in {container}\n");
    if let Some(command) = text(&process["command_line"]) {
        out += &format!("      {command}\n");
    }
    let destination = &event["destination"];
    let to = text(&destination["ip"]).or_else(|| text(&destination["address"]));
    if let Some(to) = to {
        let port = destination["port"].as_u64();
        out += &format!(
            "To:   {to}{}\n",
            port.map_or(String::new(), |p| format!(" port {p}"))
        );
    }
    if let Some(name) = text(&event["dns"]["question"]["name"]) {
        out += &format!("Name: {name}\n");
    }
    match event["airgap"]["count"].as_u64() {
        Some(1) | None => {}
        Some(count) => out += &format!("      {count} times\n"),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn explains_events_and_reasons_safely() {
        let event = r#"{"event":{"action":"denied"},"container":{"name":"web"},
            "process":{"name":"a\u001b","pid":7,"command_line":"a --b"},
            "destination":{"ip":"198.51.100.7","port":443},
            "airgap":{"reason":"egress","count":12}}"#;
        let text = words(event).unwrap();
        for part in [
            "Who:  a\\x1b (pid 7) in web\n",
            "a --b\n",
            "To:   198.51.100.7 port 443\n",
            "12 times\n",
            "EPERM at once",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(words("dns").unwrap().contains("look a name up"));
        for bad in [
            "",
            "nothing",
            "{",
            "{}",
            r#"{"airgap":{"reason":"x\u001b"}}"#,
        ] {
            assert!(words(bad).is_err(), "{bad}");
        }
        let lost = r#"{"event":{"action":"lost"},"airgap":{"count":3}}"#;
        assert!(words(lost).unwrap().contains("The number is exact"));
    }
}
