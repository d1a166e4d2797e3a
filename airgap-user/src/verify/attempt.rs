//! Numbering attempts, so that no trace of one is taken for another's, and
//! nobody else can make one.

use std::{collections::HashSet, io};

use anyhow::{Context as _, Result};

use super::{
    facts::Facts,
    sighting::{MARKER_LEN, Trace},
    target::{DEVICE, TARGET_MAC, Target, V6},
};
use crate::technique::{TABLE, Way};

/// Where ports of attempts are drawn from: below those that kernels give out.
const FIRST: u16 = 10_000;
const PORTS: u16 = 22_000;

/// A run's numbers: for each way one of its control and one of the sealed
/// attempt, and one to close with. Nobody can guess a marker (62 bits), and
/// nobody who does not read this process' memory knows a port before it is used.
#[derive(Debug)]
pub(super) struct Numbers {
    controls: Vec<Trace>,
    sealed: Vec<Trace>,
    closing: Trace,
    ports: HashSet<u16>,
}

impl Numbers {
    /// Draws them; `taken` is left out.
    ///
    /// # Errors
    /// If the kernel gives no random numbers.
    pub(super) fn draw(taken: &[u16]) -> Result<Self> {
        let mut ports = HashSet::new();
        let mut trace = || -> Result<Trace> {
            let port = loop {
                let [low, high] = random()?;
                let port = FIRST + u16::from_be_bytes([high, low]) % PORTS;
                if !taken.contains(&port) && ports.insert(port) {
                    break port;
                }
            };
            Ok(Trace {
                port,
                marker: marker()?,
            })
        };
        let mut each = || TABLE.iter().map(|_| trace()).collect::<Result<Vec<_>>>();
        let (controls, sealed) = (each()?, each()?);
        let closing = trace()?;
        Ok(Self {
            controls,
            sealed,
            closing,
            ports,
        })
    }

    /// Of the control of the way at this place of the table.
    pub(super) fn control(&self, at: usize) -> Trace {
        self.controls[at].clone()
    }

    /// Of the control that closes a run.
    pub(super) fn closing(&self) -> Trace {
        self.closing.clone()
    }

    /// Of the sealed attempt.
    pub(super) fn sealed(&self, at: usize) -> Trace {
        self.sealed[at].clone()
    }

    /// Ports of the controls, which the target listens on.
    pub(super) fn listened(&self) -> Vec<u16> {
        let controls = self.controls.iter().chain([&self.closing]);
        controls.map(|trace| trace.port).collect()
    }

    /// Whether an attempt of this run has the port.
    pub(super) fn has(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }
}

/// 62 random bits in 12 digits and small letters: as much as a multicast group
/// can carry, and good in a DNS name.
fn marker() -> Result<String> {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut bits = u64::from_ne_bytes(random()?);
    let mut marker = String::new();
    for _ in 0..MARKER_LEN {
        marker.push(char::from(LETTERS[(bits % 36) as usize]));
        bits /= 36;
    }
    Ok(marker)
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the pointer and length describe `bytes`.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    match usize::try_from(got) {
        Ok(len) if len == N => Ok(bytes),
        _ => Err(io::Error::last_os_error()).context("the kernel gives no random numbers"),
    }
}

/// What a probe is told; [`crate::technique::target::Target::parse`] reads it.
pub(super) fn line(way: &Way, trace: &Trace, target: &Target, facts: &Facts) -> String {
    let mac: Vec<_> = TARGET_MAC.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{} --v4 {v4} --v6 {V6} --gateway {v4} --gateway-mac {} --device {DEVICE} --port {} \
         --marker {} --service {} --datagrams {} --listener {}",
        way.name,
        mac.join(":"),
        trace.port,
        trace.marker,
        facts.service,
        facts.datagrams,
        target.guest.port,
        v4 = target.v4,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_attempts_share_a_number_and_no_two_runs_do() {
        let [one, other] = [12_345, 12_345].map(|taken| Numbers::draw(&[taken]).unwrap());
        let markers = |numbers: &Numbers| -> HashSet<String> {
            let all = numbers.controls.iter().chain(&numbers.sealed);
            all.chain([&numbers.closing])
                .map(|trace| trace.marker.clone())
                .collect()
        };
        let count = 2 * TABLE.len() + 1;
        assert_eq!((one.ports.len(), markers(&one).len()), (count, count));
        assert!(markers(&one).is_disjoint(&markers(&other)));
        assert_ne!(one.ports, other.ports);
        assert!(!one.has(12_345) && one.has(one.sealed(3).port));
        assert!(one.ports.iter().all(|p| (FIRST..FIRST + PORTS).contains(p)));
        assert_eq!(one.listened().len(), TABLE.len() + 1);
        assert!(markers(&one).iter().all(|m| m.len() == MARKER_LEN));
    }
}
