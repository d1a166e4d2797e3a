//! Events as text: one line each, in columns.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use super::text::{RED, RESET};
use crate::{
    container::Identity,
    events::{Denial, Event, Lost, Process, Suppressed, Untold},
    notation::{endpoint, escape, family, socket_type, timestamp, transport},
};

/// One line: time, verdict, container, process, attempt, reason. `dated`: with
/// the date, for what was not seen as it happened.
pub(super) fn event(event: &Event, container: &Identity, colour: bool, dated: bool) -> String {
    match event {
        Event::Denial(denial) => {
            let who = denial.process.as_ref().map_or_else(|| "?".to_owned(), who);
            let by_socket = denial.process.as_ref().is_some_and(|p| p.by_socket);
            // Who sends on it may be another.
            let opener = if by_socket {
                ", who opened the socket"
            } else {
                ""
            };
            let why = format!("{} ({}{opener})", denial.reason, denial.hook);
            let line = Line {
                time: denial.time,
                verdict: verdict(denial.let_through),
                who,
                what: attempt(denial),
                why,
            };
            let mut out = line.render(container, colour, dated);
            if denial.count > 1 {
                out += &repeated(denial.count, denial.first, denial.time);
            }
            // Before what the container chose the words of.
            if let Some(to) = denial.exception() {
                let over = match denial.reason {
                    "exit-lapsed" => "its exception is over, ",
                    _ => "",
                };
                let _ = write!(out, "  {over}would need --to {to}");
            }
            if let Some(command) = denial.process.as_ref().and_then(command) {
                let _ = write!(out, "  cmd={}", escape(command));
            }
            out + "\n"
        }
        Event::Suppressed(suppressed) => {
            let line = Line {
                time: suppressed.time,
                verdict: verdict(suppressed.let_through),
                who: "?".to_owned(),
                what: what(suppressed.protocol, suppressed.destination),
                why: format!("{} ({})", suppressed.reason, suppressed.hook),
            };
            let Suppressed {
                count, first, time, ..
            } = suppressed;
            let mut out = line.render(container, colour, dated);
            out += &repeated(*count, *first, *time);
            out + "  suppressed: too many new ones at once to tell who\n"
        }
        Event::Lost(lost) => {
            let what = match lost.seal {
                Some(_) => "attempts to destinations beyond those counted one by one",
                None => "records that could not be read",
            };
            let time = clock(lost.time, dated);
            let Lost { count, .. } = lost;
            format!(
                "{time}  LOST    {:<16}  {count} {what}\n",
                escape(&container.name)
            )
        }
        Event::Allowed(allowed) => {
            let by = match &allowed.exception {
                Some(to) => format!("by --to {}", escape(to)),
                None => "by an exception that is gone".to_owned(),
            };
            let line = Line {
                time: allowed.time,
                verdict: ALLOWED,
                who: who(&allowed.process),
                what: what(Some(allowed.protocol), Some(allowed.destination)),
                why: format!("{by} ({})", allowed.hook),
            };
            let mut out = line.render(container, colour, dated);
            if let Some(command) = command(&allowed.process) {
                let _ = write!(out, "  cmd={}", escape(command));
            }
            out + "\n"
        }
        Event::Untold(Untold { time, count }) => format!(
            "{}  LOST    {:<16}  {count} uses of exceptions came too fast to be told; airgap status counts them\n",
            clock(*time, dated),
            ""
        ),
    }
}

const ALLOWED: &str = "ALLOWED";

/// What became of it.
const fn verdict(let_through: bool) -> &'static str {
    match let_through {
        true => "WOULD REFUSE",
        false => "DENIED",
    }
}

struct Line {
    time: SystemTime,
    verdict: &'static str,
    who: String,
    what: String,
    why: String,
}

impl Line {
    fn render(&self, container: &Identity, colour: bool, dated: bool) -> String {
        let (red, reset) = match colour && self.verdict != ALLOWED {
            true => (RED, RESET),
            false => ("", ""),
        };
        // Words of other lengths begin the next column where the others do.
        let gap = 8_usize.checked_sub(self.verdict.len()).unwrap_or(2);
        format!(
            "{}  {red}{}{reset}{:gap$}{:<16}  {:<28}  {:<44}  {}",
            clock(self.time, dated),
            self.verdict,
            "",
            escape(&container.name),
            self.who,
            self.what,
            self.why
        )
    }
}

