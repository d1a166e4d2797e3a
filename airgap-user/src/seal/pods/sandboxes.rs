//! Which sandboxes there are of each pod: with the last one its seal goes.

use airgap_nri::PodSandbox;

use super::{judge::Judge, sealing::lift};
use crate::{
    pod::{id_of, is_pod},
    state::Entry,
    subtree::Subtree,
};

impl Judge {
    /// A sandbox that there is.
    pub(crate) fn there_is(&mut self, pod: &PodSandbox) {
        let of = self.sandboxes.entry(id_of(&pod.uid)).or_default();
        of.insert(pod.id.clone());
    }

    /// Whether it was the pod's last sandbox.
    pub(super) fn is_gone(&mut self, pod: &PodSandbox) -> bool {
        let id = id_of(&pod.uid);
        let left = self.sandboxes.get_mut(&id).is_some_and(|of| {
            of.remove(&pod.id);
            !of.is_empty()
        });
        if !left {
            self.sandboxes.remove(&id);
        }
        !left
    }

    /// All of them are told anew.
    pub(crate) fn forget_sandboxes(&mut self) {
        self.sandboxes.clear();
        self.is_told = false;
    }

    /// All of them were told, and judged.
    pub(crate) fn is_whole(&mut self) {
        self.is_told = true;
        self.forget_missing();
    }

    /// A pod's sandbox is gone; with the last one its seal goes.
    pub(crate) fn remove_pod(&mut self, pod: &PodSandbox) {
        if self.is_gone(pod) {
            self.forget(&id_of(&pod.uid));
        }
    }

    /// Seals of pods that were removed while nobody was told.
    pub(super) fn forget_missing(&self) {
        let known = match self.state.entries() {
            Ok(known) => known,
            Err(error) => return log::error!("{error:#}"),
        };
        let ids = known.iter().map(Entry::id).filter(|id| is_pod(id));
        for id in ids.filter(|id| !self.sandboxes.contains_key(*id)) {
            self.forget(id);
        }
    }

    /// Lifts the seal of a pod that is gone. What runs stays sealed.
    pub(crate) fn forget(&self, id: &str) {
        let Some(Entry::Known(record)) = self.state.entry(id) else {
            return;
        };
        let cgroup = record.cgroup.as_deref();
        let cgroup = cgroup.and_then(|path| Subtree::at(&self.place.cgroup, path).cgroup);
        if cgroup.is_some_and(|cgroup| cgroup.first_process().is_some()) {
            return;
        }
        if let Err(error) = lift(&self.place, &self.state, id) {
            log::error!(
                "the seal of {}, which is gone, stays: {error:#}",
                record.name
            );
        }
    }
}
