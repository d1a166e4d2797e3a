//! Telling frames and payloads of attempts from all others, as they come: what
//! is no attempt's is counted and not kept. Pure.

use std::collections::HashMap;

/// Bytes of a marker.
pub(super) const MARKER_LEN: usize = 12;

/// An attempt, as its traces show it: both are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) port: u16,
    /// ASCII, [`MARKER_LEN`] bytes.
    pub(super) marker: String,
}

/// How an attempt was seen, if it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sighting {
    /// Not at all.
    #[default]
    No,
    /// By its port, or by the multicast group that has the port in it: whoever
    /// sends much could have hit that.
    Port,
    /// By its marker, which nobody else knows.
    Marker,
}

/// What one witness saw.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    markers: HashMap<[u8; MARKER_LEN], usize>,
    ports: HashMap<u16, usize>,
    seen: Vec<Sighting>,
    /// Frames of no attempt, since they were last forgotten.
    strays: u64,
    first: Option<String>,
    /// Frames that kernels send on their own.
    chatter: u64,
}

impl Sightings {
    /// From now on an attempt may be seen: what came before is none of it.
    pub(super) fn expect(&mut self, trace: &Trace) {
        let Ok(marker) = <[u8; MARKER_LEN]>::try_from(trace.marker.as_bytes()) else {
            return;
        };
        let next = self.seen.len();
        let at = *self.markers.entry(marker).or_insert(next);
        self.ports.insert(trace.port, at);
        if at == next {
            self.seen.push(Sighting::No);
        }
    }

    /// How an attempt was seen.
    pub(super) fn of(&self, trace: &Trace) -> Sighting {
        let at = self.ports.get(&trace.port);
        at.and_then(|at| self.seen.get(*at))
            .copied()
            .unwrap_or_default()
    }

    /// Takes in a frame.
    pub(super) fn frame(&mut self, frame: &[u8]) {
        let mut known = self.marked(frame);
        if let Some((from, to)) = ports(frame) {
            known |= self.port(from) | self.port(to);
        }
        for group in frame.windows(4).filter(|w| w[..2] == [239, 50]) {
            known |= self.port(u16::from_be_bytes([group[2], group[3]]));
        }
        if is_chatter(frame) {
            self.chatter += 1;
        } else if !known {
            self.strays += 1;
            self.first.get_or_insert_with(|| describe(frame));
        }
    }

    /// Takes in what a listener heard: whether it is an attempt's.
    pub(super) fn marked(&mut self, bytes: &[u8]) -> bool {
        let mut known = false;
        for window in bytes.windows(MARKER_LEN) {
            if let Some(at) = self.markers.get(window) {
                self.seen[*at] = Sighting::Marker;
                known = true;
            }
        }
        known
    }

    /// Takes in the port of a frame or of a caller: whether it is an attempt's.
    pub(super) fn port(&mut self, port: u16) -> bool {
        let Some(at) = self.ports.get(&port) else {
            return false;
        };
        self.seen[*at] = self.seen[*at].max(Sighting::Port);
        true
    }

    /// Counts strays and chatter anew.
    pub(super) fn forget_strays(&mut self) {
        (self.strays, self.chatter, self.first) = (0, 0, None);
    }

    /// How many frames belong to no attempt, and the first of them.
    pub(super) fn strays(&self) -> (u64, Option<&str>) {
        (self.strays, self.first.as_deref())
    }

    /// How many frames were such as kernels send on their own.
    pub(super) fn chatter(&self) -> u64 {
        self.chatter
    }
}

/// Source and destination port of an Ethernet frame with TCP, UDP or UDP-Lite
/// in it, behind any IPv4 options or IPv6 extension headers.
fn ports(frame: &[u8]) -> Option<(u16, u16)> {
    let u16_at = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let (mut protocol, mut at) = match u16_at(12)? {
        0x0800 => (*frame.get(23)?, 14 + usize::from(frame.get(14)? & 0xf) * 4),
        0x86dd => (*frame.get(20)?, 54),
        _ => return None,
    };
    if u16_at(12)? == 0x86dd {
        // Hop-by-hop, routing and destination options.
        while matches!(protocol, 0 | 43 | 60) {
            protocol = *frame.get(at)?;
            at += 8 + usize::from(*frame.get(at + 1)?) * 8;
        }
    }
    matches!(protocol, 6 | 17 | 136).then(|| Some((u16_at(at)?, u16_at(at + 2)?)))?
}

