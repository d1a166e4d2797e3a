//! Finds the addresses of exceptions by name, leases them, and has the container know the
//! names. It can only open: who dies in between leaves what stood until its hold ends.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use airgap_common::map::SealNumber;
use anyhow::Result;

use super::wanted::Site;
use crate::{
    clock,
    container::{Cgroup, Container, Engine, Neighbour, find_cgroups, locate, write_hosts},
    failure::{Failure, exit},
    gate::{Exit, Gate, KeeperLock, LeaseLock, Lock, Place},
    policy::{Exception, Hold, Lease, Target, To},
};

/// Neighbours by the name that an exception gives them; none: why not, in words.
type Found = BTreeMap<String, Result<Vec<Neighbour>, String>>;

/// Addresses that were leased, by name.
type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// Looks for the addresses of a seal's exceptions by name, and leases them; `had`: it had
/// some before. What cannot be had is said, and keeps nobody from being sealed.
pub(super) async fn lease_and_tell(
    site: &Site<'_>,
    container: &Container,
    seal: SealNumber,
    had: bool,
) {
    let told = lease(site.engine, site.place, container, seal).await;
    let told = told.unwrap_or_else(|error| vec![format!("{error:#}")]);
    for line in told {
        log::warn!("{}: {line}", container.name);
    }
    if had {
        let gate = Gate::open(site.place);
        if gate.is_ok_and(|gate| gate.is_some_and(|gate| !has_names(&gate, seal))) {
            forget_names(container);
        }
    }
}

/// As [`lease_and_tell`], and returns what is to be said.
///
/// # Errors
/// If the engine does not answer, or the gate cannot be read or written.
pub(super) async fn lease(
    engine: &Engine,
    place: &Place,
    container: &Container,
    seal: SealNumber,
) -> Result<Vec<String>> {
    let names = match Gate::open(place)? {
        Some(gate) => names(&gate.exits_of(seal)?),
        None => Vec::new(),
    };
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let _leases = LeaseLock::take()?;
    // Before the engine is asked: what it says is older than its answer.
    let now = clock::since_boot_nanos();
    // It may have been connected or restarted since it was looked at.
    let container = engine.find(&container.id).await?;
    let mut found = Found::new();
    for name in names {
        let neighbours = engine.neighbours_called(&container, &name).await?;
        let neighbours = neighbours.map_err(|absent| absent.told(&name));
        found.insert(name, neighbours);
    }
    let (told, addresses) = write(place, &container, seal, &found, now)?;
    let names: Vec<_> = addresses.into_iter().collect();
    Ok([told, tell_names(&container, &names)].concat())
}

/// Takes our names out of a container's hosts file; whatever stands in the way of that is
/// said.
pub(super) fn forget_names(container: &Container) {
    if let Err(error) = write_hosts(container, &[]) {
        log::debug!(
            "{}: names stay in its hosts file: {error:#}",
            container.name
        );
    }
}

/// Refuses exceptions by name that nobody would look after.
///
/// # Errors
/// If there are any.
pub(super) fn refuse_unkept(exits: &[Exception]) -> Result<()> {
    let mut kept = exits
        .iter()
        .filter(|exit| matches!(exit.hold, Some(Hold::Time(_))));
    let Some(exit) = kept.next().filter(|_| !KeeperLock::is_held()) else {
        return Ok(());
    };
    Err(Failure::new(
        format!(
            "{} leads to a name, whose addresses somebody must look after, and nobody does here",
            exit.to
        ),
        "systemctl enable --now airgap-keep (airgap install writes it), or run airgap watch or airgap keep; without: --hold forever --accept endless-lease",
    )
    .with_code(exit::USAGE)
    .into())
}

/// Whether a seal has exceptions by name.
pub(super) fn has_names(gate: &Gate, seal: SealNumber) -> bool {
    gate.exits_of(seal)
        .is_ok_and(|exits| !names(&exits).is_empty())
}

fn names(exits: &[Exit]) -> Vec<String> {
    let mut names: Vec<_> = exits
        .iter()
        .filter_map(|exit| match &exit.exception.to.target {
            Target::Container(name) => Some(name.clone()),
            Target::Net(_) => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Leases what was found at `now`; what is missing, and the addresses by name.
fn write(
    place: &Place,
    container: &Container,
    seal: SealNumber,
    found: &Found,
    now: u64,
) -> Result<(Vec<String>, Addresses)> {
    let lock = Lock::take()?;
    let (mut told, mut addresses) = (Vec::new(), Addresses::new());
    let Some(mut gate) = Gate::open(place)? else {
        return Ok((told, addresses));
    };
    if gate.number_of(&container.key()?) != Some(seal) {
        return Ok((told, addresses));
    }
    let mut live: BTreeMap<&str, Vec<(IpAddr, u64)>> = BTreeMap::new();
    for (name, neighbours) in found {
        let mut own = Vec::new();
        match neighbours {
            Err(why) => told.push(why.clone()),
            Ok(neighbours) => {
                for neighbour in neighbours {
                    match cgroup_of(&place.cgroup, neighbour) {
                        Some(cgroup) if gate.add_neighbour(&cgroup, &lock)? => {
                            own.extend(neighbour.addresses.iter().map(|addr| (*addr, cgroup.id)));
                        }
                        _ => told.push(format!(
                            "the container '{name}' has no cgroup here by which its end is seen"
                        )),
                    }
                }
            }
        }
        addresses.insert(name.clone(), own.iter().map(|(addr, _)| *addr).collect());
        live.insert(name, own);
    }
    let mut leases: Vec<(To, Vec<Lease>)> = Vec::new();
    for exit in gate.exits_of(seal)? {
        let Target::Container(name) = &exit.exception.to.target else {
            continue;
        };
        // One that came since is looked for by whoever brought it.
        let Some(own) = live.get(name.as_str()) else {
            continue;
        };
        let until = exit.exception.hold.and_then(|hold| hold.until(now));
        let lease = |(addr, neighbour): &(IpAddr, u64)| Lease {
            addr: *addr,
            until,
            neighbour: *neighbour,
        };
        let own = own.iter().map(lease).collect();
        leases.push((exit.exception.to, own));
    }
    gate.lease(seal, &leases, &lock)?;
    Ok((told, addresses))
}

/// The neighbour's own cgroup, the outermost one of it.
fn cgroup_of(root: &Path, neighbour: &Neighbour) -> Option<Cgroup> {
    let container = &neighbour.container;
    let at = container.pid.map(|pid| locate(root, &container.id, pid));
    match at {
        Some(Ok(cgroup)) => Some(cgroup),
        _ => find_cgroups(root, &container.id).into_iter().next(),
    }
}

/// What stands in the way of the names, in words.
fn tell_names(container: &Container, names: &[(String, Vec<IpAddr>)]) -> Vec<String> {
    match write_hosts(container, names) {
        Ok(first) => first
            .iter()
            .map(|name| {
                format!(
                    "an earlier line of its hosts file says where '{name}' is (--add-host): that one is read"
                )
            })
            .collect(),
        Err(error) => vec![format!(
            "it cannot look up {}: {error:#}; give it the address itself (--add-host)",
            names
                .iter()
                .map(|(name, _)| format!("'{name}'"))
                .collect::<Vec<_>>()
                .join(", ")
        )],
    }
}
