//! Who an exception leads to. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use airgap_common::map::TARGET_LEN;

use super::Hold;
use crate::policy::Cidr;

/// Before the name of a container.
pub(super) const CONTAINER: &str = "container:";
/// Longest name of a host, bytes, and of one label of it (RFC 1035 §2.3.4).
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;
/// Last labels of names that no public server knows (RFC 6761, 6762, 8375, 9476).
const LOCAL: [&str; 9] = [
    "local",
    "localhost",
    "internal",
    "lan",
    "home",
    "corp",
    "onion",
    "alt",
    "arpa",
];

/// Who an exception leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whoever has these addresses.
    Net(Cidr),
    /// A neighbour: the container of this name, or what is called so on a network that
    /// both share.
    Container(String),
    /// Whoever has the addresses of this name, by DNS: in small letters, without a dot at
    /// its end.
    Name(String),
}

impl Target {
    /// The addresses, where they are what was written.
    pub const fn net(&self) -> Option<Cidr> {
        match self {
            Self::Net(net) => Some(*net),
            Self::Container(_) | Self::Name(_) => None,
        }
    }

    /// The name, where one was written.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Net(_) => None,
            Self::Container(name) | Self::Name(name) => Some(name),
        }
    }

    /// How long an address holds that was found for it, unless somebody says otherwise.
    pub(super) fn hold(&self) -> Option<Hold> {
        match self {
            Self::Net(_) => None,
            Self::Container(_) => Some(Hold::NEIGHBOUR),
            Self::Name(_) => Some(Hold::NAME),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix(CONTAINER) {
            return container(name).map(Self::Container);
        }
        match text.parse() {
            Ok(net) => Ok(Self::Net(net)),
            Err(_) if is_name(text) => host(text).map(Self::Name),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "{CONTAINER}{name}"),
            Self::Name(name) => f.write_str(name),
            Self::Net(net) => {
                let (single, v6) = match net.addr {
                    IpAddr::V4(_) => (net.len == 32, false),
                    IpAddr::V6(_) => (net.len == 128, true),
                };
                let net = match single {
                    true => net.addr.to_string(),
                    false => net.to_string(),
                };
                match v6 {
                    false => f.write_str(&net),
                    true => write!(f, "[{net}]"),
                }
            }
        }
    }
}

/// The name of a container, as engines take it.
fn container(name: &str) -> Result<String, String> {
    const MOST: usize = TARGET_LEN - 1 - CONTAINER.len();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return match name.len() <= MOST {
            true => Ok(name.to_owned()),
            false => Err(format!(
                "'{name}' has {} bytes, and no name of a container here has more than {MOST}",
                name.len()
            )),
        };
    }
    Err(format!(
        "'{name}' is no name of a container; write {CONTAINER}NAME:PORT, such as {CONTAINER}db:5432"
    ))
}

/// Whether it looks like a name of a host rather than a bad address.
fn is_name(target: &str) -> bool {
    let last = target.rsplit('.').find(|label| !label.is_empty());
    target
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || !c.is_ascii() || matches!(c, '.' | '-' | '_' | '*'))
        && last.is_some_and(|label| label.chars().any(char::is_alphabetic))
}

/// The name of a host, as it is compared.
fn host(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.contains('*') {
        return Err(format!(
            "'{text}' is a wildcard: every label of a question is a message to whoever has that domain, so the container would need a DNS server; name each host that is meant, or its addresses as a CIDR"
        ));
    }
    if !name.is_ascii() {
        // Not taken as it is: letters that look alike are other names, and this form tells.
        let form = idna::domain_to_ascii(&name).ok();
        let form = form.filter(|form| form.is_ascii() && host(form).is_ok());
        let form = form.map_or_else(
            || "with xn-- before each such label".to_owned(),
            |form| format!("{form}, if that is the one that is meant"),
        );
        return Err(format!(
            "'{text}' has letters beyond ASCII; write the name as DNS has it: {form}"
        ));
    }
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    if LOCAL.contains(&last) {
        return Err(format!(
            "'{text}' is a name of this host or its network alone: give the address, or container:NAME for a neighbour"
        ));
    }
    if labels.len() < 2 {
        return Err(format!(
            "'{text}' is a single word, and no name of a host on the Internet: for a neighbour write {CONTAINER}{text}, and else the address"
        ));
    }
    let fine = |label: &&str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.chars().all(letters)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > LONGEST || !labels.iter().all(fine) || last.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(format!(
            "'{text}' is no name of a host: labels of letters, digits and - between dots, {LONGEST_LABEL} at most each, {LONGEST} in all"
        ));
    }
    Ok(name)
}
