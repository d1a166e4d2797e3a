//! `airgap hook`: what an OCI runtime runs once a container's namespaces and cgroup are there,
//! before its program (OCI runtime specification, "POSIX-platform hooks"). What has the
//! annotation `airgap.seal` is sealed then, without any service port: its labels, by
//! `airgap watch`, or an attach say what it may do. An annotation may be the image's word,
//! which may ask for a seal, and for nothing else.
//!
//! The engine waits, with the container's lock: it cannot be asked anything here.

use std::{collections::HashMap, io::Read as _};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

use crate::{
    container::{Container, Hosts, arrival::cgroups_of, locate},
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Reading, mount_bpffs},
    host::netns::Netns,
    labels::asks,
    preflight::others_in,
    seal::{
        attach::cgroups::{mark_cgroups, next_of},
        born,
    },
    state::{Entry, Origin, State},
};

/// Arguments of `hook`.
#[derive(Args, Debug)]
pub struct Hook {}

/// A state has a few hundred bytes, and its annotations.
const LIMIT: u64 = 1 << 20;
/// Podman's word for `--rm`: what comes after it is another container.
const AUTOREMOVE: &str = "io.podman.annotations.autoremove";

/// The state of a container, as the runtime tells it (same specification, "State").
#[derive(Debug, Deserialize)]
struct Told {
    id: String,
    status: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

pub(crate) fn run(hosts: &Hosts, state: &State) -> Result<u8> {
    let mut text = String::new();
    let read = std::io::stdin().take(LIMIT).read_to_string(&mut text);
    let told = read.map_err(anyhow::Error::from);
    let told: Told = told
        .and_then(|_| Ok(serde_json::from_str(&text)?))
        .context(Failure::new(
            "what came on stdin is no state of a container",
            "an OCI runtime runs this: airgap install has Podman know it",
        ))?;
    if told.status == "stopped" {
        return ended(state, &told);
    }
    if !asks(&told.annotations) {
        return Ok(exit::OK);
    }
    begins(hosts, state, &told).with_context(|| {
        Failure::new(
            format!(
                "the container {} has the annotation airgap.seal and does not start, as it cannot be sealed",
                told.id
            ),
            "start it without the annotation, or see why: airgap doctor",
        )
    })
}

/// Seals it, or where it is sealed already guards what is new.
fn begins(hosts: &Hosts, state: &State, told: &Told) -> Result<u8> {
    let container = Container::beginning(&told.id, told.pid);
    let key = container.key()?;
    let place = Place::host()?;
    mount_bpffs()?;
    let lock = Lock::take()?;
    Gate::clear_remains(&place, &lock)?;
    let mut gate = Gate::arm_for(
        &next_of(&place, &container),
        container.sandbox().as_ref(),
        &Reading::begin(&place),
        &place,
        &lock,
    )?;
    let (around, _) = cgroups_of(&place.cgroup, told.pid);
    let outer = |id: &u64| {
        let seal = gate.seal_of(*id).and_then(|number| gate.seal(number).ok());
        seal.is_some_and(|seal| seal.id != key && gate.number_of(&seal.id).is_some())
    };
    if around.iter().any(outer) {
        log::info!(
            "{} starts below what is sealed, and under that seal",
            told.id
        );
        return Ok(exit::OK);
    }
    if let Err(shared) = refuse_shared(&place, told) {
        gate.disarm_if_idle(&lock)?;
        return Err(shared);
    }
    if let Some(number) = gate.number_of(&key) {
        return mark_cgroups(&mut gate, number, &container, &lock).map(|()| exit::OK);
    }
    if state.entry(&told.id).is_some() {
        gate.disarm_if_idle(&lock)?;
        let what = "a seal of it is recorded, and not in force";
        return Err(Failure::new(what, "airgap restore").into());
    }
    born::shut(gate, state, &container, hosts.podman(), &lock)?;
    Ok(exit::OK)
}

/// A network that others have, too, is not this container's to shut.
fn refuse_shared(place: &Place, told: &Told) -> Result<()> {
    let netns = Netns::of(told.pid).context("cannot tell its network namespace")?;
    let inode = netns.inode().context("cannot tell its network namespace")?;
    let cgroup = locate(&place.cgroup, &told.id, told.pid)?;
    let other = match Netns::own().and_then(|own| own.inode()) {
        Ok(own) if own == inode => Some("the host".to_owned()),
        Ok(_) => others_in(inode, &cgroup).into_iter().next(),
        Err(error) => return Err(error).context("cannot tell the host's network namespace"),
    };
    match other {
        None => Ok(()),
        Some(other) => Err(Failure::new(
            format!("it shares its network: {other}"),
            "seal the pod that it is of (airgap attach pod:NAME), or give it a network of its own",
        )
        .into()),
    }
}

/// One that is removed as it stops takes its seal with it, if nobody has made it his own since.
fn ended(state: &State, told: &Told) -> Result<u8> {
    let removed = told.annotations.get(AUTOREMOVE);
    if removed.is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
        return Ok(exit::OK);
    }
    let lock = Lock::take()?;
    let by_label =
        matches!(state.entry(&told.id), Some(Entry::Known(record)) if record.by == Origin::Label);
    if by_label && let Some(gate) = Gate::open(&Place::host()?)? {
        born::lift(gate, state, &told.id, &lock)?;
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn reads_what_runtimes_tell() {
        let told: Told = serde_json::from_str(
            r#"{"ociVersion":"1.0.2-dev","id":"ab","status":"creating","pid":42,"bundle":"/b",
                "annotations":{"airgap.seal":"true"}}"#,
        )
        .unwrap();
        assert_eq!((told.id.as_str(), told.pid), ("ab", 42));
        // After its end there is no process.
        let ended: Told = serde_json::from_str(r#"{"id":"ab","status":"stopped"}"#).unwrap();
        assert_eq!((ended.pid, ended.annotations.len()), (0, 0));
        for wrong in ["", "{}", "[]", r#"{"id":"ab"}"#, r#"{"id":7,"status":"x"}"#] {
            assert!(serde_json::from_str::<Told>(wrong).is_err(), "{wrong}");
        }
    }
}
