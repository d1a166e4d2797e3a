//! One seal on disk: JSON, version 1. Pure, but for which boot this is.

use std::{fmt, str::FromStr};

use airgap_common::map::ID_LEN;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    policy::{Exception, Hold, Port, Rules, To, parse_reason},
    preflight::Risk,
};

/// Version of the records that this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// Who asked for a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An operator, with `attach` or `run`.
    Operator,
    /// A label of the container, by `watch`; the seal goes with the container.
    Label,
}

/// What is recorded of one seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Container id, 64 hex digits.
    pub id: String,
    /// Container name when it was sealed.
    pub name: String,
    /// Socket of the engine that knows the container, as `unix:///path`.
    pub engine: String,
    /// What the container may do.
    pub rules: Rules,
    /// Risks accepted by name, one bit each.
    pub accepted: u64,
    /// Sealed since, seconds since 1970-01-01 UTC.
    pub since: u64,
    /// Who asked for it.
    pub by: Origin,
    /// Exceptions of the container's label that an operator took back.
    pub withdrawn: Vec<To>,
    /// Risks that an operator accepted beside a label, one bit each; in `accepted`, too.
    pub by_hand: u64,
    /// Path of the cgroup that is sealed, from the root of the v2 hierarchy; `None`: it is a
    /// container.
    pub cgroup: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version1 {
    version: u32,
    id: String,
    name: String,
    engine: String,
    ports: Vec<String>,
    from: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to: Vec<Recorded>,
    accepted: Vec<String>,
    since: u64,
    by: Origin,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    withdrawn: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accepted_by_hand: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
}

/// An exception. One that ends belongs to the boot by whose clock it does: after that
/// nobody could tell when.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Until>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    allowed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
}

/// `CLOCK_BOOTTIME`, nanoseconds, and of which boot.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    boottime: u64,
    boot: String,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

impl Record {
    /// The risks that an operator accepted, and that a later attach therefore
    /// need not name again: what a label accepted is good for its seal alone.
    pub fn accepted_by_operator(&self) -> u64 {
        match self.by {
            Origin::Operator => self.accepted,
            Origin::Label => self.by_hand,
        }
    }

