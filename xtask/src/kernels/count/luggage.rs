//! The initial file system of the counting machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::guest::EARLY;
use super::super::host::Host;
use super::super::initramfs::Initramfs;
use crate::setup::{self, apt};
use crate::{build, command, test};

const INIT: &[u8] = include_bytes!("../../../assets/kernels/count.sh");

/// Commands of `init` and of what it starts.
const APPLETS: [&str; 9] = [
    "sh", "mount", "stty", "ip", "ls", "uname", "poweroff", "insmod", "cat",
];

/// What rules of a firewall need besides, in the order of loading.
const FIREWALL_MODULES: [&str; 11] = [
    "libcrc32c",
    "nfnetlink",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "nf_tables",
    "nft_ct",
    "x_tables",
    "nft_compat",
    "xt_conntrack",
    "xt_tcpudp",
];

/// Each with the package that brings it, and its name in the machine.
const FIREWALLS: [(&str, &str, &str); 3] = [
    ("iptables-nft", "iptables", "iptables"),
    ("ip6tables-nft", "iptables", "ip6tables"),
    ("nft", "nftables", "nft"),
];

/// Matches of iptables, which it loads by name.
const MATCHES: [&str; 3] = ["conntrack", "tcp", "standard"];

/// Modules to load, in that order.
pub(super) fn modules(firewalls: bool) -> impl Iterator<Item = &'static str> {
    let more = FIREWALL_MODULES.iter().filter(move |_| firewalls);
    ["veth"].iter().chain(more).copied()
}

/// Builds what counts and writes the initial file system to `path`.
///
/// # Errors
/// When a build fails, a firewall cannot be installed, or a file cannot be read or written.
pub(super) fn write(
    root: &Path,
    host: &Host,
    firewalls: bool,
    words: &str,
    path: &Path,
) -> Result<()> {
    let airgap = build::run(true)?;
    let count = test::build_tool(root, "airgap-count")?;
    let mut archive = Initramfs::default();
    for dir in ["bin", "proc", "sys", "dev", "tmp", "run"] {
        archive.directory(dir);
    }
    for (name, file) in [
        ("bin/busybox", host.busybox.as_path()),
        ("bin/airgap", &airgap),
        ("bin/airgap-count", &count),
    ] {
        archive.program(name, &read(file)?);
    }
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    if firewalls {
        add_firewalls(&mut archive)?;
    }
    archive.program("early.sh", EARLY);
    archive.program("words", format!("{words}\n").as_bytes());
    archive.program("init", INIT);
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

/// The host's own programs, with the libraries that they are linked to.
fn add_firewalls(archive: &mut Initramfs) -> Result<()> {
    let mut missing: Vec<_> = FIREWALLS
        .iter()
        .filter(|(program, ..)| apt::find(program).is_none())
        .map(|(_, package, _)| *package)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        setup::require_root("bench")?;
        apt::update(&missing.join(" "))?;
        apt::get(&missing)?;
    }
    let mut files = Vec::new();
    for (program, package, name) in FIREWALLS {
        let found = apt::find(program)
            .with_context(|| format!("{package} was installed without {program}"))?;
        archive.program(&format!("bin/{name}"), &read(&found)?);
        files.extend(libraries(&found)?);
        if program == "iptables-nft" {
            let dir = Path::new("/usr/lib/x86_64-linux-gnu/xtables");
            files.extend(MATCHES.map(|name| dir.join(format!("libxt_{name}.so"))));
        }
    }
    files.sort_unstable();
    files.dedup();
    let mut dirs = Vec::new();
    for file in &files {
        let parents: Vec<_> = file.ancestors().skip(1).collect();
        for dir in parents.into_iter().rev() {
            let name = relative(dir);
            if !name.is_empty() && !dirs.contains(&name) {
                archive.directory(&name);
                dirs.push(name);
            }
        }
        archive.program(&relative(file), &read(file)?);
    }
    Ok(())
}

fn relative(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    Ok(paths(&command::output(Command::new("ldd").arg(program))?))
}

/// The absolute paths in what ldd prints.
fn paths(said: &str) -> Vec<PathBuf> {
    let words = said.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ldd_prints() {
        let said = "\tlinux-vdso.so.1 (0x0)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7e)\n";
        let found: Vec<_> = ["/lib/x/libc.so.6", "/lib64/ld.so.2"]
            .map(PathBuf::from)
            .into();
        assert_eq!(paths(said), found);
    }
}
