//! What the kernel's own structures say, by offsets that the loader reads from
//! the running kernel's BTF. All reads are `bpf_probe_read_kernel`: a wrong or
//! freed pointer is an error, and every error here is a "no".

use aya_ebpf::{
    Global,
    helpers::{
        bpf_probe_read_kernel,
        generated::{bpf_get_current_task, bpf_get_current_task_btf},
    },
};

macro_rules! offsets {
    ($($name:ident = $what:literal;)+) => {$(
        #[doc = concat!("Offset of `", $what, "`, bytes.")]
        #[unsafe(no_mangle)]
        pub(crate) static $name: Global<u64> = Global::new(0);
    )+};
}

offsets! {
    OFF_CGROUP_KN = "cgroup.kn";
    OFF_CGROUP_ROOT = "cgroup.root";
    OFF_CGROUP_LEVEL = "cgroup.level";
    OFF_ROOT_HIERARCHY = "cgroup_root.hierarchy_id";
    OFF_KN_ID = "kernfs_node.id";
    OFF_KN_NAME = "kernfs_node.name";
    OFF_CSS_PARENT = "cgroup_subsys_state.parent";
    OFF_CSS_CGROUP = "cgroup_subsys_state.cgroup";
    OFF_SKB_SK = "sk_buff.sk";
    OFF_SKB_DEV = "sk_buff.dev";
    OFF_DEV_IP = "net_device.ip_ptr";
    OFF_DEV_IP6 = "net_device.ip6_ptr";
    OFF_INDEV_LIST = "in_device.ifa_list";
    OFF_IFA_NEXT = "in_ifaddr.ifa_next";
    OFF_IFA_LOCAL = "in_ifaddr.ifa_local";
    OFF_IDEV_LIST = "inet6_dev.addr_list";
    OFF_IFA6_LIST = "inet6_ifaddr.if_list";
    OFF_IFA6_ADDR = "inet6_ifaddr.addr";
    OFF_SOCK_SOCKET = "sock.sk_socket";
    OFF_SOCK_CGROUP = "sock.sk_cgrp_data";
    OFF_SOCK_FLAGS = "sock_common.skc_flags";
    OFF_SOCK_NET = "sock_common.skc_net";
    OFF_NET_LOOPBACK = "net.loopback_dev";
    OFF_SOCK_FAMILY = "sock_common.skc_family";
    OFF_SOCK_PROTOCOL = "sock.sk_protocol";
    OFF_SOCK_DADDR = "sock_common.skc_daddr";
    OFF_SOCK_V6_DADDR = "sock_common.skc_v6_daddr";
    OFF_SOCK_DPORT = "sock_common.skc_dport";
    OFF_SOCKET_SK = "socket.sk";
    OFF_FILE_INODE = "file.f_inode";
    OFF_FILE_PRIVATE = "file.private_data";
    OFF_INODE_MODE = "inode.i_mode";
    OFF_UNIX_ADDR = "unix_sock.addr";
    OFF_UNIX_NAME = "unix_address.name";
    OFF_UNIX_LEN = "unix_address.len";
    OFF_SOCKET_FILE = "socket.file";
    OFF_INET_SADDR = "inet_sock.inet_saddr";
    OFF_TASK_FLAGS = "task_struct.flags";
    OFF_TASK_LEADER = "task_struct.group_leader";
    OFF_TASK_PARENT = "task_struct.real_parent";
    OFF_TASK_PID = "task_struct.thread_pid";
    OFF_TASK_MM = "task_struct.mm";
    OFF_MM_ARG_START = "mm_struct.arg_start";
    OFF_MM_ARG_END = "mm_struct.arg_end";
    OFF_TASK_TGID = "task_struct.tgid";
    OFF_TASK_COMM = "task_struct.comm";
    OFF_TASK_START = "task_struct.start_boottime";
    OFF_PID_LEVEL = "pid.level";
    OFF_PID_NUMBERS = "pid.numbers";
    OFF_SOCK_ADDR_SK = "bpf_sock_addr_kern.sk";
    OFF_TASK_CGROUPS = "task_struct.cgroups";
    OFF_CSS_SET_CGROUP = "css_set.dfl_cgrp";
    OFF_CGROUP_ANCESTORS = "cgroup.ancestor_ids";
}

/// Drawn when the gate is loaded, so that nobody can choose names that share a hash.
#[unsafe(no_mangle)]
pub(crate) static HASH_SEED: Global<u64> = Global::new(0);

/// Drawn when the gate is loaded: while hooks are moved, programs of two loads are called
/// for one attempt, and tell each other by it.
#[unsafe(no_mangle)]
pub(crate) static LOAD: Global<u64> = Global::new(0);

/// 1 where `bpf_set_retval` exists (5.18); the verifier drops the branch elsewhere.
#[unsafe(no_mangle)]
pub(crate) static HAS_SET_RETVAL: Global<u32> = Global::new(0);

