//! Security hooks: sockets that no cgroup hook sees, unix sockets of others,
//! and descriptors carried in. Minimum kernel: 5.8 (5.15 as BPF LSM); the loader
//! believes in them only after a refusal.
//!
//! The same instructions are loaded as BPF LSM programs on `bpf_lsm_*`, or, where that
//! is never called (`bpf` is missing in `lsm=`), as `fmod_ret` programs on the kernel's
//! `security_*`: the arguments are the same, and so is what is returned.
//!
//! All run in the task that asked, and judge by that task's cgroup.

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::{Policy, Stat, Switch, UNRECORDED},
    verdict::socket::{
        AF_ALG, AF_INET, AF_INET6, AF_UNIX, SELF_TEST_ERRNO, family_errno, is_membership, use_of,
    },
};
use aya_ebpf::{
    helpers::{bpf_probe_read_kernel, generated::bpf_get_current_task},
    programs::LsmContext,
};

use crate::{
    denial::{Details, UnixAddress, Who, deny, deny_peer},
    kernel::{
        HAS_SET_RETVAL, HAS_TYPED_LOADS, OFF_FILE_INODE, OFF_FILE_PRIVATE, OFF_INODE_MODE,
        OFF_SOCK_CGROUP, OFF_SOCK_DADDR, OFF_SOCK_DPORT, OFF_SOCK_FAMILY, OFF_SOCK_PROTOCOL,
        OFF_SOCK_V6_DADDR, OFF_SOCKET_FILE, OFF_SOCKET_SK, OFF_TASK_FLAGS, OFF_UNIX_ADDR,
        OFF_UNIX_LEN, OFF_UNIX_NAME, SELF_TEST, load, read, socket_cgroup, task_cgroup_by_type,
    },
    maps::{CGROUPS, STATS, SWITCHES},
    subject::Subject,
    systemd,
};

const ALLOW: i32 = 0;
const EPERM: i32 = 1;
const ENETUNREACH: i32 = 101;

/// `socket_create(int family, int type, int protocol, int kern)`.
#[inline(always)]
pub(crate) fn create(ctx: &LsmContext) -> i32 {
    let (family, kind, protocol) = (
        ctx.arg::<i32>(0) as u16,
        ctx.arg::<i32>(1) as u16,
        ctx.arg::<i32>(2),
    );
    if family == AF_UNIX && protocol as u32 == SELF_TEST.load() {
        return -SELF_TEST_ERRNO;
    }
    if ctx.arg::<i32>(3) != 0 {
        // The kernel's own.
        return ALLOW;
    }
    // Its own unix sockets lead nowhere that the other hooks do not judge, and no container
    // starts without them.
    if family != AF_UNIX
        && let Some(subject) = unguarded()
    {
        return refuse(
            &owner(&subject),
            Reason::Unrecorded,
            family,
            kind,
            &NO_ADDRESS,
        );
    }
    // Before whose task it is: most families are everybody's.
    let Some(errno) = family_errno(family, protocol) else {
        return ALLOW;
    };
    let Some(subject) = Subject::of_caller() else {
        return ALLOW;
    };
    match refuse(&subject, Reason::SocketType, family, kind, &NO_ADDRESS) {
        ALLOW => ALLOW,
        // Constants: the verifier wants to see the range.
        _ if errno == EPERM => -EPERM,
        _ => -93,
    }
}

/// `socket_sendmsg(struct socket *sock, …)`, on sockets that have been connected
/// elsewhere too. Before 6.5 the pages of sendfile and splice do not come here.
#[inline(always)]
pub(crate) fn sendmsg(ctx: &LsmContext) -> i32 {
    if HAS_TYPED_LOADS.load() != 0 && is_own(ctx.arg::<u64>(0)) && !has_unguarded() {
        return ALLOW;
    }
    let Some(subject) = Subject::of_caller() else {
        return ALLOW;
    };
    if is_kernels_own(ctx.arg::<u64>(0)) {
        return ALLOW;
    }
    let sk = socket_sk(ctx);
    let Some(family) = read::<u16>(sk, &OFF_SOCK_FAMILY) else {
        return refuse(&subject, Reason::SocketType, 0, 0, &NO_ADDRESS);
    };
    if subject.seal == UNRECORDED && family != AF_UNIX {
        return refuse_peer(&owner(&subject), Reason::Unrecorded, family, sk);
    }
    // Cannot be read: no protocol that is allowed.
    let protocol = read::<u16>(sk, &OFF_SOCK_PROTOCOL).unwrap_or(u16::MAX);
    match use_of(family, protocol.into(), is_inside(&subject, sk)) {
        Ok(()) => ALLOW,
        Err(reason) => refuse_peer(&subject, reason, family, sk),
    }
}

