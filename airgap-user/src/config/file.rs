//! From the file's text to what it says. Pure.

use std::{fmt, ops::Range, path::PathBuf, str::FromStr};

use serde::Deserialize;
use toml::Spanned;

use super::{Config, Given};
use crate::{
    policy::{Port, Rules},
    preflight::Risk,
};

/// What is wrong, and on which line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

pub(super) type Text = Spanned<String>;
pub(super) type List = Spanned<Vec<Text>>;

/// One value, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// The keys.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct File {
    engine: Option<Spanned<OneOrMore>>,
    state_dir: Option<Text>,
    ports: Option<List>,
    watch: Watch,
    labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Watch {
    metrics: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Labels {
    accept: Option<List>,
    to: Option<List>,
}

/// Tells lines.
pub(super) struct Lines<'a>(pub(super) &'a str);

impl Lines<'_> {
    pub(super) fn of(&self, span: &Range<usize>) -> usize {
        let before = self.0.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn wrong(&self, span: &Range<usize>, what: impl Into<String>) -> Wrong {
        Wrong {
            line: self.of(span),
            what: what.into(),
        }
    }

    pub(super) fn one<T>(
        &self,
        text: Option<Text>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<Given<T>>, Wrong> {
        text.map(|text| {
            let value = parse(text.get_ref()).map_err(|what| self.wrong(&text.span(), what))?;
            let line = self.of(&text.span());
            Ok(Given { value, line })
        })
        .transpose()
    }

    pub(super) fn all<T>(
        &self,
        list: Option<List>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Given<Vec<T>>>, Wrong> {
        list.map(|list| {
            let line = self.of(&list.span());
            let each =
                |text: &Text| parse(text.get_ref()).map_err(|what| self.wrong(&text.span(), what));
            let value = list.get_ref().iter().map(each).collect::<Result<_, _>>()?;
            Ok(Given { value, line })
        })
        .transpose()
    }
}

impl Config {
    /// Reads it.
    ///
    /// # Errors
    /// For what is no TOML, for keys that there are not, and for values that mean nothing.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let lines = Lines(text);
        let file: File = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            lines.wrong(&span, error.message().trim())
        })?;
        let ports = lines.all(file.ports, port)?;
        if let Some(given) = &ports {
            let wrong = match given.value.is_empty() {
                true => Some("name one at least".to_owned()),
                false => Rules::named(given.value.clone(), Vec::new()).err(),
            };
            if let Some(what) = wrong {
                return Err(Wrong {
                    line: given.line,
                    what: format!("ports: {what}"),
                });
            }
        }
        Ok(Self {
            path: None,
            engine: engines(&lines, file.engine)?,
            state_dir: lines.one(file.state_dir, directory)?,
            ports,
            metrics: lines.one(file.watch.metrics, FromStr::from_str)?,
            label_accept: lines.all(file.labels.accept, Risk::by_label)?,
            label_to: lines.all(file.labels.to, FromStr::from_str)?,
        })
    }
}

fn port(text: &str) -> Result<Port, String> {
    text.parse()
}

fn engines(
    lines: &Lines<'_>,
    given: Option<Spanned<OneOrMore>>,
) -> Result<Option<Given<Vec<String>>>, Wrong> {
    let Some(given) = given else {
        return Ok(None);
    };
    let line = lines.of(&given.span());
    let named = match given.into_inner() {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    };
    let value: Result<Vec<_>, _> = named.iter().map(|text| engine(text)).collect();
    match value {
        Ok(value) if value.is_empty() => Err("engine: name one at least".to_owned()),
        value => value,
    }
    .map(|value| Some(Given { value, line }))
    .map_err(|what| Wrong { line, what })
}

fn engine(text: &str) -> Result<String, String> {
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!(
            "engine: '{text}' is no socket of this host; write unix:///path/to/socket"
        )),
    }
}

