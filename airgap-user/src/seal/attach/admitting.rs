//! What is judged of a container, and of what its engine was told, before anything changes.

use airgap_common::{cgroup::container_id, map::MAX_LEVEL};
use anyhow::Result;

use super::{
    before::{accepted_before, rules_before},
    refusing::{self, refuse_configured, refuse_found},
    stops::Services,
    wanted::{Site, Wanted},
};
use crate::{
    container::{Container, through_pod},
    failure::Failure,
    names::refuse_unkept,
    preflight::Risk,
};

/// Judges it; returns the risks that count as accepted. `dry`: nothing will stop.
///
/// # Errors
/// For what cannot be sealed so: with what mends it.
pub(crate) fn admit(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
    dry: bool,
) -> Result<Vec<Risk>> {
    container.key()?;
    refuse_place(container)?;
    let before = accepted_before(site.place, site.state, container)?;
    let known = rules_before(site, container)?;
    wanted.refuse_above(&container.name, known.as_ref(), before)?;
    let accept = Risk::of_set(wanted.accepted_after(before));
    let after = wanted.rules_after(known.as_ref());
    refusing::refuse_opening(&after, known.as_ref(), &container.name)?;
    refusing::refuse_forgeable(&after, &container.name)?;
    if !refusing::narrows(site, container, wanted, &accept)? {
        refuse_configured(container, &after, &accept)?;
        refuse_unkept(&wanted.rules.exits)?;
    }
    let ends = !after.audit && known.as_ref().is_some_and(|known| known.audit);
    if ends && !dry {
        // What the audit has told is gone with it: not for a seal that will not be.
        refuse_found(&site.place.cgroup, container, &after, &accept, false)?;
        log::info!(
            "{}: its audit ends, it is sealed from now on",
            container.name
        );
    }
    let services = Services::of(container);
    if !wanted.ports_named && known.is_none() {
        services.refuse_default(&container.name, &wanted.rules.ports)?;
    }
    if let Some(why) = container.ends_with_its_stop() {
        log::warn!(
            "{}: {why}, and this seal with it: its successor has another id (label it airgap.seal=true, and run airgap watch)",
            container.name
        );
    }
    // Said before it stops.
    if !dry {
        for line in services.stop(&after) {
            match after.audit {
                true => log::info!("{}: under a seal: {line}", container.name),
                false => log::warn!("{}: {line}", container.name),
            }
        }
    }
    Ok(accept)
}

/// A container that does not run yet must come up where the gate looks, and not within
/// another: two policies for one packet are none.
pub(crate) fn refuse_place(container: &Container) -> Result<()> {
    if let Some(pod) = &container.pod {
        if container.pid.is_none() && pod.path.is_none() {
            let what = format!(
                "where the cgroup of {} will be is not known",
                container.name
            );
            return Err(Failure::new(what, "start the pod, and attach then").into());
        }
        return Ok(());
    }
    let host = container.inspect.host_config.as_ref();
    let parent = host.and_then(|h| h.cgroup_parent.as_deref()).unwrap_or("");
    // Of a pod's container its shared network is what is refused.
    if let Some(outer) = parent
        .split('/')
        .find_map(container_id)
        .filter(|_| !through_pod(parent))
    {
        return Err(Failure::new(
            format!(
                "the container '{}' starts within the cgroup of another, {}",
                container.name,
                outer.get(..12).unwrap_or(outer)
            ),
            "seal only the outer container, or create this one with another --cgroup-parent",
        )
        .into());
    }
    // Each dash of a slice's name is a level (systemd.slice(5)).
    let levels = parent
        .split('/')
        .filter(|p| !p.is_empty())
        .map(|p| 1 + p.matches('-').count());
    let depth = levels.sum::<usize>() + 1;
    if container.pid.is_none() && depth > MAX_LEVEL as usize {
        return Err(Failure::new(
            format!("the container '{}' may start {depth} cgroup levels deep, airgap looks at {MAX_LEVEL}", container.name),
            "create it with a shorter --cgroup-parent",
        )
        .into());
    }
    Ok(())
}