/// `socket_connect(struct socket *sock, struct sockaddr *address, …)`. TCP and UDP sockets of
/// the container's own are left to the cgroup hooks, which come next and know more. Those run
/// for the socket's cgroup: where they are not attached to the root, one from elsewhere does
/// not come to them.
#[inline(always)]
pub(crate) fn connect(ctx: &LsmContext) -> i32 {
    if HAS_TYPED_LOADS.load() != 0 && is_own(ctx.arg::<u64>(0)) && !has_unguarded() {
        return ALLOW;
    }
    let Some(subject) = Subject::of_caller() else {
        return ALLOW;
    };
    let sk = socket_sk(ctx);
    let family = read::<u16>(sk, &OFF_SOCK_FAMILY).unwrap_or(0);
    if subject.seal == UNRECORDED && family != AF_UNIX {
        return refuse(&owner(&subject), Reason::Unrecorded, family, 0, &NO_ADDRESS);
    }
    let protocol = read::<u16>(sk, &OFF_SOCK_PROTOCOL).unwrap_or(u16::MAX);
    match use_of(family, protocol.into(), is_inside(&subject, sk)) {
        Ok(()) => ALLOW,
        // The hooks at the root tell it, and let it through as well.
        Err(Reason::ForeignSocket) if subject.is_audited() && !is_apart() => ALLOW,
        Err(reason) => refuse_asked(&subject, reason, family, protocol, ctx.arg::<u64>(1)),
    }
}

/// Whether the cgroup hooks are not attached to the root.
#[inline(always)]
fn is_apart() -> bool {
    SWITCHES.get(Switch::Apart as u32) != Some(&0)
}

/// `socket_setsockopt(struct socket *sock, int level, int optname)`; for 32-bit
/// system calls too, unlike the cgroup hook.
#[inline(always)]
pub(crate) fn option(ctx: &LsmContext) -> i32 {
    if !is_membership(ctx.arg::<i32>(1), ctx.arg::<i32>(2)) {
        return ALLOW;
    }
    let Some(subject) = Subject::of_caller() else {
        return ALLOW;
    };
    let family = read::<u16>(socket_sk(ctx), &OFF_SOCK_FAMILY).unwrap_or(0);
    refuse(&subject, Reason::SocketOption, family, 0, &NO_ADDRESS)
}

/// `unix_stream_connect(struct sock *sock, struct sock *other, …)`.
#[inline(always)]
pub(crate) fn unix_connect(ctx: &LsmContext) -> i32 {
    unix_peer(ctx.arg::<u64>(1))
}

/// `unix_may_send(struct socket *sock, struct socket *other)`.
#[inline(always)]
pub(crate) fn unix_send(ctx: &LsmContext) -> i32 {
    unix_peer(read::<u64>(ctx.arg::<u64>(1), &OFF_SOCKET_SK).unwrap_or(0))
}

#[inline(always)]
fn unix_peer(other: u64) -> i32 {
    let Some(subject) = Subject::of_caller() else {
        return ALLOW;
    };
    if is_inside(&subject, other) {
        return ALLOW;
    }
    let policy = subject.policy().map_or(0, |policy| policy.flags);
    if policy & Policy::OF_SYSTEMD != 0 && systemd::is_made_by_it(other) != 0 {
        return ALLOW;
    }
    refuse(&subject, Reason::UnixPeer, AF_UNIX, 0, &address(other))
}

