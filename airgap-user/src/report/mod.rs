//! What an auditor keeps of a seal: what was sealed when, what covers it, and
//! who tried to reach what. Pure: [`Document::collect`] makes it from what the
//! kernel told, [`html`] a page of it, [`compare`] the difference of two.

mod collect;
mod diff;
mod html;
mod learn;
mod markup;
mod plot;
mod sums;
mod target;
mod verified;

use std::time::SystemTime;

use serde::{Serialize, Serializer};

pub(crate) use self::sums::Sums;
pub use self::{
    collect::Material,
    diff::{Change, Difference, Saved, Side, compare},
    html::html,
    learn::{Learned, Opens},
    target::Target,
    verified::{Rollup, Tried, Verified},
};
use crate::{notation::timestamp, seal::Report};

#[cfg(test)]
pub(crate) mod examples {
    pub(crate) use super::{
        collect::tests::{asked, material, tried},
        diff::tests::upgrade,
    };
}

/// Version of the shapes in this module.
pub const SCHEMA: u32 = 1;
/// JSON Schema (draft 2020-12) of a [`Document`].
pub const JSON_SCHEMA: &str = include_str!("../../assets/report.schema.json");

/// A report. Strings of the container are as it chose them: not safe for
/// terminals and pages.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub generated: SystemTime,
    /// Of whom.
    pub container: Subject,
    /// When it was sealed.
    #[serde(serialize_with = "time")]
    pub sealed: SystemTime,
    /// What is in force, as `airgap status --json`.
    pub status: Report,
    /// Only kinds of attempts of which one was made since; `None`: all.
    #[serde(serialize_with = "maybe_time")]
    pub since: Option<SystemTime>,
    /// Refused attempts, summed.
    pub attempts: Attempts,
    /// Where they went, most attempts first.
    pub destinations: Vec<Destination>,
    /// Who made them, most attempts first.
    pub processes: Vec<Program>,
    /// A saved proof of the same seal; `None`: none was given.
    pub verify: Option<Verified>,
    /// What limits the report, in words.
    pub notes: Vec<String>,
}

/// The container of a report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subject {
    /// 64 hex digits.
    pub id: String,
    /// Name when the report was made; if the engine did not say, when it was sealed.
    pub name: String,
    /// Image as it was asked for; `None`: not known.
    pub image: Option<String>,
    /// The systemd unit that it is; `None`: it was not named as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Compose project and service; `None`: none, or not known.
    pub compose: Option<Compose>,
}

/// Where a container stands in a Compose file.
#[derive(Clone, Debug, Serialize)]
pub struct Compose {
    /// Project.
    pub project: String,
    /// Service.
    pub service: String,
}

/// Refused attempts, summed. `total` is the sum of all counts of destinations,
/// and of `lost`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attempts {
    /// All that the report tells of.
    pub total: u64,
    /// Not in `total`: kinds of attempts of which none was made since.
    pub earlier: u64,
    /// In `total`: the destination is known and the process is not.
    pub unattributed: u64,
    /// In `total`: neither is known, nor when.
    pub lost: u64,
    /// The first; `None`: of none it is known.
    #[serde(serialize_with = "maybe_time")]
    pub first: Option<SystemTime>,
    /// The last.
    #[serde(serialize_with = "maybe_time")]
    pub last: Option<SystemTime>,
}

/// Refused attempts at one destination.
#[derive(Clone, Debug, Serialize)]
pub struct Destination {
    /// Where.
    #[serde(flatten)]
    pub target: Target,
    /// How many.
    pub count: u64,
    /// How many of them nobody is known to have made.
    pub unattributed: u64,
    /// The first.
    #[serde(serialize_with = "time")]
    pub first: SystemTime,
    /// The last.
    #[serde(serialize_with = "time")]
    pub last: SystemTime,
    /// Why they were refused.
    pub reasons: Vec<Counted>,
    /// `comm` of the processes that made them.
    pub processes: Vec<Counted>,
    /// Of a name: types of the records asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub record_types: Vec<Counted>,
    /// Of a name: servers that were to be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Counted>,
}

/// Processes that are alike, and what they tried.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// `comm`.
    pub name: String,
    /// User id on the host.
    pub uid: u32,
    /// Path of the program in the container; `None`: not known.
    pub executable: Option<String>,
    /// Its arguments; `None`: not known.
    pub command_line: Option<String>,
    /// How many processes.
    pub processes: usize,
    /// How many destinations they tried.
    pub destinations: usize,
    /// How many attempts.
    pub count: u64,
    /// How many of them are told by the last user of the packet's socket.
    pub by_socket: u64,
    /// The first.
    #[serde(serialize_with = "time")]
    pub first: SystemTime,
    /// The last.
    #[serde(serialize_with = "time")]
    pub last: SystemTime,
}

/// Something, and how many attempts there were of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// What.
    pub what: String,
    /// How many.
    pub count: u64,
}

/// To the second, UTC, for people.
pub(crate) fn clock(time: SystemTime) -> String {
    timestamp(time)[..19].replace('T', " ")
}

fn time<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&timestamp(*time))
}

#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
fn maybe_time<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    time.map(timestamp).serialize(to)
}
