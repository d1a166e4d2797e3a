//! What is in effect, and where each of it comes from. Pure.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Config, DEFAULT, Given};

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// As the file has it, with its table before a dot.
    pub key: &'static str,
    /// What is in effect.
    pub value: String,
    /// Where that comes from.
    pub from: String,
}

/// What command line and environment say.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Each `--host`.
    pub host: Vec<String>,
    /// `$DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `--state-dir`, or `$AIRGAP_STATE`.
    pub state_dir: Option<PathBuf>,
}

/// Every key, in the order of the documentation. `found` are the engines' sockets where
/// nothing names any.
pub fn settings(config: &Config, said: &Said, found: &[String]) -> Vec<Setting> {
    let path = config.path.as_deref().unwrap_or(Path::new(DEFAULT));
    let from = |line: Option<usize>, otherwise: &str| match line {
        Some(line) => format!("{}, line {line}", path.display()),
        None => otherwise.to_owned(),
    };
    let set = |key, value, from| Setting { key, value, from };
    let engine = match (said.host.as_slice(), &said.docker_host, &config.engine) {
        (named @ [_, ..], ..) => (words(named, ""), "--host".to_owned()),
        (_, Some(host), _) => (host.clone(), "$DOCKER_HOST".to_owned()),
        (.., Some(given)) => (words(&given.value, ""), from(Some(given.line), "")),
        _ => (words(found, ""), "found".to_owned()),
    };
    let state_from = match &said.state_dir {
        Some(_) => "--state-dir or $AIRGAP_STATE".to_owned(),
        None => from(line(&config.state_dir), "default"),
    };
    let state_dir = config.state_dir(said.state_dir.clone());
    let metrics = config.metrics.as_ref().map(|given| given.value.to_string());
    vec![
        set("engine", engine.0, engine.1),
        set("state-dir", state_dir.display().to_string(), state_from),
        set(
            "ports",
            words(&config.ports(), "none"),
            from(line(&config.ports), "default"),
        ),
        set(
            "watch.metrics",
            metrics.unwrap_or_else(|| "none".to_owned()),
            from(line(&config.metrics), "default"),
        ),
        set(
            "labels.accept",
            list(&config.label_accept, "none"),
            from(line(&config.label_accept), "default"),
        ),
        set(
            "labels.to",
            list(&config.label_to, "anything"),
            from(line(&config.label_to), "default"),
        ),
    ]
}

fn line<T>(given: &Option<Given<T>>) -> Option<usize> {
    given.as_ref().map(|given| given.line)
}

fn list<T: ToString>(given: &Option<Given<Vec<T>>>, otherwise: &str) -> String {
    match given {
        Some(given) => words(&given.value, "none"),
        None => otherwise.to_owned(),
    }
}

fn words<T: ToString>(list: &[T], none: &str) -> String {
    let words: Vec<_> = list.iter().map(ToString::to_string).collect();
    match words.is_empty() {
        true => none.to_owned(),
        false => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str, said: &Said) -> Vec<(String, String)> {
        let config = Config {
            path: Some("/x.toml".into()),
            ..Config::parse(config).unwrap()
        };
        let rows = settings(&config, said, &["unix:///found".to_owned()]);
        rows.into_iter().map(|row| (row.value, row.from)).collect()
    }

    fn row(value: &str, from: &str) -> (String, String) {
        (value.to_owned(), from.to_owned())
    }

    #[test]
    fn what_is_in_effect_is_told_with_its_source() {
        let nothing = of("", &Said::default());
        assert_eq!(nothing[0], row("unix:///found", "found"));
        assert_eq!(nothing[2], row("5060/tcp", "default"));
        assert_eq!(
            nothing[4..],
            [row("none", "default"), row("anything", "default")]
        );
        let text =
            "engine = 'unix:///a'\nstate-dir = '/b'\nports = ['80', '81']\n[labels]\nto = []";
        let file = of(text, &Said::default());
        assert_eq!(file[0], row("unix:///a", "/x.toml, line 1"));
        assert_eq!(file[1], row("/b", "/x.toml, line 2"));
        assert_eq!(file[2], row("80/tcp, 81/tcp", "/x.toml, line 3"));
        assert_eq!(file[5], row("none", "/x.toml, line 5"));
        let said = Said {
            host: vec!["unix:///h".into(), "unix:///i".into()],
            docker_host: Some("unix:///d".into()),
            state_dir: Some("/s".into()),
        };
        let flags = of(text, &said);
        assert_eq!(flags[0], row("unix:///h, unix:///i", "--host"));
        assert_eq!(flags[1].0, "/s");
        let environment = Said {
            host: vec![],
            ..said
        };
        assert_eq!(of(text, &environment)[0], row("unix:///d", "$DOCKER_HOST"));
    }
}
