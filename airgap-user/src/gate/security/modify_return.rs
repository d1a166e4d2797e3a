//! The hooks' programs as `fmod_ret` programs. aya has no such type and gives nobody its
//! relocated instructions, so the object is read once more, and relocated to the maps
//! that were loaded.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{Btf as AyaBtf, Ebpf, maps::Map};
use aya_obj::{Object, btf::BtfKind};

use super::{
    super::{Hook, Kind, object, sys, verifier},
    HOOKS, Mechanism, target,
};

/// Has the kernel verify all of them; the descriptors are the programs'.
///
/// # Errors
/// If the object or the kernel's BTF lacks something, or the kernel refuses a program.
pub(super) fn load(programs: &Ebpf, kernel: &AyaBtf) -> Result<Vec<(&'static Hook, OwnedFd)>> {
    let mut object = Object::parse(object::OBJECT).context("cannot read the BPF object")?;
    let features = aya::features();
    let btf = match features.btf() {
        Some(btf) => object.fixup_and_sanitize_btf(btf)?,
        None => None,
    };
    let btf = btf.context("the kernel or the BPF object has no BTF")?;
    let btf = sys::load_btf(&btf.to_bytes()).context("the kernel refused the object's BTF")?;
    relocate(&mut object, &descriptors(programs)?)?;
    object.sanitize_functions(features);
    let object = &object;
    let mut loaded = verifier::in_parallel(HOOKS.iter().collect(), |hook: &'static Hook| {
        Ok((hook, load_one(object, hook, kernel, &btf)?))
    })?;
    // In the order of arming.
    loaded.sort_by_key(|(hook, _)| HOOKS.iter().position(|h| h.link == hook.link));
    Ok(loaded)
}

fn relocate(object: &mut Object, maps: &HashMap<&str, RawFd>) -> Result<()> {
    let sections: HashSet<usize> = object.functions.keys().map(|(index, _)| *index).collect();
    let own: Vec<_> = object.maps.drain().collect();
    let known = own
        .iter()
        .filter_map(|(name, map)| Some((name.as_str(), *maps.get(name.as_str())?, map)));
    object.relocate_maps(known, &sections)?;
    object.relocate_calls(&sections)?;
    Ok(())
}

fn descriptors(programs: &Ebpf) -> Result<HashMap<&str, RawFd>> {
    let mut descriptors = HashMap::new();
    for (name, map) in programs.maps() {
        let (Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::Queue(data)
        | Map::RingBuf(data)
        | Map::SkStorage(data)
        | Map::Unsupported(data)) = map
        else {
            bail!("the map {name} is of a kind that the gate does not use");
        };
        descriptors.insert(name, data.fd().as_fd().as_raw_fd());
    }
    Ok(descriptors)
}

fn load_one(
    object: &Object,
    hook: &'static Hook,
    kernel: &AyaBtf,
    btf: &OwnedFd,
) -> Result<OwnedFd> {
    let Kind::Security(name) = hook.kind else {
        bail!("{} is no security hook", hook.link);
    };
    let target = target(Mechanism::ModifyReturn, name);
    let (program, function) = object
        .programs
        .get(hook.program)
        .and_then(|program| Some((program, object.functions.get(&program.function_key())?)))
        .ok_or_else(|| anyhow!("the BPF object has no program {}", hook.program))?;
    let functions = function.func_info.func_info_bytes();
    let lines = function.line_info.line_info_bytes();
    let load = sys::Load {
        name: hook.program,
        kind: Mechanism::ModifyReturn.kind(),
        target: kernel
            .id_by_type_name_kind(&target, BtfKind::Func)
            .with_context(|| format!("the kernel has no function {target}"))?,
        instructions: &function.instructions,
        license: &program.license,
        btf,
        functions: (&functions, function.func_info_rec_size),
        lines: (&lines, function.line_info_rec_size),
    };
    sys::load(&load, &mut []).or_else(|first| {
        // Once more, for what the verifier has to say.
        let mut log = vec![0; 1 << 24];
        sys::load(&load, &mut log).map_err(|_same| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            verifier::refused(hook.program, first, &String::from_utf8_lossy(&log[..end]))
        })
    })
}
