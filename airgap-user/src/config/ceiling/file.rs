//! From the ceiling's text to what it holds. Pure.

use serde::Deserialize;

use super::Most;
use crate::{
    config::file::{Lines, List, Wrong},
    policy::{Cidr, Port, To},
    preflight::Risk,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    to: Option<List>,
    accept: Option<List>,
    ports: Option<List>,
    from: Option<List>,
}

impl Most {
    /// Reads it.
    ///
    /// # Errors
    /// For what is no TOML, for keys that there are not, and for values that mean nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let lines = Lines(text);
        let file: File = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            lines.wrong(&span, error.message().trim())
        })?;
        let from = lines.all(file.from, |text| text.parse::<Cidr>())?;
        if let Some(given) = from.as_ref().filter(|given| given.value.is_empty()) {
            return Err(Wrong {
                line: given.line,
                what: "from: name one network at least, or leave it out for any client".to_owned(),
            });
        }
        Ok(Self {
            // Of what has the host's network loopback is a place, too.
            to: lines.all(file.to, To::near_or_far)?,
            accept: lines.all(file.accept, |text| text.parse::<Risk>())?,
            ports: lines.all(file.ports, |text| text.parse::<Port>())?,
            from,
        })
    }
}