    /// As it is written to disk.
    ///
    /// # Errors
    /// None that a record can cause.
    pub fn encode(&self) -> Result<Vec<u8>> {
        fn texts<T: fmt::Display>(list: &[T]) -> Vec<String> {
            list.iter().map(ToString::to_string).collect()
        }
        let file = Version1 {
            version: VERSION,
            id: self.id.clone(),
            name: self.name.clone(),
            engine: self.engine.clone(),
            ports: texts(&self.rules.ports),
            from: texts(&self.rules.clients),
            to: self.rules.exits.iter().map(recorded).collect(),
            accepted: texts(&Risk::names(self.accepted)),
            since: self.since,
            by: self.by,
            withdrawn: texts(&self.withdrawn),
            accepted_by_hand: texts(&Risk::names(self.by_hand)),
            errno: self.rules.errno.map(|errno| errno.to_string()),
            cgroup: self.cgroup.clone(),
        };
        let mut bytes = serde_json::to_vec(&file).context("cannot write JSON")?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the record of the container `id`.
    ///
    /// # Errors
    /// If it is cut short, of another container or a newer version, or says
    /// anything that this program does not know: a record that is understood in
    /// part could be wider than what was asked for.
    pub fn decode(id: &str, bytes: &[u8]) -> Result<Self> {
        let AnyVersion { version } = serde_json::from_slice(bytes).context("it is no record")?;
        if version != VERSION {
            bail!("it has version {version}, this airgap reads version {VERSION}");
        }
        let file: Version1 = serde_json::from_slice(bytes).context("it is no whole record")?;
        if file.id != id {
            bail!("it is the record of another container, {}", file.id);
        }
        let ports: Vec<Port> = parse(&file.ports)?;
        let rules = match ports.as_slice() {
            // Not the default port: nothing was meant to be open.
            [] => Rules {
                ports,
                clients: parse(&file.from)?,
                exits: Vec::new(),
                errno: None,
            },
            _ => Rules::new(ports, parse(&file.from)?).map_err(anyhow::Error::msg)?,
        };
        let rules = rules
            .with_exits(exceptions(&file.to)?)
            .map_err(anyhow::Error::msg)?
            .failing_with(parse(file.errno.as_slice())?.pop());
        let accepted: Vec<Risk> = parse(&file.accepted)?;
        Ok(Self {
            id: file.id,
            name: file.name,
            engine: file.engine,
            rules,
            accepted: bits(&accepted),
            since: file.since,
            by: file.by,
            withdrawn: parse(&file.withdrawn)?,
            by_hand: bits(&parse(&file.accepted_by_hand)?),
            cgroup: file.cgroup,
        })
    }
}

fn bits(risks: &[Risk]) -> u64 {
    risks.iter().fold(0, |set, risk| set | risk.bit())
}

fn recorded(exception: &Exception) -> Recorded {
    Recorded {
        to: exception.to.to_string(),
        until: exception.until.map(|boottime| Until {
            boottime,
            boot: clock::boot_id(),
        }),
        reason: exception.reason.clone(),
        allowed: exception.allowed,
        hold: exception.hold.map(|hold| hold.to_string()),
    }
}

/// What is left of them in this boot.
fn exceptions(recorded: &[Recorded]) -> Result<Vec<Exception>> {
    let boot = clock::boot_id();
    let mut exceptions = Vec::new();
    for one in recorded {
        let to: To = one.to.parse().map_err(anyhow::Error::msg)?;
        let hold: Option<Hold> = parse(one.hold.as_slice())?.pop();
        if hold.is_some() && to.target.net().is_some() {
            bail!("it holds what is no name's: {to}");
        }
        if let Some(reason) = &one.reason {
            parse_reason(reason).map_err(anyhow::Error::msg)?;
        }
        // An unknown boot is never this one.
        let ends = one.until.as_ref();
        if ends.is_some_and(|until| until.boot != boot || boot.is_empty()) {
            continue;
        }
        exceptions.push(
            Exception {
                until: one.until.as_ref().map(|until| until.boottime),
                reason: one.reason.clone(),
                allowed: one.allowed,
                ..Exception::from(to)
            }
            .held(hold),
        );
    }
    Ok(exceptions)
}

fn parse<T: FromStr<Err = String>>(texts: &[String]) -> Result<Vec<T>> {
    texts
        .iter()
        .map(|text| text.parse().map_err(anyhow::Error::msg))
        .collect()
}

/// Whether `text` is a whole container id.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::{Exception, Origin, Record, is_id};
    use crate::{
        policy::{Errno, Rules},
        preflight::Risk,
    };

    fn id() -> String {
        "5ea1".repeat(16)
    }

    fn record() -> Record {
        Record {
            id: id(),
            name: "web".into(),
            engine: "unix:///var/run/docker.sock".into(),
            rules: Rules::new(vec![], vec!["10.0.0.0/8".parse().unwrap()]).unwrap(),
            accepted: Risk::Privileged.bit() | Risk::LogDriver.bit(),
            since: 1_795_363_200,
            by: Origin::Operator,
            withdrawn: vec![],
            by_hand: 0,
            cgroup: None,
        }
    }

