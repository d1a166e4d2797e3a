//! What seals of this host are to be: `policy.d/*.toml` beside the configuration.

mod file;
mod whom;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use self::whom::Meets;
pub use self::whom::Whom;
use super::{Config, DEFAULT};
use crate::{
    container::Labels,
    failure::{Failure, exit},
    policy::{Exception, Rules},
    preflight::Risk,
};

/// One seal as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Whose it is to be.
    pub whom: Whom,
    /// What it allows.
    pub rules: Rules,
    /// Risks that it accepts; never `existing-connections`.
    pub accept: Vec<Risk>,
    /// In which file.
    pub path: PathBuf,
    /// On which line, counted from 1.
    pub line: usize,
}

/// All that is written, in the order of the files' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(Vec<Written>);

impl Written {
    /// Where it is written.
    pub fn place(&self) -> String {
        format!("{}, line {}", self.path.display(), self.line)
    }

    /// Those exceptions of `before` that `airgap allow` made, and that are not written: an
    /// operator's own word stands beside the file.
    pub fn beside(&self, before: &[Exception]) -> Vec<Exception> {
        let has = |one: &&Exception| self.rules.exits.iter().any(|exit| exit.to == one.to);
        let own = before.iter().filter(|one| one.allowed && !has(one));
        own.cloned().collect()
    }
}

impl Policies {
    /// Reads every file; none where there is no directory.
    ///
    /// # Errors
    /// If the directory or a file is not root's alone to write, or says what means nothing:
    /// with file and line. Exit code 2.
    pub fn read(config: &Config) -> Result<Self> {
        let dir = directory(config);
        let files = match files(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            files => files.with_context(|| wrong(format!("cannot read {}", dir.display())))?,
        };
        let mut all = Vec::new();
        for path in files {
            let text = super::text(&path)
                .with_context(|| wrong(format!("cannot read the policy {}", path.display())))?;
            let seals = file::parse(&text, &path, &config.ports())
                .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            all.extend(seals);
        }
        Self(all).each_once()
    }

    /// Two for the same are none: nobody could tell which counts.
    fn each_once(self) -> Result<Self> {
        for (at, one) in self.0.iter().enumerate() {
            if let Some(first) = self.0[..at].iter().find(|first| first.whom == one.whom) {
                let what = format!(
                    "{}: {} is written already in {}",
                    one.place(),
                    one.whom,
                    first.place()
                );
                return Err(wrong(what).into());
            }
        }
        Ok(self)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Written> {
        self.0.iter()
    }

    /// Whether nothing is written.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is written of a container; `image` are its image's labels, `None`: not known.
    ///
    /// # Errors
    /// If two files mean it, or it is not known whether a label is the image's word.
    pub fn of(
        &self,
        name: &str,
        labels: &Labels,
        image: Option<&Labels>,
    ) -> Result<Option<&Written>, Failure> {
        let mut found: Option<&Written> = None;
        for one in &self.0 {
            match one.whom.meets(name, labels, image) {
                Meets::No | Meets::ByImage => continue,
                Meets::Yes => {}
                Meets::NotKnown => {
                    let what = format!(
                        "{}: whether '{name}' is meant by {} is not known: the engine does not tell what its image says",
                        one.place(),
                        one.whom
                    );
                    let hint = format!("write container = \"{name}\"");
                    return Err(Failure::new(what, hint));
                }
            }
            if let Some(first) = found {
                let what = format!(
                    "'{name}' is meant by {} ({}) and by {} ({})",
                    first.whom,
                    first.place(),
                    one.whom,
                    one.place()
                );
                return Err(wrong(what));
            }
            found = Some(one);
        }
        Ok(found)
    }
}

/// Where the files are: beside the configuration.
pub fn directory(config: &Config) -> PathBuf {
    let file = config.path.as_deref().unwrap_or(Path::new(DEFAULT));
    file.with_file_name("policy.d")
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let about = fs::metadata(dir)?;
    // Whoever may put a file there widens seals.
    if about.uid() != 0 || about.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others than root may write there; chown root and chmod 755 make it right",
        ));
    }
    let entries: io::Result<Vec<_>> = fs::read_dir(dir)?.collect();
    let mut files: Vec<_> = entries?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    files.sort_unstable();
    Ok(files)
}

fn wrong(what: String) -> Failure {
    Failure::new(what, "docs/policies.md has every key; nothing was changed").with_code(exit::USAGE)
}

#[cfg(test)]
mod tests;
