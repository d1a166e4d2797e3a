//! Devices by what they are: kind, number and driver, after links. A name says nothing.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::{
            ffi::OsStrExt as _,
            fs::{FileTypeExt as _, MetadataExt as _},
        },
    },
    path::{Path, PathBuf},
};

use crate::{container::Budget, host::netns::directory};

/// A device node, or a rule for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    block: bool,
    /// `None`: any.
    major: Option<u32>,
    minor: Option<u32>,
}

/// What the kernel calls its character devices: `/proc/devices` and `/proc/misc`.
#[derive(Clone, Debug, Default)]
pub(super) struct Drivers {
    majors: Vec<(u32, String)>,
    misc: Vec<(u32, String)>,
}

/// Major number of drivers with one minor number each.
const MISC: u32 = 10;
/// Entries of a `/dev` that are looked at; a runtime makes a few dozen.
const NODES: usize = 512;

impl Drivers {
    /// Those of this kernel now.
    pub(super) fn of_kernel() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/devices"), &read("/proc/misc"))
    }

    pub(super) fn parse(devices: &str, misc: &str) -> Self {
        let characters = devices.split("Block devices").next().unwrap_or_default();
        Self {
            majors: pairs(characters),
            misc: pairs(misc),
        }
    }

    fn name(&self, major: u32, minor: Option<u32>) -> Option<&str> {
        let of =
            |list: &'_ [(u32, String)], number: u32| list.iter().position(|(n, _)| *n == number);
        if major == MISC {
            return Some(&self.misc[of(&self.misc, minor?)?].1);
        }
        Some(&self.majors[of(&self.majors, major)?].1)
    }
}

/// Lines of a number and a name.
fn pairs(text: &str) -> Vec<(u32, String)> {
    text.lines()
        .filter_map(|line| {
            let (number, name) = line.trim().split_once(' ')?;
            Some((number.parse().ok()?, name.trim().to_owned()))
        })
        .collect()
}

impl Device {
    /// Why it is a risk; `None` for one that leads nowhere. Pure.
    pub(super) fn risk(&self, drivers: &Drivers) -> Option<String> {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let numbers = format!("{}:{}", number(self.major), number(self.minor));
        if self.block {
            return Some(format!("the block device {numbers}"));
        }
        let Some(major) = self.major else {
            return Some("every character device".to_owned());
        };
        let name = drivers.name(major, self.minor);
        if is_harmless(major, self.minor, name) {
            return None;
        }
        Some(match name {
            Some(name) => format!("the character device {numbers} ({name})"),
            None => format!("the character device {numbers} (no driver that is known)"),
        })
    }
}

/// Terminals, the null family, graphics and compute devices without a display. Numbers:
/// Documentation/admin-guide/devices.txt.
fn is_harmless(major: u32, minor: Option<u32>, driver: Option<&str>) -> bool {
    const MEM: u32 = 1;
    const DRM: u32 = 226;
    match (major, minor, driver) {
        // null, zero, full, random, urandom; not mem, kmem, port, kmsg.
        (MEM, minor, _) => matches!(minor, Some(3 | 5 | 7 | 8 | 9)),
        // ttyN and serial lines; /dev/tty, console, ptmx; pseudo terminals.
        (4 | 5 | 136..=143, ..) => true,
        // Render nodes; the others set modes of displays, which is no way out, but DRM
        // masters may do more.
        (DRM, Some(128..=191), _) => true,
        (_, _, Some("kfd")) => true,
        (_, _, Some(name)) => name == "nvidia" || name.starts_with("nvidia-"),
        _ => false,
    }
}

/// What a path on the host stands for, after links; a directory stands for all in it.
///
/// # Errors
/// If it cannot be looked at.
pub(super) fn at(path: &Path) -> io::Result<Vec<Device>> {
    let mut found = Vec::new();
    let mut queue = vec![path.to_owned()];
    let mut left = NODES;
    while let Some(path) = queue.pop() {
        if left == 0 {
            return Err(io::Error::other("it holds more than airgap looks at"));
        }
        left -= 1;
        let about = fs::metadata(&path)?;
        if about.is_dir() {
            let entries = fs::read_dir(&path)?.take(NODES);
            queue.extend(entries.flatten().map(|entry| entry.path()));
        }
        found.extend(of(&about));
    }
    Ok(found)
}

