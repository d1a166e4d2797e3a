//! Programs through the kernel's verifier.

use std::{sync::Mutex, thread};

use anyhow::{Result, anyhow, bail};
use aya::{
    Btf as AyaBtf, Ebpf,
    programs::{
        BtfTracePoint, CgroupSkb, CgroupSock, CgroupSockAddr, Lsm, Program, ProgramError,
        SchedClassifier,
    },
};

use super::{Hook, Kind};
use crate::failure::Failure;

/// Programs that take the verifier longest.
const LONGEST: [&str; 2] = ["airgap_frame_out", "airgap_egress"];
/// The other one that has more to wait for once it is loaded.
const LINKED: &str = "airgap_frame_in";

/// Has the kernel verify programs, as many at a time as there are processors:
/// that is most of what the first seal of a host takes. `loaded` hears of each by
/// its name, from any thread.
///
/// # Errors
/// Of the first program that the kernel refuses.
pub(super) fn verify(
    programs: &mut Ebpf,
    hooks: &[Hook],
    kernel: &AyaBtf,
    loaded: &(impl Fn(&str, &Program) + Sync),
) -> Result<()> {
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
    wanted.sort_by_key(|(hook, _)| (LONGEST.contains(&hook.program), hook.program == LINKED));
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
            loaded(hook.program, program);
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

/// The verifier's log ends with what matters; the rest is for `AIRGAP_VERIFIER_LOG`.
fn refused(program: &str, error: ProgramError) -> anyhow::Error {
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
