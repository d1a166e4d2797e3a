//! The network of a command that serves nobody and may reach nothing: one of its own,
//! in which every address is behind an interface that leads nowhere.
//!
//! So what it tries is refused, and told, as in the host's network; and what shares that
//! (abstract unix sockets, listeners on loopback and on the host's own addresses, answers
//! of the host's kernel) is not there.

use std::{
    ffi::CString,
    fs::{self, File, Permissions},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    },
    path::{Path, PathBuf},
    ptr,
};

use anyhow::{Context as _, Result};

use crate::host::netlink::{End, Netlink};

/// An address for documentation (RFC 5737), which is nobody's.
const OWN4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The same of IPv6 (RFC 3849).
const OWN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const LO: u32 = 1;
const NEAR: u32 = 2;
const FAR: u32 = 3;

/// What programs ask where the host's resolver is one on its loopback: an address for
/// documentation, so that the question comes to the seal, which tells the name.
const RESOLVER: &str = "nameserver 198.51.100.53\n";
/// Where that is, for whoever may read it.
const RESOLVER_FILE: &str = "/run/airgap-resolv.conf";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Makes the network; the process has a namespace of its own for it.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn build() -> Result<()> {
    let netns = File::open("/proc/self/ns/net").context("cannot open /proc/self/ns/net")?;
    let link = Netlink::route().context("cannot talk to the kernel's routing")?;
    let end = |name, index| End {
        name,
        index,
        mac: [2, 0, 0, 0, 0, index as u8],
    };
    link.up(LO, None).context("cannot bring lo up")?;
    link.add_veth(
        &end(c"airgap0", NEAR),
        &end(c"airgap1", FAR),
        netns.as_raw_fd(),
    )
    .context("cannot make interfaces")?;
    for index in [NEAR, FAR] {
        link.up(index, None)
            .context("cannot bring an interface up")?;
    }
    for (own, prefix) in [(OWN4, 32), (OWN6, 128)] {
        let made = link
            .add_address(NEAR, own, prefix)
            .and_then(|()| link.add_default_route(NEAR, own.is_ipv4()));
        match made {
            // A host without IPv6.
            Err(error) if own.is_ipv6() => log::debug!("no IPv6: {error}"),
            made => made.context("cannot set a route")?,
        }
    }
    Ok(())
}

/// Whether the host's resolver is one on loopback, and only that.
fn is_local(resolv_conf: &str) -> bool {
    let servers = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    // Without any, it is asked at 127.0.0.1.
    servers.into_iter().all(|server| server.is_loopback())
}

/// Has it ask where a question leaves: before its own view is made.
///
/// # Errors
/// If the file cannot be written.
pub fn prepare() -> Result<()> {
    let path = Path::new(RESOLVER_FILE);
    // Others may be reading it: never in part, and for everybody.
    if fs::read_to_string(path).is_ok_and(|text| text == RESOLVER) {
        return Ok(());
    }
    let new = path.with_extension(std::process::id().to_string());
    fs::write(&new, RESOLVER)
        .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {RESOLVER_FILE}"))
}

/// The same in its own view.
///
/// # Errors
/// If the mount fails.
pub(super) fn resolve() -> Result<()> {
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let target: PathBuf = match fs::canonicalize(RESOLV_CONF) {
        Ok(target) if is_local(&text) => target,
        _ => return Ok(()),
    };
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let (source, target) = (name(Path::new(RESOLVER_FILE))?, name(&target)?);
    // SAFETY: NUL-terminated strings, or null.
    let rc = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            ptr::null(),
            libc::MS_BIND,
            ptr::null(),
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error()).context("cannot replace /etc/resolv.conf");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn resolvers_on_loopback_are_told() {
        for (text, local) in [
            ("nameserver 127.0.0.53\noptions edns0\n", true),
            ("# nothing\nsearch example\n", true),
            ("nameserver ::1\n", true),
            ("nameserver 198.51.100.53\n", false),
            ("nameserver 127.0.0.1\nnameserver 2001:db8::53\n", false),
        ] {
            assert_eq!(is_local(text), local, "{text}");
        }
    }
}
