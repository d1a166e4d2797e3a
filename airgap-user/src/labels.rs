//! What a container's labels ask for. Pure.

use std::{collections::HashMap, str::FromStr};

use crate::{
    policy::{Cidr, Port, Rules},
    preflight::Risk,
};

/// What labels ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the container is not to be sealed.
    Nothing,
    /// To be sealed.
    Seal {
        /// What it may do.
        rules: Rules,
        /// Risks that the label accepts.
        accept: Vec<Risk>,
        /// Labels that mean nothing. What they would have allowed is denied.
        wrong: Vec<String>,
    },
}

/// Reads `airgap.seal`, `airgap.ports`, `airgap.from` and `airgap.accept`.
///
/// Whatever is written wrong allows nothing: a typing error in a label must not
/// leave a container open.
pub fn read(labels: &HashMap<String, String>) -> Asked {
    let get = |name: &str| labels.get(&format!("airgap.{name}")).map(String::as_str);
    match get("seal").map(str::trim) {
        None | Some("false" | "0" | "no" | "off") => return Asked::Nothing,
        Some(_) => {}
    }
    let mut wrong = Vec::new();
    for (label, value) in labels {
        match label.strip_prefix("airgap.") {
            None | Some("ports" | "from" | "accept") => {}
            Some("seal") if value.trim() == "true" => {}
            Some("seal") => wrong.push(format!("{label}={value}: write true or false")),
            Some(_) => wrong.push(format!("{label}: there is no such label")),
        }
    }
    let ports = list::<Port>("ports", get("ports"), &mut wrong);
    let clients = list::<Cidr>("from", get("from"), &mut wrong);
    let accept = list::<Risk>("accept", get("accept"), &mut wrong).unwrap_or_default();
    let nothing = Rules {
        ports: Vec::new(),
        clients: Vec::new(),
    };
    let rules = match (ports, clients) {
        (Some(ports), Some(clients)) => Rules::new(ports, clients).unwrap_or_else(|error| {
            wrong.push(format!("airgap.ports: {error}"));
            nothing
        }),
        _ => nothing,
    };
    wrong.sort_unstable();
    Asked::Seal {
        rules,
        accept,
        wrong,
    }
}

/// Values between commas; empty without the label, `None` if one is wrong.
fn list<T: FromStr<Err = String>>(
    name: &str,
    text: Option<&str>,
    wrong: &mut Vec<String>,
) -> Option<Vec<T>> {
    let Some(text) = text else {
        return Some(Vec::new());
    };
    let parsed: Result<Vec<T>, String> = text.split(',').map(|part| part.trim().parse()).collect();
    parsed
        .map_err(|error| wrong.push(format!("airgap.{name}: {error}")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{Asked, read};
    use crate::{policy::Port, preflight::Risk};
    use std::collections::HashMap;

    fn asked(labels: &[(&str, &str)]) -> Asked {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        read(&labels.collect::<HashMap<_, _>>())
    }

    #[test]
    fn reads_what_is_asked_for() {
        assert_eq!(asked(&[("x", "y"), ("airgap.ports", "80")]), Asked::Nothing);
        assert_eq!(asked(&[("airgap.seal", "false")]), Asked::Nothing);
        let Asked::Seal {
            rules,
            accept,
            wrong,
        } = asked(&[
            ("airgap.seal", "true"),
            ("airgap.ports", "5060/tcp, 80"),
            ("airgap.from", "10.0.0.0/8,::1"),
            ("airgap.accept", "log-driver"),
        ])
        else {
            panic!("not to be sealed");
        };
        assert_eq!(rules.ports, [Port(80), Port(5060)]);
        assert_eq!((rules.clients.len(), wrong.len()), (2, 0));
        assert_eq!(accept, [Risk::LogDriver]);
        let Asked::Seal { rules, .. } = asked(&[("airgap.seal", "true")]) else {
            panic!("not to be sealed");
        };
        assert_eq!(rules.ports, [Port(5060)]);
    }

    #[test]
    fn a_mistake_never_leaves_it_open() {
        for (label, value) in [
            ("airgap.ports", "http"),
            ("airgap.ports", ""),
            ("airgap.ports", "5060/udp"),
            ("airgap.from", "10.0.0.1/8"),
            ("airgap.from", ""),
        ] {
            let Asked::Seal { rules, wrong, .. } =
                asked(&[("airgap.seal", "true"), (label, value)])
            else {
                panic!("open by {label}={value}");
            };
            assert!(
                rules.ports.is_empty() && wrong.len() == 1,
                "{label}={value}"
            );
        }
        for value in ["", "yes", "True", "flase"] {
            assert!(
                matches!(asked(&[("airgap.seal", value)]), Asked::Seal { .. }),
                "{value}"
            );
        }
        let Asked::Seal { wrong, .. } = asked(&[("airgap.seal", "true"), ("airgap.port", "80")])
        else {
            panic!("open");
        };
        assert_eq!(wrong.len(), 1);
    }
}
