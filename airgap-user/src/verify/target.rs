//! The target: a network namespace of airgap's own, and a link from the
//! container's to it. Nothing but this process holds that namespace: if it
//! dies in any way, namespace and link go.

use std::{
    ffi::CStr,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
};

use anyhow::{Context as _, Result};

use super::{
    observe::{Guest, Tap},
    sighting::Trace,
    subnet,
};
use crate::{
    container::HostEnd,
    failure::Failure,
    gate::{Gate, Trial},
    host::{
        netlink::{End, Mac, Netlink},
        netns::Netns,
    },
    policy::Cidr,
};

/// The link's name in the container.
pub(super) const DEVICE: &str = "airgap0";
/// On the far side, the link is a port of a bridge: the frame programs hang on
/// the port, so that what the bridge gets has passed them.
const PORT: &str = "link0";
const BRIDGE: &str = "br0";
const CONTAINER_MAC: Mac = [2, 0xa1, 0x69, 0xa9, 0, 1];
pub(super) const TARGET_MAC: Mac = [2, 0xa1, 0x69, 0xa9, 0, 2];
const PORT_MAC: Mac = [2, 0xa1, 0x69, 0xa9, 0, 3];
pub(super) const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa16, 0x9a9, 0, 0, 0, 2);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa16, 0x9a9, 0, 0, 0, 1);
const PREFIX4: u8 = 29;
const PREFIX6: u8 = 126;
const DNS: u16 = 53;

/// The target, the link to it, and what watches them. Gone when dropped.
pub(super) struct Target {
    netns: Netns,
    /// The port's index in the target's namespace.
    index: u32,
    pub(super) v4: Ipv4Addr,
    /// All that left the container's namespace over the link.
    pub(super) link: Tap,
    /// Of that, all that passed the port's frame programs.
    pub(super) passed: Tap,
    pub(super) guest: Guest,
    /// A link to nowhere, from a namespace without a container, for what the
    /// container's kernel announces from a socket that is under the seal.
    pub(super) aside: Netns,
    /// All that came over that link.
    pub(super) announced: Tap,
    /// Why there is no IPv6 on the link, if there is none.
    pub(super) no_ipv6: Option<String>,
    _listeners: Vec<(TcpListener, UdpSocket)>,
}

/// Removes the link; with it go both ends.
struct Undo<'a>(&'a Netns, u32);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let index = self.1;
        let done = self.0.run(|| Ok(Netlink::route()?.delete(index)?));
        if let Err(error) = done {
            log::warn!("cannot remove {DEVICE}; it goes when airgap ends: {error:#}");
        }
    }
}

impl Target {
    /// Opens it for a container's network namespace. `index` is the port's
    /// index, `ports` are those with a listener; none of `exits` leads there.
    /// A gate guards the port before anything can leave by it, where the kernel can.
    pub(super) fn open(
        container: &Netns,
        index: u32,
        ports: &[u16],
        exits: &[Cidr],
        gate: Option<&mut Gate>,
    ) -> Result<(Self, Option<Trial>)> {
        if exits.iter().any(|exit| exit.holds(V6.into())) {
            return Err(subnet::inside(&V6.to_string()));
        }
        let net4 = container.run(|| subnet::free(exits))?;
        let (own4, v4) = (subnet::host(net4, 2), subnet::host(net4, 6));
        let netns = Netns::fresh()?;
        netns.run(|| add_link(c"link0", index, container))?;
        let undo = Undo(&netns, index);
        // Down as yet: nothing has been sent.
        let trial = match gate {
            Some(gate) => gate.try_frames(&netns, &port(index))?,
            None => None,
        };
        let (aside, aside_index) = (Netns::fresh()?, index + 2);
        netns.run(|| add_link(c"link1", aside_index, &aside))?;
        let (bridge, target6) = netns.run(|| far_side(index, v4, own4))?;
        let own6 = container.run(|| near_side(own4, v4))?;
        let _ = aside.run(near_end)?;
        let (link, passed, announced, listeners) = netns.run(|| {
            let recorder = |index| Tap::open(index).context("cannot record frames");
            Netlink::route()?.up(aside_index, None)?;
            let (link, passed) = (recorder(index)?, recorder(bridge)?);
            Ok((link, passed, recorder(aside_index)?, listen(ports)?))
        })?;
        let addresses = [
            Ipv4Addr::LOCALHOST.into(),
            own4.into(),
            Ipv6Addr::LOCALHOST.into(),
            OWN_V6.into(),
        ];
        let guest = container.run(|| Guest::listen(&addresses))?;
        std::mem::forget(undo);
        let target = Self {
            netns,
            index,
            v4,
            link,
            passed,
            guest,
            aside,
            announced,
            no_ipv6: own6.or(target6),
            _listeners: listeners,
        };
        Ok((target, trial))
    }

    /// Takes over what all witnesses have got; whether that was all.
    pub(super) fn drain(&mut self) -> bool {
        self.guest.drain();
        let taps = [&mut self.link, &mut self.passed, &mut self.announced];
        // Each of them, whatever the others say.
        taps.map(Tap::drain) == [true; 3]
    }

