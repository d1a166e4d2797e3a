//! Numbering attempts, so that no trace of one is taken for another's.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    ops::Range,
};

use super::{
    observe::Trace,
    target::{DEVICE, TARGET_MAC, Target, V6},
};
use crate::technique::{TABLE, Way};

/// Ports of attempts, below those that kernels give out.
pub(super) const PORTS: Range<u16> = 20_000..22_000;
const HALF: u16 = 1_000;
/// One for each way, and one to close with.
const MOST: u16 = TABLE.len() as u16 + 1;
const _: () = assert!(MOST <= HALF);

/// Ports of controls, which the target listens on.
pub(super) const CONTROLS: Range<u16> = PORTS.start..PORTS.start + MOST;

/// A run's numbers.
pub(super) struct Numbers {
    /// Tells this run's markers from any other's.
    salt: u16,
}

impl Numbers {
    pub(super) fn draw() -> Self {
        let salt = RandomState::new().build_hasher().finish() as u16;
        Self { salt }
    }

    fn trace(&self, port: u16) -> Trace {
        // At most 12 bytes: as much as a multicast group can carry.
        let marker = format!("ag{port}x{:04x}", self.salt);
        Trace { port, marker }
    }

    /// Of the control of the way at this place of the table.
    pub(super) fn control(&self, at: usize) -> Trace {
        self.trace(PORTS.start + at as u16)
    }

    /// Of the control that closes a run.
    pub(super) fn closing(&self) -> Trace {
        self.trace(CONTROLS.end - 1)
    }

    /// Of the sealed attempt.
    pub(super) fn sealed(&self, at: usize) -> Trace {
        self.trace(PORTS.start + HALF + at as u16)
    }
}

/// What a probe is told; [`crate::technique::target::Target::parse`] reads it.
pub(super) fn line(way: &Way, trace: &Trace, target: &Target, service: u16) -> String {
    let mac: Vec<_> = TARGET_MAC.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{} --v4 {v4} --v6 {V6} --gateway {v4} --gateway-mac {} --device {DEVICE} --port {} \
         --marker {} --service {service} --listener {}",
        way.name,
        mac.join(":"),
        trace.port,
        trace.marker,
        target.guest.port,
        v4 = target.v4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_attempts_share_a_number() {
        let numbers = Numbers { salt: 0xbeef };
        let mut ports: Vec<_> = (0..TABLE.len())
            .flat_map(|at| [numbers.control(at).port, numbers.sealed(at).port])
            .chain([numbers.closing().port])
            .collect();
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
        assert!(ports.iter().all(|port| PORTS.contains(port)));
        assert_eq!(numbers.sealed(3).marker.len(), 12);
    }
}
