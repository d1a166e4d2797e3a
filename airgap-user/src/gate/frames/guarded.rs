//! Whether an interface is guarded, and if not, why.

use super::{FrameLayer, clsact};
use crate::container::Interface;

/// What guards one interface of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameGuard {
    /// The interface.
    pub interface: Interface,
    /// Why nothing does, if nothing does.
    pub missing: Option<String>,
    /// What has to be run before anything can, if something is in the way.
    pub clear: Option<String>,
    /// What is for a client elsewhere may go to a neighbour on its link: nothing there
    /// tells which hardware address is the way out.
    pub misroutes: bool,
}

impl FrameGuard {
    /// With what is in the way of a guard that is missing, if this kernel's layer has no place
    /// beside it.
    pub fn of(interface: Interface, missing: Option<String>, misroutes: bool) -> Self {
        let taken =
            |index| FrameLayer::of_kernel() == FrameLayer::Clsact && clsact::is_taken(index);
        let end = interface.host.as_ref();
        let end = end.filter(|end| missing.is_some() && taken(end.index));
        match end.map(|end| &end.name) {
            Some(name) => Self {
                missing: Some(format!(
                    "an `ingress` queueing discipline of somebody else's on {name} leaves no place to guard {}",
                    interface.name
                )),
                clear: Some(format!("tc qdisc del dev {name} ingress")),
                misroutes,
                interface,
            },
            None => Self {
                interface,
                missing,
                clear: None,
                misroutes,
            },
        }
    }

    /// As it will be once it is put there, if that can be.
    pub fn expected(interface: Interface, layer: bool) -> Self {
        let misroutes = interface.host.is_none();
        let missing = match (&interface.host, layer) {
            // Stands unless its place is taken.
            (Some(_), true) => {
                let guard = Self::of(interface, Some(String::new()), misroutes);
                let missing = guard.missing.filter(|_| guard.clear.is_some());
                return Self { missing, ..guard };
            }
            (Some(_), false) => "this kernel has no frame layer".into(),
            (None, _) => no_end(&interface),
        };
        Self::of(interface, Some(missing), misroutes)
    }
}

pub(super) fn no_end(interface: &Interface) -> String {
    format!(
        "{} is no veth with its other end on this host",
        interface.name
    )
}
