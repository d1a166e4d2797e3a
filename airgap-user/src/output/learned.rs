//! What a seal refused, as the words that would let it out.

use std::fmt::Write as _;

use crate::{
    notation::escape,
    report::{Learned, Opens, clock},
};

/// Rows of a list; the rest is in the JSON.
const ROWS: usize = 50;

/// For whom exceptions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `airgap attach`, `allow` and `run`.
    Options,
    /// The engine's `--label`.
    Label,
    /// A Compose file.
    Compose,
}

/// Lines that are no exception begin with `#`.
pub(super) fn learned(learned: &Learned, form: Form) -> String {
    let name = escape(&learned.container.name);
    let since = clock(learned.sealed);
    let verify = match learned.verify {
        0 => String::new(),
        n => format!("# left out: {n} attempts of airgap verify\n"),
    };
    if learned.exceptions.is_empty() && learned.names.is_empty() && learned.never.is_empty() {
        let nothing = match learned.audit {
            true => {
                format!("# nothing of {name} that a seal would refuse was seen since {since} UTC\n")
            }
            false => format!("# nothing was refused of {name} since {since} UTC\n"),
        };
        return nothing + &verify;
    }
    let what = match learned.audit {
        true => "seen and let through of",
        false => "refused of",
    };
    let mut out = format!("# {what} {name} since {since} UTC; take what it needs, no more\n");
    match form {
        Form::Options => {
            // Lines that a shell takes have no words of the container's in them.
            rows(&mut out, &learned.exceptions, |out, one| {
                let _ = writeln!(out, "# {}\n{}", by(one), option(&one.to));
            });
            if !learned.standing.is_empty() && !learned.exceptions.is_empty() {
                out += "# in force now, and replaced where airgap attach names others (airgap allow adds):\n";
                for to in &learned.standing {
                    let _ = writeln!(out, "# {}", option(to));
                }
            }
        }
        Form::Label | Form::Compose => {
            rows(&mut out, &learned.exceptions, |out, one| {
                let _ = writeln!(out, "# {:<42}  {}", one.to, by(one));
            });
            // What was shown, and no more.
            let shown = learned.exceptions.iter().take(ROWS);
            let new: Vec<_> = shown.map(|one| &*one.to).collect();
            let standing = learned.standing.iter().map(|to| &**to);
            let standing = standing.filter(|to| !new.is_empty() && !new.contains(to));
            let mut all: Vec<_> = standing.collect();
            if !all.is_empty() {
                out += "# a label replaces what it said before: what is in force comes first\n";
            }
            all.extend(new);
            let all = all.join(",");
            out += &match form {
                _ if all.is_empty() => String::new(),
                Form::Compose => format!("labels:\n  airgap.to: \"{all}\"\n"),
                _ => format!("airgap.to={all}\n"),
            };
        }
    }
    if !learned.names.is_empty() {
        out += "# names that it looked up; to which ports is seen once they are allowed\n";
        rows(&mut out, &learned.names, |out, one| {
            let to = format!("--to {}:PORT", one.to);
            let _ = writeln!(out, "# {to:<42}  {}", by(one));
        });
    }
    if !learned.never.is_empty() {
        out += match ["unit:", "cgroup:", "exec:"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            true => "# no exception leads there, but what --accept host-exit opens of this host\n",
            false => "# no exception leads there\n",
        };
        rows(&mut out, &learned.never, |out, one| {
            let _ = writeln!(out, "# {:<42}  {}", escape(&one.to), by(one));
        });
    }
    out += &verify;
    if learned.lost > 0 {
        let _ = writeln!(out, "# {} attempts led nobody knows where", learned.lost);
    }
    out
}

/// As a shell takes it: `[` and `*` mean something to it.
fn option(to: &str) -> String {
    match to.contains(['[', '*']) {
        true => format!("--to '{to}'"),
        false => format!("--to {to}"),
    }
}

fn by(one: &Opens) -> String {
    let who: Vec<_> = one.processes.iter().map(|name| escape(name)).collect();
    let who = match who.as_slice() {
        [] => "?".to_owned(),
        some => some.join(", "),
    };
    let at: Vec<_> = one.addresses.iter().map(ToString::to_string).collect();
    let who = match at.as_slice() {
        [] => who,
        some => format!("{who} at {}", some.join(", ")),
    };
    let times = if one.count == 1 { "time" } else { "times" };
    format!("{} {times}, last {} by {who}", one.count, clock(one.last))
}

fn rows(out: &mut String, all: &[Opens], each: impl Fn(&mut String, &Opens)) {
    all.iter().take(ROWS).for_each(|one| each(out, one));
    if all.len() > ROWS {
        let _ = writeln!(out, "# {} more, in --json", all.len() - ROWS);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::report::Subject;

    fn opens(to: &str) -> Opens {
        Opens {
            to: to.into(),
            count: 2,
            first: UNIX_EPOCH,
            last: UNIX_EPOCH,
            addresses: Vec::new(),
            processes: vec!["a\nb".into()],
        }
    }

    fn some() -> Learned {
        Learned {
            schema: 1,
            container: Subject {
                name: "web".into(),
                ..Subject::default()
            },
            audit: false,
            sealed: UNIX_EPOCH,
            standing: vec!["container:db:5432/tcp".into()],
            verify: 81,
            exceptions: vec![
                opens("198.51.100.7:443/tcp"),
                opens("[2001:db8::7]:123/udp"),
            ],
            names: vec![opens("api.example.com")],
            never: vec![opens("name a\x1b")],
            lost: 3,
        }
    }

    #[test]
    fn each_form_is_one_that_its_reader_takes() {
        let text = learned(&some(), Form::Options);
        assert!(text.contains("\n--to 198.51.100.7:443/tcp\n"), "{text}");
        assert!(text.contains("\n--to '[2001:db8::7]:123/udp'\n"), "{text}");
        assert!(text.contains("\n# --to api.example.com:PORT"), "{text}");
        assert!(text.contains("2 times, last 1970-01-01 00:00:00 by a\\nb"));
        assert!(text.contains("# name a\\x1b") && text.contains("3 attempts"));
        assert!(text.contains("\n# --to container:db:5432/tcp\n"), "{text}");
        assert!(text.contains("left out: 81 attempts of airgap verify\n"));
        // What a label has to say, to keep what is in force.
        let both = "container:db:5432/tcp,198.51.100.7:443/tcp,[2001:db8::7]:123/udp";
        let label = learned(&some(), Form::Label);
        assert!(label.contains(&format!("\nairgap.to={both}\n")), "{label}");
        let compose = learned(&some(), Form::Compose);
        let lines = format!("\nlabels:\n  airgap.to: \"{both}\"\n");
        assert!(compose.contains(&lines), "{compose}");
        for text in [text, label, compose] {
            let plain = |line: &str| {
                ["#", "--to ", "airgap.to=", "labels:", "  airgap.to: "]
                    .iter()
                    .any(|begin| line.starts_with(begin))
            };
            assert!(text.lines().all(plain), "{text}");
        }
    }

    #[test]
    fn nothing_refused_is_said() {
        let none = Learned {
            exceptions: Vec::new(),
            names: Vec::new(),
            never: Vec::new(),
            ..some()
        };
        assert!(learned(&none, Form::Options).starts_with("# nothing was refused of web"));
        let audit = |one: Learned| learned(&Learned { audit: true, ..one }, Form::Options);
        assert!(audit(some()).starts_with("# seen and let through of web"));
        assert!(!audit(none).contains("refused of web"));
    }
}
