//! What loading needs of the running kernel: its BTF, read once for us and once
//! by aya's loader for itself, both of which take longer than asking an engine
//! for a container. So it can begin before that.

use std::{
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use aya::{Btf as AyaBtf, EbpfLoader, Endianness};

use super::super::{
    HOOKS, Kind, Place,
    btf::{Btf, KIND_FUNC, KIND_TYPEDEF},
    security::{self, Mechanism},
};

/// Global of the BPF object, struct and member whose offset it is given.
pub(super) const OFFSETS: [(&str, &str, &str); 53] = [
    ("OFF_CGROUP_KN", "cgroup", "kn"),
    ("OFF_CGROUP_ROOT", "cgroup", "root"),
    ("OFF_CGROUP_LEVEL", "cgroup", "level"),
    ("OFF_ROOT_HIERARCHY", "cgroup_root", "hierarchy_id"),
    ("OFF_KN_ID", "kernfs_node", "id"),
    ("OFF_KN_NAME", "kernfs_node", "name"),
    ("OFF_CSS_PARENT", "cgroup_subsys_state", "parent"),
    ("OFF_CSS_CGROUP", "cgroup_subsys_state", "cgroup"),
    ("OFF_SKB_SK", "sk_buff", "sk"),
    ("OFF_SKB_DEV", "sk_buff", "dev"),
    ("OFF_DEV_IP", "net_device", "ip_ptr"),
    ("OFF_DEV_IP6", "net_device", "ip6_ptr"),
    ("OFF_INDEV_LIST", "in_device", "ifa_list"),
    ("OFF_IFA_NEXT", "in_ifaddr", "ifa_next"),
    ("OFF_IFA_LOCAL", "in_ifaddr", "ifa_local"),
    ("OFF_IDEV_LIST", "inet6_dev", "addr_list"),
    ("OFF_IFA6_LIST", "inet6_ifaddr", "if_list"),
    ("OFF_IFA6_ADDR", "inet6_ifaddr", "addr"),
    ("OFF_SOCK_SOCKET", "sock", "sk_socket"),
    ("OFF_SOCK_CGROUP", "sock", "sk_cgrp_data"),
    ("OFF_SOCK_FLAGS", "sock_common", "skc_flags"),
    ("OFF_SOCK_NET", "sock_common", "skc_net"),
    ("OFF_NET_LOOPBACK", "net", "loopback_dev"),
    ("OFF_SOCK_FAMILY", "sock_common", "skc_family"),
    ("OFF_SOCK_PROTOCOL", "sock", "sk_protocol"),
    ("OFF_SOCK_DADDR", "sock_common", "skc_daddr"),
    ("OFF_SOCK_V6_DADDR", "sock_common", "skc_v6_daddr"),
    ("OFF_SOCK_DPORT", "sock_common", "skc_dport"),
    ("OFF_SOCKET_SK", "socket", "sk"),
    ("OFF_SOCKET_FILE", "socket", "file"),
    ("OFF_FILE_INODE", "file", "f_inode"),
    ("OFF_FILE_PRIVATE", "file", "private_data"),
    ("OFF_INODE_MODE", "inode", "i_mode"),
    ("OFF_UNIX_ADDR", "unix_sock", "addr"),
    ("OFF_UNIX_NAME", "unix_address", "name"),
    ("OFF_UNIX_LEN", "unix_address", "len"),
    ("OFF_INET_SADDR", "inet_sock", "inet_saddr"),
    ("OFF_TASK_FLAGS", "task_struct", "flags"),
    ("OFF_TASK_LEADER", "task_struct", "group_leader"),
    ("OFF_TASK_PARENT", "task_struct", "real_parent"),
    ("OFF_TASK_PID", "task_struct", "thread_pid"),
    ("OFF_TASK_MM", "task_struct", "mm"),
    ("OFF_MM_ARG_START", "mm_struct", "arg_start"),
    ("OFF_MM_ARG_END", "mm_struct", "arg_end"),
    ("OFF_TASK_TGID", "task_struct", "tgid"),
    ("OFF_TASK_COMM", "task_struct", "comm"),
    ("OFF_TASK_START", "task_struct", "start_boottime"),
    ("OFF_PID_LEVEL", "pid", "level"),
    ("OFF_PID_NUMBERS", "pid", "numbers"),
    ("OFF_SOCK_ADDR_SK", "bpf_sock_addr_kern", "sk"),
    ("OFF_TASK_CGROUPS", "task_struct", "cgroups"),
    ("OFF_CSS_SET_CGROUP", "css_set", "dfl_cgrp"),
    ("OFF_CGROUP_ANCESTORS", "cgroup", "ancestor_ids"),
];

/// What was read.
pub(super) struct Kernel {
    /// Types that programs attach to, under the kernel's own numbers.
    pub(super) btf: AyaBtf,
    /// In the order of [`OFFSETS`], bytes.
    pub(super) offsets: [u64; OFFSETS.len()],
    pub(super) loader: EbpfLoader<'static>,
}

impl Kernel {
    pub(super) fn read() -> Result<Self> {
        thread::scope(|scope| {
            let loader = scope.spawn(EbpfLoader::new);
            let btf = Btf::of_kernel()?;
            Ok(Self {
                offsets: offsets(&btf)?,
                btf: targets(&btf)?,
                loader: loader.join().unwrap_or_else(|panic| resume_unwind(panic)),
            })
        })
    }
}

/// The kernel's BTF being read beside other work, for a gate that is to be armed.
#[derive(Default)]
pub struct Reading(Mutex<Option<JoinHandle<Result<Kernel>>>>);

impl Reading {
    /// Begins, unless a gate stands there: that needs no loading.
    pub fn begin(place: &Place) -> Self {
        if place.map(airgap_common::map::name::GATE).exists() {
            return Self::default();
        }
        Self(Mutex::new(Some(thread::spawn(Kernel::read))))
    }

    /// What was read, or is read now.
    pub(super) fn end(&self) -> Result<Kernel> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match begun {
            Some(begun) => begun.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => Kernel::read(),
        }
    }
}

fn offsets(btf: &Btf) -> Result<[u64; OFFSETS.len()]> {
    let mut offsets = [0u64; OFFSETS.len()];
    for (offset, (_, structure, member)) in offsets.iter_mut().zip(OFFSETS) {
        *offset = match btf.offset(structure, member) {
            // Where unix sockets are a module, only their names are not known.
            Err(_) if structure.starts_with("unix_") => u64::MAX,
            // Where IPv6 is a module, or there is none, nothing leaves by its exceptions.
            Err(_) if structure.starts_with("inet6_") || member == "ip6_ptr" => u64::MAX,
            // Read only before 5.15, which has it.
            Err(_) if member == "ancestor_ids" => u64::MAX,
            found => found?,
        };
    }
    Ok(offsets)
}

/// What the programs attach to. A kernel lacks what it has no use for: then
/// loading says so.
fn targets(btf: &Btf) -> Result<AyaBtf> {
    let mut names = Vec::new();
    for hook in HOOKS.iter().chain(&security::HOOKS) {
        match hook.kind {
            Kind::Tracepoint(name) => names.push((KIND_TYPEDEF, format!("btf_trace_{name}"))),
            Kind::Security(name) => {
                let target = |mechanism| (KIND_FUNC, security::target(mechanism, name));
                names.extend([Mechanism::BpfLsm, Mechanism::ModifyReturn].map(target));
            }
            _ => {}
        }
    }
    AyaBtf::parse(&btf.only(&names)?, Endianness::default()).context("cannot parse BTF")
}
