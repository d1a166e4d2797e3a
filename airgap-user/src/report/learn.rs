//! What a seal refused, as the exceptions that would have let it out. Pure.

use std::{collections::HashMap, net::IpAddr, time::SystemTime};

use serde::Serialize;

use super::{Counted, Destination, Document, Subject, Target, time};
use crate::policy::{To, suggested, suggested_name};

/// Names of what `airgap verify` asks for (`technique/dns.rs`).
const ZONE: &str = ".leak.example";

/// Every destination of a report, sorted by what could open it.
#[derive(Clone, Debug, Serialize)]
pub struct Learned {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// Of whom.
    pub container: Subject,
    /// It is under audit: what was seen was let through.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
    /// When it was sealed.
    #[serde(serialize_with = "time")]
    pub sealed: SystemTime,
    /// Each opens what was refused; one of a neighbour opens its other addresses, too.
    pub exceptions: Vec<Opens>,
    /// Exceptions that it has: what replaces them has to have them, too.
    pub standing: Vec<String>,
    /// Names that were asked for: the ports are not known yet.
    pub names: Vec<Opens>,
    /// What no exception leads to.
    pub never: Vec<Opens>,
    /// Refused attempts of which it is not known where they led.
    pub lost: u64,
    /// Attempts of `airgap verify`'s own, which are none of those above.
    pub verify: u64,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opens {
    /// What `--to` takes; a name alone; or what was refused, in words.
    pub to: String,
    /// How many attempts were refused.
    pub count: u64,
    /// The first.
    #[serde(serialize_with = "time")]
    pub first: SystemTime,
    /// The last.
    #[serde(serialize_with = "time")]
    pub last: SystemTime,
    /// The addresses that were tried, where `to` is a neighbour's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Programs that made them, as the container names them: not safe for terminals.
    pub processes: Vec<String>,
}

impl Learned {
    /// Of a report; `neighbours` are containers of this host by their addresses; `named`: it
    /// takes exceptions by name, as containers do.
    /// `tried`: addresses that were airgap's own when it tried ways out.
    pub fn of(
        document: &Document,
        neighbours: &HashMap<IpAddr, String>,
        named: bool,
        tried: &[IpAddr],
    ) -> Self {
        let (mut exceptions, mut names, mut never) = (Vec::new(), Vec::new(), Vec::new());
        let mut verify = 0;
        for destination in &document.destinations {
            if destination.is_of_verify(tried) {
                verify += destination.count;
                continue;
            }
            let opens = |to| Opens::of(destination, to);
            match &destination.target {
                Target::Address { ip, .. } => {
                    match destination.exception() {
                        // Its address may be another's tomorrow.
                        Some(to) => {
                            let name = neighbours.get(ip);
                            exceptions.push(match name.and_then(|name| to.of_neighbour(name)) {
                                Some(neighbour) => Opens {
                                    addresses: vec![*ip],
                                    ..opens(neighbour.to_string())
                                },
                                None => opens(to.to_string()),
                            });
                        }
                        None => never.push(opens(destination.target.to_string())),
                    }
                }
                Target::Name { name } => match suggested_name(name).filter(|_| named) {
                    Some(name) => names.push(opens(name)),
                    None => never.push(opens(destination.target.to_string())),
                },
                other => never.push(opens(other.to_string())),
            }
        }
        Self {
            schema: super::SCHEMA,
            container: document.container.clone(),
            audit: document.status.audit,
            sealed: document.sealed,
            exceptions: joined(exceptions),
            standing: document.status.exits.iter().map(|e| e.to.clone()).collect(),
            names: joined(names),
            never,
            lost: document.attempts.lost,
            verify,
        }
    }
}

impl Destination {
    /// Whether `airgap verify` led there, from inside the container: one of its addresses, or
    /// a name below one that nobody has.
    fn is_of_verify(&self, tried: &[IpAddr]) -> bool {
        match &self.target {
            Target::Address { ip, .. } => tried.contains(ip),
            Target::Name { name } => name.trim_end_matches('.').ends_with(ZONE),
            _ => false,
        }
    }