/// To the millisecond; without the date where the reader is there now.
fn clock(time: SystemTime, dated: bool) -> String {
    let time = timestamp(time);
    if dated {
        time[..23].replace('T', " ")
    } else {
        time[11..23].to_owned()
    }
}

/// Name and number, and the program where the name does not say it.
fn who(process: &Process) -> String {
    format!(
        "{}[{}] uid={}",
        escape(&process.name),
        process.pid,
        process.uid
    )
}

fn command(process: &Process) -> Option<&str> {
    process
        .command_line
        .as_deref()
        .or(process.executable.as_deref())
}

fn what(protocol: Option<u8>, destination: Option<(std::net::IpAddr, u16)>) -> String {
    let mut out = match protocol {
        Some(protocol) => {
            transport(protocol).map_or_else(|| format!("ip-{protocol}"), str::to_owned)
        }
        None => "packet".to_owned(),
    };
    if let Some(destination) = destination {
        let _ = write!(out, " → {}", endpoint(destination));
    }
    out
}

/// What was tried, escaped.
pub(crate) fn attempt(denial: &Denial) -> String {
    let mut out = match denial.socket {
        Some((fam, kind)) => {
            let kind = format!("{}/{}", family(fam), socket_type(kind));
            match denial.protocol.and_then(transport) {
                Some(protocol) => format!("{protocol} {kind}"),
                None => format!("socket {kind}"),
            }
        }
        None => what(denial.protocol, denial.destination),
    };
    if denial.socket.is_some()
        && let Some(destination) = denial.destination
    {
        let _ = write!(out, " → {}", endpoint(destination));
    }
    if let Some(peer) = &denial.unix_peer {
        let _ = write!(out, " → {}", escape(peer));
    }
    if let Some((name, kind)) = &denial.question {
        let _ = write!(out, " {} {kind}", quoted(name));
    }
    out
}

/// A name that was looked up, in quotes; of a long one both ends.
fn quoted(name: &str) -> String {
    /// Characters that are shown of either end, and of a name as a whole.
    const END: usize = 48;
    const WHOLE: usize = 128;
    // What the container chose ends no quotes.
    let inner = |text: &str| escape(text).replace('"', "\\\"");
    let len = name.chars().count();
    if len <= WHOLE {
        return format!("\"{}\"", inner(name));
    }
    let first: String = name.chars().take(END).collect();
    let last: String = name.chars().skip(len - END).collect();
    let (first, last) = (inner(&first), inner(&last));
    format!("\"{first}…{last}\" (cut, {} bytes)", name.len())
}

