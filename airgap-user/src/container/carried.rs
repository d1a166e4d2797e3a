//! Sockets that a container's processes hold and that lead elsewhere: to other
//! network namespaces, to processes outside, around the network.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use super::{
    Budget, Cgroup, Holder, Table, apart,
    apart::Refusal,
    holder::{File, Looked, held_by, inode_of, still_holds},
    options::{is_connected, is_readable, namespace, option},
    peers::unix_peers,
    queued::{Rings, queued},
    rounds::Rounds,
};
use crate::host::netns::Netns;

/// Where a carried socket leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Into another network namespace: no hook of this container's sees it.
    Elsewhere,
    /// To a unix socket that no process of the container holds.
    Outside,
    /// Around the network: AF_VSOCK, AF_XDP, netlink other than routes.
    Around,
    /// Not known: descriptors that lie in the queue of this unix socket, or a socket that
    /// is registered with a ring, and that no table of descriptors has.
    Queued,
    /// Not known: one thread has it for itself, and this kernel lends no such
    /// descriptors.
    Unknown,
}

/// A socket that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Who holds it.
    pub holder: Holder,
    /// Its inode.
    pub inode: u64,
    /// Name of its family.
    pub family: &'static str,
    /// Where it leads.
    pub leads: Leads,
}

impl Carried {
    /// Whether it is one of the first three descriptors, which connect a
    /// process to its runtime.
    pub const fn is_stdio(&self) -> bool {
        self.holder.fd <= 2
    }
}

/// Finds them among what the processes in `cgroups` hold; `own` are the container's network
/// namespaces with their inodes. `each` gets the very socket that was judged, unless nobody
/// can borrow it: a moment later the holder's number may be another's. Whether nobody came
/// or went unseen.
///
/// Without sock_diag for unix sockets it only warns.
pub fn carried(
    own: &[(u64, &Netns)],
    cgroups: &[Cgroup],
    budget: &mut Budget,
    mut each: impl FnMut(Carried, Option<&OwnedFd>) + Send,
) -> bool {
    let mut peers = HashMap::new();
    for (_, netns) in own {
        match unix_peers(netns) {
            Ok(found) => peers.extend(found),
            Err(error) => {
                log::warn!("unix connections are not known, the kernel lists none: {error:#}");
            }
        }
    }
    let mut survey = Survey {
        own,
        peers,
        rounds: Rounds::of(cgroups),
        pending: Vec::new(),
        judged: HashSet::new(),
        hidden: HashMap::new(),
        unix: Vec::new(),
        rings: Vec::new(),
        asked: Rings::default(),
        restless: false,
    };
    let each = &mut each;
    survey.in_tables(budget, |survey, table, budget| {
        survey.go_on(table, budget, each)
    });
    survey.restless |= !survey.rounds.settled();
    survey.in_tables(budget, |survey, table, _| survey.conclude(table, each));
    !survey.restless
}

/// A look at all sockets, process by process: each is borrowed right after it was listed,
/// for its holder may end any time.
struct Survey<'a> {
    own: &'a [(u64, &'a Netns)],
    /// Inode → peer's inode of connected unix sockets.
    peers: HashMap<u64, u64>,
    rounds: Rounds<'a>,
    /// Listed, and not looked at yet.
    pending: Vec<(u64, Holder)>,
    judged: HashSet<u64>,
    /// Those that a holder has and that cannot be borrowed from it.
    hidden: HashMap<u64, Holder>,
    /// Connected unix sockets: only once all are known it is known who is inside.
    unix: Vec<(u64, Holder)>,
    /// Rings, with the inodes of the sockets that are registered with them; `None`: not known.
    rings: Vec<(Holder, Option<Vec<u64>>)>,
    asked: Rings,
    restless: bool,
}

/// Whether there is more to do, in another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Last,
    Full,
}