/// A frame in a few words.
fn describe(frame: &[u8]) -> String {
    let kind = frame
        .get(12..14)
        .map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let protocol = match kind {
        0x0800 => frame.get(23),
        0x86dd => frame.get(20),
        _ => None,
    };
    match (protocol, ports(frame)) {
        (Some(protocol), Some((from, to))) => format!("protocol {protocol}, port {from} to {to}"),
        (Some(protocol), None) => format!("protocol {protocol}"),
        _ => format!("EtherType {kind:#06x}"),
    }
}

/// Whether a kernel sends this on its own when an interface comes up or a
/// neighbour asks: ARP without a trailer, IGMP, and ICMPv6 for groups and
/// neighbours. None of it can be told from an attempt that failed to mark it.
fn is_chatter(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 6]) => frame.len() <= 60,
        Some([8, 0]) => frame.get(23) == Some(&2),
        Some([0x86, 0xdd]) => {
            let at = if frame.get(20) == Some(&0) { 62 } else { 54 };
            frame
                .get(at)
                .is_some_and(|kind| matches!(kind, 130..=137 | 143))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        Trace {
            port: 20_001,
            marker: "0k20001xbeef".into(),
        }
    }

    /// Ethernet, IPv4 with `options` words of options, UDP from 5060 to `port`.
    fn udp4(options: usize, port: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45 + options as u8]);
        frame.extend([0; 8]);
        frame.push(17);
        frame.extend(vec![0; 10 + options * 4]);
        frame.extend(5060_u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame
    }

    fn seen(frame: &[u8]) -> Sighting {
        let mut sightings = Sightings::default();
        sightings.expect(&trace());
        sightings.frame(frame);
        sightings.of(&trace())
    }

    #[test]
    fn knows_its_own_frames_and_by_what() {
        assert_eq!(seen(&udp4(0, 20_001)), Sighting::Port);
        assert_eq!(seen(&udp4(3, 20_001)), Sighting::Port);
        assert_eq!(seen(&udp4(0, 20_002)), Sighting::No);
        assert_eq!(seen(b"anything 0k20001xbeef"), Sighting::Marker);
        assert_eq!(seen(&[9, 239, 50, 0x4e, 0x21]), Sighting::Port);
        assert_eq!(seen(&[]), Sighting::No);
    }

    #[test]
    fn nothing_is_kept_of_what_is_no_attempts() {
        let mut sightings = Sightings::default();
        // Before it is expected, it is nobody's.
        sightings.frame(&udp4(0, 20_001));
        sightings.expect(&trace());
        assert_eq!(sightings.of(&trace()), Sighting::No);
        assert_eq!(
            sightings.strays(),
            (1, Some("protocol 17, port 5060 to 20001"))
        );
        sightings.forget_strays();
        for port in 0..u16::MAX {
            sightings.frame(&udp4(0, port));
        }
        // Hit by chance: told from the marker.
        assert_eq!(sightings.of(&trace()), Sighting::Port);
        assert_eq!(sightings.strays().0, u64::from(u16::MAX) - 1);
        assert_eq!(sightings.seen.len(), 1);
        let mut group = udp4(0, 0);
        (group[23], group[26]) = (2, 239);
        sightings.frame(&group);
        assert_eq!(sightings.chatter(), 1);
        assert!(sightings.marked(b"0k20001xbeef") && !sightings.marked(b"0k20001xbee"));
        sightings.port(20_001);
        assert_eq!(sightings.of(&trace()), Sighting::Marker);
    }

    #[test]
    fn describes_frames() {
        assert_eq!(describe(&udp4(0, 9)), "protocol 17, port 5060 to 9");
        assert_eq!(describe(&[0; 14]), "EtherType 0x0000");
        assert_eq!(describe(&[]), "EtherType 0x0000");
    }

    #[test]
    fn looks_behind_extension_headers() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 43, 64]);
        frame.extend([0; 32]);
        // A routing header of 24 bytes, then UDP.
        frame.extend([17, 2, 4, 0]);
        frame.extend([0; 20]);
        frame.extend(20_001_u16.to_be_bytes());
        frame.extend(9_u16.to_be_bytes());
        assert_eq!(ports(&frame), Some((20_001, 9)));
        for cut in 0..frame.len() {
            assert_eq!(ports(&frame[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn chatter_is_what_kernels_say() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert!(is_chatter(&arp));
        arp.resize(80, 0);
        assert!(!is_chatter(&arp));
        assert!(!is_chatter(&udp4(0, 9)));
        assert!(!is_chatter(&[]));
    }
}
