//! What the witnesses of a run saw and the gate told: whether it is all, and whose it is.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::{NOISE, Run};
use crate::{
    events::{Event, Lost, Suppressed},
    technique::find,
    verify::{
        attempt::line,
        sighting::Sighting,
        target::{Target, V6},
    },
};

impl Run<'_> {
    /// Why the witnesses may have missed something, or been fed, since strays were
    /// last forgotten. Ends with a control: they must still see one.
    pub(super) fn blind(&mut self) -> Result<Option<String>> {
        let way = find("udp4").context("no technique to close with")?;
        let trace = self.numbers.closing();
        self.target.expect(&trace);
        let line = line(way, &trace, &self.target, &self.facts);
        self.outside.attempt(way, &line)?;
        let seen = self.wait_for(|run| {
            let Target { link, passed, .. } = &run.target;
            let both = link.saw(&trace).min(passed.saw(&trace));
            (both == Sighting::Marker).then_some(())
        })?;
        let caught_up = self.settle()?;
        let lost = self.target.lost()?;
        let sightings = &self.target.link.sightings;
        let (count, first) = sightings.strays();
        Ok(if count > 0 {
            Some(strays(count, first))
        } else if sightings.chatter() > NOISE {
            Some(format!(
                "{} frames on the link are such as kernels send on their own, far too many: something in the container sends there",
                sightings.chatter()
            ))
        } else if lost > 0 {
            Some(format!("the recorders lost {lost} frames"))
        } else if !caught_up {
            Some("the recorders are behind: frames come faster than they are looked at".into())
        } else if seen.is_none() {
            Some("at the end the recorders saw nothing any more".into())
        } else {
            None
        })
    }

    /// What the gate has refused since the last call.
    pub(super) fn records(&mut self) -> Result<Vec<Event>> {
        self.probes.insert(self.inside.pid());
        let events = self.follower.poll()?;
        for event in &events {
            if let Event::Suppressed(Suppressed { count, .. }) | Event::Lost(Lost { count, .. }) =
                event
            {
                self.lost += count;
            }
            if let Some((reason, count)) = self.is_own(event) {
                *self.own.entry(reason.to_owned()).or_default() += count;
            }
        }
        Ok(events)
    }

    /// Reason and number, if they are attempts of the probe inside.
    fn is_own(&self, event: &Event) -> Option<(&'static str, u64)> {
        let of_run = |end: Option<(_, u16)>| end.is_some_and(|(_, port)| self.numbers.has(port));
        match event {
            Event::Denial(denial) => {
                let own = match &denial.process {
                    Some(process) => self.probes.contains(&process.pid),
                    // A packet: by its port, or by the link that only the run has.
                    None => {
                        let on_link = denial.interface == self.facts.index;
                        let by_port = of_run(denial.source) || of_run(denial.destination);
                        on_link || (by_port && denial.hook != "frame")
                    }
                };
                own.then_some((denial.reason, denial.count))
            }
            // Nobody knows by whom: the container's own must not be hidden here.
            Event::Suppressed(suppressed) => {
                let to_target = suppressed.destination.is_some_and(|(ip, _)| {
                    ip == IpAddr::V4(self.target.v4) || ip == IpAddr::V6(V6)
                });
                let own = to_target && of_run(suppressed.destination);
                own.then_some((suppressed.reason, suppressed.count))
            }
            Event::Lost(_) | Event::Allowed(_) | Event::Untold(_) => None,
        }
    }
}

pub(super) fn strays(count: u64, first: Option<&str>) -> String {
    format!(
        "{count} frames on the link belong to no attempt, the first: {}: something in the container sends there",
        first.unwrap_or("?")
    )
}
