//! The few `bpf(2)` commands that aya 0.14 does not expose.

mod links;

use std::{
    ffi::{CStr, CString},
    io,
    mem::{size_of, zeroed},
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_link_info, bpf_link_type, bpf_prog_type,
};

pub(super) use self::links::{attach_cgroup, link_tcx, program, wait_for_programs};

fn bpf(cmd: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: `attr` is a whole bpf_attr whose pointers the callers below keep
    // alive; the kernel writes only into what they point to.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            cmd as libc::c_long,
            std::ptr::from_mut(attr),
            size_of::<bpf_attr>(),
        )
    };
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

fn attr() -> bpf_attr {
    // SAFETY: an all-zero bpf_attr is what the kernel expects of unset fields.
    unsafe { zeroed() }
}

/// Opens a pinned object (`BPF_OBJ_GET`).
///
/// # Errors
/// `ENOENT` if there is no pin.
pub(super) fn obj_get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Pins an object (`BPF_OBJ_PIN`).
///
/// # Errors
/// `EEXIST` if there is a pin.
pub(super) fn obj_pin(object: &impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = attr();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_fd().as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// A link as the kernel sees it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Link id.
    pub id: u32,
    /// Program id.
    pub program: u32,
    /// Cgroup id it hangs on (cgroup links); 0 once that cgroup is gone.
    pub cgroup: u64,
    /// Attach type (links of cgroups, and of tracing and security programs).
    pub attach_type: u32,
    /// Interface it hangs on (tcx links); 0 once that is gone.
    pub interface: u32,
}

/// Reads a link (`BPF_OBJ_GET_INFO_BY_FD`, Linux 5.8).
///
/// # Errors
/// Whatever the system call says.
pub(super) fn link_state(link: &impl AsFd) -> io::Result<LinkState> {
    // SAFETY: plain data.
    let mut info: bpf_link_info = unsafe { zeroed() };
    let mut attr = attr();
    attr.info.bpf_fd = link.as_fd().as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    attr.info.info = &raw mut info as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // SAFETY: plain data, all of it initialised above.
    let (cgroup, tcx, tracing) = unsafe {
        let about = info.__bindgen_anon_1;
        (about.cgroup, about.tcx, about.tracing)
    };
    let is = |kind: bpf_link_type| info.type_ == kind as u32;
    let on_cgroup = is(bpf_link_type::BPF_LINK_TYPE_CGROUP);
    Ok(LinkState {
        id: info.id,
        program: info.prog_id,
        cgroup: if on_cgroup { cgroup.cgroup_id } else { 0 },
        attach_type: match () {
            () if on_cgroup => cgroup.attach_type,
            () if is(bpf_link_type::BPF_LINK_TYPE_TRACING) => tracing.attach_type,
            () => 0,
        },
        interface: if is(bpf_link_type::BPF_LINK_TYPE_TCX) {
            tcx.ifindex
        } else {
            0
        },
    })
}

/// Ids of the programs that run for a cgroup, inherited ones included
/// (`BPF_PROG_QUERY` with `BPF_F_QUERY_EFFECTIVE`, Linux 4.15).
///
/// # Errors
/// Whatever the system call says.
pub(super) fn effective_programs(cgroup: &impl AsFd, attach_type: u32) -> io::Result<Vec<u32>> {
    const BPF_F_QUERY_EFFECTIVE: u32 = 1;
    let mut ids = [0u32; 64];
    let mut attr = attr();
    attr.query.__bindgen_anon_1.target_fd = cgroup.as_fd().as_raw_fd() as u32;
    attr.query.attach_type = attach_type;
    attr.query.query_flags = BPF_F_QUERY_EFFECTIVE;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.prog_cnt = ids.len() as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel wrote the count into this arm of the union.
    let count = unsafe { attr.query.__bindgen_anon_2.prog_cnt } as usize;
    Ok(ids[..count.min(ids.len())].to_vec())
}

/// Deletes a map element; aya has no such method for arrays of maps.
///
/// # Errors
/// `ENOENT` if there was none.
pub(super) fn delete(map: &impl AsFd, key: u32) -> io::Result<()> {
    let mut attr = attr();
    attr.__bindgen_anon_2.map_fd = map.as_fd().as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = &raw const key as u64;
    bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attr).map(drop)
}

/// Deletes an element by a key of any layout.
///
/// # Errors
/// `ENOENT` if there was none.
pub(super) fn delete_key<K: aya::Pod>(map: &impl AsFd, key: &K) -> io::Result<()> {
    let mut attr = attr();
    attr.__bindgen_anon_2.map_fd = map.as_fd().as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = std::ptr::from_ref(key) as u64;
    bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attr).map(drop)
}

