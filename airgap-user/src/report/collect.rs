//! What the kernel told → a [`Document`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Attempts, Compose, Document, Program, SCHEMA, Subject, Verified, sums::Sums};
use crate::{container::Identity, events::Event, host::systemd, seal::Report};

/// What a report is made of.
#[derive(Debug)]
pub struct Material {
    /// When it was read.
    pub now: SystemTime,
    /// The container.
    pub identity: Identity,
    /// What is in force.
    pub status: Report,
    /// All that the kernel remembers of this one seal.
    pub events: Vec<Event>,
    /// Leave out kinds of attempts of which none was made since.
    pub since: Option<SystemTime>,
    /// A saved proof.
    pub verify: Option<Verified>,
}

impl Document {
    /// Sums and ranks the material. Pure.
    pub fn collect(material: Material) -> Self {
        let Material {
            now,
            identity,
            status,
            events,
            since,
            verify,
        } = material;
        let mut sums = Sums::default();
        for event in &events {
            sums.add(event, since);
        }
        let (attempts, destinations, processes) = sums.ranked();
        let container = Subject {
            id: identity.id,
            unit: systemd::unit_of(&identity.name).map(str::to_owned),
            name: identity.name,
            image: identity.image,
            compose: identity
                .compose
                .map(|(project, service)| Compose { project, service }),
        };
        Self {
            schema: SCHEMA,
            generated: now,
            sealed: UNIX_EPOCH + Duration::from_secs(status.since),
            notes: notes(
                &attempts,
                &processes,
                &container,
                since.is_some(),
                status.denials.by_verify,
                status.audit,
            ),
            container,
            status,
            since,
            attempts,
            destinations,
            processes,
            verify,
        }
    }
}

