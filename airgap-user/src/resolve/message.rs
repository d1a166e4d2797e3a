//! A question and its answer on the wire (RFC 1035 §4). Pure; reads any bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name, bytes, with the lengths of its labels and its end.
const LONGEST: usize = 255;
/// Most pointers that are followed in one name.
const POINTERS: usize = 32;
/// Class IN.
const IN: u16 = 1;
const CNAME: u16 = 5;
const OPT: u16 = 41;
/// What we take in one datagram (RFC 9715 says that this is never cut up).
const ROOM: u16 = 1232;

/// Type of a record that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 address.
    A = 1,
    /// IPv6 address.
    Aaaa = 28,
}

/// A name as its labels, in small letters: a dot within one is no end of it.
pub(super) type Labels = Vec<Vec<u8>>;

/// A question of our own: its number and the letters' case are random, so that nobody who
/// has not seen it can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// As it is sent.
    pub wire: Vec<u8>,
    name: Labels,
    kind: Kind,
    /// Where the question ends in `wire`, and what belongs to EDNS begins.
    end: usize,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Addresses, and how many seconds the server would have them kept; none: the name has
    /// no address of this kind.
    Addresses(Vec<IpAddr>, u32),
    /// The name stands for another, of which it says nothing.
    Other(Labels),
    /// There is no such name.
    NoName,
    /// The server cannot or will not say.
    Failed(u8),
    /// It was too long for a datagram.
    Cut,
}

/// The labels of a name that was checked already.
pub(super) fn labels(name: &str) -> Labels {
    let labels = name.split('.').map(|label| label.as_bytes());
    labels.map(<[u8]>::to_ascii_lowercase).collect()
}

impl Question {
    /// `random`: bits for its number and for the case of each letter.
    pub(super) fn new(name: &Labels, kind: Kind, random: &[u8; 34]) -> Self {
        let mut wire = vec![random[0], random[1]];
        // Recursion is desired; one question, and one record of EDNS.
        wire.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
        let mut bit = 0;
        for label in name {
            wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            for byte in label {
                let upper = random[2 + bit / 8 % 32] >> (bit % 8) & 1 != 0;
                bit += 1;
                wire.push(if upper {
                    byte.to_ascii_uppercase()
                } else {
                    *byte
                });
            }
        }
        wire.push(0);
        wire.extend((kind as u16).to_be_bytes());
        wire.extend(IN.to_be_bytes());
        let end = wire.len();
        wire.push(0);
        wire.extend(OPT.to_be_bytes());
        wire.extend(ROOM.to_be_bytes());
        wire.extend([0; 6]);
        Self {
            wire,
            name: name.clone(),
            kind,
            end,
        }
    }

    /// What a message says to it; `None`: it is no answer to this question, bit for bit.
    pub(super) fn answered(&self, wire: &[u8]) -> Option<Answer> {
        let head = wire.get(..12)?;
        let answers = u16::from_be_bytes([head[6], head[7]]);
        let is_answer = head[2] & 0x80 != 0 && head[2] & 0x78 == 0;
        let asked = head[..2] == self.wire[..2] && head[4..6] == [0, 1];
        if !is_answer || !asked || wire.get(12..self.end)? != &self.wire[12..self.end] {
            return None;
        }
        if head[2] & 0x02 != 0 {
            return Some(Answer::Cut);
        }
        match head[3] & 0x0f {
            0 => {}
            3 => return Some(Answer::NoName),
            code => return Some(Answer::Failed(code)),
        }
        self.read(wire, answers)
    }

    /// The records of the answer section alone, along the chain from the question's name.
    fn read(&self, wire: &[u8], answers: u16) -> Option<Answer> {
        let mut records = Vec::new();
        let mut at = self.end;
        for _ in 0..answers {
            let record = Record::read(wire, &mut at)?;
            records.push(record);
        }
        let (mut name, mut least) = (self.name.clone(), u32::MAX);
        let mut met = vec![name.clone()];
        while let Some((target, ttl)) = records.iter().find_map(|record| record.other(&name)) {
            if met.contains(target) {
                return Some(Answer::Failed(0));
            }
            met.push(target.clone());
            (name, least) = (target.clone(), least.min(ttl));
        }
        let mut addresses = Vec::new();
        for record in &records {
            if let Some(address) = record.address(&name, self.kind) {
                least = least.min(record.ttl);
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        if addresses.is_empty() && name != self.name {
            return Some(Answer::Other(name));
        }
        let ttl = if addresses.is_empty() { 0 } else { least };
        Some(Answer::Addresses(addresses, ttl))
    }
}

struct Record<'a> {
    owner: Labels,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    /// Of a CNAME.
    target: Option<Labels>,
}

impl<'a> Record<'a> {
    fn read(wire: &'a [u8], at: &mut usize) -> Option<Self> {
        let owner = name(wire, at)?;
        let head: [u8; 10] = wire.get(*at..*at + 10)?.try_into().ok()?;
        let [k, l, c, d, t @ .., m, n] = head;
        let (kind, class) = (u16::from_be_bytes([k, l]), u16::from_be_bytes([c, d]));
        let ttl = u32::from_be_bytes(t);
        let begin = *at + 10;
        let end = begin + usize::from(u16::from_be_bytes([m, n]));
        let data = wire.get(begin..end)?;
        *at = end;
        let mut within = begin;
        let target = match kind {
            CNAME => Some(name(wire, &mut within).filter(|_| within == end)?),
            _ => None,
        };
        Some(Self {
            owner,
            kind,
            class,
            // What has the highest bit set counts as nothing (RFC 2181 §8).
            ttl: if ttl >> 31 == 0 { ttl } else { 0 },
            data,
            target,
        })
    }

    fn other(&self, name: &Labels) -> Option<(&Labels, u32)> {
        let meant = self.class == IN && self.owner == *name;
        self.target
            .as_ref()
            .filter(|_| meant)
            .map(|target| (target, self.ttl))
    }

    fn address(&self, name: &Labels, kind: Kind) -> Option<IpAddr> {
        if self.class != IN || self.kind != kind as u16 || self.owner != *name {
            return None;
        }
        match kind {
            Kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.data).ok()?).into()),
            Kind::Aaaa => Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.data).ok()?).into()),
        }
    }
}

/// A name, pointers followed backwards only; `at` is behind it then.
fn name(wire: &[u8], at: &mut usize) -> Option<Labels> {
    let (mut labels, mut here, mut behind) = (Labels::new(), *at, None);
    let (mut long, mut pointers) = (0, 0);
    loop {
        let len = *wire.get(here)?;
        match len {
            0 => {
                *at = behind.unwrap_or(here + 1);
                return Some(labels);
            }
            1..=63 => {
                let label = wire.get(here + 1..here + 1 + usize::from(len))?;
                long += label.len() + 1;
                if long + 1 > LONGEST {
                    return None;
                }
                labels.push(label.to_ascii_lowercase());
                here += 1 + label.len();
            }
            0xc0.. => {
                let to = usize::from(u16::from_be_bytes([len & 0x3f, *wire.get(here + 1)?]));
                behind.get_or_insert(here + 2);
                pointers += 1;
                if to >= here || pointers > POINTERS {
                    return None;
                }
                here = to;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
