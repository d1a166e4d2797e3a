//! Datagrams, as a guest in somebody else's network namespace would receive them.

use airgap::technique::sys::{Fail, Socket, Step, interface};
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

/// The groups it joins; senders are told the same in the tests.
const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x5060);

/// Prints one JSON line a datagram, and one as soon as it listens, until killed.
pub(crate) fn run(port: u16) -> Result<(), String> {
    let open = || -> Step<[UdpSocket; 2]> {
        let v4 = listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
        let v6 = listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))?;
        Ok([v4, v6])
    };
    let [v4, v6] = open().map_err(|fail| match fail {
        Fail::Os { step, errno } => format!("cannot listen on {port}: {step}: errno {errno}"),
        Fail::Skip(why) => why,
    })?;
    println!("{}", json!({ "hears": port }));
    let other = std::thread::spawn(move || report(&v6));
    report(&v4)?;
    other
        .join()
        .map_err(|_panic| "the other half died".to_owned())?
}

/// Joined to its groups on lo and eth0, and ready to take its port from others.
fn listen(at: SocketAddr) -> Step<UdpSocket> {
    let socket = Socket::udp(at)?;
    let never = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    socket.set("SO_RCVTIMEO", libc::SOL_SOCKET, libc::SO_RCVTIMEO, &never)?;
    socket.share_port()?;
    if at.is_ipv6() {
        socket.set("IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1_i32)?;
    }
    socket.bind(at)?;
    for device in [c"lo", c"eth0"] {
        let index = interface(device)?;
        if at.is_ipv4() {
            // struct ip_mreqn: group, address, device.
            let mut request = GROUP4.octets().to_vec();
            request.extend([0; 4]);
            request.extend(index.to_ne_bytes());
            let option = libc::IP_ADD_MEMBERSHIP;
            socket.set_bytes("join", libc::IPPROTO_IP, option, &request)?;
        } else {
            let mut request = GROUP6.octets().to_vec();
            request.extend(index.to_ne_bytes());
            let option = libc::IPV6_ADD_MEMBERSHIP;
            socket.set_bytes("join", libc::IPPROTO_IPV6, option, &request)?;
        }
    }
    Ok(UdpSocket::from(socket.0))
}

fn report(socket: &UdpSocket) -> Result<(), String> {
    let mut buffer = [0; 2048];
    loop {
        let (len, _) = socket
            .recv_from(&mut buffer)
            .map_err(|e| format!("recv: {e}"))?;
        let heard = String::from_utf8_lossy(&buffer[..len]);
        println!("{}", json!({ "heard": heard }));
    }
}

/// Sends one datagram wherever it is told, broadcast and groups included; `through` names a
/// device for groups.
pub(crate) fn say(address: &str, through: &str, marker: &str) -> Result<(), String> {
    let at: SocketAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
    let send = || -> Step<()> {
        let socket = Socket::udp(at)?;
        let device = std::ffi::CString::new(through).map_err(|e| Fail::Skip(e.to_string()))?;
        let index = interface(&device)?;
        let (level, on) = (libc::SOL_SOCKET, 1_i32);
        socket.set("SO_BROADCAST", level, libc::SO_BROADCAST, &on)?;
        let at = match at {
            SocketAddr::V4(_) => {
                // struct ip_mreqn, as above.
                let mut request = vec![0; 8];
                request.extend(index.to_ne_bytes());
                let option = libc::IP_MULTICAST_IF;
                socket.set_bytes("IP_MULTICAST_IF", libc::IPPROTO_IP, option, &request)?;
                at
            }
            SocketAddr::V6(v6) => {
                let option = libc::IPV6_MULTICAST_IF;
                socket.set("IPV6_MULTICAST_IF", libc::IPPROTO_IPV6, option, &index)?;
                SocketAddrV6::new(*v6.ip(), v6.port(), 0, 0).into()
            }
        };
        socket.send_to(marker.as_bytes(), 0, at)
    };
    send().map_err(|fail| match fail {
        Fail::Os { step, errno } => format!("{step}: errno {errno}"),
        Fail::Skip(why) => why,
    })
}
