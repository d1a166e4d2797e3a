//! Loading, attaching and pinning; and taking it all down again.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    panic::resume_unwind,
    path::Path,
    sync::Mutex,
    thread,
};

use airgap_common::{
    ABI_VERSION,
    map::{Counters, Gate as GateInfo, UNRECORDED, name},
};
use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSock, CgroupSockAddr, Lsm, Program,
        ProgramError, SchedClassifier, links::FdLink,
    },
    util::KernelVersion,
};

use super::{Gate, HOOKS, Hook, Kind, Lock, Place, btf::Btf, frames, lsm, object, remove_dir};
use crate::{clock, failure::Failure};

/// Oldest kernel with all that the gate uses: `bpf_skb_ancestor_cgroup_id` for
/// cgroup_skb and ring buffers.
const MINIMUM: (u8, u8) = (5, 8);

/// Programs that take the verifier longest.
const LONGEST: [&str; 2] = ["airgap_egress", "airgap_frame_out"];

const OFFSETS: [(&str, &str, &str); 36] = [
    ("OFF_CGROUP_KN", "cgroup", "kn"),
    ("OFF_CGROUP_ROOT", "cgroup", "root"),
    ("OFF_CGROUP_LEVEL", "cgroup", "level"),
    ("OFF_ROOT_HIERARCHY", "cgroup_root", "hierarchy_id"),
    ("OFF_KN_ID", "kernfs_node", "id"),
    ("OFF_KN_NAME", "kernfs_node", "name"),
    ("OFF_CSS_PARENT", "cgroup_subsys_state", "parent"),
    ("OFF_CSS_CGROUP", "cgroup_subsys_state", "cgroup"),
    ("OFF_SKB_SK", "sk_buff", "sk"),
    ("OFF_SOCK_SOCKET", "sock", "sk_socket"),
    ("OFF_SOCK_CGROUP", "sock", "sk_cgrp_data"),
    ("OFF_SOCK_FLAGS", "sock_common", "skc_flags"),
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
    ("OFF_TASK_TGID", "task_struct", "tgid"),
    ("OFF_TASK_COMM", "task_struct", "comm"),
    ("OFF_TASK_START", "task_struct", "start_boottime"),
    ("OFF_PID_LEVEL", "pid", "level"),
    ("OFF_PID_NUMBERS", "pid", "numbers"),
    ("OFF_SOCK_ADDR_SK", "bpf_sock_addr_kern", "sk"),
];

impl Gate {
    /// Makes the gate stand: loads and attaches what is missing or older than
    /// this binary. Existing seals stay in force all the while: new programs
    /// are attached beside the old before those go, and while both run, deny wins.
    ///
    /// # Errors
    /// If the kernel refuses a program or an attachment, with what it said.
    pub fn arm(place: &Place, lock: &Lock) -> Result<Self> {
        Self::clear_remains(place, lock)?;
        if let Some(gate) = Self::open(place)?
            && gate.info()?.object == object::digest()
            && gate.broken_links().is_empty()
        {
            return Ok(gate);
        }
        match load_and_attach(place) {
            Ok(()) => Self::open(place)?.ok_or_else(|| anyhow!("the gate's maps are gone again")),
            Err(error) => {
                // Nothing may be left of a gate that guards nobody.
                let _ = Self::clear_remains(place, lock);
                if Self::open(place).is_ok_and(|gate| gate.is_none_or(|g| g.is_idle())) {
                    let _ = disarm(place);
                }
                Err(error)
            }
        }
    }

    /// Takes the gate down if no seal is left; returns whether it did.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn disarm_if_idle(self, _lock: &Lock) -> Result<bool> {
        if !self.is_idle() {
            return Ok(false);
        }
        let place = self.place.clone();
        drop(self);
        disarm(&place)?;
        Ok(true)
    }

    /// Removes what a load or a removal that was cut short left behind. Links
    /// come after all maps and go before all maps: without any, nothing is or
    /// was in force. (A map that is missing beside links is no remains but
    /// somebody's doing, and an error.)
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn clear_remains(place: &Place, _lock: &Lock) -> Result<()> {
        let links = place.pins.join("links");
        let any = fs::read_dir(&links).is_ok_and(|mut entries| entries.next().is_some());
        if place.pins.exists() && !any {
            disarm(place)?;
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.ids.keys().next().is_none()
            && self.cgroups.keys().next().is_none()
            && !self.quarantine()
    }

    pub(super) fn info(&self) -> Result<GateInfo> {
        self.info.get(&0, 0).context("cannot read the map GATE")
    }
}

