//! Programs through the kernel's verifier.

use std::{io, sync::Mutex, thread};

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
    in_parallel(wanted, |(hook, program)| {
        load_program(program, hook.kind, kernel).map_err(|error| match error {
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => refused(hook.program, io_error, &verifier_log.to_string()),
            error => anyhow::Error::new(error).context(format!("cannot load {}", hook.program)),
        })?;
        loaded(hook.program, program);
        Ok(())
    })
    .map(drop)
}

/// Does all of it, as many at a time as there are processors, from the end.
///
/// # Errors
/// One of those that failed; what had not begun then is left.
pub(super) fn in_parallel<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    let queue = Mutex::new(items);
    let worker = || -> Result<Vec<R>> {
        let mut done = Vec::new();
        loop {
            let next = queue
                .lock()
                .map_err(|_poisoned| anyhow!("a load failed"))?
                .pop();
            let Some(item) = next else {
                return Ok(done);
            };
            done.push(work(item).inspect_err(|_failed| {
                if let Ok(mut queue) = queue.lock() {
                    queue.clear();
                }
            })?);
        }
    };
    let mut all = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| {
            let done = worker.join();
            all.extend(done.map_err(|_panic| anyhow!("a load failed"))??);
            Ok(())
        })
    })
    .map(|()| all)
}

fn load_program(program: &mut Program, kind: Kind, kernel: &AyaBtf) -> Result<(), ProgramError> {
    match kind {
        Kind::Skb => <&mut CgroupSkb>::try_from(program)?.load(),
        Kind::Sock => <&mut CgroupSock>::try_from(program)?.load(),
        Kind::SockAddr => <&mut CgroupSockAddr>::try_from(program)?.load(),
        Kind::Frame => <&mut SchedClassifier>::try_from(program)?.load(),
        Kind::Tracepoint(name) => <&mut BtfTracePoint>::try_from(program)?.load(name, kernel),
        Kind::Security(name) => <&mut Lsm>::try_from(program)?.load(name, kernel),
    }
}

/// The verifier's log ends with what matters; the rest is for `AIRGAP_VERIFIER_LOG`.
pub(super) fn refused(program: &str, error: io::Error, log: &str) -> anyhow::Error {
    /// What the verifier adds behind the line that matters.
    const NOISE: [&str; 3] = ["processed", "verification time", "stack depth"];
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
    anyhow::Error::new(error).context(Failure::new(
        format!(
            "the kernel refused {program}: {last} ({} lines omitted)",
            lines.len().saturating_sub(1)
        ),
        "set AIRGAP_VERIFIER_LOG=1 for the whole log; with EPERM, check that airgap runs as root outside any container",
    ))
}
