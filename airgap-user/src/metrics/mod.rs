//! States and refused attempts as OpenMetrics 1.0.

mod listen;

use std::fmt::Write as _;

use airgap_common::map::Use;
use anyhow::Result;

pub use self::listen::{Address, Listener};

use crate::{
    coverage::SealState,
    events::{REASONS, destinations, is_silent},
    gate::{Gate, seal_id, seal_name},
};

/// Destinations that get a line of their own, for each seal; the rest is summed
/// up, so that no container can fill a metrics store.
const TOP: usize = 20;

/// What is told of one seal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealMetrics {
    /// Name when it was sealed, chosen by whoever made the container.
    pub container: String,
    /// Container id.
    pub id: String,
    /// Nothing of it is refused: it is no seal.
    pub audit: bool,
    /// Refused attempts by reason; silent reasons included.
    pub reasons: Vec<(&'static str, u64)>,
    /// `ADDRESS`, port and count of the destinations most asked for.
    pub top: Vec<(String, u16, u64)>,
    /// Refused attempts to all other destinations.
    pub other: u64,
    /// Refused attempts of which it is not known who made them.
    pub suppressed: u64,
    /// Its exceptions, as `198.51.100.10:443/tcp`, and how each was used.
    pub exits: Vec<(String, Use)>,
}

/// The state of one container that is sealed or ought to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMetrics {
    /// Name when it was sealed.
    pub container: String,
    /// Container id.
    pub id: String,
    /// Its state now.
    pub state: SealState,
}

/// Reads all seals; empty if no gate stands.
///
/// # Errors
/// If a map cannot be read.
pub fn gather(gate: Option<&Gate>) -> Result<Vec<SealMetrics>> {
    let Some(gate) = gate else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    let mut found = destinations(gate)?;
    for (number, seal) in gate.seals()? {
        let Some((_, counters)) = gate.state(number) else {
            continue;
        };
        let mut top = found.remove(&number).unwrap_or_default();
        top.truncate(TOP);
        let shown: u64 = top.iter().map(|(_, _, count)| count).sum();
        let named = REASONS.iter().zip(&counters.by_reason);
        all.push(SealMetrics {
            container: seal_name(&seal),
            id: seal_id(&seal),
            audit: gate.is_audit(number),
            reasons: named.map(|(name, count)| (*name, *count)).skip(1).collect(),
            top,
            other: counters.refused().saturating_sub(shown),
            suppressed: counters.suppressed,
            exits: {
                let exits = gate.exits_of(number)?.into_iter();
                let used = exits.map(|exit| {
                    let used = gate.use_of(exit.number)?.unwrap_or_default();
                    Ok((exit.exception.to.to_string(), used))
                });
                used.collect::<Result<_>>()?
            },
        });
    }
    Ok(all)
}