fn of(about: &fs::Metadata) -> Option<Device> {
    let kind = about.file_type();
    let block = kind.is_block_device();
    (block || kind.is_char_device()).then(|| Device {
        block,
        major: Some(libc::major(about.rdev())),
        minor: Some(libc::minor(about.rdev())),
    })
}

/// A rule of `--device-cgroup-rule`: `c 10:200 rwm`, `b *:* r`, `a *:* rwm`. `None` if it
/// lets nothing be read or written. What cannot be read counts as everything.
pub(super) fn rule(text: &str) -> Vec<Device> {
    let everything = [true, false].map(|block| Device {
        block,
        major: None,
        minor: None,
    });
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    let [kind, numbers, access] = words.as_slice() else {
        return everything.to_vec();
    };
    if !access.contains(['r', 'w']) {
        // A node may be made, and not be opened.
        return Vec::new();
    }
    let Some((major, minor)) = numbers.split_once(':') else {
        return everything.to_vec();
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    match (*kind, number(major), number(minor)) {
        (kind @ ("b" | "c"), Some(major), Some(minor)) => vec![Device {
            block: kind == "b",
            major,
            minor,
        }],
        _ => everything.to_vec(),
    }
}

/// Nodes in the `/dev` of a mount namespace: what its runtime put there, whatever root its
/// processes have taken since. Nothing is followed and nothing opened but directories, so
/// that a container's own making can only be left out. What cannot be looked at is named in
/// the budget.
pub(super) fn shown_in(namespace: &File, budget: &mut Budget) -> Vec<(String, Device)> {
    nodes_in(namespace, budget, |_, _| true)
}

/// Risky nodes in the `/dev` of a mount namespace that a task may open, in words; `may` is
/// asked by what a node is and a path to it. `tun`: it has such an interface of its own.
/// Without one, and without CAP_NET_ADMIN, `/dev/net/tun` gives none, nor does `/dev/fuse`
/// without a mount; both are open to everybody.
pub fn reachable(
    namespace: &File,
    may: impl Fn(&fs::Metadata, &Path) -> bool,
    tun: bool,
    budget: &mut Budget,
) -> Vec<String> {
    let drivers = Drivers::of_kernel();
    let idle = |device: &Device| {
        let name = device
            .major
            .and_then(|major| drivers.name(major, device.minor));
        !device.block && (matches!(name, Some("fuse" | "vsock")) || name == Some("tun") && !tun)
    };
    nodes_in(namespace, budget, may)
        .into_iter()
        .filter(|(_, device)| !idle(device))
        .filter_map(|(path, device)| Some(format!("{} at {path}", device.risk(&drivers)?)))
        .collect()
}

fn nodes_in(
    namespace: &File,
    budget: &mut Budget,
    keep: impl Fn(&fs::Metadata, &Path) -> bool,
) -> Vec<(String, Device)> {
    let mut found = Vec::new();
    let mut dirs = match directory(namespace, c"dev") {
        Ok(dir) => vec![(PathBuf::from("/dev"), dir)],
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            budget.skip(format!("its /dev ({error})"));
            return found;
        }
    };
    while let Some((path, dir)) = dirs.pop() {
        let listed = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        let listed = listed.inspect_err(|error| {
            let shown = path.display();
            budget.skip(format!("devices in {shown} ({error})"));
        });
        for entry in listed.into_iter().flatten().flatten() {
            if found.len() >= NODES || !budget.step_for("some devices in its /dev") {
                budget.skip("some devices in its /dev".into());
                return found;
            }
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else {
                continue;
            };
            let shown = path.join(&name);
            if kind.is_dir() {
                // Not the pseudo terminals, the queues and the shared memory: those are
                // file systems of their own.
                let below = beneath(&dir, Path::new(&name));
                if let Some(below) = below.filter(|b| same_device(b, &dir)) {
                    dirs.push((shown, below));
                }
            } else if let Ok(about) = entry.metadata()
                && let Some(device) = of(&about)
                && keep(&about, &entry.path())
            {
                found.push((shown.to_string_lossy().into_owned(), device));
            }
        }
    }
    found
}

fn same_device(one: &File, other: &File) -> bool {
    let of = |file: &File| file.metadata().map(|about| about.dev()).ok();
    of(one).is_some() && of(one) == of(other)
}