fn load_and_attach(place: &Place) -> Result<()> {
    let version = KernelVersion::current().context("cannot tell the kernel's version")?;
    if version < KernelVersion::new(MINIMUM.0, MINIMUM.1, 0) {
        return Err(Failure::new(
            format!("this kernel is older than {}.{}", MINIMUM.0, MINIMUM.1),
            "boot a newer kernel",
        )
        .into());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for dir in ["maps", "links", "programs"] {
        let dir = place.pins.join(dir);
        builder
            .create(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
    }
    // The loader reads all BTF for itself, and has no use for it: meanwhile, what is needed is read.
    let (loader, kernel) = thread::scope(|scope| {
        let kernel = scope.spawn(of_kernel);
        let loader = EbpfLoader::new();
        (
            loader,
            kernel.join().unwrap_or_else(|panic| resume_unwind(panic)),
        )
    });
    let (kernel, offsets) = kernel?;
    let mut programs = load(place, loader, &kernel, &offsets, version)?;
    verify(
        &mut programs,
        &frames::HOOKS.into_iter().chain(HOOKS).collect::<Vec<_>>(),
        &kernel,
    )?;
    let cgroup = File::open(&place.cgroup)
        .with_context(|| format!("cannot open {}", place.cgroup.display()))?;
    frames::pin(&mut programs, place)?;
    for hook in &HOOKS {
        let link = attach(&mut programs, hook, &cgroup)?;
        replace_pin(place, hook, link)?;
    }
    let mut gate = Gate::open(place)?.ok_or_else(|| anyhow!("the map GATE is not pinned"))?;
    let before = gate.info()?.lsm;
    let lsm = lsm::attach(&mut programs, place, &cgroup, &kernel, before != 0)?;
    gate.counters
        .insert(UNRECORDED, NO_DENIALS, 0)
        .context("cannot write the map COUNTERS")?;
    let info = GateInfo {
        abi: ABI_VERSION,
        lsm: match (lsm, before) {
            (false, _) => 0,
            // Replaced one by one: there was no moment without.
            (true, before) if before != 0 => before,
            (true, _) => u32::try_from(clock::since_boot().as_secs()).unwrap_or(u32::MAX),
        },
        object: object::digest(),
        ..gate.info()?
    };
    gate.info
        .set(0, info, 0)
        .context("cannot write the map GATE")
}

/// Counters of a seal that refused nothing yet.
pub(super) const NO_DENIALS: Counters = Counters::ZERO;

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

type Offsets = [u64; OFFSETS.len()];

fn of_kernel() -> Result<(AyaBtf, Offsets)> {
    let btf = AyaBtf::from_sys_fs().context("cannot read the kernel's BTF")?;
    Ok((btf, offsets()?))
}

fn offsets() -> Result<Offsets> {
    let btf = Btf::of_kernel()?;
    let mut offsets = [0u64; OFFSETS.len()];
    for (offset, (_, structure, member)) in offsets.iter_mut().zip(OFFSETS) {
        *offset = match btf.offset(structure, member) {
            // Where unix sockets are a module, only their names are not known.
            Err(_) if structure.starts_with("unix_") => u64::MAX,
            found => found?,
        };
    }
    Ok(offsets)
}

fn load(
    place: &Place,
    loader: EbpfLoader<'_>,
    kernel: &AyaBtf,
    offsets: &Offsets,
    version: KernelVersion,
) -> Result<Ebpf> {
    let has_set_retval = u32::from(version >= KernelVersion::new(5, 18, 0));
    let seed = seed().context("cannot draw a random number")?;
    let log_level = super::bpf_log_level();
    // Borrowed for no longer than what it is given here.
    let mut loader = loader;
    loader
        .btf(Some(kernel))
        .override_global("HAS_SET_RETVAL", &has_set_retval, true);
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
    loader
        .load(object::OBJECT)
        .context("the kernel refused the gate's maps")
}

/// Has the kernel verify programs, as many at a time as there are processors:
/// that is most of what the first seal of a host takes.
///
/// # Errors
/// Of the first program that the kernel refuses.
pub(super) fn verify(programs: &mut Ebpf, hooks: &[Hook], kernel: &AyaBtf) -> Result<()> {
    let mut wanted: Vec<(&Hook, &mut Program)> = programs
        .programs_mut()
        .filter_map(|(name, program)| {
            let hook = hooks.iter().find(|hook| hook.program == name)?;
            Some((hook, program))
        })
        .collect();
    if wanted.len() < hooks.len() {
        bail!("the BPF object lacks a program of the gate");
    }
    // The longest first; they are taken from the end.
    wanted.sort_by_key(|(hook, _)| LONGEST.contains(&hook.program));
    let queue = Mutex::new(wanted);
    let worker = || -> Result<()> {
        loop {
            let next = queue
                .lock()
                .map_err(|_poisoned| anyhow!("a load failed"))?
                .pop();
            let Some((hook, program)) = next else {
                return Ok(());
            };
            load_program(program, hook.kind, kernel).map_err(|e| refused(hook.program, e))?;
        }
    };
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(hooks.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| {
            let done = worker.join();
            done.map_err(|_panic| anyhow!("a load failed"))?
        })
    })
}

