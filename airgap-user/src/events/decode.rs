//! Bytes of a record → [`Denial`]. Total: any input gives a value or an error.

use std::{
    mem::{offset_of, size_of},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use airgap_common::{
    ABI_VERSION,
    addr::Addr,
    denial::{Denial as Record, Reason},
    map::{Destination, Tally},
};

use super::{Denial, Process, Suppressed, question};

/// Decodes a record. `boot` is when `CLOCK_BOOTTIME` was zero.
///
/// # Errors
/// If it is too short or of another ABI version.
pub fn decode(bytes: &[u8], boot: SystemTime) -> Result<Denial, String> {
    if bytes.len() < size_of::<Record>() {
        return Err(format!(
            "a record of {} bytes, expected {}",
            bytes.len(),
            size_of::<Record>()
        ));
    }
    let at = |offset: usize| Field(&bytes[offset..]);
    let abi = at(offset_of!(Record, abi)).u16();
    if u32::from(abi) != ABI_VERSION {
        return Err(format!(
            "a record of ABI version {abi}, expected {ABI_VERSION}"
        ));
    }
    let source = at(offset_of!(Record, src)).addr();
    let destination = at(offset_of!(Record, dst)).addr();
    let dport = at(offset_of!(Record, dport)).u16();
    let protocol = bytes[offset_of!(Record, protocol)];
    let family = at(offset_of!(Record, family)).u16();
    let asked = (at(offset_of!(Record, question_len)).u32() as usize)
        .min(airgap_common::denial::QUESTION_LEN);
    let text = &bytes[offset_of!(Record, question)..][..asked];
    let is_unix = bytes[offset_of!(Record, reason)] == Reason::UnixPeer as u8;
    let attribution = bytes[offset_of!(Record, attribution)];
    let comm = |offset: usize| at(offset).comm();
    let known = |offset: usize| Some(at(offset).u32()).filter(|n| *n != 0);
    let time = boot + Duration::from_nanos(at(offset_of!(Record, time)).u64());
    Ok(Denial {
        time,
        first: time,
        count: 1,
        seal: at(offset_of!(Record, seal)).u64(),
        hook: hook(bytes[offset_of!(Record, hook)]),
        reason: reason(bytes[offset_of!(Record, reason)]),
        process: (attribution != 0).then(|| Process {
            pid: at(offset_of!(Record, tgid)).u32(),
            tid: at(offset_of!(Record, tid)).u32(),
            uid: at(offset_of!(Record, uid)).u32(),
            name: comm(offset_of!(Record, comm)),
            inner_pid: known(offset_of!(Record, nspid)),
            start: Some(at(offset_of!(Record, start)).u64()).filter(|n| *n != 0),
            parent: known(offset_of!(Record, ppid))
                .map(|pid| (pid, comm(offset_of!(Record, parent)))),
            executable: None,
            command_line: None,
            by_socket: attribution == 2,
        }),
        protocol: (protocol != 0).then_some(protocol),
        socket: (family != 0).then(|| (family, at(offset_of!(Record, socket_type)).u16())),
        source: source.map(|a| (a, at(offset_of!(Record, sport)).u16())),
        destination: destination.map(|a| (a, asked_port(a, dport))),
        translated_port: destination
            .filter(|a| asked_port(*a, dport) != dport)
            .map(|_| dport),
        interface: at(offset_of!(Record, ifindex)).u32(),
        question: if is_unix { None } else { question(text) },
        unix_peer: is_unix.then(|| unix_path(text)),
        let_through: bytes[offset_of!(Record, let_through)] == 1,
    })
}

/// `sun_path` as people write it (unix(7)); empty: the socket has no name.
fn unix_path(bytes: &[u8]) -> String {
    match bytes {
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        path => {
            let end = path.iter().position(|b| *b == 0).unwrap_or(path.len());
            String::from_utf8_lossy(&path[..end]).into_owned()
        }
    }
}

/// The record in `bytes`, if there are enough.
pub(super) fn record(bytes: &[u8]) -> Option<Record> {
    // SAFETY: enough bytes, and any bytes are a value of a Pod.
    (bytes.len() >= size_of::<Record>())
        .then(|| unsafe { bytes.as_ptr().cast::<Record>().read_unaligned() })
}

/// The bytes of a record.
pub(super) fn bytes(record: &Record) -> &[u8] {
    // SAFETY: a Pod has no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast(), size_of::<Record>()) }
}

/// What begins at an offset of a record, which has room for it.
pub(super) struct Field<'a>(pub(super) &'a [u8]);

