//! Exceptions as they are in force, and how each was used.

use std::{
    net::SocketAddr,
    os::fd::AsRawFd as _,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use airgap_common::map::{SealNumber, Use};
use anyhow::Result;
use serde::Serialize;

use crate::{
    container::{Look, connections},
    gate::{Exit, ExitsView, Gate, KeeperLock},
    host::{clock, netns::Netns},
    policy::{Exception, Lease, Target},
    state::{Entry, Record},
};

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExitRow {
    /// Where it leads, as `198.51.100.10:443/tcp`.
    pub to: String,
    /// `in-force`, `ended` (its time is over, as it was written) or `closed` (it is
    /// recorded, and not in force).
    pub state: &'static str,
    /// What it opens, in words.
    pub opens: String,
    /// When it ends or has ended, seconds since 1970-01-01 UTC; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a name: the addresses that it leads to now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Of a name: until when they hold unless somebody looks again, seconds since
    /// 1970-01-01 UTC; absent: for ever, or there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<u64>,
    /// With that: whether somebody looks again, `airgap watch` or `airgap keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_after: Option<bool>,
    /// Of a name without an address: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Far sides of connections that are open still, although the exception is over or leads
    /// there no more: they go on until one side closes, and `airgap disallow` cuts. Sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_after_end: Vec<SocketAddr>,
    /// TCP connections that the far side took.
    pub connections: u64,
    /// Segments and datagrams that left.
    pub packets_out: u64,
    /// Their payload, bytes.
    pub bytes_out: u64,
    /// Segments and datagrams that came in.
    pub packets_in: u64,
    /// Their payload, bytes.
    pub bytes_in: u64,
    /// Connections and datagrams refused because its time is over.
    pub refused_after_end: u64,
    /// When it was last used, seconds since 1970-01-01 UTC; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<u64>,
}

const IN_FORCE: &str = "in-force";
const ENDED: &str = "ended";
const CLOSED: &str = "closed";

/// How often the maps are read until they agree, and how long is in between: a change
/// writes one after the other.
const READS: usize = 20;
const BETWEEN: Duration = Duration::from_millis(5);

#[cfg(test)]
impl ExitRow {
    /// To 198.51.100.10:443, used by two connections.
    pub(crate) fn example() -> Self {
        Self {
            to: "198.51.100.10:443/tcp".into(),
            state: IN_FORCE,
            opens: "anything".into(),
            ends: None,
            reason: None,
            addresses: Vec::new(),
            held_until: None,
            looked_after: None,
            why: None,
            open_after_end: Vec::new(),
            connections: 2,
            packets_out: 12,
            bytes_out: 345,
            packets_in: 10,
            bytes_in: 6_789,
            refused_after_end: 3,
            last_used: Some(60),
        }
    }
}

impl ExitRow {
    /// Whether it lets something new out.
    pub fn is_open(&self) -> bool {
        self.state == IN_FORCE
    }

    /// Whether it ought to, and does not.
    pub fn is_closed(&self) -> bool {
        self.state == CLOSED
    }

    fn new(exception: &Exception, state: &'static str, used: &Use) -> Self {
        Self {
            to: exception.to.to_string(),
            state,
            opens: exception.to.opens(),
            ends: exception.until.map(wall),
            reason: exception.reason.clone(),
            addresses: Vec::new(),
            held_until: None,
            looked_after: None,
            why: None,
            open_after_end: Vec::new(),
            connections: used.connections,
            packets_out: used.packets_out,
            bytes_out: used.bytes_out,
            packets_in: used.packets_in,
            bytes_in: used.bytes_in,
            refused_after_end: used.lapsed,
            last_used: (used.last != 0).then(|| wall(used.last)),
        }
    }
}

/// The wall clock at a time of the boot clock, nanoseconds; seconds since 1970-01-01 UTC.
fn wall(boottime: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let booted = now.unwrap_or_default().saturating_sub(clock::since_boot());
    (booted + Duration::from_nanos(boottime)).as_secs()
}

fn is_over(exception: &Exception) -> bool {
    exception.is_over(clock::since_boot_nanos())
}

/// Those of a seal that stands, those that are recorded and not in force, and what is
/// wrong with them: each is judged by itself. `look`: what runs, so that its connections are
/// seen. `mend` says what to run.
pub(crate) fn rows(
    gate: &Gate,
    seal: SealNumber,
    look: Option<&Look>,
    entry: Option<&Entry>,
    mend: &str,
) -> Result<(Vec<ExitRow>, Vec<String>)> {
    let view = settled_view(gate, seal)?;
    let open = match look.filter(|_| view.standing.iter().any(may_have_lapsed)) {
        Some(look) => connected(gate, seal, look),
        None => Vec::new(),
    };
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for exit in &view.standing {
        let live: Vec<_> = exit.leases.iter().filter(|one| gate.is_live(one)).collect();
        let why = match live.is_empty() {
            true => why_shut(exit),
            false => None,
        };
        let state = match is_over(&exit.exception) {
            true => ENDED,
            false if why.is_some() => CLOSED,
            false => IN_FORCE,
        };
        let used = gate.use_of(exit.number)?;
        if used.is_none() {
            problems.push(format!(
                "the use of the exception {} is not counted: {mend}",
                exit.exception.to
            ));
        }
        let held_until = live.iter().filter_map(|lease| lease.until).max().map(wall);
        rows.push(ExitRow {
            addresses: live.iter().map(|lease| lease.addr.to_string()).collect(),
            held_until,
            looked_after: held_until.map(|_| KeeperLock::is_held()),
            why: why.filter(|_| state == CLOSED),
            open_after_end: after_end(gate, exit, state == IN_FORCE, &live, &open),
            ..ExitRow::new(&exit.exception, state, &used.unwrap_or_default())
        });
    }
    for exit in &view.closed {
        rows.push(ExitRow::new(&exit.exception, CLOSED, &Use::default()));
    }
    for to in &view.stray {
        rows.push(ExitRow::new(&to.clone().into(), IN_FORCE, &Use::default()));
    }
    problems.extend(disagreement(&view, mend));
    if let Some(Entry::Known(record)) = entry {
        let missing = record.rules.exits.iter().filter(|one| {
            let to = one.to.to_string();
            !is_over(one) && !rows.iter().any(|row| row.to == to)
        });
        let missing: Vec<_> = missing
            .map(|one| ExitRow::new(one, CLOSED, &Use::default()))
            .collect();
        rows.extend(missing);
    }
    Ok((rows, problems))
}

/// Whether something may be connected where it leads no more.
fn may_have_lapsed(exit: &Exit) -> bool {
    is_over(&exit.exception) || !matches!(exit.exception.to.target, Target::Net(_))
}

/// Connections that a seal's exceptions let out: number of the exception, and far side. What
/// the kernel does not list is not there.
fn connected(gate: &Gate, seal: SealNumber, look: &Look) -> Vec<(u32, SocketAddr)> {
    let listed = || -> Result<Vec<_>> {
        let storage = gate.storage()?;
        let host;
        let namespaces = match &look.networks[..] {
            [] => {
                host = Netns::own()?;
                vec![&host]
            }
            networks => networks.iter().map(|network| &network.netns).collect(),
        };
        let mut found = Vec::new();
        for netns in namespaces {
            let all = connections(netns, Some(storage.as_raw_fd()))?.into_iter();
            let ours = all.filter(|one| one.seal == Some(seal) && one.exit != 0);
            found.extend(ours.filter_map(|one| Some((one.exit, one.peer?.into()))));
        }
        Ok(found)
    };
    listed().unwrap_or_else(|error| {
        log::debug!("connections of exceptions are not seen: {error:#}");
        Vec::new()
    })
}

/// Of what is connected: what this exception let out, and would let out no more.
fn after_end(
    gate: &Gate,
    exit: &Exit,
    in_force: bool,
    live: &[&Lease],
    open: &[(u32, SocketAddr)],
) -> Vec<SocketAddr> {
    let leads = |peer: &SocketAddr| in_force && live.iter().any(|one| one.addr == peer.ip());
    let stands = |peer: &SocketAddr| {
        let mut leases = exit.leases.iter();
        leases.any(|one| one.addr == peer.ip() && gate.is_there(one))
    };
    let goes_on = |peer: &SocketAddr| match exit.exception.to.target {
        Target::Net(_) => !in_force,
        Target::Name(_) => !leads(peer),
        Target::Container(_) => !leads(peer) && stands(peer),
    };
    let ours = open.iter().filter(|(number, _)| *number == exit.number);
    let mut over: Vec<_> = ours.map(|(_, peer)| *peer).filter(goes_on).collect();
    over.sort_unstable();
    over.dedup();
    over
}

/// Why a name leads nowhere now; `None`: it is none. Pure.
fn why_shut(exit: &Exit) -> Option<String> {
    let over = |lease: &&Lease| {
        let until = lease.until;
        until.is_some_and(|until| until <= clock::since_boot_nanos())
    };
    let over = exit.leases.iter().any(|lease| over(&lease));
    Some(match &exit.exception.to.target {
        Target::Net(_) => return None,
        Target::Container(name) if exit.leases.is_empty() => {
            format!("no address of '{name}' was found: it does not run, or they share no network")
        }
        Target::Container(name) if over => format!(
            "nobody has looked at the address of '{name}' in time, it may be somebody else's (airgap keep does)"
        ),
        Target::Container(name) => {
            format!("'{name}' has ended, and its address may be somebody else's")
        }
        Target::Name(name) if over => format!(
            "no server has named the addresses of '{name}' in time (airgap keep asks again)"
        ),
        Target::Name(name) => format!("no server has named an address of '{name}'"),
    })
}

/// What the maps say once a change that may be under way has written both.
fn settled_view(gate: &Gate, seal: SealNumber) -> Result<ExitsView> {
    for _ in 0..READS {
        let view = gate.exits_view(seal)?;
        if view.whole {
            return Ok(view);
        }
        sleep(BETWEEN);
    }
    gate.exits_view(seal)
}

/// What is wrong where the two maps disagree: a change of exceptions was cut short. Pure.
fn disagreement(view: &ExitsView, mend: &str) -> Option<String> {
    if view.whole {
        return None;
    }
    let texts = |list: Vec<String>| list.join(", ");
    let mut parts = Vec::new();
    if !view.stray.is_empty() {
        let stray = view.stray.iter().map(ToString::to_string).collect();
        parts.push(format!(
            "still open, and an exception no more: {}",
            texts(stray)
        ));
    }
    if !view.closed.is_empty() {
        let closed = view.closed.iter().map(|exit| exit.exception.to.to_string());
        parts.push(format!("not in force: {}", texts(closed.collect())));
    }
    if parts.is_empty() {
        parts.push("they hold for some of their addresses, or times, alone".into());
    }
    Some(format!(
        "a change of its exceptions was cut short ({}): {mend}",
        parts.join("; ")
    ))
}

/// What an operator has taken out of what its label says.
pub(crate) fn withdrawn(entry: Option<&Entry>) -> Vec<String> {
    match entry {
        Some(Entry::Known(record)) => record.withdrawn.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// Those of a seal that is recorded only.
pub(super) fn recorded(record: &Record) -> Vec<ExitRow> {
    let exits = record.rules.exits.iter();
    exits
        .map(|one| ExitRow::new(one, CLOSED, &Use::default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_disagrees_is_named_and_what_agrees_is_not() {
        let view = ExitsView {
            whole: true,
            ..ExitsView::default()
        };
        assert_eq!(disagreement(&view, "mend"), None);
        let view = ExitsView {
            stray: vec!["198.51.100.1:443".parse().unwrap()],
            ..ExitsView::default()
        };
        let said = disagreement(&view, "airgap attach web mends it").unwrap();
        assert!(
            said.contains("still open, and an exception no more: 198.51.100.1:443/tcp")
                && said.ends_with("airgap attach web mends it"),
            "{said}"
        );
    }
}