impl Survey<'_> {
    /// Does a part of the work after the other, each in a table of descriptors that ends
    /// with it.
    fn in_tables(
        &mut self,
        budget: &mut Budget,
        mut part: impl FnMut(&mut Self, &Table, &mut Budget) -> Part + Send,
    ) {
        loop {
            match apart(|table| part(self, table, budget)) {
                Ok(Part::Full) => {}
                Ok(Part::Last) => return,
                Err(error) => {
                    budget.skip(format!("sockets that its processes hold ({error})"));
                    return;
                }
            }
        }
    }

    fn go_on(
        &mut self,
        table: &Table,
        budget: &mut Budget,
        each: &mut impl FnMut(Carried, Option<&OwnedFd>),
    ) -> Part {
        loop {
            while let Some((inode, holder)) = self.pending.pop() {
                if !budget.step_for("sockets that its processes hold") {
                    return Part::Last;
                }
                self.look_at(inode, holder, table, budget, each);
                if table.is_full() {
                    return Part::Full;
                }
            }
            let Some(pid) = self.rounds.next(budget) else {
                return Part::Last;
            };
            let (pending, judged) = (&mut self.pending, &self.judged);
            let (rings, asked) = (&mut self.rings, &mut self.asked);
            let looked = held_by(pid, budget, |file, holder| match file {
                File::Socket(inode) if judged.contains(&inode) => {}
                File::Socket(inode) => pending.push((inode, holder)),
                File::Ring => {
                    let sockets = asked.registered(holder.pid, holder.thread, holder.fd);
                    rings.push((holder, sockets));
                }
            });
            match looked {
                Looked::Whole => {}
                Looked::Restless => self.restless = true,
                Looked::Spent => return Part::Last,
            }
        }
    }

    fn look_at(
        &mut self,
        listed: u64,
        holder: Holder,
        table: &Table,
        budget: &mut Budget,
        each: &mut impl FnMut(Carried, Option<&OwnedFd>),
    ) {
        if self.judged.contains(&listed) {
            return;
        }
        let socket = match table.borrow(&holder) {
            Ok(socket) => socket,
            Err(error) => {
                match Refusal::of(&error) {
                    // It may be at another number by now, or with another thread.
                    Refusal::Gone => self.rounds.once_more(holder.pid),
                    Refusal::Full => budget.skip("some sockets that its processes hold".into()),
                    Refusal::Hidden if still_holds(&holder, listed) => {
                        self.hidden.insert(listed, holder);
                    }
                    Refusal::Hidden => {}
                }
                return;
            }
        };
        // Another one may have the number since it was listed: that one is judged.
        let inode = inode_of(&socket).unwrap_or(listed);
        if inode != listed {
            self.rounds.once_more(holder.pid);
        }
        // No socket any more.
        let Ok(domain) = option(&socket, libc::SO_DOMAIN) else {
            return;
        };
        if !self.judged.insert(inode) {
            return;
        }
        let protocol = option(&socket, libc::SO_PROTOCOL).unwrap_or(0);
        let elsewhere =
            namespace(&socket).is_ok_and(|ns| self.own.iter().all(|(known, _)| *known != ns));
        if domain == libc::AF_UNIX {
            // Before Linux 5.14 nothing tells: what waits there may have descriptors.
            let queued = queued(socket.as_raw_fd());
            if queued.map_or_else(|| is_readable(&socket), |count| count > 0) {
                let carried = Carried {
                    holder: holder.clone(),
                    inode,
                    family: "unix",
                    leads: Leads::Queued,
                };
                each(carried, Some(&socket));
            }
            // The accepted end belongs to its client's namespace, and is listed there.
            if self.peers.contains_key(&inode) || elsewhere && is_connected(&socket) {
                self.unix.push((inode, holder));
            }
        } else if let Some(leads) = judge(domain, protocol, elsewhere, None) {
            let carried = Carried {
                holder,
                inode,
                family: family(domain),
                leads,
            };
            each(carried, Some(&socket));
        }
    }

    /// Judges what depends on all the others.
    fn conclude(
        &mut self,
        table: &Table,
        each: &mut impl FnMut(Carried, Option<&OwnedFd>),
    ) -> Part {
        while let Some((inode, holder)) = self.unix.pop() {
            let inside = self
                .peers
                .get(&inode)
                .is_some_and(|peer| self.judged.contains(peer) || self.hidden.contains_key(peer));
            if let Some(leads) = judge(libc::AF_UNIX, 0, false, Some(inside)) {
                let socket = table.borrow_same(&holder, inode).ok();
                let carried = Carried {
                    holder,
                    inode,
                    family: "unix",
                    leads,
                };
                each(carried, socket.as_deref());
            }
            if table.is_full() {
                return Part::Full;
            }
        }
        let mut named = HashSet::new();
        for (holder, sockets) in std::mem::take(&mut self.rings) {
            if named.contains(&holder.pid) {
                continue;
            }
            // What a descriptor has, too, was looked at.
            let unknown = sockets.map_or(Some(0), |sockets| {
                let mut unknown = sockets.into_iter();
                unknown.find(|inode| !self.judged.contains(inode))
            });
            if let Some(inode) = unknown {
                // One of each process is enough.
                named.insert(holder.pid);
                let carried = Carried {
                    holder,
                    inode,
                    family: "other",
                    leads: Leads::Queued,
                };
                each(carried, None);
            }
        }
        for (inode, holder) in std::mem::take(&mut self.hidden) {
            // Where another holder lent it, it was looked at.
            if !self.judged.contains(&inode) && still_holds(&holder, inode) {
                let carried = Carried {
                    holder,
                    inode,
                    family: "hidden",
                    leads: Leads::Unknown,
                };
                each(carried, None);
            }
        }
        Part::Last
    }
}

