//! What is known before anything is tried.

use std::fs;

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use crate::{
    container::interfaces,
    failure::Failure,
    gate::Gate,
    host::{netns::Netns, procfs},
    technique::{Reach, Way, target::SERVICE_PORT},
};

use super::subject::Subject;

const RESOLVER: &str = "unsealed, Docker's resolver would ask a real server; \
    the stranger-* ways take the same path to a listener of airgap's own";

/// Of what shares the host's network, only security hooks stop frames.
const NO_VETH: &str =
    "no security hook refused it, and in the host's network no frame program stands in the way";

/// What is known before anything is tried.
pub(super) struct Facts {
    pub(super) net_raw: bool,
    /// Why frames that get to some interface are not stopped there.
    pub(super) unguarded: Option<String>,
    /// lo has an IPv6 address.
    loopback6: bool,
    /// What comes in on lo may be forwarded.
    forwards: bool,
    /// For the target's port: in use by no interface of the host.
    pub(super) index: u32,
    /// A service port of the seal.
    pub(super) service: u16,
    /// A UDP service port, if it has any.
    pub(super) datagrams: u16,
}

impl Facts {
    /// `network`: what is tried from.
    pub(super) fn gather(
        gate: &Gate,
        number: SealNumber,
        subject: &Subject,
        network: &Netns,
    ) -> Result<Self> {
        let unguarded = match subject.is_own_network() {
            true => {
                let theirs = fs::read_link(format!("/proc/{}/ns/net", subject.pid))
                    .context("the container ended")?;
                if fs::read_link("/proc/self/ns/net").ok() == Some(theirs) {
                    let hint = "give the container a network of its own";
                    return Err(Failure::new("the container has the host's network", hint).into());
                }
                let guards = gate.frame_guards(number, interfaces([network])?);
                guards.into_iter().find_map(|guard| guard.missing)
            }
            false => Some(NO_VETH.to_owned()),
        };
        let (loopback6, forwards) = network.run(|| {
            let read = |path: &str| procfs::text(path).unwrap_or_default();
            let addresses = read("/proc/thread-self/net/if_inet6");
            let forwarding = read("/proc/sys/net/ipv4/conf/lo/forwarding");
            let loopback6 = addresses.lines().any(|line| line.ends_with(" lo"));
            Ok((loopback6, forwarding.trim() == "1"))
        })?;
        let (policy, _) = gate.state(number).context("the seal has no policy")?;
        let service = match (policy.tcp[0].first, policy.udp[0].first) {
            // It need not serve: then this port is like any other.
            (0, 0) => SERVICE_PORT,
            (0, port) | (port, _) => port,
        };
        Ok(Self {
            net_raw: subject.has_net_raw()?,
            unguarded,
            loopback6,
            forwards,
            index: free_index(),
            service,
            datagrams: match policy.udp[0].first {
                0 => service,
                port => port,
            },
        })
    }

    /// Why a way must not or cannot be tried here, by what is known of it.
    pub(super) fn rules_out(&self, way: &Way) -> Option<&'static str> {
        if way.reach == Reach::Resolver {
            return Some(RESOLVER);
        }
        if way.is_over_loopback6() && !self.loopback6 {
            return Some("the container's lo has no IPv6");
        }
        (way.name == "packet-lo-forward" && !self.forwards)
            .then_some("the container's kernel forwards nothing from lo")
    }
}

/// High above what a host ever counts to, and not there.
fn free_index() -> u32 {
    let base = 0x7000_0000 + (std::process::id() << 4) % 0x0fff_0000;
    let used = |index: &u32| {
        let mut name = [0; libc::IF_NAMESIZE];
        // SAFETY: the buffer is as long as the call wants.
        !unsafe { libc::if_indextoname(*index, name.as_mut_ptr()) }.is_null()
    };
    (base..).find(|index| !used(index)).unwrap_or(base)
}