    /// The exception that would have let those attempts out, if one can.
    pub fn exception(&self) -> Option<To> {
        let Target::Address {
            ip,
            port,
            transport,
        } = &self.target
        else {
            return None;
        };
        let protocol = match transport.as_deref()? {
            "tcp" => 6,
            "udp" => 17,
            _ => return None,
        };
        let mut reasons = self.reasons.iter().map(|reason| &*reason.what);
        let may = reasons.any(|reason| matches!(reason, "egress" | "exit-port" | "exit-lapsed"));
        suggested(*ip, *port, protocol).filter(|_| may)
    }
}

/// One for each `to`: a neighbour may have had several addresses.
fn joined(all: Vec<Opens>) -> Vec<Opens> {
    let mut out: Vec<Opens> = Vec::new();
    for one in all {
        let Some(same) = out.iter_mut().find(|o| o.to == one.to) else {
            out.push(one);
            continue;
        };
        same.count += one.count;
        same.first = same.first.min(one.first);
        same.last = same.last.max(one.last);
        for address in one.addresses {
            if !same.addresses.contains(&address) {
                same.addresses.push(address);
            }
        }
        for process in one.processes {
            if !same.processes.contains(&process) {
                same.processes.push(process);
            }
        }
    }
    out
}

impl Opens {
    fn of(destination: &Destination, to: String) -> Self {
        let name = |by: &Counted| by.what.clone();
        Self {
            to,
            count: destination.count,
            first: destination.first,
            last: destination.last,
            addresses: Vec::new(),
            processes: destination.processes.iter().map(name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{events::Denial, report::collect::tests::material};

    fn refused(change: impl FnOnce(&mut Denial)) -> Denial {
        let mut denial = Denial::example();
        change(&mut denial);
        denial
    }

    #[test]
    fn each_destination_is_an_exception_or_said_to_be_none() {
        let at = |ip: &str, port| Some((ip.parse().unwrap(), port));
        let events = vec![
            refused(|_| {}),
            refused(|d| d.destination = at("172.18.0.5", 5432)),
            refused(|d| d.destination = at("172.18.0.6", 5432)),
            refused(|d| d.destination = at("198.51.100.9", 4711)),
            refused(|d| {
                d.question = Some((format!("m{ZONE}."), "A".into()));
                d.reason = "dns";
            }),
            refused(|d| {
                (d.protocol, d.destination) = (Some(17), at("2001:db8::7", 123));
            }),
            refused(|d| {
                d.question = Some(("Api.Example.com.".into(), "A".into()));
                d.reason = "dns";
            }),
            refused(|d| d.destination = at("169.254.169.254", 80)),
            refused(|d| d.reason = "no-provenance"),
        ];
        let material = material(events);
        let neighbours = ["172.18.0.5", "172.18.0.6"].map(|ip| (ip.parse().unwrap(), "db".into()));
        let learned = Learned::of(
            &Document::collect(material),
            &HashMap::from(neighbours),
            true,
            &["198.51.100.9".parse().unwrap()],
        );
        assert_eq!(learned.verify, 2);
        let mut to: Vec<_> = learned.exceptions.iter().map(|o| &*o.to).collect();
        to.sort_unstable();
        assert_eq!(
            to,
            [
                "198.51.100.7:443/tcp",
                "[2001:db8::7]:123/udp",
                "container:db:5432/tcp",
            ]
        );
        let both = learned.exceptions.iter().find(|o| o.to.starts_with("con"));
        assert_eq!(both.map(|o| o.count), Some(2));
        for opens in &learned.exceptions {
            assert!(opens.to.parse::<To>().is_ok(), "{}", opens.to);
        }
        let names: Vec<_> = learned.names.iter().map(|o| &*o.to).collect();
        assert_eq!(names, ["api.example.com"]);
        assert_eq!(learned.never[0].to, "tcp 169.254.169.254:80");
    }
}
