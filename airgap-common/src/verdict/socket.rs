//! What kinds of sockets and options a sealed container may have. Pure.

use crate::denial::Reason;

/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// `AF_NETLINK`.
pub const AF_NETLINK: u16 = 16;
/// `AF_ALG`: the kernel's cryptography, no way out.
pub const AF_ALG: u16 = 38;

/// Set in every protocol number by which a loader asks whether the security hooks run;
/// the bits below are drawn, so that only its own answer. No socket has such a protocol:
/// `socket(AF_UNIX, SOCK_STREAM, this)` fails with [`SELF_TEST_ERRNO`] if they do, and
/// with `EPROTONOSUPPORT` if not.
pub const SELF_TEST_PROTOCOL: u32 = 0x4000_0000;
/// `ENOANO`, which no `socket()` returns.
pub const SELF_TEST_ERRNO: i32 = 55;

const EPERM: i32 = 1;
const EPROTONOSUPPORT: i32 = 93;

/// The errno that `socket()` gets for a family, `None` if it may be created.
/// TCP and UDP are told from other IP sockets by [`super::socket_errno`].
///
/// Netlink: routes, sockets and uevents stay readable; others, the audit log
/// first, look as if the kernel had none of them (PAM takes that for a kernel
/// without audit, and EPERM for a reason to refuse a login).
#[inline(always)]
pub fn family_errno(family: u16, protocol: i32) -> Option<i32> {
    const NETLINK_ROUTE: i32 = 0;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const NETLINK_KOBJECT_UEVENT: i32 = 15;
    match family {
        AF_UNIX | AF_INET | AF_INET6 | AF_ALG => None,
        AF_NETLINK => match protocol {
            NETLINK_ROUTE | NETLINK_SOCK_DIAG | NETLINK_KOBJECT_UEVENT => None,
            _ => Some(EPROTONOSUPPORT),
        },
        _ => Some(EPERM),
    }
}

/// Whether a socket that exists may be sent on; `own`: it was created inside.
///
/// # Errors
/// The reason to refuse.
#[inline(always)]
pub fn use_of(family: u16, protocol: i32, own: bool) -> Result<(), Reason> {
    match family {
        // The accepted end of a unix connection carries its client's cgroup.
        AF_UNIX | AF_ALG => Ok(()),
        // One that is older than the seal may be of any protocol.
        AF_NETLINK if family_errno(family, protocol).is_none() => Ok(()),
        AF_INET | AF_INET6 if own => Ok(()),
        AF_INET | AF_INET6 => Err(Reason::ForeignSocket),
        _ => Err(Reason::SocketType),
    }
}

/// Whether a socket option makes the kernel announce a group on the link
/// (linux/in.h, linux/in6.h): joining and leaving, sources and filters.
#[inline(always)]
pub fn is_membership(level: i32, option: i32) -> bool {
    const SOL_IP: i32 = 0;
    const SOL_IPV6: i32 = 41;
    match level {
        // IP_ADD_MEMBERSHIP to MCAST_MSFILTER.
        SOL_IP => matches!(option, 35..=48),
        // IPV6_JOIN_GROUP, _LEAVE_GROUP, _JOIN_ANYCAST, _LEAVE_ANYCAST, MCAST_*.
        SOL_IPV6 => matches!(option, 20 | 21 | 27 | 28 | 42..=48),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_families_that_cannot_leave_are_created() {
        for family in 0..=46 {
            let errno = family_errno(family, 0);
            let allowed = matches!(family, 1 | 2 | 10 | 16 | 38);
            assert_eq!(errno.is_none(), allowed, "family {family}");
        }
        // AF_PACKET, AF_VSOCK, AF_XDP.
        for family in [17, 40, 44] {
            assert_eq!(family_errno(family, 3), Some(EPERM));
        }
        let netlink: [_; 32] = core::array::from_fn(|p| family_errno(AF_NETLINK, p as i32));
        let open: std::vec::Vec<_> = (0..32).filter(|p| netlink[*p].is_none()).collect();
        assert_eq!(open, [0, 4, 15]);
        // NETLINK_AUDIT.
        assert_eq!(netlink[9], Some(EPROTONOSUPPORT));
    }

    #[test]
    fn a_socket_from_elsewhere_is_not_used() {
        for family in [AF_INET, AF_INET6] {
            assert_eq!(use_of(family, 6, true), Ok(()));
            assert_eq!(use_of(family, 6, false), Err(Reason::ForeignSocket));
        }
        for own in [true, false] {
            assert_eq!(use_of(AF_UNIX, 0, own), Ok(()));
            assert_eq!(use_of(17, 0, own), Err(Reason::SocketType));
            assert_eq!(use_of(40, 0, own), Err(Reason::SocketType));
            // NETLINK_ROUTE; NETLINK_USERSOCK, NETLINK_AUDIT.
            assert_eq!(use_of(AF_NETLINK, 0, own), Ok(()));
            assert_eq!(use_of(AF_NETLINK, 2, own), Err(Reason::SocketType));
            assert_eq!(use_of(AF_NETLINK, 9, own), Err(Reason::SocketType));
        }
    }

    #[test]
    fn memberships_are_told_from_other_options() {
        // IP_ADD_MEMBERSHIP, MCAST_JOIN_GROUP; IP_TTL, IP_MULTICAST_TTL.
        assert!(is_membership(0, 35) && is_membership(0, 42));
        assert!(!is_membership(0, 2) && !is_membership(0, 33));
        // IPV6_ADD_MEMBERSHIP; IPV6_V6ONLY, IPV6_MULTICAST_HOPS.
        assert!(is_membership(41, 20) && is_membership(41, 42));
        assert!(!is_membership(41, 26) && !is_membership(41, 18));
        // SO_ATTACH_REUSEPORT_CBPF is 51, SO_PEEK_OFF 42.
        assert!(!is_membership(1, 42));
    }
}
