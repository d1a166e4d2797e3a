//! Following what exceptions let out: each connection, and each far side of datagrams.

use std::{
    collections::HashMap,
    mem::{offset_of, size_of},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use airgap_common::{
    ABI_VERSION,
    allowed::Allowed as Record,
    map::{Follower as Slot, SealNumber},
};
use anyhow::Result;

use super::{
    Event, Origins, Process, Untold,
    decode::{Field, hook},
    follow::boot,
};
use crate::gate::{Gate, Lock, rings::Ring};

/// What an exception let out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// When.
    pub time: SystemTime,
    /// Seal number.
    pub seal: u64,
    /// Name of the program that judged it.
    pub hook: &'static str,
    /// Who asked for it.
    pub process: Process,
    /// IP protocol number, TCP or UDP.
    pub protocol: u8,
    /// Destination address and port.
    pub destination: (IpAddr, u16),
    /// Number of the exception.
    pub number: u32,
    /// The exception as `--to` has it; `None`: it is none any more.
    pub exception: Option<String>,
}

/// Reads uses of exceptions as they come.
pub struct Uses {
    ring: Ring,
    origins: Origins,
    boot: SystemTime,
    /// Empty: all.
    seals: Vec<SealNumber>,
    /// By number; none is used twice while the gate stands.
    exceptions: HashMap<u32, String>,
}

impl Uses {
    /// Starts to follow these seals, or with none all of the host.
    ///
    /// # Errors
    /// If there is no free slot, or a map cannot be read.
    pub fn start(gate: &mut Gate, seals: &[SealNumber]) -> Result<Self> {
        let lock = Lock::take()?;
        Ok(Self {
            ring: gate.follow(Slot::ALLOWED, &lock)?,
            origins: Origins::default(),
            boot: boot(),
            seals: seals.to_vec(),
            exceptions: HashMap::new(),
        })
    }

    /// What has come since the last call, in order.
    ///
    /// # Errors
    /// If the kernel's maps are gone.
    pub fn poll(&mut self, gate: &Gate) -> Result<Vec<Event>> {
        let (mut found, mut unread) = (Vec::new(), 0);
        let lost = self.ring.drain(|bytes| match decode(bytes, self.boot) {
            Ok(allowed) if self.seals.is_empty() || self.seals.contains(&allowed.seal) => {
                found.push(allowed);
            }
            Ok(_) => {}
            Err(error) => {
                log::warn!("cannot read a use of an exception: {error}");
                unread += 1;
            }
        });
        for allowed in &mut found {
            self.origins.complete(&mut allowed.process);
            if !self.exceptions.contains_key(&allowed.number) {
                for exit in gate.exits_of(allowed.seal)? {
                    let text = exit.exception.to.to_string();
                    self.exceptions.insert(exit.number, text);
                }
            }
            allowed.exception = self.exceptions.get(&allowed.number).cloned();
        }
        let mut events: Vec<_> = found
            .into_iter()
            .map(Box::new)
            .map(Event::Allowed)
            .collect();
        if lost + unread > 0 {
            events.push(Event::Untold(Untold {
                time: SystemTime::now(),
                count: lost + unread,
            }));
        }
        Ok(events)
    }
}

