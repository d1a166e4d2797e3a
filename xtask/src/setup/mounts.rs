//! The two kernel file systems airgap stands on: bpffs and cgroup2.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::say;
use crate::command;

/// Mounts bpffs and cgroup2 where nothing has done so.
pub(super) fn mount() -> Result<()> {
    let table = "/proc/self/mounts";
    let mounts = fs::read_to_string(table).with_context(|| format!("cannot read {table}"))?;
    let bpffs = "/sys/fs/bpf";
    match point_of(&mounts, "bpf", Some(bpffs)) {
        Some(point) => say("found", &format!("bpffs on {point}")),
        None => attach("bpf", bpffs)?,
    }
    match point_of(&mounts, "cgroup2", None) {
        Some(point) => say("found", &format!("cgroup2 on {point}")),
        // Below a version 1 set-up the unified hierarchy has a folder of its own.
        None if point_of(&mounts, "cgroup", None).is_some() => {
            attach("cgroup2", "/sys/fs/cgroup/unified")?;
        }
        None => attach("cgroup2", "/sys/fs/cgroup")?,
    }
    Ok(())
}

/// First mount point of a file system type, or whether it is mounted at `wanted`.
fn point_of<'a>(mounts: &'a str, kind: &str, wanted: Option<&str>) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, found) = (words.next()?, words.next()?);
        (found == kind && wanted.is_none_or(|wanted| wanted == point)).then_some(point)
    })
}

fn attach(kind: &str, point: &str) -> Result<()> {
    fs::create_dir_all(point).with_context(|| format!("cannot create {point}"))?;
    command::run(Command::new("mount").args(["-t", kind, kind, point]))?;
    say("mounted", &format!("{kind} on {point}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::point_of;

    #[test]
    fn reads_mount_points_by_type() {
        let table = "none /a bpf rw 0 0\nnone /sys/fs/bpf bpf rw 0 0\ncg /c cgroup2 rw 0 0\n";
        assert_eq!(
            point_of(table, "bpf", Some("/sys/fs/bpf")),
            Some("/sys/fs/bpf")
        );
        assert_eq!(point_of(table, "cgroup2", None), Some("/c"));
        assert_eq!(point_of(table, "cgroup", None), None);
    }
}
