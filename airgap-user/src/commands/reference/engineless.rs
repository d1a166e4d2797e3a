//! What no engine knows: commands, units, cgroups and pods of Kubernetes.

use anyhow::Result;

use super::Known;
use crate::{
    command::{PREFIX, is_command},
    failure::Failure,
    host::systemd::{self, PREFIX as UNIT},
    pod,
    subtree::{self, id_of, is_subtree},
};

/// Whether this is an id of which no engine knows anything.
pub(in crate::commands) fn is_engineless(id: &str) -> bool {
    is_command(id) || is_subtree(id) || pod::is_pod(id)
}

/// Whether no engine has to be asked what this stands for: a name that no container can have,
/// or a whole id of what is none.
pub(in crate::commands) fn is_engineless_name(reference: &str) -> bool {
    let kinds = [PREFIX, subtree::PREFIX, UNIT];
    kinds.iter().any(|kind| reference.starts_with(kind))
        || pod::is_name(reference)
        || is_engineless(reference)
}

/// Refuses a command, a unit, a cgroup or a pod where only a container will do.
///
/// # Errors
/// If the reference is such a name.
pub(in crate::commands) fn refuse_engineless(reference: &str) -> Result<()> {
    if let Some(path) = reference.strip_prefix(subtree::PREFIX) {
        let what = format!("'{reference}' is a cgroup, and no container");
        return Err(Failure::new(what, format!("airgap attach --cgroup {path}")).into());
    }
    if let Some(unit) = reference.strip_prefix(UNIT) {
        let what = format!("'{reference}' is a unit, and no container");
        return Err(Failure::new(what, format!("airgap attach --unit {unit}")).into());
    }
    refuse_pod(reference)?;
    refuse_command(reference)
}

/// Refuses a pod of Kubernetes: what it may do is in its manifest.
///
/// # Errors
/// If the reference is one's name or id.
pub(in crate::commands) fn refuse_pod(reference: &str) -> Result<()> {
    if !pod::is_name(reference) && !pod::is_pod(reference) {
        return Ok(());
    }
    let what = format!("'{reference}' is a pod, and what it may do is in its manifest");
    let hint = "annotations airgap.dev/seal, /ports, /from, /to, /accept; airgap nri reads them when it starts";
    Err(Failure::new(what, hint).into())
}

/// Refuses a command: what it may do is said when it is started.
///
/// # Errors
/// If the reference is one's name or id.
pub(in crate::commands) fn refuse_command(reference: &str) -> Result<()> {
    if !reference.starts_with(PREFIX) && !is_command(reference) {
        return Ok(());
    }
    let what = format!("'{reference}' is a command, and what it may do is as it was started");
    Err(Failure::new(what, "end it, and run it again: airgap exec --help").into())
}

/// The command, the unit or the cgroup that a reference stands for: by its name, which no
/// container can have, or by its id. A unit is its cgroup's path, too; a short name is a
/// service's, or a slice's.
pub(super) fn engineless<'a>(known: &'a [Known], reference: &str) -> Option<&'a Known> {
    let mut names = vec![reference.to_owned()];
    if let Some(unit) = reference.strip_prefix(UNIT) {
        let whole = [false, true].map(|slice| systemd::whole(unit, slice).ok());
        names.extend(whole.iter().flatten().map(|name| format!("{UNIT}{name}")));
    }
    let id = reference.strip_prefix(subtree::PREFIX).map(id_of);
    let its = |name: &String| {
        known
            .iter()
            .find(|known| is_engineless(&known.id) && known.name == *name)
    };
    let by_id = || {
        let ids = [Some(reference), id.as_deref()];
        let mut all = known.iter().filter(|known| is_engineless(&known.id));
        all.find(|known| ids.contains(&Some(&known.id)))
    };
    names.iter().find_map(its).or_else(by_id)
}

/// The same where the reference is another name of a unit's.
pub(super) fn by_alias<'a>(known: &'a [Known], reference: &str) -> Option<&'a Known> {
    let unit = systemd::whole(reference.strip_prefix(UNIT)?, false).ok()?;
    let name = format!("{UNIT}{}", systemd::real_name(&unit)?);
    engineless(known, &name)
}