/// `file_receive(struct file *file)`: a descriptor that comes in over
/// `SCM_RIGHTS` or `pidfd_getfd`.
#[inline(always)]
pub(crate) fn receive(ctx: &LsmContext) -> i32 {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let Some(subject) = Subject::of_caller() else {
        return ALLOW;
    };
    let file = ctx.arg::<u64>(0);
    let mode = read::<u64>(file, &OFF_FILE_INODE).and_then(|i| read::<u16>(i, &OFF_INODE_MODE));
    let Some(mode) = mode else {
        return refuse(&subject, Reason::ForeignSocket, 0, 0, &NO_ADDRESS);
    };
    if mode & S_IFMT != S_IFSOCK {
        return ALLOW;
    }
    // sock_alloc_file: the file of a socket has it as private data.
    let socket = read::<u64>(file, &OFF_FILE_PRIVATE).unwrap_or(0);
    let sk = read::<u64>(socket, &OFF_SOCKET_SK).unwrap_or(0);
    let family = read::<u16>(sk, &OFF_SOCK_FAMILY).unwrap_or(0);
    if subject.seal == UNRECORDED && family != AF_UNIX {
        return refuse(&owner(&subject), Reason::Unrecorded, family, 0, &NO_ADDRESS);
    }
    if is_inside(&subject, sk) {
        return ALLOW;
    }
    refuse(&subject, Reason::ForeignSocket, family, 0, &NO_ADDRESS)
}

/// Whether any cgroup is where nothing is attached that would judge its packets.
#[inline(always)]
fn has_unguarded() -> bool {
    STATS.get(Stat::Unguarded as u32) != Some(&0)
}

/// Whose refusals those of such a cgroup are: they are counted by the seal that it is of.
#[inline(always)]
fn owner(subject: &Subject) -> Subject {
    // SAFETY: the value is copied out at once.
    match unsafe { CGROUPS.get(subject.cgroup) } {
        Some(member) => Subject {
            seal: member.of,
            ..*subject
        },
        None => *subject,
    }
}

/// The task's cgroup, if it is such a one: it is denied every socket but unix sockets.
#[inline(always)]
fn unguarded() -> Option<Subject> {
    if !has_unguarded() {
        return None;
    }
    Subject::of_caller().filter(|subject| subject.seal == UNRECORDED)
}

/// Whether the kernel sends for itself and only borrows the task: a network
/// disk is written by whoever touches a file on it, and refusing that loses the
/// disk for the whole host. Such a `struct socket` has no file, or its owner
/// may use the last memory, which no system call on a socket may.
#[inline(always)]
fn is_kernels_own(socket: u64) -> bool {
    /// `PF_MEMALLOC` (include/linux/sched.h).
    const MEMALLOC: u32 = 0x800;
    if read::<u64>(socket, &OFF_SOCKET_FILE) == Some(0) {
        return true;
    }
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task() };
    read::<u32>(task, &OFF_TASK_FLAGS).is_some_and(|flags| flags & MEMALLOC != 0)
}

/// Whether whoever sends on this `struct socket` may, sealed or not, told by pointers alone:
/// an IP socket that was made in the very cgroup of the task, or one that [`use_of`] asks
/// nothing of. Nearly every message is one of those; the others are looked at closer.
#[inline(always)]
fn is_own(socket: u64) -> bool {
    let sk = load::<u64>(socket, &OFF_SOCKET_SK);
    if sk == 0 {
        return false;
    }
    match load::<u16>(sk, &OFF_SOCK_FAMILY) {
        AF_UNIX | AF_ALG => true,
        AF_INET | AF_INET6 => {
            let cgroup = task_cgroup_by_type();
            cgroup != 0 && load::<u64>(sk, &OFF_SOCK_CGROUP) == cgroup
        }
        _ => false,
    }
}

/// The `struct sock` behind a hook's `struct socket`.
#[inline(always)]
fn socket_sk(ctx: &LsmContext) -> u64 {
    read::<u64>(ctx.arg::<u64>(0), &OFF_SOCKET_SK).unwrap_or(0)
}

/// Whether the socket was created in this container, by its own account.
#[inline(always)]
fn is_inside(subject: &Subject, sk: u64) -> bool {
    socket_cgroup(sk).is_some_and(|cgroup| subject.contains(cgroup))
}