    /// A contract with files that are on disk: change it only with a new version.
    #[test]
    fn version_1() {
        let bytes = record().encode().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            format!(
                "{{\"version\":1,\"id\":\"{}\",\"name\":\"web\",\
                 \"engine\":\"unix:///var/run/docker.sock\",\"ports\":[\"5060/tcp\"],\
                 \"from\":[\"10.0.0.0/8\"],\"accepted\":[\"privileged\",\"log-driver\"],\
                 \"since\":1795363200,\"by\":\"operator\"}}\n",
                id()
            )
        );
        assert_eq!(Record::decode(&id(), &bytes).unwrap(), record());
    }

    #[test]
    fn nothing_is_understood_in_part() {
        let good = String::from_utf8(record().encode().unwrap()).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("5060/tcp", "5060/udp"),
            ("10.0.0.0/8", "10.0.0.1/8"),
            ("privileged", "everything"),
            ("\"since\"", "\"until\":0,\"since\""),
            ("\"from\":[\"10.0.0.0/8\"],", ""),
            ("5ea1", "5ea2"),
            ("operator", "nobody"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(Record::decode(&id(), bad.as_bytes()).is_err(), "{bad}");
        }
        for end in 0..good.len() - 2 {
            assert!(Record::decode(&id(), &good.as_bytes()[..end]).is_err());
        }
    }

    #[test]
    fn what_was_done_by_hand_beside_a_label_comes_back() {
        let record = Record {
            by: Origin::Label,
            withdrawn: vec!["198.51.100.10:443".parse().unwrap()],
            by_hand: Risk::HostExit.bit(),
            cgroup: None,
            accepted: Risk::HostExit.bit() | Risk::LogDriver.bit(),
            ..record()
        };
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode(&record.id, &bytes).unwrap(), record);
        assert_eq!(record.accepted_by_operator(), Risk::HostExit.bit());
        let text = String::from_utf8(bytes).unwrap();
        let bad = text.replace("198.51.100.10:443/tcp", "198.51.100.10");
        assert!(bad != text && Record::decode(&record.id, bad.as_bytes()).is_err());
    }

    #[test]
    fn no_port_is_not_the_default_port() {
        let none = Record {
            rules: Rules {
                exits: vec![],
                ports: vec![],
                clients: vec![],
                errno: Some(Errno::Eperm),
            },
            ..record()
        };
        let again = Record::decode(&id(), &none.encode().unwrap()).unwrap();
        assert!(again.rules.ports.is_empty());
        assert_eq!(again.rules.errno, none.rules.errno);
    }

    #[test]
    fn ids_are_64_lower_case_hex_digits() {
        assert!(is_id(&id()));
        assert!(!is_id("5ea1") && !is_id(&"5EA1".repeat(16)) && !is_id(&"../x".repeat(16)));
    }

    #[test]
    fn exceptions_come_back_and_those_that_end_only_in_their_boot() {
        let exception = |to: &str| Exception::from(to.parse::<crate::policy::To>().unwrap());
        let mut record = record();
        record.rules.exits = vec![
            exception("198.51.100.10:443"),
            Exception {
                until: Some(5_000_000_000),
                reason: Some("ticket 42".into()),
                allowed: true,
                ..exception("[2001:db8::/48]:*/udp")
            },
        ];
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode(&record.id, &bytes).unwrap(), record);
        let text = String::from_utf8(bytes).unwrap();
        let boot = crate::clock::boot_id();
        assert!(!boot.is_empty() && text.contains(&boot), "{text}");
        for other in ["", "00000000-0000-0000-0000-000000000000"] {
            let text = text.replace(&boot, other);
            let read = Record::decode(&record.id, text.as_bytes()).unwrap();
            assert_eq!(read.rules.exits, record.rules.exits[..1], "{other}");
        }
        for (what, instead) in [
            ("198.51.100.10:443/tcp", "198.51.100.10"),
            ("198.51.100.10:443/tcp", "127.0.0.1:443/tcp"),
            ("ticket 42", "ticket\\n42"),
            ("\"allowed\"", "\"granted\""),
        ] {
            let text = text.replace(what, instead);
            assert!(
                Record::decode(&record.id, text.as_bytes()).is_err(),
                "{instead}"
            );
        }
    }

    #[test]
    fn a_name_is_recorded_with_its_hold_and_no_address() {
        let db = |hold: &str| {
            let to: crate::policy::To = "container:db:5432".parse().unwrap();
            Exception::from(to).held(Some(hold.parse().unwrap()))
        };
        let mut record = record();
        for hold in ["2m", "forever"] {
            record.rules.exits = vec![db(hold)];
            let bytes = record.encode().unwrap();
            assert_eq!(Record::decode(&id(), &bytes).unwrap(), record);
        }
        let text = String::from_utf8(record.encode().unwrap()).unwrap();
        let to = "\"to\":[{\"to\":\"container:db:5432/tcp\",\"hold\":\"forever\"}]";
        assert!(text.contains(to), "{text}");
        // An address holds for itself.
        let bad = text.replace("container:db:", "198.51.100.1:");
        assert!(Record::decode(&id(), bad.as_bytes()).is_err());
        let bad = text.replace("\"forever\"", "\"1s\"");
        assert!(Record::decode(&id(), bad.as_bytes()).is_err());
    }
}
