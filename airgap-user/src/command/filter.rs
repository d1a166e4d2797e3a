//! The seccomp filter of a command: what would lead out of its cgroup's hooks, told by
//! numbers in registers, which nobody can change behind the filter's back.

use std::io;

use airgap_common::verdict::socket::{AF_NETLINK, AF_UNIX, family_errno, is_membership};
use libc::sock_filter;

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const OWN_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN_ARCH: u32 = 0xc000_00b7;
/// System calls from here on are of another ABI (x32).
const OTHER_ABI: u32 = 0x4000_0000;

const CLONE_NEWUSER: u32 = 0x1000_0000;
/// Have the terminal read what nobody typed: whoever reads it next is not sealed.
const TIOCSTI: u32 = 0x5412;
/// Paste into a console.
const TIOCLINUX: u32 = 0x541c;
/// `PRIO_PGRP` (include/uapi/linux/resource.h).
const PRIO_PGRP: u32 = 1;
/// `IOPRIO_WHO_PGRP` (include/uapi/linux/ioprio.h).
const IOPRIO_WHO_PGRP: u32 = 2;
/// `SO_REUSEPORT`, and the programs of such a group.
const SHARING: [i32; 3] = [
    libc::SO_REUSEPORT,
    libc::SO_ATTACH_REUSEPORT_CBPF,
    libc::SO_ATTACH_REUSEPORT_EBPF,
];
/// Another line discipline: some make network interfaces of a terminal.
const TIOCSETD: u32 = 0x5423;

type Program = Vec<sock_filter>;

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn refuse(errno: i32) -> sock_filter {
    statement(RETURN, ERRNO | errno as u32)
}

fn allow() -> sock_filter {
    statement(RETURN, ALLOW)
}

/// The low word of an argument.
fn argument(number: u32) -> sock_filter {
    statement(LOAD, ARGUMENTS + 8 * number)
}

/// `then`, if the test holds; it must end in a return, or fall through.
fn when(code: u16, k: u32, then: Program) -> Program {
    let jf = u8::try_from(then.len()).unwrap_or_else(|_| unreachable!("a short block"));
    let mut out = vec![sock_filter { code, jt: 0, jf, k }];
    out.extend(then);
    out
}

fn on_call(number: libc::c_long, then: Program) -> Program {
    when(EQUAL, number as u32, then)
}

/// What is refused whatever its arguments are, and how.
fn refused_calls() -> Vec<(libc::c_long, i32)> {
    vec![
        // For these the kernel runs a program of the host's (`request-key`).
        (libc::SYS_add_key, libc::EPERM),
        (libc::SYS_request_key, libc::EPERM),
        (libc::SYS_keyctl, libc::EPERM),
        // What a ring does passes no filter.
        (libc::SYS_io_uring_setup, libc::EPERM),
        (libc::SYS_io_uring_enter, libc::EPERM),
        (libc::SYS_io_uring_register, libc::EPERM),
        (libc::SYS_bpf, libc::EPERM),
        (libc::SYS_perf_event_open, libc::EPERM),
        (libc::SYS_setns, libc::EPERM),
        // Its flags are in memory; whoever gets this goes on with clone.
        (libc::SYS_clone3, libc::ENOSYS),
    ]
}

/// The families of sockets; `unix`: those of `AF_UNIX` too.
fn sockets(unix: bool) -> Program {
    let protocols = (0..32).filter(|protocol| family_errno(AF_NETLINK, *protocol).is_none());
    let mut netlink = vec![argument(2)];
    netlink.extend(protocols.flat_map(|p| when(EQUAL, p as u32, vec![allow()])));
    netlink.push(refuse(libc::EPROTONOSUPPORT));
    let mut out = vec![argument(0)];
    for family in 0..64_u16 {
        out.extend(match family {
            AF_NETLINK => when(EQUAL, family.into(), netlink.clone()),
            AF_UNIX if !unix => continue,
            _ if i32::from(family) == libc::AF_ALG => continue,
            _ if family_errno(family, 0).is_some() => continue,
            _ => when(EQUAL, family.into(), vec![allow()]),
        });
    }
    out.push(refuse(libc::EAFNOSUPPORT));
    out
}

/// All families but `AF_ALG`: its names have the kernel run `modprobe`, a program of the host's.
fn without_modules() -> Program {
    let mut out = vec![argument(0)];
    let refused = vec![refuse(libc::EAFNOSUPPORT)];
    out.extend(when(EQUAL, libc::AF_ALG as u32, refused));
    out.push(allow());
    out
}

