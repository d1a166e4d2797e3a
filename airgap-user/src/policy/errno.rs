//! How refused calls fail. Pure.

use std::{fmt, str::FromStr};

/// What refused `connect` and `sendmsg` calls return, from Linux 5.18; before it, and where
/// packets or sockets are refused instead, that is EPERM anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Errno {
    /// What a host without a network returns: `ENETUNREACH`; to IPv6 `EADDRNOTAVAIL` where
    /// not even `::1` is there; on loopback `ECONNREFUSED`.
    #[default]
    Offline,
    /// `EPERM`.
    Eperm,
}

impl FromStr for Errno {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "offline" => Ok(Self::Offline),
            "eperm" => Ok(Self::Eperm),
            other => Err(format!("'{other}' is neither offline nor eperm")),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "offline",
            Self::Eperm => "eperm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn is_read_as_it_is_written() {
        for errno in [Errno::Offline, Errno::Eperm] {
            assert_eq!(errno.to_string().parse(), Ok(errno));
        }
        assert!("EPERM".parse::<Errno>().is_err());
    }
}
