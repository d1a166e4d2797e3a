//! `connect` and `sendmsg`: the refusal a program sees at once, with the task
//! that asked. These judge the *current task*, so a socket that was created
//! outside and carried in is caught here.

mod sockets;

use core::ptr;

use airgap_common::{
    addr::Addr,
    denial::{Hook, Reason},
    map::{Call, Exit, Policy, SealNumber},
    packet::{TCP, UDP},
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock, bpf_sock_addr, bpf_sock_tuple, sockaddr},
    helpers::bpf_get_current_pid_tgid,
    helpers::generated::{
        bpf_bind, bpf_set_retval, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release,
    },
    programs::SockAddrContext,
};

use self::sockets::{
    has_ipv6, has_receiver, is_bound_elsewhere, is_own_socket, may_broadcast, own_address,
};
use crate::{
    allowed, audit,
    counted::is_counted,
    denial::{Details, Who, deny},
    exits,
    kernel::{
        HAS_SET_RETVAL, HAS_TYPED_LOADS, OFF_DEV_IP6, OFF_IDEV_LIST, OFF_INET_SADDR,
        OFF_NET_LOOPBACK, OFF_SOCK_ADDR_SK, OFF_SOCK_FLAGS, OFF_SOCK_NET, read, socket_cgroup,
        task_cgroup_by_type,
    },
    sock::note,
    socket::{erase_tag, write_exit_tag},
    subject::Subject,
    udp,
    verifier::forgotten,
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const ALLOW: i32 = 1;
const CURRENT_NETNS: u64 = u64::MAX;
const EADDRNOTAVAIL: i32 = 99;
const ENETUNREACH: i32 = 101;
const ECONNREFUSED: i32 = 111;

/// Destination of an IPv4 hook.
#[inline(always)]
pub(crate) fn dst4(ctx: &SockAddrContext) -> Addr {
    // SAFETY: the context is a bpf_sock_addr.
    Addr::v4(unsafe { (*ctx.sock_addr).user_ip4 })
}

/// Destination of an IPv6 hook; may be a mapped IPv4 address.
#[inline(always)]
pub(crate) fn dst6(ctx: &SockAddrContext) -> Addr {
    let a = ctx.sock_addr;
    // SAFETY: as above. Volatile, or LLVM merges the loads into one that the
    // verifier refuses.
    unsafe {
        Addr([
            ptr::read_volatile(&raw const (*a).user_ip6[0]),
            ptr::read_volatile(&raw const (*a).user_ip6[1]),
            ptr::read_volatile(&raw const (*a).user_ip6[2]),
            ptr::read_volatile(&raw const (*a).user_ip6[3]),
        ])
    }
}

#[inline(always)]
fn socket(ctx: &SockAddrContext) -> *mut bpf_sock {
    // SAFETY: the context is a bpf_sock_addr.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }
}

#[inline(always)]
fn dport(ctx: &SockAddrContext) -> u16 {
    // SAFETY: the context is a bpf_sock_addr; the port is its low 16 bits.
    u16::from_be(unsafe { (*ctx.sock_addr).user_port } as u16)
}

#[inline(always)]
fn protocol(ctx: &SockAddrContext) -> u8 {
    // SAFETY: the context is a bpf_sock_addr.
    unsafe { (*ctx.sock_addr).protocol as u8 }
}

/// `cgroup/connect4`, `cgroup/connect6`: 1 allows, 0 refuses with the errno of [`refuse`].
#[inline(always)]
pub(crate) fn connect(ctx: &SockAddrContext, dst: Addr, hook: Hook) -> i32 {
    // A listener that connects is no listener any more. Sealed or not: the tag
    // must not wait for a seal to come back.
    // SAFETY: the socket is live.
    unsafe { erase_tag(socket(ctx)) };
    let Some(subject) = Subject::of_task() else {
        return ALLOW;
    };
    let judgement = judge(ctx, &subject, dst);
    let is_elsewhere = dst.is_loopback() && is_bound_elsewhere(ctx);
    if matches!(judgement, Judgement::Allow) && !is_elsewhere {
        if dst.is_loopback() && protocol(ctx) == TCP {
            let flags = flags(&subject);
            if flags & Policy::LOOPBACK_EXITS != 0 {
                // Whatever it says: egress judges the segments by what is on the socket.
                exit(ctx, &subject, flags, dst, hook);
            }
        }
        return pass(ctx, &subject);
    }
    let flags = flags(&subject);
    let reason = match judgement {
        // Egress would drop it; this says so at once.
        Judgement::Allow => Reason::Loopback,
        Judgement::Refuse(reason) => reason,
        Judgement::IfOwnAddress => {
            let Err(answer) = answers(ctx, &subject, flags, dst) else {
                return pass(ctx, &subject);
            };
            let (exit, number) = exit(ctx, &subject, flags, dst, hook);
            if exit == Exit::Open {
                return pass(ctx, &subject);
            }
            if own_address(ctx, dst) {
                if flags & Policy::SHARED_NETWORK == 0
                    || protocol(ctx) == TCP && has_receiver(ctx, dst)
                {
                    return pass(ctx, &subject);
                }
                // Egress would drop it, too, and leave it waiting for an answer.
                Reason::Loopback
            } else {
                reason_of(exit, number, answer)
            }
        }
    };
    refuse(ctx, &subject, flags, dst, hook, reason)
}

/// What exceptions say of this destination, and the number of the one that says so; a TCP
/// socket has the tag of the one that lets it connect. What is let out is told.
#[inline(always)]
fn exit(
    ctx: &SockAddrContext,
    subject: &Subject,
    flags: u32,
    dst: Addr,
    hook: Hook,
) -> (Exit, u32) {
    if flags & Policy::HAS_EXITS == 0 {
        return (Exit::None, 0);
    }
    let (port, protocol) = (dport(ctx), protocol(ctx));
    let found = exits::asked(subject.seal, dst, port, protocol);
    // SAFETY: the context is a bpf_sock_addr.
    let any = unsafe { (*ctx.sock_addr).user_port };
    let number = found as u32;
    let exit = match Exit::of(forgotten(found >> 32, 4, any)) {
        Exit::Open if protocol == TCP => {
            // SAFETY: the verifier knows the context's socket.
            match unsafe { write_exit_tag(socket(ctx), subject.seal, number) } {
                true => Exit::Open,
                false => Exit::None,
            }
        }
        exit => exit,
    };
    let thread = bpf_get_current_pid_tgid();
    if exit == Exit::Open && !is_counted(thread, number.into(), Call::TOLD) {
        let how = allowed::how(hook, protocol, port);
        allowed::tell(subject.seal, &dst, how, number);
    }
    (exit, number)
}

/// Whether a UDP service port may send to this destination, or why not.
#[inline(always)]
fn answers(ctx: &SockAddrContext, subject: &Subject, flags: u32, dst: Addr) -> Result<(), Reason> {
    if flags & Policy::SERVES_UDP == 0 || protocol(ctx) != UDP {
        return Err(Reason::Egress);
    }
    // SAFETY: the context and its socket are live.
    let (own, any) = unsafe { ((*socket(ctx)).src_port, (*ctx.sock_addr).user_port) };
    let ports = u64::from(own) << 16 | u64::from(dport(ctx));
    let judged = udp::judge_call(subject.seal, ports, &dst);
    match forgotten(judged.into(), 32, any) as u32 {
        0 => Ok(()),
        reason if reason == Reason::Client as u32 => Err(Reason::Client),
        reason if reason == Reason::Unasked as u32 => Err(Reason::Unasked),
        _ => Err(Reason::Egress),
    }
}

/// Why it is refused here; counts what came too late.
#[inline(always)]
fn reason_of(exit: Exit, number: u32, otherwise: Reason) -> Reason {
    match exit {
        Exit::Lapsed => {
            exits::count_lapsed(bpf_get_current_pid_tgid(), number);
            Reason::ExitLapsed
        }
        Exit::Port => Reason::ExitPort,
        Exit::None | Exit::Open => otherwise,
    }
}

/// `cgroup/sendmsg4`, `cgroup/sendmsg6`: as [`connect`].
#[inline(always)]
pub(crate) fn sendmsg(ctx: &SockAddrContext, dst: Addr, hook: Hook) -> i32 {
    let Some(subject) = Subject::of_task() else {
        return ALLOW;
    };
    let judgement = judge(ctx, &subject, dst);
    if matches!(judgement, Judgement::Allow) {
        return pass(ctx, &subject);
    }
    let flags = flags(&subject);
    let reason = match judgement {
        Judgement::Allow => return ALLOW,
        Judgement::Refuse(reason) => reason,
        // Egress knows whether the packet stays on lo; it is asked only if
        // somebody in this network namespace could receive it.
        Judgement::IfOwnAddress => {
            let Err(answer) = answers(ctx, &subject, flags, dst) else {
                return pass(ctx, &subject);
            };
            let (exit, number) = exit(ctx, &subject, flags, dst, hook);
            if exit == Exit::Open || has_receiver(ctx, dst) {
                return pass(ctx, &subject);
            }
            reason_of(exit, number, answer)
        }
    };
    refuse(ctx, &subject, flags, dst, hook, reason)
}

/// Lets it go on to egress, which may refuse what comes of it, and then says who asked.
#[inline(always)]
fn pass(ctx: &SockAddrContext, subject: &Subject) -> i32 {
    note_user(ctx.sock_addr, subject.seal);
    ALLOW
}

/// Not inlined: LLVM would make one of several ways to the socket, which the verifier refuses.
#[inline(never)]
fn note_user(ctx: *mut bpf_sock_addr, seal: SealNumber) -> u32 {
    // SAFETY: the context is a bpf_sock_addr. Volatile, or LLVM has the caller read it.
    let sk = unsafe { ptr::read_volatile(&raw const (*ctx).__bindgen_anon_1.sk) };
    note(sk, seal)
}

/// Bits of the seal's policy; none, where it has none.
#[inline(always)]
fn flags(subject: &Subject) -> u32 {
    subject.policy().map_or(0, |policy| policy.flags)
}

enum Judgement {
    /// Let it pass to egress, which judges the packet.
    Allow,
    Refuse(Reason),
    IfOwnAddress,
}

#[inline(always)]
fn judge(ctx: &SockAddrContext, subject: &Subject, dst: Addr) -> Judgement {
    if !is_own_socket(ctx, subject) {
        return Judgement::Refuse(Reason::ForeignSocket);
    }
    if dst.is_group() || (!dst.is_loopback() && may_broadcast(ctx)) {
        return Judgement::Refuse(Reason::Egress);
    }
    let dns = dport(ctx) == 53 || dst.is_embedded_resolver();
    if dns && protocol(ctx) == UDP {
        // Egress refuses the packet, and can read the name from it.
        return Judgement::Allow;
    }
    if dst.is_embedded_resolver() {
        return Judgement::Refuse(Reason::Dns);
    }
    if dst.is_loopback() || dst.is_unspecified() {
        return Judgement::Allow;
    }

    Judgement::IfOwnAddress
}

/// Fails as on a host without a network, which programs know how to bear: nobody listens on
/// loopback, and nothing else can be reached. With EPERM before Linux 5.18, or where the
/// policy says so.
#[inline(always)]
fn refuse(
    ctx: &SockAddrContext,
    subject: &Subject,
    flags: u32,
    dst: Addr,
    hook: Hook,
    reason: Reason,
) -> i32 {
    if HAS_SET_RETVAL.load() == 1 && flags & (Policy::NOT_PERMITTED | Policy::AUDIT) == 0 {
        let errno = if dst.is_loopback() || matches!(reason, Reason::Loopback) {
            ECONNREFUSED
        } else if dst.is_v4() || has_ipv6(ctx) {
            ENETUNREACH
        } else {
            EADDRNOTAVAIL
        };
        // SAFETY: sets the errno that the call returns; 0 below refuses it all the same.
        unsafe { bpf_set_retval(-errno) };
    }
    deny(
        subject,
        &Details {
            hook,
            reason: reason as u64,
            who: Who::Task,
            protocol: protocol(ctx),
            src: Addr::default(),
            dst,
            sport: 0,
            dport: dport(ctx),
            family: 0,
            kind: 0,
            ifindex: 0,
        },
    );
    if flags & Policy::AUDIT != 0 {
        // SAFETY: the verifier knows the context's socket.
        unsafe { audit::tell(socket(ctx)) };
        return pass(ctx, subject);
    }
    0
}
