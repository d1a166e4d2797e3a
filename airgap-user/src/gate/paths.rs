//! Cgroups that are sealed by their path: whatever is made there is marked by the kernel,
//! as a container's is by the id in its name.

use airgap_common::map::{PATH_LEN, SealNumber};
use anyhow::{Context as _, Result};

use super::{Gate, Lock, attached::top_of};
use crate::failure::Failure;

impl Gate {
    /// Has each cgroup that is made at `path` (absolute, from the root of the v2 hierarchy)
    /// sealed under this number, with all below it.
    ///
    /// # Errors
    /// If the path is none, or too long, or the map is full or cannot be written.
    pub fn seal_path(&mut self, number: SealNumber, path: &str, _lock: &Lock) -> Result<()> {
        let key = key(path)?;
        self.refuse_nested_path(number, path)?;
        // Also where it does not run yet, it is known where it will.
        let cgroup = self.place.cgroup.join(path.trim_start_matches('/'));
        let top = top_of(&self.place.cgroup, &cgroup).map_or(0, |top| top.id);
        self.remember_top(number, top)?;
        self.paths
            .insert(key, number, 0)
            .context("cannot write the map PATHS")
    }

    /// What is sealed above or below by its path may be gone now, and would come again under
    /// the other's seal.
    fn refuse_nested_path(&self, number: SealNumber, path: &str) -> Result<()> {
        for entry in self.paths.iter() {
            let (key, seal) = entry.context("cannot read the map PATHS")?;
            let other = text(&key);
            if seal != number && (is_in(&other, path) || is_in(path, &other)) {
                let what = format!("{path} and {other}, which is sealed, are one in the other");
                let hint = format!("airgap detach cgroup:{other} lifts the other seal");
                return Err(Failure::new(what, hint).into());
            }
        }
        Ok(())
    }

    /// The path by which this seal's cgroups are told; `None`: by an id.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn path_of(&self, number: SealNumber) -> Result<Option<String>> {
        for entry in self.paths.iter() {
            let (key, seal) = entry.context("cannot read the map PATHS")?;
            if seal == number {
                return Ok(Some(text(&key)));
            }
        }
        Ok(None)
    }

    pub(super) fn forget_paths(&mut self, gone: impl Fn(SealNumber) -> bool) -> Result<()> {
        let paths: Vec<_> = self.paths.iter().flatten().collect();
        for (key, seal) in paths {
            if gone(seal) {
                let removed = self.paths.remove(&key);
                removed.context("cannot write the map PATHS")?;
            }
        }
        Ok(())
    }
}

/// Whether a path is below another. Pure.
fn is_in(path: &str, other: &str) -> bool {
    path.strip_prefix(other)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn text(key: &[u8; PATH_LEN]) -> String {
    let end = key.iter().position(|byte| *byte == 0);
    let path = &key[..end.unwrap_or(PATH_LEN)];
    String::from_utf8_lossy(path).into_owned()
}

/// As the kernel writes it, padded. Pure.
fn key(path: &str) -> Result<[u8; PATH_LEN]> {
    let bytes = path.as_bytes();
    let written = bytes.first() == Some(&b'/') && bytes.len() > 1 && bytes.last() != Some(&b'/');
    if !written || bytes.contains(&0) {
        let what = format!("'{path}' is no path below the root of the cgroup tree");
        return Err(Failure::new(what, "name it as in /proc/PID/cgroup").into());
    }
    // A zero at its end, and one by which the kernel side tells a longer one.
    if bytes.len() > PATH_LEN - 2 {
        let what = format!(
            "the cgroup's path has {} bytes, and the gate takes {}",
            bytes.len(),
            PATH_LEN - 2
        );
        return Err(Failure::new(what, "give it, or what it is in, a shorter name").into());
    }
    let mut key = [0; PATH_LEN];
    key[..bytes.len()].copy_from_slice(bytes);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::{PATH_LEN, is_in, key};

    #[test]
    fn a_path_is_in_what_it_continues() {
        assert!(is_in("/a.slice/b.service", "/a.slice"));
        assert!(!is_in("/a.slice2", "/a.slice") && !is_in("/a.slice", "/a.slice"));
    }

    #[test]
    fn keys_are_as_the_kernel_writes_paths() {
        let made = key("/system.slice/nginx.service").unwrap();
        assert!(made.starts_with(b"/system.slice/nginx.service\0"));
        assert_eq!(made[PATH_LEN - 1], 0);
        let longest = format!("/{}", "x".repeat(PATH_LEN - 3));
        assert!(key(&longest).is_ok() && key(&format!("{longest}x")).is_err());
        for wrong in ["", "/", "x", "x/", "/x/", "/a\0b"] {
            assert!(key(wrong).is_err(), "{wrong:?}");
        }
    }
}
