//! From a policy file's text to its seals. Pure.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{Whom, Written};
use crate::{
    config::file::{Lines, List, Text, Wrong},
    policy::{Cidr, Errno, Exception, Hold, Port, Rules, To},
    preflight::Risk,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seal: Vec<Spanned<Entry>>,
}

/// One `[[seal]]`: the words of the labels.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    container: Option<Text>,
    service: Option<Text>,
    label: Option<Text>,
    ports: Option<List>,
    from: Option<List>,
    to: Option<List>,
    accept: Option<List>,
    hold: Option<Text>,
    errno: Option<Text>,
}

/// Reads one file; `usual` are the ports where it names none.
///
/// # Errors
/// For what is no TOML, for keys that there are not, and for values that mean nothing.
pub(super) fn parse(text: &str, path: &Path, usual: &[Port]) -> Result<Vec<Written>, Wrong> {
    let lines = Lines(text);
    let file: File = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        lines.wrong(&span, error.message().trim())
    })?;
    let mut seals = Vec::new();
    for entry in file.seal {
        let line = lines.of(&entry.span());
        let (whom, rules, accept) = entry.into_inner().read(&lines, line, usual)?;
        seals.push(Written {
            whom,
            rules,
            accept,
            path: path.to_owned(),
            line,
        });
    }
    Ok(seals)
}

impl Entry {
    fn read(
        self,
        lines: &Lines<'_>,
        line: usize,
        usual: &[Port],
    ) -> Result<(Whom, Rules, Vec<Risk>), Wrong> {
        let here = |what: String| Wrong { line, what };
        let named = [
            lines.one(self.container, Whom::container)?,
            lines.one(self.service, Whom::service)?,
            lines.one(self.label, Whom::label)?,
        ];
        let mut named = named.into_iter().flatten();
        let (Some(whom), None) = (named.next(), named.next()) else {
            return Err(here(
                "name whom it is for: one of container, service and label".to_owned(),
            ));
        };
        let ports = lines.all(self.ports, |text| text.parse::<Port>())?;
        let from = lines.all(self.from, |text| text.parse::<Cidr>())?;
        for (empty, line, what) in [
            (
                ports.as_ref().is_some_and(|given| given.value.is_empty()),
                ports.as_ref().map_or(line, |given| given.line),
                "ports: name one at least, or leave it out for the usual ones",
            ),
            (
                from.as_ref().is_some_and(|given| given.value.is_empty()),
                from.as_ref().map_or(line, |given| given.line),
                "from: name one network at least, or leave it out for any client",
            ),
        ] {
            if empty {
                return Err(Wrong {
                    line,
                    what: what.to_owned(),
                });
            }
        }
        let to = lines.all(self.to, |text| text.parse::<To>())?;
        let to_line = to.as_ref().map_or(line, |given| given.line);
        let hold = lines.one(self.hold, |text| text.parse::<Hold>())?;
        let errno = lines.one(self.errno, |text| text.parse::<Errno>())?;
        let accept = lines.all(self.accept, risk)?;
        let exits: Vec<Exception> = to
            .map(|given| given.value)
            .unwrap_or_default()
            .into_iter()
            .map(|to| Exception::from(to).held(hold.as_ref().map(|given| given.value)))
            .collect();
        if let Some(hold) = &hold
            && exits.iter().all(|exit| exit.hold.is_none())
        {
            return Err(Wrong {
                line: hold.line,
                what: "hold: no name is in `to` whose addresses could hold".to_owned(),
            });
        }
        let ports = ports.map_or_else(|| usual.to_vec(), |given| given.value);
        let from = from.map(|given| given.value).unwrap_or_default();
        let rules = Rules::new(ports, from).map_err(here)?;
        let rules = rules.with_exits(exits).map_err(|what| Wrong {
            line: to_line,
            what: format!("to: {what}"),
        })?;
        let rules = rules.failing_with(errno.map(|given| given.value));
        let accept = accept.map(|given| given.value).unwrap_or_default();
        Ok((whom.value, rules, accept))
    }
}

/// What stands in a file is for all times, and this is of one moment.
fn risk(text: &str) -> Result<Risk, String> {
    match text.parse()? {
        Risk::ExistingConnections => Err(format!(
            "accept: {text} is of one moment, and of no file: airgap attach --accept {text}"
        )),
        risk => Ok(risk),
    }
}
