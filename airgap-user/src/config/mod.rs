//! What is a property of this host: `/etc/airgap/airgap.toml`. What a command line says
//! wins over it.

mod ceiling;
mod file;
mod policies;
mod settings;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

pub use self::{
    ceiling::Ceilings,
    policies::{Policies, Whom, Written, directory},
    settings::{Said, Setting, settings},
};
use crate::{
    failure::{Failure, exit},
    labels::Limits,
    metrics::Address,
    policy::{DEFAULT_PORT, Port, To},
    preflight::Risk,
    state,
};

/// Where it is, unless another file is named.
pub const DEFAULT: &str = "/etc/airgap/airgap.toml";
/// More is no configuration.
const LARGEST: u64 = 64 << 10;

/// A value, and the line of the file that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Counted from 1.
    pub line: usize,
}

/// What the file says; what it leaves out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file that was read; `None`: there is none.
    pub path: Option<PathBuf>,
    /// Sockets of the container engines, as `unix:///path`; never empty.
    pub engine: Option<Given<Vec<String>>>,
    /// Where seals are recorded.
    pub state_dir: Option<Given<PathBuf>>,
    /// Service ports where none is named; never empty.
    pub ports: Option<Given<Vec<Port>>>,
    /// Where `airgap watch` serves metrics.
    pub metrics: Option<Given<Address>>,
    /// Risks that labels may accept.
    pub label_accept: Option<Given<Vec<Risk>>>,
    /// What exceptions of labels must be within.
    pub label_to: Option<Given<Vec<To>>>,
}

impl Config {
    /// Reads the file that is named, or the usual one if it is there.
    ///
    /// # Errors
    /// If a file that is named is not there; if it is not root's alone to write, or is no
    /// regular file; if it says what means nothing: with the line, and exit code 2.
    pub fn read(named: Option<&Path>) -> Result<Self> {
        let path = named.unwrap_or(Path::new(DEFAULT));
        let text = match text(path) {
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            text => {
                text.with_context(|| format!("cannot read the configuration {}", path.display()))
            }
        };
        let wrong = |what: String| {
            Failure::new(
                format!("{}: {what}", path.display()),
                "docs/configuration.md has every key; airgap config shows what is in effect",
            )
            .with_code(exit::USAGE)
        };
        let config = Self::parse(&text?).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            path: Some(path.to_owned()),
            ..config
        })
    }

    /// The service ports of a seal for which none is named.
    pub fn ports(&self) -> Vec<Port> {
        let given = self.ports.as_ref().map(|given| given.value.clone());
        given.unwrap_or_else(|| vec![DEFAULT_PORT])
    }

    /// What labels may ask for; `accept` besides what the file says.
    pub fn limits(&self, accept: &[Risk]) -> Limits {
        let said = self.label_accept.iter().flat_map(|given| &given.value);
        Limits {
            accept: said.chain(accept).copied().collect(),
            ports: self.ports(),
            to: self.label_to.as_ref().map(|given| given.value.clone()),
        }
    }

    /// Where seals are recorded.
    pub fn state_dir(&self, named: Option<PathBuf>) -> PathBuf {
        let given = self.state_dir.as_ref().map(|given| given.value.clone());
        named.or(given).unwrap_or_else(|| state::DEFAULT.into())
    }
}

/// The file's text.
fn text(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !about.is_file() || about.size() > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file of 64 KiB at most",
        ));
    }
    // It can widen seals.
    if about.uid() != 0 || about.mode() & 0o022 != 0 {
        return refused("others than root may write it; chown root and chmod 644 make it right");
    }
    fs::read_to_string(path)
}
