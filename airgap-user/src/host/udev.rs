//! The udev rule of airgap, which guards veths as they come up (udev(7)), and whether it
//! does so.

use std::{fs, io, path::Path};

/// Where the rule that guards new veths is, below the root: before all that name them.
pub(crate) const RULE: &str = "etc/udev/rules.d/05-airgap.rules";
/// The socket of a udev that runs, below the root.
const UDEV: &str = "run/udev/control";
/// Written by the rule's program once it could use BPF there, below the root. The
/// directory is memory: a boot begins without.
const PROOF: &str = "run/airgap-udev";

/// What happens to a veth that comes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// udev has it guarded at once.
    Guarded,
    /// udev would, if airgap was installed; or it was not seen to do so since the boot.
    Unguarded,
    /// There is no udev here.
    #[default]
    NoUdev,
}

/// What happens below a root to a veth that comes up.
pub fn arrivals(root: &Path) -> Arrivals {
    if !root.join(UDEV).exists() {
        return Arrivals::NoUdev;
    }
    let text = fs::read_to_string(root.join(RULE)).unwrap_or_default();
    let Some(binary) = binary_of(&text) else {
        return Arrivals::Unguarded;
    };
    let made = |path: &str| fs::metadata(root.join(path)).and_then(|about| about.modified());
    let binary = made(binary.trim_start_matches('/'));
    match (made(PROOF), made(RULE), binary) {
        (Ok(proof), Ok(rule), Ok(binary)) if proof >= rule && proof >= binary => Arrivals::Guarded,
        _ => Arrivals::Unguarded,
    }
}

/// Notes that udev ran the rule's program, and that it could do its work there.
///
/// # Errors
/// If the file cannot be written.
pub fn prove_arrivals(root: &Path) -> io::Result<()> {
    fs::write(root.join(PROOF), "")
}

/// Has udev run its rules for an interface that every host has.
///
/// # Errors
/// If the kernel takes no such request (`/sys` is read-only).
pub fn provoke_arrivals() -> io::Result<()> {
    fs::write("/sys/class/net/lo/uevent", "add")
}

/// The program that the rule runs. Pure.
fn binary_of(rule: &str) -> Option<&str> {
    rule.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| line.split_once("PROGRAM=\"")?.1.split_once(" guard "))
        .map(|(binary, _)| binary)
}

/// `PROGRAM` runs while the rules are read, before what `RUN` would; engines make the
/// container's end after it, nearly always.
pub(crate) fn rule(mark: &str, binary: &str) -> String {
    format!(
        "{mark}: each new veth is guarded before the container behind it speaks.
ACTION==\"add\", SUBSYSTEM==\"net\", DEVPATH==\"/devices/virtual/net/*\", PROGRAM=\"{binary} guard $env{{IFINDEX}}\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_happens_to_new_veths() {
        let root = std::env::temp_dir().join(format!("airgap-udev-{}", std::process::id()));
        fs::create_dir_all(root.join("run/udev")).unwrap();
        assert_eq!(arrivals(&root), Arrivals::NoUdev);
        fs::write(root.join(UDEV), "").unwrap();
        assert_eq!(arrivals(&root), Arrivals::Unguarded);
        let rules = root.join(RULE);
        fs::create_dir_all(rules.parent().unwrap()).unwrap();
        fs::create_dir_all(root.join("sbin")).unwrap();
        fs::write(root.join("sbin/airgap"), "").unwrap();
        prove_arrivals(&root).unwrap();
        assert_eq!(arrivals(&root), Arrivals::Unguarded, "no rule");
        fs::write(&rules, rule("# x", "/sbin/none")).unwrap();
        prove_arrivals(&root).unwrap();
        assert_eq!(arrivals(&root), Arrivals::Unguarded, "no such program");
        fs::write(&rules, rule("# x", "/sbin/airgap")).unwrap();
        fs::remove_file(root.join(PROOF)).unwrap();
        assert_eq!(arrivals(&root), Arrivals::Unguarded, "never seen to run");
        prove_arrivals(&root).unwrap();
        assert_eq!(arrivals(&root), Arrivals::Guarded);
        fs::write(&rules, "# PROGRAM=\"/sbin/airgap guard 1\"\n").unwrap();
        prove_arrivals(&root).unwrap();
        assert_eq!(arrivals(&root), Arrivals::Unguarded, "a comment");
        fs::remove_dir_all(root).unwrap();
    }
}
