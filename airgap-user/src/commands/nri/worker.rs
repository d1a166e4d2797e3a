//! What judges, on a thread of its own: a runtime that has to wait too long is told that
//! nothing was judged, and what it has asked for before it connected comes after what it
//! asks now.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::Duration,
};

use airgap_nri::{Container, Event, PodSandbox};
use anyhow::Result;

use super::{spawn, tell};
use crate::seal::pods::Judge;

/// Between two looks whether the gate stands, while nothing is asked.
const IDLE: Duration = Duration::from_millis(500);

/// An event, and where its answer goes.
type Work = (Event, Sender<Result<(), String>>);

/// Judges one event after the other.
pub(super) struct Worker(Sender<Work>);

impl Worker {
    /// Until this process ends.
    ///
    /// # Errors
    /// If there can be no more thread.
    pub(super) fn begin(judge: Judge) -> Result<Self> {
        let (sender, work) = mpsc::channel();
        spawn(move || judge_all(judge, &work))?;
        Ok(Self(sender))
    }

    /// Has an event judged.
    ///
    /// # Errors
    /// Why what it tells of must not be made: for one, if that is not known within so long.
    pub(super) fn judge(&self, event: Event, patience: Duration) -> Result<(), String> {
        let (sender, answer) = mpsc::channel();
        let gone = || "airgap: what judges has ended; restart airgap nri".to_owned();
        self.0.send((event, sender)).map_err(|_lost| gone())?;
        match answer.recv_timeout(patience) {
            Ok(judged) => judged,
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "airgap: not judged within {patience:?}: another airgap may be at work; it is tried again with the pod"
            )),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

/// What there was as the runtime was connected, and is to be judged still.
#[derive(Default)]
struct Backlog {
    pods: Vec<PodSandbox>,
    containers: Vec<Container>,
    /// All of it was told.
    whole: bool,
}

fn judge_all(mut judge: Judge, work: &Receiver<Work>) {
    let mut backlog = Backlog::default();
    loop {
        let patience = match backlog.whole {
            true => Duration::ZERO,
            false => IDLE,
        };
        match work.recv_timeout(patience) {
            Ok((event, answer)) => handle(&mut judge, &mut backlog, event, &answer),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if backlog.whole => catch_up(&mut judge, &mut backlog),
            Err(RecvTimeoutError::Timeout) => judge.keep_ready(),
        }
    }
}

/// Judges one more of what there was.
fn catch_up(judge: &mut Judge, backlog: &mut Backlog) {
    if let Some(pod) = backlog.pods.pop() {
        let its = |container: &Container| container.pod_sandbox_id == pod.id;
        let (its, rest) = std::mem::take(&mut backlog.containers)
            .into_iter()
            .partition(its);
        backlog.containers = rest;
        judge.found(&pod, its);
        return;
    }
    judge.is_whole();
    *backlog = Backlog::default();
    tell("READY=1\nSTATUS=asked by the runtime");
}

fn handle(
    judge: &mut Judge,
    backlog: &mut Backlog,
    event: Event,
    answer: &Sender<Result<(), String>>,
) {
    let mut fresh = None;
    let judged = match event {
        Event::Configure(_) => {
            // What another connection has begun to tell is no part of what this one tells.
            *backlog = Backlog::default();
            judge.forget_sandboxes();
            Ok(())
        }
        Event::Synchronize {
            pods,
            containers,
            more,
        } => {
            pods.iter().for_each(|pod| judge.there_is(pod));
            backlog.pods.extend(pods);
            backlog.containers.extend(containers);
            backlog.whole = !more;
            Ok(())
        }
        Event::RunPod(pod) => judge.run_pod(&pod).map(|sealed| fresh = sealed),
        Event::RemovePod(pod) => {
            judge.remove_pod(&pod);
            Ok(())
        }
        Event::Create { pod, container } => judge.create(pod.as_ref(), &container),
        Event::Start { pod, container } => judge.start(pod.as_ref(), &container),
        Event::Other => Ok(()),
    };
    if let Err(why) = &judged {
        log::error!("{why}");
    }
    // Nobody waits any more: it is not made.
    if answer.send(judged).is_err()
        && let Some(id) = fresh
    {
        judge.forget(&id);
    }
}
