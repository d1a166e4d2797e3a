//! Text for people: stable columns, colour only where asked for.

use std::{
    fmt::Write as _,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::escape;
use crate::{
    commands::{Check, Existing, Report, Row},
    coverage::SealState,
    gate::Unsealed,
    state::Entry,
};

pub(super) const RED: &str = "\x1b[31m";
pub(super) const BOLD: &str = "\x1b[1m";
pub(super) const RESET: &str = "\x1b[0m";

/// UTC, RFC 3339, microseconds.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to a civil date, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{:06}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_micros()
    )
}

pub(crate) fn transport(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        58 => "ipv6-icmp",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

pub(crate) fn family(family: u16) -> String {
    match family {
        1 => "unix".into(),
        2 => "inet".into(),
        10 => "inet6".into(),
        16 => "netlink".into(),
        17 => "packet".into(),
        40 => "vsock".into(),
        44 => "xdp".into(),
        other => format!("{other}"),
    }
}

pub(crate) fn socket_type(kind: u16) -> String {
    match kind {
        1 => "stream".into(),
        2 => "dgram".into(),
        3 => "raw".into(),
        5 => "seqpacket".into(),
        other => format!("{other}"),
    }
}

pub(crate) fn endpoint((ip, port): (IpAddr, u16)) -> String {
    match (ip, port) {
        (ip, 0) => ip.to_string(),
        (IpAddr::V4(ip), port) => format!("{ip}:{port}"),
        (IpAddr::V6(ip), port) => format!("[{ip}]:{port}"),
    }
}

fn clients(report: &Report) -> String {
    if report.clients.is_empty() {
        "ANY (each is an exit)".into()
    } else {
        report.clients.join(", ")
    }
}

pub(super) fn existing(e: &Existing) -> String {
    let end = |e: &Option<String>| e.clone().unwrap_or_else(|| "*".into());
    let who = match (&e.name, e.pid) {
        (Some(name), Some(pid)) => format!("{}[{pid}]", escape(name)),
        _ => "nobody yet".into(),
    };
    if e.local.is_none() && e.peer.is_none() && e.kind != "packet" {
        return format!("{} socket that leads out of the container, {who}", e.kind);
    }
    let container = e.container.as_ref().map_or_else(String::new, |name| {
        format!(" (the container {})", escape(name))
    });
    let (local, peer) = (end(&e.local), end(&e.peer));
    format!("{} {local} → {peer}{container}, {who}", e.kind)
}

pub(super) fn peer(container: &str, e: &Existing) -> String {
    let what = match e.action {
        "open" => "stays open",
        "kept" => "is kept",
        "cut" => "is cut",
        _ => "can send no more",
    };
    format!("{}: {what}: {}", escape(container), existing(e))
}

pub(super) fn list(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no container is sealed on this host\n".into();
    }
    let mut out = format!(
        "{:<24}  {:<12}  {:<10}  {:<20}  {:<24}  {:>10}  SINCE\n",
        "NAME", "ID", "STATE", "PORTS", "CLIENTS", "DENIALS"
    );
    for row in rows {
        let r = &row.report;
        let since = timestamp(UNIX_EPOCH + Duration::from_secs(r.since));
        let _ = writeln!(
            out,
            "{:<24}  {:<12}  {:<10}  {:<20}  {:<24}  {:>10}  {}Z",
            escape(&r.container.name),
            &r.container.id[..12.min(r.container.id.len())],
            r.state.word(),
            r.ports.join(","),
            clients(r),
            r.denials.total,
            &since[..19]
        );
        let more = match (row.gone, r.seal) {
            (true, 0) => Some("recorded, and the container is gone: airgap detach"),
            (true, _) => Some("the container is gone: airgap detach"),
            (false, _) if r.state.is_open() => Some(r.summary.as_str()),
            (false, _) => None,
        };
        if let Some(more) = more {
            let _ = writeln!(out, "{:<24}  {:<12}  {}", "", "", escape(more));
        }
        if let Some(other) = &row.not_sealed {
            let name = row.recorded_name.as_ref().unwrap_or(&r.container.name);
            let _ = writeln!(
                out,
                "{:<24}  {:<12}  NOT SEALED  another container has this name now: airgap attach {}",
                escape(name),
                &other[..12.min(other.len())],
                &other[..12.min(other.len())]
            );
        }
    }
    if rows
        .iter()
        .any(|row| row.report.state == SealState::Limited)
    {
        out += "limited: nothing leaves now, and something may open later: airgap status NAME\n";
    }
    out
}

pub(super) fn doctor(checks: &[Check]) -> String {
    let mut out = String::new();
    for c in checks {
        let _ = writeln!(out, "{:<8}  {:<32}  {}", c.state, c.check, escape(&c.seen));
        if let Some(mend) = c.mend {
            let _ = writeln!(out, "{:<8}  {:<32}  → {mend}", "", "");
        }
    }
    out
}

pub(super) fn restored(entry: &Entry, what: &str) -> String {
    format!("{} ({}): {what}\n", escape(entry.name()), &entry.id()[..12])
}

pub(super) fn unsealed(u: &Unsealed) -> String {
    // Dead ones that the kernel has not released count, too.
    let from = match u.cgroups {
        0 => String::new(),
        1 => " from 1 cgroup".to_owned(),
        some => format!(" from {some} cgroups"),
    };
    format!(
        "{} ({}): seal lifted{from}, {} attempts were refused under it\n",
        escape(&u.name),
        &u.id[..12.min(u.id.len())],
        u.denials
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_795_363_199, "2026-11-22T15:59:59.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
