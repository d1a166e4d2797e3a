//! What an attempt was aimed at, as two reports can be compared by it.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    events::Denial,
    notation::{endpoint, family, socket_type, transport},
};

/// What an attempt was aimed at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Target {
    /// A name that was to be looked up, in lower case, without a last dot.
    Name {
        /// The name.
        name: String,
    },
    /// An address.
    Address {
        /// Address.
        ip: IpAddr,
        /// Port; 0: the protocol has none.
        port: u16,
        /// `tcp`, `udp`, …, `ip-N`; `None`: not known.
        transport: Option<String>,
    },
    /// A unix socket outside.
    Unix {
        /// Its path; `@` begins an abstract one, empty: it has no name.
        path: String,
    },
    /// Nowhere yet: the socket itself was refused.
    Socket {
        /// `packet`, `vsock`, …
        family: String,
        /// `raw`, `stream`, …
        r#type: String,
    },
    /// The kernel did not tell.
    Unknown,
}

impl Target {
    /// Of a refused attempt.
    pub(super) fn of(denial: &Denial) -> Self {
        if let Some((name, _)) = &denial.question {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            return Self::Name { name };
        }
        if let Some(path) = &denial.unix_peer {
            return Self::Unix { path: path.clone() };
        }
        match (denial.destination, denial.socket) {
            (Some(at), _) => Self::address(at, denial.protocol),
            (None, Some((number, kind))) => Self::Socket {
                family: family(number),
                r#type: socket_type(kind),
            },
            (None, None) => Self::Unknown,
        }
    }

    /// Of an address and an IP protocol number.
    pub(super) fn address((ip, port): (IpAddr, u16), protocol: Option<u8>) -> Self {
        let name = |p| transport(p).map_or_else(|| format!("ip-{p}"), str::to_owned);
        Self::Address {
            ip,
            port,
            transport: protocol.map(name),
        }
    }

    /// The name or the address; `None`: it is on no other host.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Name { name } => Some(name.clone()),
            Self::Address { ip, .. } => Some(ip.to_string()),
            _ => None,
        }
    }
}

/// Not escaped.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name } => write!(f, "name {name}"),
            Self::Address {
                ip,
                port,
                transport,
            } => {
                let transport = transport.as_deref().unwrap_or("packet");
                write!(f, "{transport} {}", endpoint((*ip, *port)))
            }
            Self::Unix { path } if path.is_empty() => f.write_str("unix (no name)"),
            Self::Unix { path } => write!(f, "unix {path}"),
            Self::Socket {
                family,
                r#type: kind,
            } => write!(f, "socket {family}/{kind}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_name_whatever_server_is_asked() {
        let denial = Denial {
            question: Some(("Phone.Example.".into(), "A".into())),
            ..Denial::example()
        };
        let target = Target::of(&denial);
        assert_eq!(target.to_string(), "name phone.example");
        assert_eq!(target.host().as_deref(), Some("phone.example"));
    }

    #[test]
    fn every_kind_has_words() {
        let with = |change: fn(&mut Denial)| {
            let mut denial = Denial::example();
            change(&mut denial);
            Target::of(&denial).to_string()
        };
        assert_eq!(with(|_| {}), "tcp 198.51.100.7:443");
        assert_eq!(
            with(|d| (d.destination, d.protocol) = (Some(([198, 51, 100, 7].into(), 0)), Some(99))),
            "ip-99 198.51.100.7"
        );
        assert_eq!(with(|d| d.unix_peer = Some("@x".into())), "unix @x");
        assert_eq!(
            with(|d| (d.destination, d.socket) = (None, Some((17, 3)))),
            "socket packet/raw"
        );
        assert_eq!(with(|d| d.destination = None), "unknown");
    }

    #[test]
    fn json_gives_the_same_target_back() {
        for target in [
            Target::address(("2001:db8::1".parse().unwrap(), 443), Some(6)),
            Target::Name {
                name: "a\"b".into(),
            },
            Target::Unknown,
        ] {
            let text = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<Target>(&text).unwrap(), target);
        }
    }
}
