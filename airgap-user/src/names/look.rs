//! Looking for who has a name: an engine for neighbours, DNS servers for hosts.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use airgap_common::map::SealNumber;
use anyhow::Result;
use tokio::time::timeout;

use crate::{
    container::{Cgroup, Container, Engine, Neighbour, locate},
    host::interfaces,
    policy::{Cidr, Target},
    resolve::{resolve, servers},
};

/// A server is asked again after so long at least, and at most, whatever it says.
const SOONEST: Duration = Duration::from_secs(30);
const LATEST: Duration = Duration::from_secs(300);

/// All servers together are waited for so long, whatever they have for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// When each name of each seal is to be asked for again.
#[derive(Debug, Default)]
pub(crate) struct Asked(HashMap<(SealNumber, String), Instant>);

impl Asked {
    pub(crate) fn is_due(&self, seal: SealNumber, target: &Target) -> bool {
        let next = self.0.get(&(seal, target.to_string()));
        next.is_none_or(|next| *next <= Instant::now())
    }

    /// After it was asked for, with the seconds that its server would have it kept.
    /// `hold`: how long its addresses hold; it is asked for often enough to renew them.
    pub(crate) fn note(
        &mut self,
        seal: SealNumber,
        target: &Target,
        ttl: Option<u32>,
        hold: Option<Duration>,
    ) {
        if let Some(ttl) = ttl {
            let after = Duration::from_secs(ttl.into()).clamp(SOONEST, LATEST);
            let after = hold.map_or(after, |hold| after.min(hold / 3));
            self.0
                .insert((seal, target.to_string()), Instant::now() + after);
        }
        // Of seals that are gone, too.
        self.0.retain(|_, next| Instant::now() < *next + LATEST);
    }
}

/// What was seen of a name.
pub(crate) enum Seen {
    /// These have it, each with the cgroup that it had when it was looked at.
    Neighbours(Vec<(Neighbour, Option<Cgroup>)>),
    /// No neighbour has it: why, in words.
    Nobody(String),
    /// Its server's answer; `None`: it was not time to ask.
    Answer(Option<Vec<IpAddr>>),
    /// No answer: why, in words.
    NoAnswer(String),
}

/// What was seen, and the seconds to keep it if a server was asked.
pub(crate) type Look = (Target, (Seen, Option<u32>));

/// Looks for it; a server is asked only if that is due.
///
/// # Errors
/// If the engine does not answer.
pub(crate) async fn look(
    engine: &Engine,
    root: &Path,
    container: &Container,
    target: Target,
    due: bool,
) -> Result<Look> {
    let seen = match &target {
        Target::Container(name) => match engine.neighbours_called(container, name).await? {
            Ok(neighbours) => {
                // At once: one that restarts leaves its address, and has another cgroup then.
                let with = |neighbour: Neighbour| {
                    let cgroup = cgroup_of(root, &neighbour.container);
                    (neighbour, cgroup)
                };
                let neighbours = neighbours.into_iter().map(with).collect();
                (Seen::Neighbours(neighbours), None)
            }
            Err(absent) => (Seen::Nobody(absent.told(name)), None),
        },
        Target::Name(name) if due => {
            let host = container.inspect.host_config.as_ref();
            let given = host.and_then(|host| host.dns.clone()).unwrap_or_default();
            match timeout(PATIENCE, resolve(name, &servers(&given))).await {
                Ok(Ok(found)) => (Seen::Answer(Some(found.addresses)), Some(found.ttl)),
                Ok(Err(why)) => (Seen::NoAnswer(why), Some(0)),
                Err(_late) => (Seen::NoAnswer("its servers take too long".into()), Some(0)),
            }
        }
        Target::Name(_) | Target::Net(_) => (Seen::Answer(None), None),
    };
    Ok((target, seen))
}

/// The cgroup of the very process that the engine named; `None` once it has ended.
fn cgroup_of(root: &Path, container: &Container) -> Option<Cgroup> {
    locate(root, &container.id, container.pid?).ok()
}

/// Networks of this host and of a container, which no name leads to.
pub(crate) fn own_networks(container: &Container) -> Vec<Cidr> {
    let own = interfaces::addresses();
    if own.is_empty() {
        // They could not be read, as every host has some: then every address may be own.
        return vec![Cidr::ANY4, Cidr::ANY6];
    }
    let own = own.into_iter();
    let mut networks: Vec<_> = own
        .filter_map(|(addr, len)| Cidr::around(addr, len))
        .collect();
    networks.extend(container.prefixes().into_iter().map(|(_, net)| net));
    networks
}