    /// An attempt is about to be made.
    pub(super) fn expect(&mut self, trace: &Trace) {
        let taps = [&mut self.link, &mut self.passed, &mut self.announced];
        let taps = taps.map(|tap| &mut tap.sightings);
        for sightings in taps.into_iter().chain([&mut self.guest.sightings]) {
            sightings.expect(trace);
        }
    }

    /// Frames that witnesses had no room for.
    pub(super) fn lost(&self) -> io::Result<u32> {
        Ok(self.link.lost()? + self.passed.lost()?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(Undo(&self.netns, self.index));
    }
}

/// Where the frame programs go.
fn port(index: u32) -> HostEnd {
    HostEnd {
        name: PORT.into(),
        index,
        native_xdp: false,
        mac: None,
        addresses: Vec::new(),
        prefixes: Vec::new(),
    }
}

fn add_link(name: &CStr, index: u32, container: &Netns) -> Result<()> {
    let near = End {
        name,
        index,
        mac: PORT_MAC,
    };
    let far = End {
        name: c"airgap0",
        index: 0,
        mac: CONTAINER_MAC,
    };
    let netlink = Netlink::route().context("cannot open a netlink socket")?;
    match netlink.add_veth(&near, &far, container.fd()) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Err(Failure::new(
            format!("the container has an interface {DEVICE} already"),
            "another airgap verify runs for it: let it end first",
        )
        .into()),
        other => other.with_context(|| format!("cannot add {DEVICE} to the container")),
    }
}

/// Inside the target's namespace; returns the bridge's index, and why it has
/// no IPv6 if it has none.
fn far_side(index: u32, v4: Ipv4Addr, peer4: Ipv4Addr) -> Result<(u32, Option<String>)> {
    let bridge = index + 1;
    let end = End {
        name: c"br0",
        index: bridge,
        mac: TARGET_MAC,
    };
    let netlink = Netlink::route()?;
    netlink.add_bridge(&end).context(Failure::new(
        "cannot make a bridge",
        "the kernel needs its bridge module: modprobe bridge",
    ))?;
    let mut no_ipv6 = quiet_ipv6(BRIDGE).err();
    no_ipv6 = quiet_ipv6(PORT).err().or(no_ipv6);
    netlink
        .up(index, Some(bridge))
        .context("cannot use the bridge")?;
    netlink.up(bridge, None).context("cannot use the bridge")?;
    configure(
        &netlink,
        bridge,
        v4.into(),
        PREFIX4,
        peer4.into(),
        CONTAINER_MAC,
    )?;
    if no_ipv6.is_none() {
        configure(
            &netlink,
            bridge,
            V6.into(),
            PREFIX6,
            OWN_V6.into(),
            CONTAINER_MAC,
        )?;
    }
    Ok((bridge, no_ipv6))
}

/// Inside the container's namespace: only the new link is touched.
fn near_side(own4: Ipv4Addr, peer4: Ipv4Addr) -> Result<Option<String>> {
    let (netlink, index, no_ipv6) = near_end()?;
    configure(
        &netlink,
        index,
        own4.into(),
        PREFIX4,
        peer4.into(),
        TARGET_MAC,
    )?;
    if no_ipv6.is_none() {
        configure(
            &netlink,
            index,
            OWN_V6.into(),
            PREFIX6,
            V6.into(),
            TARGET_MAC,
        )?;
    }
    Ok(no_ipv6)
}

/// Brings the near end up.
fn near_end() -> Result<(Netlink, u32, Option<String>)> {
    let no_ipv6 = quiet_ipv6(DEVICE).err();
    // SAFETY: a NUL-terminated literal.
    let index = unsafe { libc::if_nametoindex(c"airgap0".as_ptr()) };
    let netlink = Netlink::route()?;
    netlink
        .up(index, None)
        .with_context(|| format!("cannot use {DEVICE}"))?;
    Ok((netlink, index, no_ipv6))
}

/// An address and the peer's: nobody has to ask for it, so nobody does.
fn configure(
    netlink: &Netlink,
    index: u32,
    own: IpAddr,
    prefix: u8,
    peer: IpAddr,
    mac: Mac,
) -> Result<()> {
    netlink
        .add_address(index, own, prefix)
        .with_context(|| format!("cannot add the address {own}"))?;
    netlink
        .add_neighbour(index, peer, mac)
        .with_context(|| format!("cannot add the neighbour {peer}"))
}

/// IPv6 on, without an address of its own making that would be announced.
fn quiet_ipv6(device: &str) -> Result<(), String> {
    for (name, value) in [
        ("addr_gen_mode", "1"),
        ("accept_ra", "0"),
        ("disable_ipv6", "0"),
    ] {
        let path = format!("/proc/sys/net/ipv6/conf/{device}/{name}");
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

/// Connections complete and datagrams are taken; nobody reads them.
fn listen(ports: &[u16]) -> Result<Vec<(TcpListener, UdpSocket)>> {
    let any = |port| -> Result<_> {
        let bound = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .and_then(|tcp| Ok((tcp, UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?)));
        // Without IPv6 in this kernel.
        let bound = bound.or_else(|_no_ipv6| {
            let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
            Ok::<_, io::Error>((tcp, UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?))
        });
        bound.with_context(|| format!("cannot listen on port {port}"))
    };
    ports.iter().copied().chain([DNS]).map(any).collect()
}
