//! `airgap explain`.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use crate::{
    failure::{Failure, exit},
    glossary::{self, Term},
    notation::escape,
    output,
    policy::{suggested, suggested_name},
};

/// Longest event that is read from stdin, bytes.
const LONGEST: u64 = 1 << 20;

const LOST: &str = "What: more destinations than are counted one by one, or records that could not be read. The number is exact.\nDo:   airgap status has the counts by reason.\n";

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// A line of `airgap tail --json`, a word such as `dns`, `limited` or `raw frames`,
    /// or - for stdin [default: list all words]
    #[arg(value_name = "EVENT|WORD|-")]
    pub event: Option<String>,
}

pub(crate) fn run(args: &Explain) -> Result<u8> {
    let Some(mut text) = args.event.clone() else {
        output::raw(&all(&glossary::terms()))?;
        return Ok(exit::OK);
    };
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
        return of_word(text);
    }
    let event: Value = serde_json::from_str(text).map_err(|error| {
        Failure::new(
            format!("this is no event: {error}"),
            "give one line of airgap tail --json",
        )
        .with_code(exit::USAGE)
    })?;
    let mut out = told(&event);
    if event["airgap"]["let_through"] == true {
        out += "Now:  let through, as it is under audit; what a seal would do:\n";
    }
    match event["event"]["action"].as_str() {
        Some("lost") => {
            out += LOST;
        }
        _ => out += &of_word(event["airgap"]["reason"].as_str().unwrap_or(""))?,
    }
    Ok(out + &open(&event))
}

/// Every word that has an entry, by kind.
fn all(terms: &[Term]) -> String {
    let mut out = String::new();
    let mut kind = "";
    for term in terms {
        if term.kind != kind {
            kind = term.kind;
            out += &format!("{kind}s\n").replace("way outs", "ways out");
        }
        out += &format!("  {}\n", term.name);
    }
    out + "airgap explain WORD says what one means and what to do; the first words of it are enough\n"
}

fn of_word(word: &str) -> Result<String> {
    let mut found = glossary::find(word);
    // A line of `tail` has the hook behind the reason.
    if let Some((reason, hook)) = word.split_once(" (")
        && found.is_empty()
        && hook.ends_with(')')
    {
        found = glossary::find(reason);
    }
    if found.is_empty() {
        return Err(Failure::new(
            format!("nothing is called '{word}'"),
            "airgap explain lists every word that has an entry",
        )
        .with_code(exit::USAGE)
        .into());
    }
    // One word is told as it is; of several, each with its name.
    let one = found.len() == 1;
    let texts = found.iter().map(|term| match one {
        true => format!("What: {}\nDo:   {}\n", term.what, term.advice),
        false => format!(
            "{} ({})\nWhat: {}\nDo:   {}\n",
            term.name, term.kind, term.what, term.advice
        ),
    });
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

/// The command that would let it out, if an exception can: of where the event says that it
/// went, and of nothing else in it, as it may be from anywhere.
fn open(event: &Value) -> String {
    let container = event["container"]["name"].as_str().unwrap_or_default();
    // Its exceptions are named when it is started.
    if container.starts_with("exec:") {
        return String::new();
    }
    let named = !["unit:", "cgroup:"]
        .iter()
        .any(|kind| container.starts_with(kind));
    let destination = &event["destination"];
    let protocol = match event["network"]["transport"].as_str() {
        Some("tcp") => 6,
        Some("udp") => 17,
        _ => 0,
    };
    let to = match event["airgap"]["reason"].as_str() {
        // Only a container's exceptions lead to names.
        Some("dns") if named => event["dns"]["question"]["name"]
            .as_str()
            .and_then(suggested_name)
            .map(|name| name + ":PORT"),
        Some("egress" | "exit-port" | "exit-lapsed") => {
            let ip = destination["ip"].as_str().and_then(|ip| ip.parse().ok());
            let port = destination["port"].as_u64();
            let port = port.and_then(|port| u16::try_from(port).ok());
            let to = ip
                .zip(port)
                .and_then(|(ip, port)| suggested(ip, port, protocol));
            to.map(|to| to.to_string())
        }
        _ => None,
    };
    let Some(to) = to else {
        return String::new();
    };
    let container = match container {
        // Nothing that ends the command.
        word if is_plain(word) => word,
        _ => "CONTAINER",
    };
    format!("Open: airgap allow {container} --to '{to}' --for 15m --reason 'why'\n")
}

/// Whether a shell takes it as one word, and as no option.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-:/@".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
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
    use super::{all, words};
    use crate::glossary;

    #[test]
    fn a_reason_is_taken_as_tail_prints_it() {
        assert_eq!(
            words("egress (connect4)").unwrap(),
            words("egress").unwrap()
        );
        // A name with such an end of its own is that one.
        let whole = words("raw frames (AF_PACKET)").unwrap();
        assert_ne!(words("raw frames").ok(), Some(whole));
        assert!(words("nothing (connect4)").is_err());
    }

    #[test]
    fn what_would_let_an_attempt_out_is_a_command_and_nothing_else() {
        let of = |name: &str, rest: &str| {
            let event = format!(
                r#"{{"event":{{"action":"denied"}},"container":{{"name":"{name}"}},{rest}}}"#
            );
            let text = words(&event).unwrap();
            let open = text.lines().find_map(|line| line.strip_prefix("Open: "));
            open.unwrap_or_default().to_owned()
        };
        let connect = r#""destination":{"ip":"198.51.100.7","port":443},"network":{"transport":"tcp"},
            "airgap":{"reason":"egress","allow":"10.0.0.0/16:*"}"#;
        assert_eq!(
            of("web", connect),
            "airgap allow web --to '198.51.100.7:443/tcp' --for 15m --reason 'why'"
        );
        let named = r#""dns":{"question":{"name":"api.example.com"}},"airgap":{"reason":"dns"}"#;
        assert_eq!(
            of("web; id", named),
            "airgap allow CONTAINER --to 'api.example.com:PORT' --for 15m --reason 'why'"
        );
        assert_eq!(
            of("unit:web@1.service", connect),
            "airgap allow unit:web@1.service --to '198.51.100.7:443/tcp' --for 15m --reason 'why'"
        );
        assert_eq!(of("unit:web.service", named), "");
        assert_eq!(of("exec:curl-3f2a", connect), "");
        for rest in [
            r#""airgap":{"reason":"egress","allow":"x'; id #"}"#,
            r#""destination":{"ip":"x'; id #","port":443},"network":{"transport":"tcp"},"airgap":{"reason":"egress"}"#,
            r#""airgap":{"reason":"egress"}"#,
            r#""dns":{"question":{"name":"a'; id #.example.com"}},"airgap":{"reason":"dns"}"#,
        ] {
            assert_eq!(of("web", rest), "", "{rest}");
        }
    }

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
            "failed at once",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("Open:"), "it names no protocol: {text}");
        let seen = event.replace("\"count\":12", "\"count\":12,\"let_through\":true");
        assert!(
            words(&seen)
                .unwrap()
                .contains("let through, as it is under audit")
        );
        assert!(!text.contains("let through"), "{text}");
        let list = all(&glossary::terms());
        for word in [
            "states\n  not-sealed\n",
            "ways out\n",
            "risks\n",
            "reasons\n",
        ] {
            assert!(list.contains(word), "{word}: {list}");
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