/// A directory below another, without following links.
fn beneath(dir: &File, name: &Path) -> Option<File> {
    let name = CString::new(name.as_os_str().as_bytes()).ok()?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: an open directory and a string that ends with a zero byte.
    let fd = unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags) };
    // SAFETY: a new descriptor that nobody else owns.
    (fd >= 0).then(|| unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str = "Character devices:\n  1 mem\n  4 tty\n 10 misc\n136 pts\n195 nvidia\n\
                           226 drm\n235 kfd\n508 nvidia-uvm\n\nBlock devices:\n  7 loop\n  8 sd\n195 x\n";
    const MISC_LIST: &str = "232 kvm\n200 tun\n229 fuse\n183 hw_random\n";

    fn device(block: bool, major: u32, minor: u32) -> Device {
        Device {
            block,
            major: Some(major),
            minor: Some(minor),
        }
    }

    #[test]
    fn judges_by_number_and_driver() {
        let drivers = Drivers::parse(DEVICES, MISC_LIST);
        for (block, major, minor, risky) in [
            (true, 7, 0, true),
            (true, 8, 1, true),
            (true, 999, 0, true),
            (false, 1, 3, false),
            (false, 1, 9, false),
            (false, 1, 1, true),
            (false, 1, 4, true),
            (false, 1, 11, true),
            (false, 5, 0, false),
            (false, 136, 7, false),
            (false, 10, 200, true),
            (false, 10, 232, true),
            (false, 10, 229, true),
            (false, 195, 0, false),
            (false, 195, 255, false),
            (false, 508, 0, false),
            (false, 226, 128, false),
            (false, 226, 0, true),
            (false, 235, 0, false),
            (false, 700, 0, true),
        ] {
            let risk = device(block, major, minor).risk(&drivers);
            assert_eq!(risk.is_some(), risky, "{block} {major}:{minor} {risk:?}");
        }
        let tun = device(false, 10, 200).risk(&drivers).unwrap();
        assert_eq!(tun, "the character device 10:200 (tun)");
    }

    #[test]
    fn a_look_alike_of_a_driver_is_not_that_driver() {
        let drivers = Drivers::parse("Character devices:\n300 nvidiafs\n301 kfd2\n", "");
        for major in [300, 301] {
            assert!(device(false, major, 0).risk(&drivers).is_some(), "{major}");
        }
    }

    #[test]
    fn reads_rules() {
        let drivers = Drivers::parse(DEVICES, MISC_LIST);
        let risky = |text: &str| rule(text).iter().any(|d| d.risk(&drivers).is_some());
        for text in [
            "a *:* rwm",
            "b 8:0 r",
            "c *:* rwm",
            "c 10:* w",
            "c 10:200 rwm",
            "",
            "c",
            "c 1 r",
            "c x:y r",
            "q 1:3 r",
        ] {
            assert!(risky(text), "{text}");
        }
        for text in [
            "c 1:3 rwm",
            "c 195:* rw",
            "c *:* m",
            "b *:* m",
            "a *:* m",
            "c 136:* rwm",
        ] {
            assert!(!risky(text), "{text}");
        }
    }

    #[test]
    fn follows_links_and_looks_into_directories() {
        let dir = std::env::temp_dir().join(format!("airgap-devices-{}", std::process::id()));
        fs::create_dir_all(dir.join("below")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.join("below/harmless-name")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.join("sda")).unwrap();
        let mut found = at(&dir).unwrap();
        found.sort_by_key(|d| d.minor);
        assert_eq!(found, [device(false, 1, 3), device(false, 1, 5)]);
        assert!(at(&dir.join("none")).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn sees_the_nodes_of_a_namespace() {
        let mut budget = Budget::of(std::time::Duration::from_secs(10));
        let namespace = File::open("/proc/self/ns/mnt").unwrap();
        let found = shown_in(&namespace, &mut budget);
        assert!(budget.skipped().is_empty());
        assert!(
            found
                .iter()
                .any(|(path, d)| path == "/dev/null" && *d == device(false, 1, 3))
        );
        // What cannot be looked at is named.
        let other = File::open("/proc/self/ns/net").unwrap();
        assert!(shown_in(&other, &mut budget).is_empty());
        assert_eq!(budget.skipped().len(), 1);
    }
}