/// The text of one exposition, `# EOF` included.
pub fn render(seals: &[SealMetrics], states: &[StateMetrics]) -> String {
    let mut out = String::new();
    let (audited, seals): (Vec<_>, Vec<_>) = seals.iter().partition(|seal| seal.audit);
    let (audited, seals) = (&audited[..], &seals[..]);
    let family = |out: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
    };
    family(&mut out, "airgap_sealed", "gauge", "1 for each seal.");
    for seal in seals {
        let who = who(&seal.container, &seal.id);
        let _ = writeln!(out, "airgap_sealed{{{who}}} 1");
    }
    family(
        &mut out,
        "airgap_state",
        "stateset",
        "The state that airgap status says.",
    );
    for StateMetrics {
        container,
        id,
        state,
    } in states
    {
        for one in SealState::ALL {
            let _ = writeln!(
                out,
                "airgap_state{{{},airgap_state=\"{}\"}} {}",
                who(container, id),
                one.name(),
                u8::from(one == *state)
            );
        }
    }
    family(
        &mut out,
        "airgap_refused",
        "counter",
        "Refused attempts by reason.",
    );
    for seal in seals {
        for (reason, count) in seal.reasons.iter().filter(|(r, _)| !is_silent(r)) {
            let who = who(&seal.container, &seal.id);
            let _ = writeln!(
                out,
                "airgap_refused_total{{{who},reason=\"{reason}\"}} {count}"
            );
        }
    }
    family(
        &mut out,
        "airgap_uninvited",
        "counter",
        "Packets from outside or of the container's own kernel.",
    );
    for seal in seals {
        for (reason, count) in seal.reasons.iter().filter(|(r, _)| is_silent(r)) {
            let who = who(&seal.container, &seal.id);
            let _ = writeln!(
                out,
                "airgap_uninvited_total{{{who},reason=\"{reason}\"}} {count}"
            );
        }
    }
    family(
        &mut out,
        "airgap_refused_destination",
        "counter",
        "Refused attempts by destination, and of all others.",
    );
    for seal in seals {
        let who = who(&seal.container, &seal.id);
        for (address, port, count) in &seal.top {
            let address = label(address);
            let _ = writeln!(
                out,
                "airgap_refused_destination_total{{{who},address=\"{address}\",port=\"{port}\"}} {count}"
            );
        }
        let _ = writeln!(
            out,
            "airgap_refused_destination_total{{{who},address=\"other\",port=\"\"}} {}",
            seal.other
        );
    }
    family(
        &mut out,
        "airgap_suppressed",
        "counter",
        "Refused attempts of which it is not known who made them.",
    );
    for seal in seals {
        let _ = writeln!(
            out,
            "airgap_suppressed_total{{{}}} {}",
            who(&seal.container, &seal.id),
            seal.suppressed
        );
    }
    exits(&mut out, seals);
    audits(&mut out, audited);
    out + "# EOF\n"
}

/// What is under audit, which refuses nothing.
fn audits(out: &mut String, audited: &[&SealMetrics]) {
    const NAME: &str = "airgap_let_through";
    if audited.is_empty() {
        return;
    }
    let help = "Attempts under audit that a seal would have refused, by reason.";
    let _ = writeln!(out, "# TYPE {NAME} counter\n# HELP {NAME} {help}");
    for one in audited {
        let who = who(&one.container, &one.id);
        for (reason, count) in one.reasons.iter().filter(|(r, _)| !is_silent(r)) {
            let _ = writeln!(out, "{NAME}_total{{{who},reason=\"{reason}\"}} {count}");
        }
    }
}

/// How exceptions were used, where there are any.
fn exits(out: &mut String, seals: &[&SealMetrics]) {
    type Value = fn(&Use) -> u64;
    type Values = &'static [(&'static str, Value)];
    const FAMILIES: [(&str, &str, Values); 4] = [
        (
            "airgap_exit_connections",
            "TCP connections that the far side of an exception took.",
            &[("", |used| used.connections)],
        ),
        (
            "airgap_exit_packets",
            "Segments and datagrams by an exception.",
            &[
                (",direction=\"out\"", |used| used.packets_out),
                (",direction=\"in\"", |used| used.packets_in),
            ],
        ),
        (
            "airgap_exit_bytes",
            "Payload of what went by an exception.",
            &[
                (",direction=\"out\"", |used| used.bytes_out),
                (",direction=\"in\"", |used| used.bytes_in),
            ],
        ),
        (
            "airgap_exit_lapsed",
            "Connections and datagrams refused because an exception was over.",
            &[("", |used| used.lapsed)],
        ),
    ];
    if seals.iter().all(|seal| seal.exits.is_empty()) {
        return;
    }
    for (name, help, values) in FAMILIES {
        let _ = writeln!(out, "# TYPE {name} counter\n# HELP {name} {help}");
        for seal in seals {
            let who = who(&seal.container, &seal.id);
            for (to, used) in &seal.exits {
                for (more, value) in values {
                    let value = value(used);
                    let _ = writeln!(out, "{name}_total{{{who},to=\"{to}\"{more}}} {value}");
                }
            }
        }
    }
}

fn who(container: &str, id: &str) -> String {
    format!("container=\"{}\",id=\"{}\"", label(container), label(id))
}