/// 1 where security hooks may call `bpf_get_current_ancestor_cgroup_id` (5.15).
#[unsafe(no_mangle)]
pub(crate) static HAS_TASK_ANCESTOR: Global<u32> = Global::new(0);

/// 1 where security hooks may read what their arguments lead to by plain loads (from 6.1,
/// as tried; `bpf_get_current_task_btf` is of 5.11).
#[unsafe(no_mangle)]
pub(crate) static HAS_TYPED_LOADS: Global<u32> = Global::new(0);

/// The protocol that this gate's security hooks refuse with an errno of their own:
/// drawn when they are loaded, so that no other gate's answer.
#[unsafe(no_mangle)]
pub(crate) static SELF_TEST: Global<u32> = Global::new(0);

/// Reads the first field of a kernel object, or 0.
#[inline(always)]
pub(crate) fn first(object: u64) -> u64 {
    // SAFETY: probe_read takes any address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(object as *const u64) }.unwrap_or(0)
}

/// Reads a field of a kernel object.
///
/// `T` is plain data of the field's size.
#[inline(always)]
pub(crate) fn read<T>(object: u64, offset: &Global<u64>) -> Option<T>
where
    T: Copy,
{
    if object == 0 {
        return None;
    }
    let from = (object + offset.load()) as *const T;
    // SAFETY: probe_read takes any address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(from) }.ok()
}

/// Reads a field of a kernel object of which the verifier knows the type: an argument of
/// a security hook, or what such loads found. One instruction, where a probe takes ninety;
/// a wrong pointer reads as 0.
///
/// `T` is plain data of the field's size.
#[inline(always)]
pub(crate) fn load<T: Copy>(object: u64, offset: &Global<u64>) -> T {
    let from = (object + offset.load()) as *const T;
    // SAFETY: the verifier checks type and offset, and the kernel bears a fault. Volatile:
    // one load of that very size.
    unsafe { core::ptr::read_volatile(from) }
}

/// The v2 cgroup of the task that runs now, as [`load`] finds it: a `struct cgroup`.
#[inline(always)]
pub(crate) fn task_cgroup_by_type() -> u64 {
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    load(load(task, &OFF_TASK_CGROUPS), &OFF_CSS_SET_CGROUP)
}

/// The cgroup id (`st_ino` of its directory).
#[inline(always)]
pub(crate) fn cgroup_id(cgroup: u64) -> Option<u64> {
    read::<u64>(read::<u64>(cgroup, &OFF_CGROUP_KN)?, &OFF_KN_ID)
}

/// The parent, `None` at the root.
#[inline(always)]
pub(crate) fn cgroup_parent(cgroup: u64) -> Option<u64> {
    // `cgroup.self` is the first member, so a cgroup is its own css.
    read::<u64>(read::<u64>(cgroup, &OFF_CSS_PARENT)?, &OFF_CSS_CGROUP)
}

/// The v2 cgroup of the task that runs now, a `struct cgroup`. A hook runs under RCU,
/// which keeps it.
#[inline(always)]
pub(crate) fn task_cgroup() -> Option<u64> {
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task() };
    read::<u64>(read::<u64>(task, &OFF_TASK_CGROUPS)?, &OFF_CSS_SET_CGROUP)
}

/// Id of a cgroup's ancestor at this level, 0 if it has none: what
/// `bpf_get_current_ancestor_cgroup_id` says, for kernels before 5.15.
#[inline(always)]
pub(crate) fn ancestor_id(cgroup: u64, level: u32) -> u64 {
    match read::<u32>(cgroup, &OFF_CGROUP_LEVEL) {
        Some(own) if level <= own => {
            read::<u64>(cgroup + 8 * u64::from(level), &OFF_CGROUP_ANCESTORS).unwrap_or(0)
        }
        _ => 0,
    }
}

/// The cgroup that a socket was created in, a `struct cgroup`.
#[inline(always)]
pub(crate) fn socket_cgroup(sk: u64) -> Option<u64> {
    /// Before 5.15: no cgroup, but what v1 groups set.
    const IS_DATA: u64 = 1;
    /// Before 5.15: a cgroup that it holds no reference to.
    const NO_REFCNT: u64 = 2;
    let cgroup = read::<u64>(sk, &OFF_SOCK_CGROUP)?;
    (cgroup & IS_DATA == 0).then_some(cgroup & !NO_REFCNT)
}

/// Whether a socket belongs to nobody but the kernel: a `struct socket` without
/// a file. User sockets have one until they are closed.
#[inline(always)]
pub(crate) fn is_kernel_socket(sk: u64) -> bool {
    let Some(socket) = read::<u64>(sk, &OFF_SOCK_SOCKET) else {
        return false;
    };
    read::<u64>(socket, &OFF_SOCKET_FILE) == Some(0)
}
