//! Who seals again what was detached: `airgap watch` by labels or policy files, and the OCI
//! hook by an annotation.

use std::path::Path;

use crate::{
    config::{Ceilings, Config, Policies},
    container::{Container, Engine, Engines, Hosts},
    host::{
        alone::{Alone, Other},
        units,
    },
    labels::asks,
    notation::escape,
    seal::attach::written::{AskedFor, asked},
};

/// Whether `airgap watch` is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// Now, as this process.
    Runs(Other),
    /// From the next boot on, or when it is started.
    Enabled,
    Absent,
}

/// Says it of each of these containers of which it is so. What an engine does not answer is
/// left out: nothing depends on it.
pub(super) async fn tell(hosts: &Hosts, config: &Config, ids: &[String]) {
    let root = Path::new("/");
    let enabled = units::is_wanted(root, units::WATCH_NAME);
    let hook = units::has_hook(root);
    let runs = |host: &str| Alone::other("watch", socket(host));
    if ids.is_empty() || !enabled && !hook && !hosts.all().iter().any(|host| runs(host).is_some()) {
        return;
    }
    let engines = Engines::connect(hosts).await;
    for id in ids {
        let Some((engine, container)) = engines.by_id(id).await else {
            continue;
        };
        let watch = match runs(engine.host()) {
            Some(other) => Watch::Runs(other),
            None if enabled => Watch::Enabled,
            None => Watch::Absent,
        };
        let written = match watch {
            Watch::Absent => None,
            _ => by_watch(config, engine, &container).await,
        };
        let name = escape(&container.name);
        if let Some(asked) = written {
            log::warn!("{name}: {}", words(&asked.place, asked.by_file, watch));
        } else if hook && container.annotations().is_some_and(asks) {
            log::warn!(
                "{name}: its annotation asks for a seal, and airgap hook seals it at its next start, with no service port; to stop that, make it anew without the annotation airgap.seal"
            );
        }
    }
}

fn socket(host: &str) -> &Path {
    Path::new(host.strip_prefix("unix://").unwrap_or(host))
}

async fn by_watch(config: &Config, engine: &Engine, container: &Container) -> Option<AskedFor> {
    // While a file is wrong, watch goes by what was written before: the labels are known.
    let policies = Policies::read(config).unwrap_or_default();
    let limits = (&config.limits(&[]), &Ceilings::read(config));
    asked(&policies, limits, engine, container).await
}

/// Pure.
fn words(place: &str, by_file: bool, watch: Watch) -> String {
    let when = match watch {
        Watch::Runs(other) => {
            format!("airgap watch ({other}) seals it again within a minute, or when it starts")
        }
        _ => "airgap watch, which does not run now, seals it again when it does".to_owned(),
    };
    let stop = match by_file {
        true => "take it out of the file",
        false => "make it anew without the label airgap.seal",
    };
    format!(
        "{} asks for a seal, and {when}; to stop that, {stop}, or stop watch for all (systemctl disable --now {})",
        escape(place),
        units::WATCH_NAME
    )
}

#[cfg(test)]
mod tests {
    use super::{Other, Watch, words};

    #[test]
    fn who_seals_it_again_and_how_to_stop_that() {
        let runs = Watch::Runs(Other { pid: Some(7) });
        let label = words("its label", false, runs);
        for part in [
            "its label asks for a seal, and airgap watch (pid 7) seals it again within a minute",
            "make it anew without the label airgap.seal",
            "systemctl disable --now airgap-watch.service",
        ] {
            assert!(label.contains(part), "{part}: {label}");
        }
        let file = words("/etc/airgap/policy.d/web.toml:1", true, Watch::Enabled);
        for part in ["does not run now", "take it out of the file"] {
            assert!(file.contains(part), "{part}: {file}");
        }
    }
}
