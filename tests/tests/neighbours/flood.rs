//! More questions than anybody asks.

use super::sender::{ARP, IPV6, Mac, Neighbour, mac_of, why};
use airgap::technique::packet::{frame, send};
use airgap::technique::raw::{ipv6, pseudo_sum};
use airgap::technique::sys::Socket;
use airgap_tests::Container;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// About two thousand questions a second for a container's addresses, half of them ARP and half
/// neighbour solicitations, until dropped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    pub(crate) fn start(neighbour: &Neighbour<'_>, web: &Container) -> Self {
        let (own, from) = (mac_of(&neighbour.container), &neighbour.container);
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
        arp.extend(own);
        arp.extend(from.ip4().octets());
        arp.extend([0; 6]);
        arp.extend(web.ip4().octets());
        let mac = mac_of(web);
        let frames = [
            frame([0xff; 6], own, ARP, &arp),
            frame(mac, own, IPV6, &solicitation(own, from.ip6(), web.ip6())),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let (netns, stopped) = (from.netns(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            netns.run(|| {
                let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0);
                let socket = socket.unwrap_or_else(|fail| panic!("{}", why(fail)));
                while !stopped.load(Ordering::Relaxed) {
                    for bytes in frames.iter().cycle().take(10) {
                        // A full queue of the device's is as good as a flood.
                        drop(send(&socket, c"eth0", mac, bytes));
                    }
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            });
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A neighbour solicitation to the address itself (RFC 4861 §4.3).
pub(crate) fn solicitation(mac: Mac, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend(to.octets());
    body.extend([1, 1]);
    body.extend(mac);
    let sum = pseudo_sum(from.into(), to.into(), libc::IPPROTO_ICMPV6 as u8, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ipv6(from, to, libc::IPPROTO_ICMPV6 as u8, &body);
    packet[7] = 255;
    packet
}