/// A label's value as OpenMetrics escapes it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_is_no_seal_and_refuses_nothing() {
        let audit = SealMetrics {
            container: "web".into(),
            id: "ab".into(),
            audit: true,
            reasons: vec![("egress", 3), ("inbound", 9)],
            top: vec![("198.51.100.7".into(), 443, 3)],
            ..SealMetrics::default()
        };
        let text = render(&[audit], &[]);
        let told: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            told,
            ["airgap_let_through_total{container=\"web\",id=\"ab\",reason=\"egress\"} 3"]
        );
    }

    /// A contract: names and labels are what dashboards are built on.
    #[test]
    fn renders_an_exposition() {
        let seal = SealMetrics {
            container: "w\"e\nb".into(),
            id: "ab".into(),
            audit: false,
            reasons: vec![("egress", 3), ("inbound", 9)],
            top: vec![("198.51.100.7".into(), 443, 2)],
            other: 1,
            suppressed: 0,
            exits: vec![(
                "198.51.100.10:443/tcp".into(),
                Use {
                    connections: 2,
                    packets_out: 10,
                    bytes_out: 100,
                    packets_in: 8,
                    bytes_in: 4000,
                    lapsed: 1,
                    last: 5,
                },
            )],
        };
        let state = StateMetrics {
            container: "db".into(),
            id: "cd".into(),
            state: SealState::Opened,
        };
        assert_eq!(
            render(&[seal], &[state]),
            r#"# TYPE airgap_sealed gauge
# HELP airgap_sealed 1 for each seal.
airgap_sealed{container="w\"e\nb",id="ab"} 1
# TYPE airgap_state stateset
# HELP airgap_state The state that airgap status says.
airgap_state{container="db",id="cd",airgap_state="not-sealed"} 0
airgap_state{container="db",id="cd",airgap_state="broken"} 0
airgap_state{container="db",id="cd",airgap_state="opened"} 1
airgap_state{container="db",id="cd",airgap_state="unknown"} 0
airgap_state{container="db",id="cd",airgap_state="exception-closed"} 0
airgap_state{container="db",id="cd",airgap_state="limited"} 0
airgap_state{container="db",id="cd",airgap_state="sealed"} 0
airgap_state{container="db",id="cd",airgap_state="gone"} 0
# TYPE airgap_refused counter
# HELP airgap_refused Refused attempts by reason.
airgap_refused_total{container="w\"e\nb",id="ab",reason="egress"} 3
# TYPE airgap_uninvited counter
# HELP airgap_uninvited Packets from outside or of the container's own kernel.
airgap_uninvited_total{container="w\"e\nb",id="ab",reason="inbound"} 9
# TYPE airgap_refused_destination counter
# HELP airgap_refused_destination Refused attempts by destination, and of all others.
airgap_refused_destination_total{container="w\"e\nb",id="ab",address="198.51.100.7",port="443"} 2
airgap_refused_destination_total{container="w\"e\nb",id="ab",address="other",port=""} 1
# TYPE airgap_suppressed counter
# HELP airgap_suppressed Refused attempts of which it is not known who made them.
airgap_suppressed_total{container="w\"e\nb",id="ab"} 0
# TYPE airgap_exit_connections counter
# HELP airgap_exit_connections TCP connections that the far side of an exception took.
airgap_exit_connections_total{container="w\"e\nb",id="ab",to="198.51.100.10:443/tcp"} 2
# TYPE airgap_exit_packets counter
# HELP airgap_exit_packets Segments and datagrams by an exception.
airgap_exit_packets_total{container="w\"e\nb",id="ab",to="198.51.100.10:443/tcp",direction="out"} 10
airgap_exit_packets_total{container="w\"e\nb",id="ab",to="198.51.100.10:443/tcp",direction="in"} 8
# TYPE airgap_exit_bytes counter
# HELP airgap_exit_bytes Payload of what went by an exception.
airgap_exit_bytes_total{container="w\"e\nb",id="ab",to="198.51.100.10:443/tcp",direction="out"} 100
airgap_exit_bytes_total{container="w\"e\nb",id="ab",to="198.51.100.10:443/tcp",direction="in"} 4000
# TYPE airgap_exit_lapsed counter
# HELP airgap_exit_lapsed Connections and datagrams refused because an exception was over.
airgap_exit_lapsed_total{container="w\"e\nb",id="ab",to="198.51.100.10:443/tcp"} 1
# EOF
"#
        );
    }
}
