//! From the BPF object to maps that are pinned, and programs to be verified.

use std::{fs::File, io};

use airgap_common::map::name;
use anyhow::{Context as _, Result};
use aya::{Btf as AyaBtf, Ebpf, util::KernelVersion};

use super::{
    super::{Place, bpf_log_level, object},
    kernel::{Kernel, OFFSETS},
};
/// Creates and pins the maps, and returns programs to be verified and the BTF
/// of what they attach to.
///
/// # Errors
/// If the kernel refuses a map.
pub(super) fn load(
    place: &Place,
    kernel: Kernel,
    version: KernelVersion,
) -> Result<(Ebpf, AyaBtf)> {
    let has_set_retval = u32::from(version >= KernelVersion::new(5, 18, 0));
    let seed = seed().context("cannot draw a random number")?;
    let log_level = bpf_log_level();
    let Kernel {
        btf,
        offsets,
        mut loader,
    } = kernel;
    loader.override_global("HAS_SET_RETVAL", &has_set_retval, true);
    loader.override_global("HASH_SEED", &seed, true);
    loader.override_global(aya_log::LEVEL, &log_level, true);
    for (offset, (global, _, _)) in offsets.iter().zip(OFFSETS) {
        loader.override_global(global, offset, true);
    }
    for name in name::ALL {
        loader.map_pin_path(name, place.map(name));
    }
    if let Some(max) = place.max_cgroups {
        loader.map_max_entries(name::CGROUPS, max);
    }
    let programs = loader
        .load(object::OBJECT)
        .context("the kernel refused the gate's maps")?;
    Ok((programs, btf))
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
