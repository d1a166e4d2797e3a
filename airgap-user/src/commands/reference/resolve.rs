//! What a reference stands for, by what the engine says and what is known. Pure.

use super::{Known, Listed, Presence, Says, begins, short};
use crate::{
    failure::{Failure, exit},
    notation::{near, shell_word},
    state::UNKNOWN,
};

/// Id and presence of what a reference stands for. Pure.
///
/// # Errors
/// If nothing is sealed by that name, several are, or the seal of that name is
/// another container's.
pub(super) fn resolve(
    reference: &str,
    says: &Says,
    listed: &[Listed],
    known: &[Known],
) -> Result<(String, Presence), Failure> {
    let silent = matches!(says, Says::Silent);
    let presence = |known: &Known| match listed.iter().find(|(id, _)| *id == known.id) {
        Some((_, name)) => Presence::There(name.clone()),
        None if silent || known.elsewhere.is_some() => Presence::NotKnown,
        None => Presence::Gone,
    };
    let found = |known: &Known| Ok((known.id.clone(), presence(known)));
    if let Some(exact) = known.iter().find(|k| k.id == reference) {
        return found(exact);
    }
    let named: Vec<&Known> = known.iter().filter(|k| k.name == reference).collect();
    let begun: Vec<&Known> = known.iter().filter(|k| begins(&k.id, reference)).collect();
    match says {
        Says::Several(count) => Err(Failure::new(
            format!("'{reference}' is the beginning of {count} container ids"),
            "name one by more of its id, or by its name",
        )),
        Says::Each(ids) => {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Err(several(reference, &ids))
        }
        Says::Container { id, name } => {
            let others = begun.iter().filter(|k| k.id != *id);
            if name != reference && id.starts_with(reference) && others.count() > 0 {
                let mut all: Vec<&str> = begun.iter().map(|k| &*k.id).collect();
                if !all.contains(&&**id) {
                    all.push(id);
                }
                return Err(several(reference, &all));
            }
            match (known.iter().find(|k| k.id == *id), named.as_slice()) {
                (Some(sealed), _) => Ok((sealed.id.clone(), Presence::There(name.clone()))),
                (None, []) => Err(not_sealed(reference, listed, known)),
                (None, [other, ..]) => Err(Failure::new(
                    format!(
                        "the container called '{reference}' now ({}) is not sealed; the seal recorded under that name is of {}, {}",
                        short(id),
                        short(&other.id),
                        whereabouts(&presence(other), other)
                    ),
                    format!(
                        "airgap attach{} {} seals it{}; name the other by its id",
                        other.options,
                        short(id),
                        if other.options.is_empty() { "" } else { " as that one was" }
                    ),
                )
                .with_code(exit::NOT_SEALED)),
            }
        }
        Says::Nothing | Says::Silent => {
            let meant = if named.is_empty() { begun } else { named };
            match meant.as_slice() {
                [] => Err(unknown(reference, says, listed, known)),
                [one] => match presence(one) {
                    Presence::There(name) => Err(Failure::new(
                        format!(
                            "no container is called '{reference}' now; the seal recorded under that name is of {}, called '{name}' now",
                            short(&one.id)
                        ),
                        format!("name it so: {name}"),
                    )
                    .with_code(exit::NOT_SEALED)),
                    _ => found(one),
                },
                many => {
                    let ids: Vec<&str> = many.iter().map(|k| &*k.id).collect();
                    Err(several(reference, &ids))
                }
            }
        }
    }
}

fn whereabouts(presence: &Presence, known: &Known) -> String {
    match (presence, &known.elsewhere) {
        (Presence::There(name), _) => format!("called '{name}' now"),
        (Presence::Gone, _) => "which is gone".into(),
        (Presence::NotKnown, Some(other)) => format!("of the engine at {other}"),
        (Presence::NotKnown, None) => "of which nothing is known".into(),
    }
}

fn several(reference: &str, ids: &[&str]) -> Failure {
    Failure::new(
        format!("'{reference}' stands for {} seals or containers", ids.len()),
        format!("name one by its id: {}", ids.join(", ")),
    )
}

/// Of a container that there is.
fn not_sealed(reference: &str, listed: &[Listed], known: &[Known]) -> Failure {
    let seals = format!("airgap attach {} seals it", shell_word(reference));
    let hint = match sealed(listed, known) {
        names if names.is_empty() => seals,
        names => format!("{seals}; sealed containers: {}", names.join(", ")),
    };
    Failure::new(format!("the container '{reference}' is not sealed"), hint)
        .with_code(exit::NOT_SEALED)
}

/// Of what is neither a container nor recorded, as far as that can be known.
fn unknown(reference: &str, says: &Says, listed: &[Listed], known: &[Known]) -> Failure {
    let sealed = sealed(listed, known);
    let (what, hint) = match says {
        Says::Silent => (
            format!("'{reference}' is not sealed"),
            match sealed.is_empty() {
                true => "no container is sealed on this host".to_owned(),
                false => format!("sealed containers: {}", sealed.join(", ")),
            },
        ),
        _ => {
            let others = listed.iter().map(|(_, name)| name.clone());
            let names = sealed.iter().cloned();
            let mut names: Vec<_> = names.chain(others).collect();
            names.sort_unstable();
            names.dedup();
            let told = near(reference, names).into_iter();
            let told = told.map(|name| match sealed.contains(&name) {
                true => format!("{name} (sealed)"),
                false => name,
            });
            let told: Vec<_> = told.collect();
            (
                format!("there is no container '{reference}', and no seal of that name"),
                match told.is_empty() {
                    true => "there is no container, and nothing is sealed on this host".to_owned(),
                    false => format!("there are {}", told.join(", ")),
                },
            )
        }
    };
    Failure::new(what, hint).with_code(exit::NOT_SEALED)
}

/// What is sealed, as it is called now.
fn sealed(listed: &[Listed], known: &[Known]) -> Vec<String> {
    let name = |known: &Known| {
        let now = listed.iter().find(|(id, _)| *id == known.id);
        match now.map_or(&*known.name, |(_, name)| name) {
            UNKNOWN => known.id.clone(),
            name => name.to_owned(),
        }
    };
    known.iter().map(name).collect()
}
