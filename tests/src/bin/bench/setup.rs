//! What stands between a container and the world: nothing, a seal, or what people use instead.

use std::net::Ipv4Addr;

use airgap_tests::airgap::seal;
use airgap_tests::allow::Allowing;
use airgap_tests::firewall::{Firewall, TABLE_PREFIX};
use airgap_tests::{Container, airgap_ok, cmd};

use super::figure::Figure;

/// A set-up of one container; lifted when dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    Unsealed,
    Sealed,
    /// Another container is sealed, this one is not.
    Bystander,
    /// Programs that do nothing, where the gate's are.
    Allowing,
    /// `DOCKER-USER`: drop what is no reply.
    Iptables,
    /// The same by an nftables chain.
    Nftables,
}

/// In the order of each round; the first is the base of comparison.
pub(crate) const ALL: [Setup; 6] = [
    Setup::Unsealed,
    Setup::Sealed,
    Setup::Bystander,
    Setup::Allowing,
    Setup::Iptables,
    Setup::Nftables,
];

/// Requests a second. By the clock these swing by more than a seal costs: limits are for what is
/// counted (`cargo xtask bench --exact`).
pub(crate) fn requests(name: &str) -> Figure {
    Figure::new(name, "1/s", true)
}

impl Setup {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unsealed => "unsealed",
            Self::Sealed => "sealed",
            Self::Bystander => "bystander",
            Self::Allowing => "allowing",
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }

    /// Makes it so for `container`; `other` is another one that runs.
    pub(crate) fn raise(self, container: &Container, other: &Container) -> Raised {
        let sealed = |container: &Container| {
            seal(&container.name, &["-p", "5060", "-p", "5061"]);
            Raised::Seal(container.name.clone())
        };
        match self {
            Self::Unsealed => Raised::Nothing,
            Self::Sealed => sealed(container),
            Self::Bystander => sealed(other),
            Self::Allowing => Raised::Programs {
                _allowing: Allowing::start(),
            },
            Self::Iptables => Raised::Iptables {
                _rule: Firewall::replies_only(container.plan(), container.ip4()),
            },
            Self::Nftables => nftables(container.ip4()),
        }
    }
}

/// What stands, until dropped.
pub(crate) enum Raised {
    Nothing,
    /// The container's name.
    Seal(String),
    Programs {
        _allowing: Allowing,
    },
    Iptables {
        _rule: Firewall,
    },
    /// Its name.
    Table(String),
}

fn nftables(container: Ipv4Addr) -> Raised {
    let table = format!("{TABLE_PREFIX}{}", std::process::id());
    for line in [
        format!("add table inet {table}"),
        format!("add chain inet {table} forward {{ type filter hook forward priority -1; }}"),
        format!("add rule inet {table} forward ip saddr {container} ct state != established drop"),
    ] {
        cmd::run("nft", &[line]).expect_code(0);
    }
    Raised::Table(table)
}

impl Drop for Raised {
    fn drop(&mut self) {
        match self {
            Self::Seal(name) => drop(airgap_ok(&["detach", name])),
            Self::Table(table) => {
                cmd::attempt(&format!("nft delete table inet {table}"));
            }
            Self::Nothing | Self::Programs { .. } | Self::Iptables { .. } => {}
        }
    }
}