/// Reads a whole hash map, `batch` elements a call (`BPF_MAP_LOOKUP_BATCH`,
/// Linux 5.6). `K` and `V` have the map's own layouts.
///
/// # Errors
/// Whatever the system call says.
pub(super) fn each<K: aya::Pod, V: aya::Pod>(
    map: &impl AsFd,
    batch: usize,
    each: &mut impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut room = batch;
    let (mut at, mut next) = (0u64, 0u64);
    let mut first = true;
    loop {
        let mut keys: Vec<K> = Vec::with_capacity(room);
        let mut values: Vec<V> = Vec::with_capacity(room);
        let mut attr = attr();
        attr.batch.in_batch = if first { 0 } else { &raw const at as u64 };
        attr.batch.out_batch = &raw mut next as u64;
        attr.batch.keys = keys.as_mut_ptr() as u64;
        attr.batch.values = values.as_mut_ptr() as u64;
        attr.batch.count = room as u32;
        attr.batch.map_fd = map.as_fd().as_raw_fd() as u32;
        let outcome = bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        // SAFETY: the kernel wrote the count into this arm of the union.
        let count = unsafe { attr.batch.count } as usize;
        let end = match outcome {
            Ok(_) => false,
            Err(error) => match error.raw_os_error() {
                // The last batch.
                Some(libc::ENOENT) => true,
                // One bucket holds more than there is room for.
                Some(libc::ENOSPC) if room < 1 << 20 => {
                    room *= 4;
                    continue;
                }
                _ => return Err(error),
            },
        };
        // SAFETY: the kernel filled so many elements of each, and any bytes
        // are a value of a Pod.
        unsafe {
            keys.set_len(count.min(room));
            values.set_len(count.min(room));
        }
        keys.iter().zip(&values).for_each(|(k, v)| each(k, v));
        if end {
            return Ok(());
        }
        (at, first) = (next, false);
    }
}

/// Loads, and lets go of, a program for a security hook that returns 0.
///
/// # Errors
/// Whatever the system call says.
pub(super) fn load_hook(
    (kind, attach_type): (bpf_prog_type, bpf_attach_type),
    target: u32,
) -> io::Result<()> {
    load_return_0(kind, Some((attach_type, target))).map(drop)
}

/// Loads a BTF blob (`BPF_BTF_LOAD`, Linux 4.18).
///
/// # Errors
/// Whatever the system call says.
pub(super) fn load_btf(blob: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = attr();
    // SAFETY: this arm of the union is the one that BPF_BTF_LOAD reads.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = blob.as_ptr() as u64;
    load.btf_size = blob.len() as u32;
    let fd = bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A program of the object, relocated, for a function of the kernel.
pub(super) struct Load<'a> {
    pub(super) name: &'a str,
    pub(super) kind: (bpf_prog_type, bpf_attach_type),
    /// Number of the function in the kernel's BTF.
    pub(super) target: u32,
    pub(super) instructions: &'a [bpf_insn],
    pub(super) license: &'a CStr,
    /// Of the object, loaded.
    pub(super) btf: &'a OwnedFd,
    /// `struct bpf_func_info`s, and the bytes of one.
    pub(super) functions: (&'a [u8], usize),
    /// `struct bpf_line_info`s, and the bytes of one.
    pub(super) lines: (&'a [u8], usize),
}

/// `BPF_PROG_LOAD`. What the verifier says goes to `log`, NUL-terminated, unless
/// that is empty.
///
/// # Errors
/// Whatever the system call says.
pub(super) fn load(program: &Load<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attr = attr();
    // SAFETY: this arm of the union is the one that BPF_PROG_LOAD reads.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    let (kind, attach_type) = program.kind;
    load.prog_type = kind as u32;
    load.expected_attach_type = attach_type as u32;
    load.attach_btf_id = program.target;
    load.insns = program.instructions.as_ptr() as u64;
    load.insn_cnt = program.instructions.len() as u32;
    load.license = program.license.as_ptr() as u64;
    // One less than there is room: it ends with a NUL.
    let room = load.prog_name.len() - 1;
    for (to, from) in load.prog_name[..room].iter_mut().zip(program.name.bytes()) {
        *to = from as libc::c_char;
    }
    load.prog_btf_fd = program.btf.as_raw_fd() as u32;
    let (functions, size) = program.functions;
    if size != 0 {
        load.func_info = functions.as_ptr() as u64;
        load.func_info_rec_size = size as u32;
        load.func_info_cnt = (functions.len() / size) as u32;
    }
    let (lines, size) = program.lines;
    if size != 0 {
        load.line_info = lines.as_ptr() as u64;
        load.line_info_rec_size = size as u32;
        load.line_info_cnt = (lines.len() / size) as u32;
    }
    if !log.is_empty() {
        load.log_level = 1;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = log.len() as u32;
    }
    let fd = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A link of a tracing program to the function that it was loaded for
/// (`BPF_RAW_TRACEPOINT_OPEN`, which 5.10 wants for `fmod_ret`).
///
/// # Errors
/// Whatever the system call says.
pub(super) fn attach_tracing(program: &impl AsFd) -> io::Result<OwnedFd> {
    let mut attr = attr();
    attr.raw_tracepoint.prog_fd = program.as_fd().as_raw_fd() as u32;
    let fd = bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A program for frames that returns 0.
///
/// # Errors
/// Whatever the system call says.
pub(super) fn load_classifier() -> io::Result<OwnedFd> {
    load_return_0(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, None)
}

fn load_return_0(kind: bpf_prog_type, hook: Option<(bpf_attach_type, u32)>) -> io::Result<OwnedFd> {
    /// `r0 = 0; exit` (Documentation/bpf/standardization/instruction-set.rst).
    const RETURN_0: [u64; 2] = [0xb7, 0x95];
    let mut attr = attr();
    // SAFETY: this arm of the union is the one that BPF_PROG_LOAD reads.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    if let Some((attach_type, hook)) = hook {
        load.expected_attach_type = attach_type as u32;
        load.attach_btf_id = hook;
    }
    load.insns = RETURN_0.as_ptr() as u64;
    load.insn_cnt = RETURN_0.len() as u32;
    load.license = c"GPL".as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
