//! One seal on disk: JSON, version 1. Pure, but for which boot this is.

use std::{fmt, str::FromStr};

use airgap_common::map::ID_LEN;
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    host::clock,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    audit: bool,
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
            audit: self.rules.audit,
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
                audit: false,
            },
            _ => Rules::new(ports, parse(&file.from)?).map_err(anyhow::Error::msg)?,
        };
        let rules = rules
            .with_exits(exceptions(&file.to, file.cgroup.is_some())?)
            .map_err(anyhow::Error::msg)?
            .failing_with(parse(file.errno.as_slice())?.pop())
            .audited(file.audit);
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

/// What is left of them in this boot. `near`: they may lead to loopback.
fn exceptions(recorded: &[Recorded], near: bool) -> Result<Vec<Exception>> {
    let boot = clock::boot_id();
    let mut exceptions = Vec::new();
    for one in recorded {
        let to = match near {
            true => To::near_or_far(&one.to),
            false => one.to.parse(),
        };
        let to = to.map_err(anyhow::Error::msg)?;
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
mod tests;