/// Pairs of unix sockets: not of datagrams, which can be sent elsewhere all the same.
fn pairs() -> Program {
    /// `SOCK_TYPE_MASK` (include/linux/net.h).
    const TYPE: u32 = 0xf;
    let mut kinds = vec![argument(1), statement(AND, TYPE)];
    for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        kinds.extend(when(EQUAL, kind as u32, vec![allow()]));
    }
    kinds.push(refuse(libc::EPERM));
    let mut out = vec![argument(0)];
    out.extend(when(EQUAL, AF_UNIX.into(), kinds));
    out.push(refuse(libc::EAFNOSUPPORT));
    out
}

/// Options that have groups announced on the link (`hooks` do so otherwise), and in a network
/// of others those by which listeners share a port: whom of them a packet goes to is told by
/// none but the packet.
fn options(hooks: bool, apart: bool) -> Program {
    let mut out = vec![argument(1)];
    if !apart {
        let mut then = vec![argument(2)];
        then.extend(
            SHARING
                .iter()
                .flat_map(|o| when(EQUAL, *o as u32, vec![refuse(libc::ENOPROTOOPT)])),
        );
        then.push(allow());
        out.extend(when(EQUAL, libc::SOL_SOCKET as u32, then));
    }
    for level in [0_u32, 41] {
        if hooks {
            break;
        }
        let refused = (0..64).filter(|option| is_membership(level as i32, *option));
        let mut then = vec![argument(2)];
        then.extend(refused.flat_map(|o| when(EQUAL, o as u32, vec![refuse(libc::EPERM)])));
        then.push(allow());
        out.extend(when(EQUAL, level, then));
    }
    out.push(allow());
    out
}

/// What reaches a whole process group, where that is the caller's: other processes of it are
/// not sealed, and no pid namespace parts them.
fn groups() -> Program {
    let mut out = on_call(libc::SYS_kill, {
        let mut then = vec![argument(0)];
        then.extend(when(EQUAL, 0, vec![refuse(libc::EPERM)]));
        then.push(allow());
        then
    });
    for (call, which) in [
        (libc::SYS_setpriority, PRIO_PGRP),
        (libc::SYS_ioprio_set, IOPRIO_WHO_PGRP),
    ] {
        let mut own = vec![argument(1)];
        own.extend(when(EQUAL, 0, vec![refuse(libc::EPERM)]));
        own.push(allow());
        let mut then = vec![argument(0)];
        then.extend(when(EQUAL, which, own));
        then.push(allow());
        out.extend(on_call(call, then));
    }
    out
}

/// The whole filter. `apart`: its network is its own.
fn program(unix: bool, hooks: bool, apart: bool) -> Program {
    let mut out = vec![statement(LOAD, ARCH)];
    out.extend([
        sock_filter {
            code: EQUAL,
            jt: 1,
            jf: 0,
            k: OWN_ARCH,
        },
        refuse(libc::ENOSYS),
        statement(LOAD, NUMBER),
    ]);
    if cfg!(target_arch = "x86_64") {
        out.extend(when(AT_LEAST, OTHER_ABI, vec![refuse(libc::ENOSYS)]));
    }
    for (call, errno) in refused_calls() {
        out.extend(on_call(call, vec![refuse(errno)]));
    }
    for call in [libc::SYS_unshare, libc::SYS_clone] {
        let mut then = vec![argument(0)];
        then.extend(when(ANY_BIT, CLONE_NEWUSER, vec![refuse(libc::EPERM)]));
        then.push(allow());
        out.extend(on_call(call, then));
    }
    let mut ioctl = vec![argument(1)];
    for request in [TIOCSTI, TIOCLINUX, TIOCSETD] {
        ioctl.extend(when(EQUAL, request, vec![refuse(libc::EPERM)]));
    }
    ioctl.push(allow());
    out.extend(on_call(libc::SYS_ioctl, ioctl));
    out.extend(groups());
    out.extend(on_call(libc::SYS_setsockopt, options(hooks, apart)));
    // Where security hooks do so, they also tell.
    if hooks {
        out.extend(on_call(libc::SYS_socket, without_modules()));
    } else {
        out.extend(on_call(libc::SYS_socket, sockets(unix)));
        if !unix {
            out.extend(on_call(libc::SYS_socketpair, pairs()));
        }
    }
    out.push(allow());
    out
}

/// Puts the filter on this process and all that it starts; `no_new_privs` must be set.
///
/// # Errors
/// If the kernel has no seccomp filters.
pub(super) fn enforce(unix: bool, hooks: bool, apart: bool) -> io::Result<()> {
    let program = program(unix, hooks, apart);
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: a filter program with its length; the kernel copies it.
    let rc = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests;