fn load_program(program: &mut Program, kind: Kind, kernel: &AyaBtf) -> Result<(), ProgramError> {
    match kind {
        Kind::Skb => <&mut CgroupSkb>::try_from(program)?.load(),
        Kind::Sock => <&mut CgroupSock>::try_from(program)?.load(),
        Kind::SockAddr => <&mut CgroupSockAddr>::try_from(program)?.load(),
        Kind::Frame => <&mut SchedClassifier>::try_from(program)?.load(),
        Kind::Tracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, kernel),
        Kind::Lsm(name) => <&mut Lsm>::try_from(program)?.load(name, kernel),
    }
}

/// Attaches a program that the kernel has verified.
pub(super) fn attach(programs: &mut Ebpf, hook: &Hook, cgroup: &File) -> Result<FdLink> {
    let program = programs
        .program_mut(hook.program)
        .ok_or_else(|| anyhow!("the BPF object has no program {}", hook.program))?;
    let attached = || format!("cannot attach {} to {}", hook.program, hook.link);
    // A bpf_link is always multi, and only "single" makes it one (aya#1078).
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    let link = match hook.kind {
        Kind::Skb => {
            let program: &mut CgroupSkb = program.try_into()?;
            let attach_type = if hook.attach_type == 1 {
                aya::programs::CgroupSkbAttachType::Egress
            } else {
                aya::programs::CgroupSkbAttachType::Ingress
            };
            let id = program
                .attach(cgroup, attach_type, MODE)
                .with_context(attached)?;
            program.take_link(id)?.try_into()
        }
        Kind::Sock => {
            let program: &mut CgroupSock = program.try_into()?;
            let id = program.attach(cgroup, MODE).with_context(attached)?;
            program.take_link(id)?.try_into()
        }
        Kind::SockAddr => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            let id = program.attach(cgroup, MODE).with_context(attached)?;
            program.take_link(id)?.try_into()
        }
        Kind::Tracepoint(_) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            let id = program.attach().with_context(attached)?;
            return Ok(program.take_link(id)?.into());
        }
        Kind::Frame => bail!("{} hangs on no cgroup", hook.program),
        Kind::Lsm(_) => {
            let program: &mut Lsm = program.try_into()?;
            let id = program.attach().with_context(attached)?;
            return Ok(program.take_link(id)?.into());
        }
    };
    link.with_context(|| format!("{} was attached without a bpf_link", hook.program))
}

/// Puts a new link's pin in the place of the old one, which ends only then.
pub(super) fn replace_pin(place: &Place, hook: &Hook, link: FdLink) -> Result<()> {
    let (path, next) = (
        place.link(hook.link),
        place.link(&format!("{}_next", hook.link)),
    );
    unlink(&next)?;
    link.pin(&next)
        .with_context(|| format!("cannot pin {}", next.display()))?;
    fs::rename(&next, &path).with_context(|| format!("cannot rename the pin to {}", path.display()))
}

/// The verifier's log ends with what matters; the rest is for `AIRGAP_VERIFIER_LOG`.
pub(super) fn refused(program: &str, error: ProgramError) -> anyhow::Error {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return anyhow::Error::new(error).context(format!("cannot load {program}"));
    };
    /// What the verifier adds behind the line that matters.
    const NOISE: [&str; 3] = ["processed", "verification time", "stack depth"];
    let log = verifier_log.to_string();
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let last = lines
        .iter()
        .rev()
        .find(|l| !NOISE.iter().any(|noise| l.starts_with(noise)))
        .map_or_else(|| "no verifier log".to_owned(), |l| (*l).to_owned());
    if std::env::var_os("AIRGAP_VERIFIER_LOG").is_some() {
        log::error!("verifier log of {program}:\n{log}");
    }
    anyhow::Error::new(io_error).context(Failure::new(
        format!(
            "the kernel refused {program}: {last} ({} lines omitted)",
            lines.len().saturating_sub(1)
        ),
        "set AIRGAP_VERIFIER_LOG=1 for the whole log; with EPERM, check that airgap runs as root outside any container",
    ))
}

/// Removes all pins: links first, in reverse order, so that nothing is marked
/// any more when the gate opens.
fn disarm(place: &Place) -> Result<()> {
    lsm::detach(place)?;
    for hook in HOOKS.iter().rev() {
        unlink_hook(place, hook)?;
    }
    for name in name::ALL {
        unlink(&place.map(name))?;
    }
    frames::unpin(place)?;
    for dir in [
        place.pins.join("links"),
        place.pins.join("maps"),
        place.pins.clone(),
    ] {
        remove_dir(&dir)?;
    }
    // The version directory's parent goes too, unless another version is in it.
    match place.pins.parent().map(fs::remove_dir) {
        Some(Err(e)) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Some(Err(e)) => Err(e).context("cannot remove the pin directory"),
        _ => Ok(()),
    }
}

pub(super) fn unlink_hook(place: &Place, hook: &Hook) -> Result<()> {
    unlink(&place.link(hook.link))?;
    unlink(&place.link(&format!("{}_next", hook.link)))
}

pub(super) fn unlink(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove the pin {}", path.display()))
        }
        _ => Ok(()),
    }
}
