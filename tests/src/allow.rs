//! Programs that only allow, on the cgroup hooks that every packet passes: what the kernel takes
//! for calling any program there. No gate on these hooks can cost less.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use ::airgap::gate::cgroup_mount;

/// `enum bpf_cmd`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
/// `enum bpf_prog_type`.
const CGROUP_SKB: u32 = 8;
/// `enum bpf_attach_type`: `BPF_CGROUP_INET_INGRESS`, `BPF_CGROUP_INET_EGRESS`.
const BOTH_WAYS: [u32; 2] = [0, 1];

/// `r0 = 1; exit`, as `struct bpf_insn`.
const ALLOW: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` needs.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part that `BPF_LINK_CREATE` needs (Linux 5.7).
#[repr(C)]
struct Link {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

/// They are there for as long as this is.
#[derive(Debug)]
pub struct Allowing {
    _links: Vec<OwnedFd>,
}

impl Allowing {
    /// # Panics
    /// When the kernel refuses them.
    #[must_use]
    pub fn start() -> Self {
        let root = File::open(cgroup_mount().expect("cgroup v2")).expect("its root");
        let link = |attach_type| {
            let program = load(attach_type);
            bpf(
                BPF_LINK_CREATE,
                &Link {
                    prog_fd: program.as_raw_fd() as u32,
                    target_fd: root.as_raw_fd() as u32,
                    attach_type,
                    flags: 0,
                },
            )
        };
        Self {
            _links: BOTH_WAYS.into_iter().map(link).collect(),
        }
    }
}

fn load(expected_attach_type: u32) -> OwnedFd {
    bpf(
        BPF_PROG_LOAD,
        &Load {
            prog_type: CGROUP_SKB,
            insn_cnt: ALLOW.len() as u32,
            insns: ALLOW.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
            prog_name: *b"airgap_bench\0\0\0\0",
            prog_ifindex: 0,
            expected_attach_type,
        },
    )
}

/// A command that returns a descriptor.
fn bpf<T>(command: libc::c_int, attribute: &T) -> OwnedFd {
    // SAFETY: a whole attribute of that size, which the call only reads; what it points to lives
    // for ever.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attribute),
            size_of::<T>(),
        )
    };
    assert!(fd >= 0, "bpf({command}): {}", io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