/// What limits a report, in words.
fn notes(
    attempts: &Attempts,
    processes: &[Program],
    container: &Subject,
    limited: bool,
    by_verify: u64,
    audit: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if by_verify > 0 {
        notes.push(format!(
            "{by_verify} of the attempts were made by airgap verify from inside the container, not by the container's own programs; they are among the destinations and processes here, and not among the denials by reason"
        ));
    }
    if limited {
        notes.push(format!(
            "limited in time: a kind of attempt whose last one was later is told with all of its attempts since the first; {} attempts of other kinds are left out",
            attempts.earlier
        ));
    }
    if attempts.unattributed > 0 {
        notes.push(format!(
            "{} attempts: the destination is known, the process and a looked-up name are not (too many new kinds at once, or not remembered any more); their times are those of all attempts there",
            attempts.unattributed
        ));
    }
    let ended = processes
        .iter()
        .filter(|p| p.executable.is_none() && p.command_line.is_none());
    let ended: u64 = ended.map(|p| p.count).sum();
    if ended > 0 {
        notes.push(format!(
            "{ended} attempts were made by processes that have ended: their program and arguments are not known, as the kernel has no note of them"
        ));
    }
    if attempts.lost > 0 {
        notes.push(format!(
            "{} attempts went to other destinations, beyond those counted one by one: where, by whom and when is not known",
            attempts.lost
        ));
    }
    if container.image.is_none() {
        notes.push("the image is not known: the container engine does not say".into());
    }
    if audit {
        notes.push("NO attempt here was refused: the container is under audit, which lets all of it through and tells what a seal would refuse".into());
        return notes;
    }
    notes.push("all attempts here were refused; what airgap verify tried from inside the container is among them; what was refused before this seal, or after this report, is not".into());
    notes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        events::{Denial, Lost, Process, Suppressed},
        state::Entry,
    };

    pub(crate) fn second(n: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(n)
    }

    /// `count` attempts of `name` from second 10 to `last`.
    pub(crate) fn tried(name: &str, count: u64, last: u64) -> Denial {
        Denial {
            process: Some(Process::example(name, 42)),
            count,
            first: second(10),
            time: second(last),
            ..Denial::example()
        }
    }

    pub(crate) fn asked(name: &str, question: &str, count: u64) -> Denial {
        Denial {
            reason: "dns",
            protocol: Some(17),
            destination: Some(([127, 0, 0, 11].into(), 53)),
            question: Some((question.into(), "A".into())),
            ..tried(name, count, 30)
        }
    }

    pub(crate) fn material(denials: Vec<Denial>) -> Material {
        let entry = Entry::Unreadable {
            id: "ab".repeat(32),
            why: "test".into(),
        };
        Material {
            now: second(100),
            identity: Identity {
                id: "ab".repeat(32),
                name: "web".into(),
                ..Identity::default()
            },
            status: Report::of_entry(&entry),
            events: denials
                .into_iter()
                .map(|d| Event::Denial(Box::new(d)))
                .collect(),
            since: None,
            verify: None,
        }
    }

    fn flood() -> Material {
        let mut material = material(vec![
            tried("curl", 3, 20),
            tried("wget", 1, 40),
            asked("curl", "Phone.Example", 2),
            asked("curl", "phone.example.", 9),
        ]);
        material.events.push(Event::Suppressed(Suppressed {
            time: second(50),
            first: second(5),
            count: 100,
            seal: 3,
            hook: "connect4",
            reason: "egress",
            protocol: Some(6),
            destination: Some(([198, 51, 100, 7].into(), 443)),
            let_through: false,
        }));
        material.events.push(Event::Lost(Lost {
            time: second(100),
            count: 1000,
            seal: Some(3),
        }));
        material
    }

    #[test]
    fn every_attempt_is_in_one_destination_or_said_to_be_lost() {
        let document = Document::collect(flood());
        let Attempts {
            total,
            unattributed,
            lost,
            first,
            last,
            ..
        } = document.attempts;
        assert_eq!((total, unattributed, lost), (1115, 100, 1000));
        assert_eq!((first, last), (Some(second(5)), Some(second(50))));
        let sum: u64 = document.destinations.iter().map(|d| d.count).sum();
        assert_eq!(sum + lost, total);
        let ranked: Vec<_> = document
            .destinations
            .iter()
            .map(|d| (d.target.to_string(), d.count, d.unattributed))
            .collect();
        assert_eq!(
            ranked,
            [
                ("tcp 198.51.100.7:443".into(), 104, 100),
                ("name phone.example".into(), 11, 0)
            ]
        );
        let programs: Vec<_> = document
            .processes
            .iter()
            .map(|p| (p.name.as_str(), p.count, p.destinations, p.processes))
            .collect();
        assert_eq!(programs, [("curl", 14, 2, 1), ("wget", 1, 1, 1)]);
        let notes = document.notes.join("\n");
        for said in [
            "100 attempts: the destination",
            "15 attempts were made by processes that have ended",
            "1000 attempts went to other",
            "image is not known",
        ] {
            assert!(notes.contains(said), "{said}: {notes}");
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let document = Document::collect(Material {
            since: Some(second(40)),
            ..flood()
        });
        // curl's connects and both questions ended before; the lost have no time.
        assert_eq!(document.attempts.earlier, 14);
        assert_eq!(document.attempts.total, 1101);
        assert!(document.notes[0].contains("14 attempts of other kinds"));
    }

    /// A contract: change it only with a new schema number.
    #[test]
    fn schema_1() {
        let document = Document::collect(material(vec![asked("cu\"rl", "phone.example", 2)]));
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["generated"], "1970-01-01T00:01:40.000000Z");
        assert_eq!(json["container"]["image"], serde_json::Value::Null);
        assert_eq!(json["status"]["state"], "not-sealed");
        assert_eq!(
            json["destinations"][0],
            serde_json::json!({
                "kind": "name", "name": "phone.example", "count": 2, "unattributed": 0,
                "first": "1970-01-01T00:00:10.000000Z", "last": "1970-01-01T00:00:30.000000Z",
                "reasons": [{ "what": "dns", "count": 2 }],
                "processes": [{ "what": "cu\"rl", "count": 2 }],
                "record_types": [{ "what": "A", "count": 2 }],
                "servers": [{ "what": "127.0.0.11:53", "count": 2 }],
            })
        );
        assert_eq!(
            json["processes"][0],
            serde_json::json!({
                "name": "cu\"rl", "uid": 0, "executable": null, "command_line": null,
                "processes": 1, "destinations": 1, "count": 2, "by_socket": 0,
                "first": "1970-01-01T00:00:10.000000Z", "last": "1970-01-01T00:00:30.000000Z",
            })
        );
    }
}