impl Field<'_> {
    fn array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.0[..N]);
        out
    }

    pub(super) fn u16(&self) -> u16 {
        u16::from_ne_bytes(self.array())
    }

    pub(super) fn u32(&self) -> u32 {
        u32::from_ne_bytes(self.array())
    }

    pub(super) fn u64(&self) -> u64 {
        u64::from_ne_bytes(self.array())
    }

    pub(super) fn addr(&self) -> Option<IpAddr> {
        canonical(self.array())
    }

    /// `task->comm`.
    pub(super) fn comm(&self) -> String {
        let comm = &self.0[..16];
        let end = comm.iter().position(|b| *b == 0).unwrap_or(comm.len());
        String::from_utf8_lossy(&comm[..end]).into_owned()
    }
}

/// `None` for all zero: not known.
fn canonical(octets: [u8; 16]) -> Option<IpAddr> {
    (octets != [0; 16]).then(|| Ipv6Addr::from(octets).to_canonical())
}

/// The port that was asked for: Docker's resolver listens on port 53 by a DNAT
/// rule of the container, and packets are judged behind it.
pub(super) fn asked_port(ip: IpAddr, port: u16) -> u16 {
    if ip == IpAddr::from([127, 0, 0, 11]) {
        53
    } else {
        port
    }
}

pub(super) fn address(addr: Addr) -> Option<IpAddr> {
    canonical(addr.octets())
}

/// Name of a [`airgap_common::denial::Hook`].
pub(super) fn hook(number: u8) -> &'static str {
    match number {
        1 => "connect4",
        2 => "connect6",
        3 => "sendmsg4",
        4 => "sendmsg6",
        5 => "sock_create",
        6 => "egress",
        7 => "ingress",
        8 => "frame",
        9 => "lsm",
        _ => "unknown",
    }
}

/// Names of [`airgap_common::denial::Reason`], index = number.
pub const REASONS: [&str; 23] = [
    "unknown",
    "egress",
    "dns",
    "socket-type",
    "syn",
    "no-provenance",
    "stale-provenance",
    "client",
    "header",
    "loopback",
    "neighbour",
    "inbound",
    "unrecorded",
    "foreign-socket",
    "kernel-chatter",
    "frame",
    "unix-peer",
    "socket-option",
    "neighbour-budget",
    "exit-port",
    "exit-lapsed",
    "unasked",
    "next-hop",
];

/// Whether a reason is counted only: nothing inside the container asked for it, so it is
/// in no sum of refused attempts.
pub fn is_silent(reason: &str) -> bool {
    let mut silent = Reason::SILENT.iter();
    silent.any(|silent| REASONS[*silent as usize] == reason)
}

pub(super) fn reason(number: u8) -> &'static str {
    REASONS
        .get(usize::from(number))
        .copied()
        .unwrap_or("unknown")
}

