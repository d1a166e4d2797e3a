//! From the BPF object to maps that are pinned, and programs to be verified.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use airgap_common::map::name;
use anyhow::{Context as _, Result};
use aya::{Btf as AyaBtf, Ebpf, util::KernelVersion};

use super::{
    super::{Place, bpf_log_level, object, security, sizes},
    kernel::{Kernel, OFFSETS},
};
use crate::host::systemd;

/// Programs to be verified.
pub(super) struct Loaded {
    pub(super) programs: Ebpf,
    /// Of what they attach to.
    pub(super) btf: AyaBtf,
    /// By which their security hooks are told to be in force.
    pub(super) test: u32,
}

/// The first that has `bpf_set_retval`.
const SET_RETVAL: KernelVersion = KernelVersion::new(5, 18, 0);

/// Whether a refused call can fail with an errno of its own on this kernel: from Linux 5.18,
/// by `bpf_set_retval` (kernel/bpf/cgroup.c).
pub fn has_set_retval() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= SET_RETVAL)
}

/// Creates and pins the maps.
///
/// # Errors
/// If the kernel refuses a map.
pub(super) fn load(place: &Place, kernel: Kernel, version: KernelVersion) -> Result<Loaded> {
    let since = |major, minor| u32::from(version >= KernelVersion::new(major, minor, 0));
    let (has_set_retval, has_task_ancestor) = (u32::from(version >= SET_RETVAL), since(5, 15));
    let has_typed_loads = since(6, 1);
    let systemd = first_process(&place.cgroup);
    let test = security::test_protocol(random()?);
    let (seed, load) = (random()?, random()?);
    let log_level = bpf_log_level();
    let Kernel {
        btf,
        offsets,
        mut loader,
    } = kernel;
    loader.override_global("HAS_SET_RETVAL", &has_set_retval, true);
    loader.override_global("HAS_TASK_ANCESTOR", &has_task_ancestor, true);
    loader.override_global("HAS_TYPED_LOADS", &has_typed_loads, true);
    loader.override_global("SELF_TEST", &test, true);
    loader.override_global("SYSTEMD", &systemd, true);
    loader.override_global("HASH_SEED", &seed, true);
    loader.override_global("LOAD", &load, true);
    loader.override_global(aya_log::LEVEL, &log_level, true);
    for (offset, (global, _, _)) in offsets.iter().zip(OFFSETS) {
        loader.override_global(global, offset, true);
    }
    for name in name::ALL {
        loader.map_pin_path(name, place.map(name));
    }
    for (name, most) in sizes::sizes(place) {
        loader.map_max_entries(name, most);
    }
    let programs = loader
        .load(object::OBJECT)
        .context("the kernel refused the gate's maps")?;
    Ok(Loaded {
        programs,
        btf,
        test,
    })
}

/// Id of the cgroup of the first process, where that is systemd and has one of its own, else 0:
/// in the root are others, too.
fn first_process(root: &Path) -> u64 {
    let id = || {
        systemd::require().ok()?;
        let text = fs::read_to_string("/proc/1/cgroup").ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let about = fs::metadata(root.join(path)).ok()?;
        (!path.is_empty()).then(|| about.ino())
    };
    id().unwrap_or(0)
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes))
        .context("cannot draw a random number")?;
    Ok(u64::from_ne_bytes(bytes))
}
