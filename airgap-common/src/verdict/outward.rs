//! The verdict on whom a frame that passes is sent to, on the host's end of a veth that is
//! a port of a bridge. Root inside chooses the hardware address; a neighbour that has it,
//! or lets itself be taken for the gateway, gets what is meant for somebody else. What goes
//! to somebody who is not on the link must be the host's own, which knows the way.

use crate::{
    addr::Addr,
    denial::Reason,
    map::{Mac, Veth},
};

/// Judges a frame for `dst` that is sent to the hardware address `to`. `is_near` says
/// whether `dst` is known as a neighbour's ([`Bridge::has_neighbour`]), `own` which address
/// the bridge has by now, if that can be told.
///
/// [`Bridge::has_neighbour`]: crate::map::Bridge::has_neighbour
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub fn outward(
    dst: Addr,
    to: Mac,
    veth: &Veth,
    is_near: impl FnOnce() -> bool,
    own: impl FnOnce() -> Option<Mac>,
) -> Result<(), Reason> {
    if !veth.is_port() || to.is(veth.mac) {
        return Ok(());
    }
    // No router passes these on: such a peer is on the link.
    if dst.is_v6_link_local() {
        return Ok(());
    }
    if is_near() {
        return Ok(());
    }
    // The bridge may have got another one since.
    match own() {
        Some(own) if to.is(own) => Ok(()),
        _ => Err(Reason::NextHop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Bridge, Link4, MAX_UPLINKS};

    const GATEWAY: Mac = Mac::from_octets([2, 0x42, 0, 0, 0, 1]);
    const RENEWED: Mac = Mac::from_octets([2, 0x42, 0, 0, 0, 7]);
    const NEIGHBOUR: Mac = Mac::from_octets([2, 0x42, 0, 0, 0, 9]);
    const NEAR: Addr = Addr::from_v4([198, 51, 100, 9]);
    const FAR: Addr = Addr::from_v4([198, 51, 101, 9]);
    const HOST: Addr = Addr::from_v4([198, 51, 100, 1]);

    fn veth(bridge: u32, mac: Mac) -> Veth {
        Veth {
            seal: 7,
            bridge,
            gateway: 0,
            uplinks: [0; MAX_UPLINKS],
            mac,
        }
    }

    fn link() -> Bridge {
        let mut link = Bridge::default();
        link.v4[0] = Link4 {
            addr: HOST.0[3],
            mask: u32::from_ne_bytes([255, 255, 255, 0]),
        };
        link
    }

    fn passes(dst: Addr, to: Mac) -> bool {
        let is_near = || link().has_neighbour(dst);
        outward(dst, to, &veth(10, GATEWAY), is_near, || Some(RENEWED)).is_ok()
    }

    #[test]
    fn who_is_not_on_the_link_is_reached_by_the_host_alone() {
        for dst in [NEAR, FAR, HOST] {
            assert!(passes(dst, GATEWAY), "{dst:?} by the host");
            assert!(passes(dst, RENEWED), "{dst:?} by its new address");
        }
        assert!(passes(NEAR, NEIGHBOUR), "a neighbour");
        assert!(!passes(FAR, NEIGHBOUR), "a far client by a neighbour");
        assert!(!passes(HOST, NEIGHBOUR), "the host by a neighbour");
        let local = Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert!(passes(local, NEIGHBOUR), "link-local");
    }

    #[test]
    fn what_is_not_known_is_refused_or_nothing_to_judge() {
        let at = |veth| outward(FAR, NEIGHBOUR, &veth, || false, || None).is_ok();
        assert!(!at(veth(10, GATEWAY)));
        assert!(at(veth(0, Mac::default())), "no bridge");
        assert!(at(veth(10, Mac::default())), "not told by MAC");
        assert!(at(veth(Veth::UNPLUGGED, GATEWAY)), "no port yet");
    }
}