/// Attempts at one destination that were not told one by one.
pub(super) fn suppressed(
    key: &Destination,
    tally: &Tally,
    count: u64,
    boot: SystemTime,
) -> Suppressed {
    Suppressed {
        time: boot + Duration::from_nanos(tally.last),
        first: boot + Duration::from_nanos(tally.first),
        count,
        seal: key.seal,
        hook: hook(key.hook),
        reason: reason(key.reason),
        protocol: (key.protocol != 0).then_some(key.protocol),
        destination: address(key.addr).map(|ip| (ip, asked_port(ip, key.port))),
        // By `Event::known_by`.
        let_through: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airgap_common::denial::Hook;
    use std::time::UNIX_EPOCH;

    /// The bytes of one record, written by hand from the layout.
    fn golden() -> Vec<u8> {
        let mut b = vec![0u8; 416];
        b[0..2].copy_from_slice(&(ABI_VERSION as u16).to_ne_bytes());
        b[2..4].copy_from_slice(&416u16.to_ne_bytes());
        b[4] = 6; // egress
        b[5] = 2; // dns
        b[6] = 2; // by socket
        b[7] = 17; // udp
        b[8..16].copy_from_slice(&1_500_000_000u64.to_ne_bytes());
        b[16..24].copy_from_slice(&7u64.to_ne_bytes());
        b[24..32].copy_from_slice(&99u64.to_ne_bytes());
        for (at, value) in [(32, 4242u32), (36, 4243), (40, 1000), (44, 1001)] {
            b[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        b[48..52].copy_from_slice(b"curl");
        b[64 + 10..64 + 16].copy_from_slice(&[0xff, 0xff, 198, 51, 100, 2]);
        b[80 + 10..80 + 16].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 11]);
        b[96..98].copy_from_slice(&40000u16.to_ne_bytes());
        b[98..100].copy_from_slice(&41_000u16.to_ne_bytes());
        b[104..108].copy_from_slice(&10u32.to_ne_bytes());
        b[108..112].copy_from_slice(&3u32.to_ne_bytes());
        b[112..120].copy_from_slice(&900u64.to_ne_bytes());
        b[128..132].copy_from_slice(&17u32.to_ne_bytes());
        b[132..136].copy_from_slice(&4000u32.to_ne_bytes());
        b[136..138].copy_from_slice(b"sh");
        b[412] = 1; // let through
        b[152..162].copy_from_slice(b"\x01a\x02bc\x00\x00\x1c\x00\x01");
        b
    }

    #[test]
    fn decodes_the_golden_record() {
        let denial = decode(&golden(), UNIX_EPOCH).unwrap();
        assert_eq!(
            denial,
            Denial {
                time: UNIX_EPOCH + Duration::from_millis(1500),
                first: UNIX_EPOCH + Duration::from_millis(1500),
                count: 1,
                seal: 7,
                hook: "egress",
                reason: "dns",
                process: Some(Process {
                    pid: 4242,
                    tid: 4243,
                    uid: 1000,
                    name: "curl".into(),
                    inner_pid: Some(17),
                    start: Some(900),
                    parent: Some((4000, "sh".into())),
                    executable: None,
                    command_line: None,
                    by_socket: true
                }),
                protocol: Some(17),
                socket: None,
                source: Some(("198.51.100.2".parse().unwrap(), 40000)),
                destination: Some(("127.0.0.11".parse().unwrap(), 53)),
                translated_port: Some(41_000),
                interface: 3,
                question: Some(("a.bc".into(), "AAAA".into())),
                unix_peer: None,
                let_through: true,
            }
        );
    }

    #[test]
    fn a_unix_socket_has_a_path_and_no_question() {
        for (bytes, path) in [
            (b"/run/a\0\0".as_slice(), "/run/a"),
            (b"\0abstract", "@abstract"),
            (b"", ""),
        ] {
            let mut record = golden();
            record[5] = Reason::UnixPeer as u8;
            record[108..112].copy_from_slice(&[0; 4]);
            record[104..108].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
            record[152..152 + bytes.len()].copy_from_slice(bytes);
            let denial = decode(&record, UNIX_EPOCH).unwrap();
            assert_eq!(denial.unix_peer.as_deref(), Some(path));
            assert_eq!(denial.question, None);
        }
    }

    #[test]
    fn names_follow_the_numbers() {
        assert_eq!(hook(Hook::SockCreate as u8), "sock_create");
        assert_eq!(hook(Hook::Lsm as u8), "lsm");
        assert_eq!(reason(Reason::Egress as u8), "egress");
        assert_eq!(reason(Reason::Frame as u8), "frame");
        assert_eq!(reason(Reason::ForeignSocket as u8), "foreign-socket");
        assert_eq!(reason(Reason::UnixPeer as u8), "unix-peer");
        assert_eq!(reason(Reason::SocketOption as u8), "socket-option");
    }

    #[test]
    fn survives_any_bytes() {
        let mut state = 1u64;
        let mut byte = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        };
        for len in (0..440).chain(std::iter::repeat_n(416, 20_000)) {
            let mut bytes: Vec<u8> = (0..len).map(|_| byte()).collect();
            if len >= 2 {
                bytes[0..2].copy_from_slice(&(ABI_VERSION as u16).to_ne_bytes());
            }
            let _ = decode(&bytes, UNIX_EPOCH);
        }
        assert!(decode(&golden()[..415], UNIX_EPOCH).is_err());
    }
}