/// Decodes a record. `boot` is when `CLOCK_BOOTTIME` was zero. Total, as for denials.
fn decode(bytes: &[u8], boot: SystemTime) -> Result<Allowed, String> {
    if bytes.len() < size_of::<Record>() {
        let expected = size_of::<Record>();
        return Err(format!(
            "a record of {} bytes, expected {expected}",
            bytes.len()
        ));
    }
    let at = |offset: usize| Field(&bytes[offset..]);
    let abi = at(offset_of!(Record, abi)).u16();
    if u32::from(abi) != ABI_VERSION {
        return Err(format!(
            "a record of ABI version {abi}, expected {ABI_VERSION}"
        ));
    }
    let ip = at(offset_of!(Record, dst)).addr();
    let known = |offset: usize| Some(at(offset).u32()).filter(|n| *n != 0);
    Ok(Allowed {
        time: boot + Duration::from_nanos(at(offset_of!(Record, time)).u64()),
        seal: at(offset_of!(Record, seal)).u64(),
        hook: hook(bytes[offset_of!(Record, hook)]),
        process: Process {
            pid: at(offset_of!(Record, tgid)).u32(),
            tid: at(offset_of!(Record, tid)).u32(),
            uid: at(offset_of!(Record, uid)).u32(),
            name: at(offset_of!(Record, comm)).comm(),
            inner_pid: known(offset_of!(Record, nspid)),
            start: Some(at(offset_of!(Record, start)).u64()).filter(|n| *n != 0),
            parent: known(offset_of!(Record, ppid))
                .map(|pid| (pid, at(offset_of!(Record, parent)).comm())),
            executable: None,
            command_line: None,
            by_socket: false,
        },
        protocol: bytes[offset_of!(Record, protocol)],
        destination: (
            ip.unwrap_or(IpAddr::from([0; 4])),
            at(offset_of!(Record, dport)).u16(),
        ),
        number: at(offset_of!(Record, exit)).u32(),
        exception: None,
    })
}

#[cfg(test)]
impl Allowed {
    /// A connection of curl to 198.51.100.2:443, by exception 5 of seal 7.
    pub(crate) fn example() -> Self {
        Self {
            time: std::time::UNIX_EPOCH,
            seal: 7,
            hook: "connect4",
            process: Process::example("curl", 4242),
            protocol: 6,
            destination: ([198, 51, 100, 2].into(), 443),
            number: 5,
            exception: Some("api.example.com:443/tcp".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    /// The bytes of one record, written by hand from the layout.
    fn golden() -> Vec<u8> {
        let mut b = vec![0u8; 112];
        b[0..2].copy_from_slice(&(ABI_VERSION as u16).to_ne_bytes());
        b[2..4].copy_from_slice(&112u16.to_ne_bytes());
        b[4] = 1; // connect4
        b[5] = 6; // tcp
        b[6..8].copy_from_slice(&443u16.to_ne_bytes());
        b[8..16].copy_from_slice(&1_500_000_000u64.to_ne_bytes());
        b[16..24].copy_from_slice(&7u64.to_ne_bytes());
        b[24 + 10..40].copy_from_slice(&[0xff, 0xff, 198, 51, 100, 2]);
        for (at, value) in [(40, 5u32), (44, 4242), (48, 4243), (52, 1000), (60, 17)] {
            b[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        b[64..72].copy_from_slice(&900u64.to_ne_bytes());
        b[72..76].copy_from_slice(b"curl");
        b[88..90].copy_from_slice(b"sh");
        b[104..108].copy_from_slice(&4000u32.to_ne_bytes());
        b
    }

    #[test]
    fn decodes_the_golden_record() {
        let expected = Allowed {
            time: UNIX_EPOCH + Duration::from_millis(1500),
            process: Process {
                pid: 4242,
                tid: 4243,
                uid: 1000,
                inner_pid: Some(17),
                start: Some(900),
                parent: Some((4000, "sh".into())),
                ..Process::example("curl", 4242)
            },
            destination: ([198, 51, 100, 2].into(), 443),
            exception: None,
            ..Allowed::example()
        };
        assert_eq!(decode(&golden(), UNIX_EPOCH).unwrap(), expected);
    }

    #[test]
    fn survives_any_bytes() {
        assert!(decode(&golden()[..111], UNIX_EPOCH).is_err());
        let mut other = golden();
        other[0] ^= 1;
        assert!(decode(&other, UNIX_EPOCH).is_err());
        let mut full = vec![0xff; 112];
        full[0..2].copy_from_slice(&(ABI_VERSION as u16).to_ne_bytes());
        full[8..16].copy_from_slice(&1u64.to_ne_bytes());
        decode(&full, UNIX_EPOCH).unwrap();
    }
}