const NO_ADDRESS: UnixAddress = UnixAddress { at: 0, len: 0 };

/// Where a unix socket's `sun_path` lies, if it has a name.
#[inline(always)]
fn address(sk: u64) -> UnixAddress {
    /// `sun_path` in `struct sockaddr_un`.
    const PATH: u64 = 2;
    if OFF_UNIX_ADDR.load() == u64::MAX {
        return NO_ADDRESS;
    }
    let Some(addr) = read::<u64>(sk, &OFF_UNIX_ADDR) else {
        return NO_ADDRESS;
    };
    match read::<u32>(addr, &OFF_UNIX_LEN) {
        Some(len) if len > PATH as u32 => UnixAddress {
            at: addr + OFF_UNIX_NAME.load() + PATH,
            len: len - PATH as u32,
        },
        _ => NO_ADDRESS,
    }
}

#[inline(always)]
fn refuse(subject: &Subject, reason: Reason, family: u16, kind: u16, peer: &UnixAddress) -> i32 {
    deny_peer(subject, &details(reason, family, kind), peer);
    refusal(subject)
}

/// As [`refuse`], with the address an IP socket is connected to.
#[inline(always)]
fn refuse_peer(subject: &Subject, reason: Reason, family: u16, sk: u64) -> i32 {
    let mut details = details(reason, family, 0);
    let dst = match family {
        AF_INET => read::<u32>(sk, &OFF_SOCK_DADDR).map(Addr::v4),
        AF_INET6 => read::<[u32; 4]>(sk, &OFF_SOCK_V6_DADDR).map(Addr),
        _ => None,
    };
    if let Some(dst) = dst {
        details.dst = dst;
        details.dport = u16::from_be(read::<u16>(sk, &OFF_SOCK_DPORT).unwrap_or(0));
    }
    deny(subject, &details);
    refusal(subject)
}

/// As [`refuse`], with the address that a call names, of the socket's own family or none.
#[inline(always)]
fn refuse_asked(
    subject: &Subject,
    reason: Reason,
    family: u16,
    protocol: u16,
    address: u64,
) -> i32 {
    let mut details = details(reason, family, 0);
    details.protocol = u8::try_from(protocol).unwrap_or(0);
    // struct sockaddr_in and sockaddr_in6: family, port, and the address at 4 or 8; the
    // kernel has copied it.
    // SAFETY: probe_read takes any address and fails instead of faulting.
    let head = unsafe { bpf_probe_read_kernel(address as *const [u16; 2]) };
    if let Ok([named, port]) = head
        && named == family
    {
        // SAFETY: as above.
        let dst = unsafe {
            match family {
                AF_INET => bpf_probe_read_kernel((address + 4) as *const u32).map(Addr::v4),
                AF_INET6 => bpf_probe_read_kernel((address + 8) as *const [u32; 4]).map(Addr),
                _ => Err(0),
            }
        };
        if let Ok(dst) = dst {
            details.dst = dst;
            details.dport = u16::from_be(port);
        }
    }
    deny(subject, &details);
    match subject.policy().map_or(0, |policy| policy.flags) {
        flags if flags & Policy::AUDIT != 0 => ALLOW,
        // As the cgroup hooks have it fail; constants, for the verifier.
        flags if flags & Policy::NOT_PERMITTED == 0 && HAS_SET_RETVAL.load() == 1 => -ENETUNREACH,
        _ => -EPERM,
    }
}

/// What a hook returns that refuses: an audit lets it through.
#[inline(always)]
fn refusal(subject: &Subject) -> i32 {
    if subject.is_audited() { ALLOW } else { -EPERM }
}

#[inline(always)]
fn details(reason: Reason, family: u16, kind: u16) -> Details {
    Details {
        hook: Hook::Lsm,
        reason: reason as u64,
        who: Who::Task,
        protocol: 0,
        src: Addr::default(),
        dst: Addr::default(),
        sport: 0,
        dport: 0,
        family,
        kind,
        ifindex: 0,
    }
}
