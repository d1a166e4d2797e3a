//! Addresses of a network namespace's links (rtnetlink(7), `RTM_GETADDR`).

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use super::{Netlink, attributes};

const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `struct ifaddrmsg`, bytes: family, prefix length, flags, scope, index.
const IFADDRMSG: usize = 8;

/// An address of a link, and how much of it all on that link share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// Bits of the prefix that is on the link.
    pub bits: u8,
}

impl Netlink {
    /// All addresses of the namespace, IPv4 first.
    ///
    /// # Errors
    /// If the kernel cannot list them.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = [0; IFADDRMSG];
            request[0] = family as u8;
            self.dump(RTM_GETADDR, &request, |body| found.extend(address(body)))?;
        }
        Ok(found)
    }

    /// All IPv4 addresses of the namespace, each with the index of its link.
    ///
    /// # Errors
    /// If the kernel cannot list them.
    pub fn ipv4s(&self) -> io::Result<Vec<(u32, Ipv4Addr)>> {
        let all = self.addresses()?.into_iter();
        let v4 = all.filter_map(|address| match address.ip {
            IpAddr::V4(ip) => Some((address.link, ip)),
            IpAddr::V6(_) => None,
        });
        Ok(v4.collect())
    }
}

/// What is behind the header of an answer: `struct ifaddrmsg`, attributes.
fn address(body: &[u8]) -> Option<Address> {
    let of = |wanted: u16| {
        let mut all = attributes(body.get(IFADDRMSG..)?);
        all.find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    // Of a link with a peer the own one is the local one; else both are the same, and
    // IPv6 says only the other.
    let value = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
    let ip = match i32::from(*body.first()?) {
        libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
        libc::AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
        _ => return None,
    };
    Some(Address {
        link: u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?),
        ip,
        bits: *body.get(1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Message, *};

    fn answer(family: i32, bits: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = Message(vec![0; IFADDRMSG]);
        message.0[0] = family as u8;
        message.0[1] = bits;
        message.0[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        for (kind, value) in attributes {
            message.attribute(*kind, value);
        }
        message.0
    }

    #[test]
    fn reads_an_address() {
        let v4 = answer(
            libc::AF_INET,
            24,
            &[
                (IFA_ADDRESS, &[198, 51, 100, 2]),
                (IFA_LOCAL, &[198, 51, 100, 1]),
            ],
        );
        let expected = |ip: &str, bits| Address {
            link: 7,
            ip: ip.parse().unwrap(),
            bits,
        };
        assert_eq!(address(&v4), Some(expected("198.51.100.1", 24)));
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        let IpAddr::V6(octets) = ip else {
            unreachable!()
        };
        let v6 = answer(libc::AF_INET6, 64, &[(IFA_ADDRESS, &octets.octets())]);
        assert_eq!(address(&v6), Some(expected("2001:db8::1", 64)));
        // A value of the other version's length is none.
        assert_eq!(
            address(&answer(libc::AF_INET, 24, &[(IFA_LOCAL, &octets.octets())])),
            None
        );
    }

    #[test]
    fn survives_any_bytes() {
        let whole = answer(libc::AF_INET, 24, &[(IFA_LOCAL, &[198, 51, 100, 1])]);
        for len in 0..whole.len() {
            let _ = address(&whole[..len]);
        }
        for fill in 0..=255 {
            let _ = address(&[fill; 64]);
        }
    }

    #[test]
    fn knows_those_of_lo() {
        let netlink = Netlink::route().expect("netlink");
        let all = netlink.addresses().expect("addresses");
        let mut of_lo = all.iter().filter(|address| address.link == 1);
        assert!(of_lo.all(|address| address.bits >= 8));
        assert!(netlink.ipv4s().expect("addresses").len() <= all.len());
    }
}
