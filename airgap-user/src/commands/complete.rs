//! `airgap __complete`: what a shell may put in the place of the word at its cursor. It is run
//! by whoever presses a key: it needs no root, asks what runs already, starts nothing and ends
//! soon. What is not known is left out.

mod at;

use std::{path::Path, time::Duration};

use anyhow::Result;
use clap::{Args, Command};
use tokio::time::timeout;

use self::at::{At, Kind, at};
use crate::{
    container::{Engines, Hosts},
    failure::exit,
    glossary,
    host::procfs,
    output,
    preflight::Risk,
    state::{State, UNKNOWN},
};

/// Arguments of `__complete`.
#[derive(Args, Debug)]
pub struct Complete {
    /// The words of the command line behind `airgap`, to the one at the cursor
    #[arg(last = true, value_name = "WORD")]
    pub words: Vec<String>,
}

/// An engine has so long to answer.
const PATIENCE: Duration = Duration::from_millis(700);
/// Whatever is slow, the process ends after so many seconds.
const END: u32 = 2;

pub(crate) async fn run(
    cli: &Command,
    hosts: &Hosts,
    state: &State,
    args: &Complete,
) -> Result<u8> {
    // SAFETY: takes a number; the signal's default action ends the process.
    unsafe { libc::alarm(END) };
    let Some(At { kind, begun, drop }) = at(cli, &args.words) else {
        return Ok(exit::OK);
    };
    let names = match kind {
        Kind::Risk => Risk::ALL.iter().map(|risk| risk.name().into()).collect(),
        Kind::Word => glossary::terms().iter().map(glossary::typed).collect(),
        Kind::Container => containers(hosts).await,
        Kind::Sealed => match sealed(state) {
            // Not root, or nothing is.
            sealed if sealed.is_empty() => containers(hosts).await,
            sealed => sealed,
        },
    };
    output::raw(&lines(names, &begun, drop))?;
    Ok(exit::OK)
}

/// What is at the cursor, for the test of all commands: kind, what is written, what is cut off.
#[cfg(test)]
pub(crate) fn kind_at(cli: &Command, words: &[String]) -> Option<(String, String, usize)> {
    let found = at(cli, words)?;
    Some((format!("{:?}", found.kind), found.begun, found.drop))
}

/// Names of all containers of the engines that run.
async fn containers(hosts: &Hosts) -> Vec<String> {
    let running = processes();
    let mut all = hosts.all();
    all.retain(|host| is_running(host, &running));
    if all.is_empty() {
        return Vec::new();
    }
    let asked = async {
        let engines = Engines::connect(&Hosts::new(all)).await;
        engines.list().await.ok().map(|listed| {
            let listed = listed.into_iter().flat_map(|(_, each)| each);
            listed.map(|(_, name, _)| name).collect()
        })
    };
    let answer = timeout(PATIENCE, asked).await.ok().flatten();
    answer.unwrap_or_default()
}

/// Names of what is recorded; whoever is not root sees none.
fn sealed(state: &State) -> Vec<String> {
    let entries = state.entries().unwrap_or_default();
    let names = entries.iter().map(|entry| entry.name().to_owned());
    names.filter(|name| name != UNKNOWN).collect()
}

/// Names of all processes, as the kernel has them.
fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let comms = entries.filter_map(|entry| procfs::text(entry.path().join("comm")).ok());
    comms.map(|comm| comm.trim_end().to_owned()).collect()
}

/// Whether the engine behind a socket runs: systemd listens for one that does not, and would
/// start it. Pure.
fn is_running(host: &str, processes: &[String]) -> bool {
    let Some(path) = host.strip_prefix("unix://") else {
        return false;
    };
    let engine = match Path::new(path).iter().any(|part| part == "podman") {
        true => "podman",
        false => "dockerd",
    };
    processes.iter().any(|name| name == engine)
}

/// Those that begin so and that no shell reads anything into, one a line; without their first
/// `drop` bytes. Pure.
fn lines(mut names: Vec<String>, begun: &str, drop: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/@-".contains(c);
    names.retain(|name| name.starts_with(begun) && name.chars().all(plain));
    names.retain(|name| !name.is_empty() && !name.starts_with('-'));
    names.sort_unstable();
    names.dedup();
    let rest = names.iter().filter_map(|name| name.get(drop..));
    rest.map(|name| format!("{name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_running, lines};

    #[test]
    fn nothing_is_started() {
        let (docker, podman) = ("unix:///run/docker.sock", "unix:///run/podman/podman.sock");
        let only = |name: &str| [name.to_owned()];
        assert!(is_running(docker, &only("dockerd")) && is_running(podman, &only("podman")));
        assert!(!is_running(podman, &only("dockerd")) && !is_running(docker, &only("podman")));
        assert!(!is_running(docker, &[]) && !is_running("tcp://192.0.2.1:1", &only("dockerd")));
    }

    #[test]
    fn a_shell_reads_nothing_into_a_name() {
        let names = [
            "web-2",
            "web-1",
            "web-1",
            "db",
            "-x",
            "",
            "web$(id)",
            "web a",
            "we\u{301}b",
            "web;",
        ];
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(lines(names.clone(), "we", 0), "web-1\nweb-2\n");
        assert_eq!(lines(names, "", 0), "db\nweb-1\nweb-2\n");
        let units = vec!["unit:nginx.service".to_owned()];
        assert_eq!(lines(units, "unit:ng", 5), "nginx.service\n");
    }
}
