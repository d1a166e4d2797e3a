//! Finds the addresses of exceptions by name, leases them, and has the container know the
//! names. It can only open: who dies in between leaves what stood until its hold ends.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use airgap_common::map::SealNumber;
use anyhow::Result;
use futures_util::future::join_all;

pub(crate) use super::look::Asked;
use super::{
    answers::{merged, newest},
    look::{Seen, look, own_networks},
};
use crate::{
    container::{Cgroup, Container, Engine, Neighbour, write_hosts},
    failure::{Failure, exit},
    gate::{Exit, Gate, KeeperLock, LeaseLock, Lock, Place},
    host::clock,
    policy::{Exception, Hold, Lease, Target, To},
    state::Origin,
};

/// Addresses that were leased, by name.
type Addresses = BTreeMap<String, Vec<IpAddr>>;

/// Looks for the addresses of a seal's exceptions by name, and leases them; `had`: it had
/// some before. What cannot be had is said, and keeps nobody from being sealed.
pub(crate) async fn lease_and_tell(
    engine: &Engine,
    place: &Place,
    container: &Container,
    seal: SealNumber,
    had: bool,
    by: Origin,
) {
    // What a label asks for is sealed by whoever keeps names, too: it asks servers beside
    // that, and delays nobody's seal.
    let ask = by != Origin::Label;
    let mut asked = Asked::default();
    let told = lease(engine, place, container, seal, &mut asked, ask).await;
    let told = told.unwrap_or_else(|error| vec![format!("{error:#}")]);
    for line in told {
        log::warn!("{}: {line}", container.name);
    }
    if had {
        let gate = Gate::open(place);
        if gate.is_ok_and(|gate| gate.is_some_and(|gate| !has_names(&gate, seal))) {
            forget_names(container);
        }
    }
}

/// As [`lease_and_tell`], and returns what is to be said. `ask`: name servers may be asked.
///
/// # Errors
/// If the engine does not answer, or the gate cannot be read or written.
pub(crate) async fn lease(
    engine: &Engine,
    place: &Place,
    container: &Container,
    seal: SealNumber,
    asked: &mut Asked,
    ask: bool,
) -> Result<Vec<String>> {
    let exits = match Gate::open(place)? {
        Some(gate) => gate.exits_of(seal)?,
        None => Vec::new(),
    };
    let targets = targets(&exits);
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    // Before anybody is asked: what they say is older than their answer.
    let now = clock::since_boot_nanos();
    let root = &place.cgroup;
    let (hosts, neighbours): (Vec<_>, Vec<_>) = targets
        .into_iter()
        .partition(|target| matches!(target, Target::Name(_)));
    // Servers may take their time: nobody waits for them but this seal.
    let looks = hosts.into_iter().map(|target| {
        let due = ask && asked.is_due(seal, &target);
        look(engine, root, container, target, due)
    });
    let mut found: Vec<_> = join_all(looks).await.into_iter().collect::<Result<_>>()?;
    let _leases = LeaseLock::take()?;
    // It may have been connected or restarted since it was looked at.
    let container = engine.find(&container.id).await?;
    let looks = neighbours
        .into_iter()
        .map(|target| look(engine, root, &container, target, true));
    for seen in join_all(looks).await {
        found.push(seen?);
    }
    let times: Vec<_> = found
        .iter()
        .map(|(target, (_, ttl))| (target.clone(), *ttl))
        .collect();
    let found: Vec<_> = found
        .into_iter()
        .map(|(target, (seen, _))| (target, seen))
        .collect();
    let (told, addresses) = write(place, &container, seal, &found, now)?;
    for (target, ttl) in &times {
        asked.note(seal, target, *ttl, shortest(&exits, target));
    }
    let names: Vec<_> = addresses.into_iter().collect();
    Ok([told, tell_names(&container, &names)].concat())
}

/// Takes our names out of a container's hosts file; whatever stands in the way of that is
/// said.
pub(crate) fn forget_names(container: &Container) {
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
pub(crate) fn refuse_unkept(exits: &[Exception]) -> Result<()> {
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
pub(crate) fn has_names(gate: &Gate, seal: SealNumber) -> bool {
    gate.exits_of(seal)
        .is_ok_and(|exits| !targets(&exits).is_empty())
}

/// How long the addresses of a target hold, where they do not hold for ever.
fn shortest(exits: &[Exit], target: &Target) -> Option<Duration> {
    let holds = exits.iter().filter_map(|exit| match exit.exception.hold {
        Some(Hold::Time(time)) if exit.exception.to.target == *target => Some(time),
        _ => None,
    });
    holds.min()
}

/// What the exceptions by name lead to, each once.
fn targets(exits: &[Exit]) -> Vec<Target> {
    let mut targets = Vec::new();
    for exit in exits {
        let target = &exit.exception.to.target;
        if target.name().is_some() && !targets.contains(target) {
            targets.push(target.clone());
        }
    }
    targets
}

/// Leases what was found at `now`; what is missing, and the addresses by name.
fn write(
    place: &Place,
    container: &Container,
    seal: SealNumber,
    found: &[(Target, Seen)],
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
    let own = own_networks(container);
    let mut leases: Vec<(To, Vec<Lease>)> = Vec::new();
    for exit in gate.exits_of(seal)? {
        let target = &exit.exception.to.target;
        // One that came since is looked for by whoever brought it.
        let seen = found.iter().find(|(known, _)| known == target);
        let (Some((_, seen)), Some(name)) = (seen, target.name()) else {
            continue;
        };
        let until = exit.exception.hold.and_then(|hold| hold.until(now));
        let (current, why) = match seen {
            Seen::Neighbours(neighbours) => leased(&mut gate, neighbours, until, &lock)?,
            Seen::Nobody(why) => (Vec::new(), vec![why.clone()]),
            Seen::Answer(answer) => merged(&exit.leases, answer.as_deref(), until, now, &own),
            Seen::NoAnswer(why) => {
                let (kept, _) = merged(&exit.leases, None, until, now, &own);
                (kept, vec![format!("'{name}': {why}")])
            }
        };
        told.extend(
            why.into_iter()
                .filter(|line| !told.contains(line))
                .collect::<Vec<_>>(),
        );
        let known = addresses.entry(name.to_owned()).or_default();
        for address in newest(&current, now) {
            if !known.contains(&address) {
                known.push(address);
            }
        }
        leases.push((exit.exception.to, current));
    }
    told.extend(gate.lease(seal, &leases, &lock)?);
    Ok((told, addresses))
}

/// Leases of the neighbours that are there still, and what keeps others out.
fn leased(
    gate: &mut Gate,
    neighbours: &[(Neighbour, Option<Cgroup>)],
    until: Option<u64>,
    lock: &Lock,
) -> Result<(Vec<Lease>, Vec<String>)> {
    let (mut leases, mut told) = (Vec::new(), Vec::new());
    for (neighbour, cgroup) in neighbours {
        match cgroup {
            Some(cgroup) if gate.add_neighbour(cgroup, lock)? => {
                leases.extend(neighbour.addresses.iter().map(|addr| Lease {
                    addr: *addr,
                    until,
                    neighbour: cgroup.id,
                }));
            }
            _ => told.push(format!(
                "the container '{}' has no cgroup here by which its end is seen",
                neighbour.container.name
            )),
        }
    }
    Ok((leases, told))
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
