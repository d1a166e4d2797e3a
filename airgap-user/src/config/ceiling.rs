//! What may at most be asked for on this host: `/etc/airgap/ceiling.toml`.
//!
//! It binds labels, policy files and the options of commands. One beside a configuration
//! that `--config` names counts as well, and never in place of the host's own: whoever may
//! choose the configuration must not choose the ceiling.

mod file;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Config, DEFAULT, Given, Setting};
use crate::{
    failure::{Failure, exit},
    policy::{Cidr, Port, Rules, To, clients_of_both},
    preflight::Risk,
};

/// The file's name.
const NAME: &str = "ceiling.toml";

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Most {
    /// What an exception must be within; `None`: there is to be none.
    to: Option<Given<Vec<To>>>,
    /// Risks that may be accepted; `None`: none may.
    accept: Option<Given<Vec<Risk>>>,
    /// What service ports must be within; `None`: any.
    ports: Option<Given<Vec<Port>>>,
    /// What clients must be within; `None`: any.
    from: Option<Given<Vec<Cidr>>>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ceiling {
    path: PathBuf,
    /// What it says; or what is wrong with it: then no exception and no risk is within it.
    most: Result<Most, String>,
}

/// All that are in force; none where there is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings(Vec<Ceiling>);

impl Ceilings {
    /// Reads the host's own, and the one beside a configuration that was named. A file that
    /// is there and cannot be followed is one that holds nothing, and never none.
    pub fn read(config: &Config) -> Self {
        let mut paths = vec![Path::new(DEFAULT).with_file_name(NAME)];
        let beside = config.path.as_ref().map(|path| path.with_file_name(NAME));
        paths.extend(beside.filter(|path| *path != paths[0]));
        Self(paths.into_iter().filter_map(Ceiling::read).collect())
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why one of them cannot be followed; `None`: each can.
    pub fn wrong(&self) -> Option<String> {
        let mut each = self.0.iter();
        each.find_map(|one| {
            Some(format!(
                "{}: {}",
                one.path.display(),
                one.most.as_ref().err()?
            ))
        })
    }

    /// The files.
    pub fn paths(&self) -> Vec<String> {
        let each = self.0.iter().map(|one| one.path.display().to_string());
        each.collect()
    }

    /// What of this is above them, a line each, with the file and its line. `accept` is a
    /// set of risks. Where `rules` name no client, those of the ceiling are meant.
    pub fn above(&self, rules: &Rules, accept: u64) -> Vec<String> {
        let each = self.0.iter();
        each.flat_map(|one| one.above(rules, accept)).collect()
    }

    /// What of `rules` is within them.
    #[must_use]
    pub fn narrowed(&self, mut rules: Rules) -> Rules {
        for one in &self.0 {
            rules.exits.retain(|exit| one.holds_exit(&exit.to));
            rules.ports.retain(|port| one.holds_port(port));
            if let Some(from) = one.from()
                && rules.clients != [Cidr::NOBODY]
            {
                rules.clients = clients_of_both(&rules.clients, from);
            }
        }
        rules
    }

    /// The risks of a set that may be accepted.
    pub fn accepted(&self, set: u64) -> u64 {
        let within = |risk: &Risk| self.0.iter().all(|one| one.holds_risk(*risk));
        let mut risks = Risk::of_set(set);
        risks.retain(within);
        Risk::set(&risks)
    }

    /// Refuses what is above them.
    ///
    /// # Errors
    /// Then, with the file and its line; exit code 2.
    pub fn refuse(&self, rules: &Rules, accept: &[Risk]) -> Result<(), Failure> {
        match self.above(rules, Risk::set(accept)).as_slice() {
            [] => Ok(()),
            above => Err(Failure::new(
                format!("more than this host's ceiling holds: {}", above.join("; ")),
                "ask for less, or have root change the file (docs/policies.md); nothing was changed",
            )
            .with_code(exit::USAGE)),
        }
    }

    /// A row for each key, for `airgap config`.
    pub fn settings(&self) -> Vec<Setting> {
        self.0.iter().flat_map(Ceiling::settings).collect()
    }
}

impl Ceiling {
    /// `None`: there is no such file.
    fn read(path: PathBuf) -> Option<Self> {
        // A link that leads nowhere is there.
        let about = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return None,
            about => about,
        };
        let text = about
            .and_then(|_| refuse_open(path.parent().unwrap_or(Path::new("/"))))
            .and_then(|()| super::text(&path));
        let most = match text {
            Ok(text) => Most::parse(&text).map_err(|wrong| wrong.to_string()),
            Err(error) => Err(error.to_string()),
        };
        Some(Self { path, most })
    }

    fn from(&self) -> Option<&[Cidr]> {
        let from = self.most.as_ref().ok()?.from.as_ref()?;
        Some(&from.value)
    }

    fn holds_exit(&self, exit: &To) -> bool {
        let to = self.most.as_ref().ok().and_then(|most| most.to.as_ref());
        to.is_some_and(|to| to.value.iter().any(|most| exit.is_within(most)))
    }

    fn holds_risk(&self, risk: Risk) -> bool {
        let most = self.most.as_ref().ok();
        let accept = most.and_then(|most| most.accept.as_ref());
        accept.is_some_and(|accept| accept.value.contains(&risk))
    }

    /// A file that is wrong keeps no seal from being made.
    fn holds_port(&self, port: &Port) -> bool {
        let ports = self.most.as_ref().ok().and_then(|most| most.ports.as_ref());
        ports.is_none_or(|ports| port.is_within(&ports.value))
    }

    fn above(&self, rules: &Rules, accept: u64) -> Vec<String> {
        let exits = rules.exits.iter().map(|exit| &exit.to);
        let exits = exits.filter(|to| !self.holds_exit(to));
        let mut above: Vec<String> = exits
            .map(|to| format!("to {to} ({})", self.place("to", |most| line(&most.to))))
            .collect();
        let ports = rules.ports.iter().filter(|port| !self.holds_port(port));
        let place = || self.place("ports", |most| line(&most.ports));
        above.extend(ports.map(|port| format!("ports {port} ({})", place())));
        if let Some(from) = self.from() {
            let place = || self.place("from", |most| line(&most.from));
            let more = |client: &&Cidr| **client != Cidr::NOBODY && !client.is_within(from);
            let clients = rules.clients.iter().filter(more);
            above.extend(clients.map(|client| format!("from {client} ({})", place())));
        }
        let risks = Risk::of_set(accept).into_iter();
        let risks = risks.filter(|risk| !self.holds_risk(*risk));
        let place = || self.place("accept", |most| line(&most.accept));
        above.extend(risks.map(|risk| format!("accept {risk} ({})", place())));
        above
    }

    /// Where that is written.
    fn place(&self, key: &str, line: impl Fn(&Most) -> Option<usize>) -> String {
        let path = self.path.display();
        match &self.most {
            Err(wrong) => format!("{path} cannot be followed: {wrong}"),
            Ok(most) => match line(most) {
                Some(line) => format!("{path}, line {line}: {key}"),
                None => format!("{path} has no {key}"),
            },
        }
    }

    fn settings(&self) -> Vec<Setting> {
        let path = self.path.display();
        let set = |key, value, line: Option<usize>| Setting {
            key,
            value,
            from: match line {
                Some(line) => format!("{path}, line {line}"),
                None => path.to_string(),
            },
        };
        match &self.most {
            Err(wrong) => {
                let why = format!("WRONG, so no exception and no risk may be asked for: {wrong}");
                vec![set("ceiling", why, None)]
            }
            Ok(most) => vec![
                set("ceiling.to", words(&most.to, "none"), line(&most.to)),
                set(
                    "ceiling.accept",
                    words(&most.accept, "none"),
                    line(&most.accept),
                ),
                set(
                    "ceiling.ports",
                    words(&most.ports, "any"),
                    line(&most.ports),
                ),
                set("ceiling.from", words(&most.from, "any"), line(&most.from)),
            ],
        }
    }
}

fn line<T>(given: &Option<Given<T>>) -> Option<usize> {
    given.as_ref().map(|given| given.line)
}

fn words<T: ToString>(given: &Option<Given<Vec<T>>>, otherwise: &str) -> String {
    let Some(given) = given else {
        return otherwise.to_owned();
    };
    let words: Vec<_> = given.value.iter().map(ToString::to_string).collect();
    match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
    }
}

/// Whoever may write there puts another file in its place.
fn refuse_open(dir: &Path) -> io::Result<()> {
    let about = fs::metadata(dir)?;
    if about.uid() == 0 && about.mode() & 0o022 == 0 {
        return Ok(());
    }
    let why = format!("others than root may write in {}", dir.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

#[cfg(test)]
mod tests;
