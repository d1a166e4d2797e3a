//! DNS questions of many types, to every kind of server.

use airgap::technique::target::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};

const TYPES: [(&str, u16); 7] = [
    ("a", 1),
    ("aaaa", 28),
    ("txt", 16),
    ("mx", 15),
    ("srv", 33),
    ("https", 65),
    ("type65280", 65_280),
];

/// One question of each type to each server; none may be answered.
pub(crate) fn run(target: &Target) -> Result<(), String> {
    let embedded = Ipv4Addr::new(127, 0, 0, 11);
    let servers: [IpAddr; 3] = [target.v4.into(), target.v6.into(), embedded.into()];
    for server in servers {
        let any: IpAddr = if server.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0)).map_err(|e| e.to_string())?;
        for (name, kind) in TYPES {
            if socket
                .send_to(&question(name, "ask", kind), (server, 53))
                .is_ok()
            {
                return Err(format!("{name} to {server} was sent"));
            }
        }
    }
    Ok(())
}

/// One question for `name`, however long it is, to the server outside.
pub(crate) fn run_for(name: &str, target: &Target) -> Result<(), String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|e| e.to_string())?;
    let sent = socket.send_to(&asking(name.split('.'), 1), (target.v4, 53));
    match sent {
        Ok(_) => Err(format!("a question for {name} was sent")),
        Err(_) => Ok(()),
    }
}

/// Has this program's own C library, musl, look a name up.
pub(crate) fn lookup(name: &str) -> Result<(), String> {
    match (name, 80).to_socket_addrs() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A query for `NAME.ZONE.example` (RFC 1035 §4.1).
pub(crate) fn question(name: &str, zone: &str, kind: u16) -> Vec<u8> {
    asking([name, zone, "example"].into_iter(), kind)
}

fn asking<'a>(labels: impl Iterator<Item = &'a str>, kind: u16) -> Vec<u8> {
    let mut out = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out
}