fn directory(text: &str) -> Result<PathBuf, String> {
    match text.starts_with('/') {
        true => Ok(text.into()),
        false => Err(format!("state-dir: '{text}' does not begin with /")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "\
# A host's own.
engine = \"unix:///run/podman/podman.sock\"
state-dir = \"/srv/airgap\"
ports = [\"80/tcp\", \"443\"]

[watch]
metrics = \"unix:/run/airgap.metrics\"

[labels]
accept = [\"log-driver\"]
to = [
  \"198.51.100.0/24:443\",
]
";

    #[test]
    fn every_key_is_read_with_its_line() {
        let config = Config::parse(ALL).unwrap();
        let engine = config.engine.unwrap();
        assert_eq!(engine.value, ["unix:///run/podman/podman.sock"]);
        assert_eq!((engine.line, config.state_dir.unwrap().line), (2, 3));
        assert_eq!(config.ports.unwrap().value, [Port::tcp(80), Port::tcp(443)]);
        assert_eq!(config.metrics.unwrap().line, 7);
        assert_eq!(config.label_accept.unwrap().value, [Risk::LogDriver]);
        let to = config.label_to.unwrap();
        assert_eq!((to.line, to.value.len()), (11, 1));
        let two = Config::parse("engine = ['unix:///a', 'unix:///b']").unwrap();
        assert_eq!(two.engine.unwrap().value, ["unix:///a", "unix:///b"]);
        assert_eq!(Config::parse("# nothing\n").unwrap(), Config::default());
    }

    /// What the packages install: every key, each as it is without the file.
    const SHIPPED: &str = include_str!("../../../packaging/airgap.toml");

    #[test]
    fn the_shipped_file_names_every_key_and_sets_none() {
        assert_eq!(Config::parse(SHIPPED).unwrap(), Config::default());
        let set = SHIPPED.replace("\n#", "\n").replace("\n ", "\n# ");
        let config = Config::parse(&set).unwrap_or_else(|wrong| panic!("{wrong}\n{set}"));
        assert_eq!(config.ports(), Config::default().ports());
        assert_eq!(config.state_dir(None), Config::default().state_dir(None));
        assert_eq!(config.label_accept.map(|given| given.value), Some(vec![]));
        let most = config.label_to.unwrap().value;
        for exit in [
            "198.51.100.9:53",
            "[2001:db8::1]:*/udp",
            "0.0.0.0/0:1-65535",
        ] {
            let exit: crate::policy::To = exit.parse().unwrap();
            assert!(most.iter().any(|most| exit.is_within(most)), "{exit}");
        }
        assert!(config.engine.is_some() && config.metrics.is_some());
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_line() {
        for (text, line, word) in [
            ("port = [\"80\"]", 1, "unknown field `port`"),
            ("\nports = [\n\"80\",\n\"http\"]", 4, "http"),
            ("ports = []", 1, "name one at least"),
            ("ports = 80", 1, "invalid type"),
            ("ports = [\"80\"", 1, ""),
            ("engine = \"tcp://198.51.100.1:2375\"", 1, "unix:///path"),
            ("\nengine = [\"unix:///a\", \"b\"]", 2, "'b' is no socket"),
            ("engine = []", 1, "name one at least"),
            ("engine = [1]", 1, ""),
            ("state-dir = \"here\"", 1, "does not begin with /"),
            ("[watch]\nmetrics = \"0.0.0.0:1\"", 2, "loopback"),
            (
                "[labels]\naccept = [\"existing-connections\"]",
                2,
                "no label",
            ),
            ("[labels]\naccept = [\"risky\"]", 2, "risky"),
            ("[labels]\nto = [\"198.51.100.1\"]", 2, "198.51.100.1"),
            ("[label]\nto = []", 1, "unknown field `label`"),
            ("ports = [\"80\"]\nports = [\"81\"]", 2, "duplicate"),
        ] {
            let wrong = Config::parse(text).expect_err(text);
            assert_eq!(wrong.line, line, "{text}: {wrong}");
            assert!(wrong.what.contains(word), "{text}: {wrong}");
            assert!(!wrong.what.contains('\n'), "{wrong}");
        }
    }
}
