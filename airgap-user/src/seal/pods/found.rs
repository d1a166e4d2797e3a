//! Pods that run already as the runtime is connected.

use airgap_nri::{Container, PodSandbox};
use anyhow::{Context as _, Result};

use super::{
    judge::{Judge, first_process, in_a_line},
    sealing::refuse_found,
};
use crate::{
    config::Ceilings,
    host::netns::Netns,
    labels::{Asked, Terms, read_annotations},
    pod::name_of,
    policy::Exception,
    preflight::Risk,
};

impl Judge {
    /// A pod that runs already, with its containers: nothing of it can be refused any more.
    /// What does not count of its annotations is left out, and said.
    pub(crate) fn found(&self, pod: &PodSandbox, containers: Vec<Container>) {
        let name = name_of(&pod.namespace, &pod.name);
        let judged = match read_annotations(&pod.annotations, &self.limits) {
            Asked::Nothing => self.found_open(pod, containers),
            Asked::Seal(terms) => self.found_sealed(pod, terms),
        };
        if let Err(error) = judged {
            log::error!("{name}: {}", in_a_line(&error));
        }
    }

    fn found_open(&self, pod: &PodSandbox, containers: Vec<Container>) -> Result<()> {
        self.not_asked(pod)?;
        for container in containers {
            let pid = first_process(&self.place, &container);
            self.let_go(&container.id, pid.unwrap_or(0))?;
        }
        Ok(())
    }

    fn found_sealed(&self, pod: &PodSandbox, mut terms: Terms) -> Result<()> {
        let name = name_of(&pod.namespace, &pod.name);
        for not in terms.wrong.iter().chain(&terms.ignored) {
            log::error!("{name}: its annotations ask for what does not count: {not}");
        }
        let ceilings = Ceilings::read(&self.config);
        let by_name = |exit: &Exception| exit.to.target.net().is_none();
        terms.rules.exits.retain(|exit| !by_name(exit));
        let accepted = Risk::set(&terms.accept);
        for above in ceilings.above(&terms.rules, accepted) {
            log::error!("{name}: above this host's ceiling, and left out: {above}");
        }
        terms.rules = ceilings.narrowed(terms.rules);
        terms.accept = Risk::of_set(ceilings.accepted(accepted));
        // One that has ended has no process, and its cgroup may be gone.
        if pod.pid != 0 && Netns::of(pod.pid).is_err() {
            return Ok(());
        }
        let record = self.record(pod, &terms)?;
        self.put(&record, pod.pid)?;
        refuse_found(&self.place, &record, &pod.runtime_handler, None)
            .context("it runs, and is sealed all the same")
    }
}