/// ` ×12 in 3.4 s`
fn repeated(count: u64, first: SystemTime, last: SystemTime) -> String {
    let span = last.duration_since(first).unwrap_or(Duration::ZERO);
    if span < Duration::from_millis(100) {
        format!("  ×{count}")
    } else {
        format!("  ×{count} since {}", clock(first, false))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::events::Allowed;

    #[test]
    fn a_name_ends_no_quotes_and_shows_both_ends() {
        assert_eq!(quoted("evil.example"), "\"evil.example\"");
        assert_eq!(quoted("a\" A"), "\"a\\\" A\"");
        let long = format!("{}.evil.example", "a".repeat(240));
        let shown = quoted(&long);
        assert!(
            shown.starts_with("\"aaaa") && shown.contains('…'),
            "{shown}"
        );
        assert!(
            shown.ends_with("evil.example\" (cut, 253 bytes)"),
            "{shown}"
        );
    }

    fn web() -> Identity {
        Identity {
            name: "w\x07b".into(),
            ..Identity::default()
        }
    }

    fn denied(denial: Denial) -> Event {
        Event::Denial(Box::new(denial))
    }

    #[test]
    fn a_denial_is_one_safe_line() {
        let denial = Denial {
            hook: "connect6",
            process: Some(Process {
                command_line: Some("a\n --b".into()),
                ..Process::example("a\nb\x1b[0m", 1)
            }),
            destination: Some(("2001:db8::1".parse().unwrap(), 443)),
            ..Denial::example()
        };
        assert_eq!(
            event(&denied(denial), &web(), false, false),
            "00:00:00.000  DENIED  w\\x07b            a\\nb\\x1b[0m[1] uid=0          tcp → [2001:db8::1]:443                       egress (connect6)  would need --to [2001:db8::1]:443/tcp  cmd=a\\n --b\n"
        );
    }

    #[test]
    fn what_is_over_is_not_called_missing() {
        let said = |reason| {
            let denial = Denial {
                reason,
                ..Denial::example()
            };
            event(&denied(denial), &web(), false, false)
        };
        let over =
            "exit-lapsed (connect4)  its exception is over, would need --to 198.51.100.7:443/tcp";
        assert!(
            said("exit-lapsed").contains(over),
            "{}",
            said("exit-lapsed")
        );
        assert!(!said("egress").contains("over"), "the control");
    }

    /// A contract: change it only with a note in the CHANGELOG.
    #[test]
    fn repetitions_suppressions_and_losses_are_lines() {
        let second = |n| UNIX_EPOCH + Duration::from_secs(n);
        let name = Identity {
            name: "web".into(),
            ..Identity::default()
        };
        let denial = Denial {
            time: second(90),
            count: 12,
            ..Denial::example()
        };
        let suppressed = Suppressed {
            time: second(3),
            first: second(3),
            count: 5,
            seal: 3,
            hook: "sendmsg4",
            reason: "egress",
            protocol: Some(17),
            destination: Some(([198, 51, 100, 7].into(), 9)),
            let_through: false,
        };
        let lost = Lost {
            time: second(4),
            count: 6,
            seal: Some(3),
        };
        let lines = [
            event(&denied(denial), &name, false, true),
            event(&Event::Suppressed(suppressed), &name, false, false),
            event(&Event::Lost(lost), &name, false, false),
        ];
        assert_eq!(
            lines,
            [
                "1970-01-01 00:01:30.000  DENIED  web               ?                             tcp → 198.51.100.7:443                        egress (connect4)  ×12 since 00:00:00.000  would need --to 198.51.100.7:443/tcp\n",
                "00:00:03.000  DENIED  web               ?                             udp → 198.51.100.7:9                          egress (sendmsg4)  ×5  suppressed: too many new ones at once to tell who\n",
                "00:00:04.000  LOST    web               6 attempts to destinations beyond those counted one by one\n",
            ]
        );
    }

    #[test]
    fn what_an_exception_let_out_is_a_line_that_names_it() {
        let allowed = |exception: Option<&str>| {
            let allowed = Allowed {
                exception: exception.map(Into::into),
                ..Allowed::example()
            };
            event(&Event::Allowed(Box::new(allowed)), &web(), true, false)
        };
        assert_eq!(
            allowed(Some("api.example.com:443/tcp")),
            "00:00:00.000  ALLOWED w\\x07b            curl[4242] uid=0              tcp → 198.51.100.2:443                        by --to api.example.com:443/tcp (connect4)\n"
        );
        assert!(allowed(None).contains("by an exception that is gone"));
    }

    #[test]
    fn what_an_audit_lets_through_was_not_denied() {
        let seen = Denial {
            let_through: true,
            ..Denial::example()
        };
        let line = event(&denied(seen), &web(), false, false);
        assert!(line.contains("  WOULD REFUSE  w"), "{line}");
        assert!(!line.contains("DENIED"), "{line}");
    }

    #[test]
    fn a_unix_socket_is_shown_by_its_escaped_path() {
        let denial = Denial {
            hook: "lsm",
            reason: "unix-peer",
            protocol: None,
            socket: Some((1, 0)),
            destination: None,
            unix_peer: Some("@a\x1b".into()),
            ..Denial::example()
        };
        let line = event(&denied(denial), &web(), false, false);
        assert!(line.contains("→ @a\\x1b"), "{line}");
    }

    #[test]
    fn colour_is_only_where_it_is_asked_for() {
        let plain = event(&denied(Denial::example()), &web(), false, false);
        let red = event(&denied(Denial::example()), &web(), true, false);
        assert!(!plain.contains('\x1b') && red.contains("\x1b[31mDENIED\x1b[0m"));
    }
}