/// Ends a unix connection for both sides.
///
/// # Errors
/// If the kernel refuses.
pub fn disconnect(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: integers only.
    if unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// `peer_inside`: who a connected unix socket is connected to, if it is. Pure.
fn judge(domain: i32, protocol: i32, elsewhere: bool, peer_inside: Option<bool>) -> Option<Leads> {
    match domain {
        libc::AF_UNIX if peer_inside == Some(false) => Some(Leads::Outside),
        libc::AF_INET | libc::AF_INET6 | libc::AF_PACKET if elsewhere => Some(Leads::Elsewhere),
        libc::AF_UNIX | libc::AF_INET | libc::AF_INET6 | libc::AF_PACKET | libc::AF_ALG => None,
        libc::AF_NETLINK
            if matches!(
                protocol,
                libc::NETLINK_ROUTE | libc::NETLINK_SOCK_DIAG | libc::NETLINK_KOBJECT_UEVENT
            ) =>
        {
            None
        }
        _ => Some(Leads::Around),
    }
}

fn family(domain: i32) -> &'static str {
    const AF_XDP: i32 = 44;
    match domain {
        libc::AF_UNIX => "unix",
        libc::AF_INET | libc::AF_INET6 => "ip",
        libc::AF_PACKET => "packet",
        libc::AF_NETLINK => "netlink",
        libc::AF_VSOCK => "vsock",
        AF_XDP => "xdp",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_elsewhere_is_named() {
        use libc::{AF_INET, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, NETLINK_AUDIT};
        assert_eq!(judge(AF_INET, 6, false, None), None);
        assert_eq!(judge(AF_INET, 6, true, None), Some(Leads::Elsewhere));
        assert_eq!(judge(AF_PACKET, 0, true, None), Some(Leads::Elsewhere));
        // Found by what /proc/net lists.
        assert_eq!(judge(AF_PACKET, 0, false, None), None);
        assert_eq!(judge(AF_UNIX, 0, false, None), None);
        assert_eq!(judge(AF_UNIX, 0, true, Some(true)), None);
        assert_eq!(judge(AF_UNIX, 0, true, Some(false)), Some(Leads::Outside));
        assert_eq!(judge(AF_VSOCK, 0, false, None), Some(Leads::Around));
        assert_eq!(judge(AF_NETLINK, 0, false, None), None);
        assert_eq!(
            judge(AF_NETLINK, NETLINK_AUDIT, false, None),
            Some(Leads::Around)
        );
    }
}
