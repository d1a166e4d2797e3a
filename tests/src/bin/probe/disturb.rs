//! `disturb KIND`: feeds whatever watches `airgap0`, for ever and as fast as it goes.
//!
//! `guess`: UDP from and to the ports that attempts once had; `all`: the same over all ports;
//! `groups`: IGMP reports for the groups that attempts join.

use airgap::technique::packet::{IPV4, frame, send};
use airgap::technique::raw::{ipv4, udp};
use airgap::technique::sys::Socket;
use airgap::technique::target::own;
use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::thread::yield_now;

const DEVICE: &CStr = c"airgap0";
const IGMP: u8 = 2;
/// The target's; a bridge takes anything.
const TO: [u8; 6] = [2, 0xa1, 0x69, 0xa9, 0, 2];

pub(crate) fn run(kind: &str) -> Result<(), String> {
    let ports = match kind {
        "guess" => 21_000..=21_150,
        "all" | "groups" => 1..=u16::MAX,
        _ => return Err(format!("there is no kind {kind}")),
    };
    let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0);
    let socket = socket.map_err(|_refused| "no packet socket".to_owned())?;
    println!("disturbing");
    loop {
        let own = own(DEVICE);
        let (Some(from), Some(mac)) = (own.v4, own.mac) else {
            yield_now();
            continue;
        };
        for port in ports.clone() {
            let packet = match kind {
                "groups" => report(from, port),
                _ => ipv4(
                    from,
                    [198, 51, 100, 254].into(),
                    i32::from(17_u8),
                    &udp(port, port, b"noise"),
                ),
            };
            // The device comes and goes.
            if send(&socket, DEVICE, TO, &frame(TO, mac, IPV4, &packet)).is_err() {
                break;
            }
        }
    }
}

/// An IGMPv2 report; nobody checks its sum.
fn report(from: Ipv4Addr, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let group = Ipv4Addr::new(239, 50, high, low);
    ipv4(
        from,
        group,
        i32::from(IGMP),
        &[0x16, 0, 0, 0, 239, 50, high, low],
    )
}
