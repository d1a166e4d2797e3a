//! A neighbour with a packet socket.

use airgap::technique::packet::{frame, send};
use airgap::technique::raw::{ipv4, ipv6, tcp};
use airgap::technique::sys::{Fail, Socket};
use airgap_tests::{Container, Frame, Outside, SERVICE_PORT, Tap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

pub(crate) const IPV4: u16 = 0x0800;

pub(crate) const IPV6: u16 = 0x86dd;

pub(crate) const ARP: u16 = 0x0806;

pub(crate) const SYN: u8 = 2;

pub(crate) const SYN_ACK: u8 = 0x12;

/// Longer than an answer takes.
pub(crate) const MOMENT: Duration = Duration::from_millis(200);

pub(crate) type Mac = [u8; 6];

pub(crate) fn why(fail: Fail) -> String {
    match fail {
        Fail::Os { step, errno } => format!("{step}: errno {errno}"),
        Fail::Skip(why) => why,
    }
}

pub(crate) fn mac_of(container: &Container) -> Mac {
    container.mac().try_into().expect("six bytes")
}

pub(crate) fn bridge_mac(outside: &Outside) -> Mac {
    let path = format!("/sys/class/net/{}/address", outside.plan.bridge);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let bytes = text.trim().split(':');
    let bytes: Vec<_> = bytes
        .map(|byte| u8::from_str_radix(byte, 16).expect("hex"))
        .collect();
    bytes.try_into().expect("six bytes")
}

/// A neighbour, its recorder, and who is to believe it.
pub(crate) struct Neighbour<'a> {
    pub(crate) outside: &'a Outside,
    pub(crate) container: Container,
    pub(crate) tap: Tap,
}

impl<'a> Neighbour<'a> {
    pub(crate) fn of(outside: &'a Outside) -> Self {
        let options = ["--cap-drop", "ALL", "--cap-add", "NET_RAW"];
        let container = outside.container("neighbour").options(&options).run();
        let tap = Tap::inside(&container.netns(), "eth0");
        Self {
            outside,
            container,
            tap,
        }
    }

    pub(crate) fn put(&self, to: Mac, bytes: &[u8]) {
        let done = self.container.netns().run(|| {
            let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
            send(&socket, c"eth0", to, bytes)
        });
        if let Err(fail) = done {
            panic!("the neighbour cannot send: {}", why(fail));
        }
    }

    /// Says by ARP that `mac` has the gateway's address.
    pub(crate) fn claim(&self, web: &Container, mac: Mac) {
        self.claim_as(web, self.outside.plan.gateway4, mac);
    }

    /// The same of any address.
    pub(crate) fn claim_as(&self, web: &Container, address: Ipv4Addr, mac: Mac) {
        self.claim_to((mac_of(web), web.ip4()), address, mac);
    }

    /// The same to anybody on the link, by his hardware address and his own.
    pub(crate) fn claim_to(&self, to: (Mac, Ipv4Addr), address: Ipv4Addr, mac: Mac) {
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, 2];
        body.extend(mac);
        body.extend(address.octets());
        body.extend(to.0);
        body.extend(to.1.octets());
        let own = mac_of(&self.container);
        self.put(to.0, &frame(to.0, own, ARP, &body));
    }

    pub(crate) fn syn(&self, web: &Container, via: Mac, from: IpAddr, port: u16) {
        let to: IpAddr = match from {
            IpAddr::V4(_) => web.ip4().into(),
            IpAddr::V6(_) => web.ip6().into(),
        };
        let segment = tcp((from, port), SocketAddr::new(to, SERVICE_PORT), SYN, b"");
        let (kind, packet) = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                (IPV4, ipv4(from, to, libc::IPPROTO_TCP, &segment))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                (IPV6, ipv6(from, to, libc::IPPROTO_TCP as u8, &segment))
            }
            _ => unreachable!("one family"),
        };
        let own = mac_of(&self.container);
        self.put(via, &frame(via, own, kind, &packet));
    }

    /// Whether the service answers a SYN of a far client's, by the gateway that this one claims
    /// to be; one attempt from each of `ports`.
    pub(crate) fn gets_an_answer(&self, web: &Container, ports: Range<u16>) -> bool {
        let far = self.outside.plan.outside4;
        ports.into_iter().any(|port| {
            self.claim(web, mac_of(&self.container));
            self.syn(web, mac_of(web), far.into(), port);
            let answer = |f: &Frame| is_answer(f, far.into(), port);
            self.tap.watch(MOMENT, answer).is_some()
        })
    }

    /// Whether the far client gets the answer to a SYN that it did not send, which is sent to
    /// `via` from this neighbour's port.
    pub(crate) fn speaks_for(&self, web: &Container, via: Mac, far: IpAddr, port: u16) -> bool {
        self.syn(web, via, far, port);
        let answer = |f: &Frame| is_answer(f, far, port);
        self.outside.tap.watch(MOMENT, answer).is_some()
    }
}

pub(crate) fn is_answer(frame: &Frame, client: IpAddr, port: u16) -> bool {
    let Some(ip) = frame.ip() else {
        return false;
    };
    let flags = frame.bytes.get(ip.transport + 13);
    ip.protocol == 6
        && ip.destination == client
        && frame.ports() == Some((SERVICE_PORT, port))
        && flags.is_some_and(|flags| flags & 0x3f == SYN_ACK)
}
