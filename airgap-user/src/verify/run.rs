//! One run: controls first, then the same from inside the seal.

mod witness;

use std::{
    collections::HashSet,
    net::IpAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::map::SealNumber;
use anyhow::{Context as _, Result};

use self::witness::strays;
use super::{
    NotTried, Proof, Tried,
    attempt::{Numbers, line},
    attribution::{Mine, silent},
    facts::Facts,
    interrupt,
    judge::{Evidence, Seen, ended, impossible, judge},
    probe::{Place, Probe},
    sighting::Sighting,
    subject::Subject,
    target::{Target, V6},
};
use crate::{
    events::Follower,
    gate::{Gate, Security, Trial},
    host::netns::Netns,
    state::Own,
    technique::{Outcome, Reach, Report, TABLE, Way, vector::JOINS},
};

const STEP: Duration = Duration::from_millis(2);
/// For what a control sent to be seen, or a refusal to be told.
const SOON: Duration = Duration::from_millis(300);
/// Longer than the first repetition of a TCP SYN or of a multicast report.
const SETTLE: Duration = Duration::from_millis(1200);

/// More frames than a container's kernel or controls leave behind by themselves.
const NOISE: u64 = 1000;

const ASIDE: &str = "the control of mld-join is made in another network namespace: the \
    container's kernel announces groups from a socket that is itself under the seal";

/// Tries every way out of what runs and is sealed. Takes about ten seconds, during which a
/// container has an interface more. Adds to `own` what was refused of that, and to `targets`
/// where it led, however it ends.
///
/// # Errors
/// If the container has the host's network, is being verified already, or
/// ends; or if the target cannot be set up.
pub fn run(
    gate: &mut Gate,
    number: SealNumber,
    subject: &Subject,
    own: &mut Own,
    targets: &mut Vec<IpAddr>,
) -> Result<Proof> {
    interrupt::heed();
    let network = subject.network()?;
    let facts = Facts::gather(gate, number, subject, &network)?;
    let numbers = Numbers::draw(&[facts.service, facts.datagrams])?;
    let exits = gate.exits_of(number)?.into_iter();
    let exits: Vec<_> = exits
        .flat_map(|exit| {
            let own = exit.exception.to.target.net();
            own.into_iter()
                .chain(exit.leases.into_iter().map(|lease| lease.net()))
        })
        .collect();
    // Where no veth leads out, frame programs at this one would prove what does not hold.
    let guarding = subject.is_own_network().then_some(&mut *gate);
    let (target, trial) =
        Target::open(&network, facts.index, &numbers.listened(), &exits, guarding)?;
    targets.extend([IpAddr::from(target.v4), V6.into()]);
    let mut run = Run {
        number,
        follower: Follower::start(gate, &[number])?.looking_every(Duration::ZERO),
        numbers,
        outside: Probe::start(subject, &Place::Unsealed(&network))?,
        aside: Probe::start(subject, &Place::Aside(&target.aside))?,
        inside: Probe::start(subject, &Place::Inside(&network))?,
        trial,
        target,
        facts,
        lost: 0,
        probes: HashSet::new(),
        own,
        subject,
        _network: network,
    };
    let proof = run.all(gate);
    // The last ones; without them it is only a little less exact.
    let _ = run.records();
    proof
}

struct Run<'a> {
    // Before the target: what they send must not look for another route.
    /// In an unsealed cgroup.
    outside: Probe,
    /// There too, and in a network namespace without a container.
    aside: Probe,
    /// In the sealed one.
    inside: Probe,
    number: SealNumber,
    subject: &'a Subject,
    facts: Facts,
    /// Guards the target's end of the link, where the kernel can.
    trial: Option<Trial>,
    target: Target,
    follower: Follower,
    numbers: Numbers,
    /// Refusals whose record there was no room for.
    lost: u64,
    /// Process ids that the probe inside has had.
    probes: HashSet<u32>,
    /// What was refused of its own attempts, by reason.
    own: &'a mut Own,
    /// What is tried from: held for a probe that takes over from one that hung.
    _network: Netns,
}

/// Whether it got out without the seal; if not, why.
type Control = Result<(), String>;

/// A sealed attempt.
struct Sealed {
    at: usize,
    control: Control,
    report: Report,
    refused: Option<String>,
    /// Known once all are made.
    seen: Seen,
}

impl Run<'_> {
    fn all(&mut self, gate: &Gate) -> Result<Proof> {
        let (mut controls, mut not_tried) = (Vec::new(), Vec::new());
        let shown = TABLE.iter().enumerate().filter(|(_, way)| way.is_shown);
        for (at, way) in shown {
            let outcome = match self.facts.rules_out(way) {
                Some(why) => Err(why.to_owned()),
                None => self.control(at, way)?,
            };
            match outcome {
                Ok(control) => controls.push((at, control)),
                Err(reason) => not_tried.push(NotTried {
                    technique: way.name,
                    vector: way.vector,
                    reason,
                }),
            }
        }
        self.settle()?;
        // Controls leave more behind than can be told; a flood is one all the same.
        let (flood, first) = self.target.link.sightings.strays();
        let flood = (flood > NOISE).then(|| strays(flood, first));
        self.target.link.sightings.forget_strays();
        let sealed = self.sealed(gate, controls)?;
        let blind = flood.or(self.blind()?);
        let tried = sealed.iter().map(|s| self.judge(s, blind.as_deref()));
        let tried = tried.collect();
        let mut notes = self.subject.notes();
        notes.push(ASIDE.to_owned());
        if let Some(why) = &self.target.no_ipv6 {
            notes.push(format!("no IPv6 on the link: {why}"));
        }
        if self.lost > 0 {
            notes.push(format!("{} records of refusals were lost", self.lost));
        }
        // Other layers may have stood in for them this time.
        let silence = match gate.security() {
            Security::Silent(silence) => Some(silence),
            Security::Absent | Security::InForce(_) | Security::Skipped(_) => None,
        };
        if let Some(silence) = silence {
            notes.push(format!(
                "{}; run: {}",
                silence.why(),
                silence.mend(&self.subject.name)
            ));
        }
        self.still_runs(gate)?;
        let Subject { name, id, .. } = self.subject.clone();
        let proof = Proof::new(name, id, tried, not_tried, notes);
        Ok(match silence {
            Some(_) => proof.doubted(),
            None => proof,
        })
    }

    /// One control: whether it got out, and if not, why. `Err`: the way does
    /// not exist here.
    fn control(&mut self, at: usize, way: &Way) -> Result<Result<Control, String>> {
        let trace = self.numbers.control(at);
        self.target.expect(&trace);
        let line = line(way, &trace, &self.target, &self.facts);
        let report = if way.is_announced_inside() {
            self.aside.attempt(way, &line)?
        } else {
            self.outside.attempt(way, &line)?
        };
        if let Some(why) = impossible(&report) {
            return Ok(Err(why));
        }
        let seen = self.wait_for(|run| {
            let Target { guest, passed, .. } = &run.target;
            let seen = match way.reach {
                _ if way.is_announced_inside() => run.target.announced.saw(&trace),
                Reach::Guest => guest.heard(&trace),
                Reach::Outside | Reach::Link | Reach::Resolver => passed.saw(&trace),
            };
            (seen != Sighting::No).then_some(())
        })?;
        Ok(Ok(seen.ok_or_else(|| {
            format!(
                "it was not seen without the seal either ({})",
                ended(&report)
            )
        })))
    }

    /// What cgroup hooks stop, then what the frame programs stop.
    fn sealed(&mut self, gate: &Gate, controls: Vec<(usize, Control)>) -> Result<Vec<Sealed>> {
        let is_frame_level = |(at, _): &(usize, Control)| TABLE[*at].is_frame_level();
        let (frames, rest): (Vec<_>, Vec<_>) = controls.into_iter().partition(is_frame_level);
        let mut sealed = Vec::new();
        for (at, control) in rest {
            sealed.push(self.attempt(gate, at, control)?);
        }
        if let Some(trial) = &mut self.trial {
            trial.belongs_to(self.number)?;
        }
        for (at, control) in frames {
            sealed.push(self.attempt(gate, at, control)?);
        }
        // With the frame programs: what joins announce is repeated, too.
        let end = Instant::now() + SETTLE;
        while Instant::now() < end {
            self.pause()?;
        }
        self.settle()?;
        // For the control that closes the run.
        if let Some(trial) = &mut self.trial {
            trial.belongs_to_nobody()?;
        }
        for Sealed { at, seen, .. } in &mut sealed {
            let trace = self.numbers.sealed(*at);
            *seen = Seen {
                left: self.target.link.saw(&trace),
                passed: self.target.passed.saw(&trace),
                heard: self.target.guest.heard(&trace),
            };
        }
        Ok(sealed)
    }

    /// One attempt from inside the seal.
    fn attempt(&mut self, gate: &Gate, at: usize, control: Control) -> Result<Sealed> {
        let counters = || {
            gate.state(self.number)
                .map(|(_, counters)| counters.by_reason)
        };
        let before = counters().context("the seal is gone")?;
        let trace = self.numbers.sealed(at);
        self.still_runs(gate)?;
        let way = &TABLE[at];
        // What is queued already is none of it.
        self.target.drain();
        self.target.expect(&trace);
        let line = line(way, &trace, &self.target, &self.facts);
        let (seal, pid) = (self.number, self.inside.pid());
        self.records()?;
        let report = self.inside.attempt(way, &line)?;
        let mut refused = None;
        if report.outcome != Outcome::Skipped {
            refused = self.wait_for(|run| {
                let records = run.records().ok()?;
                let mine = Mine {
                    seal,
                    pid,
                    trace: &trace,
                    numbers: &run.numbers,
                    interface: run.facts.index,
                };
                let after = gate.state(seal)?.1.by_reason;
                mine.find(&records).or_else(|| {
                    let silent = silent(&before, &after);
                    silent.filter(|_| way.vector == JOINS)
                })
            })?;
        }
        Ok(Sealed {
            at,
            control,
            report,
            refused,
            seen: Seen::default(),
        })
    }

    fn still_runs(&self, gate: &Gate) -> Result<()> {
        self.subject.still_runs(&gate.place().cgroup)
    }

    fn judge(&self, sealed: &Sealed, blind: Option<&str>) -> Tried {
        let way = &TABLE[sealed.at];
        let judgement = judge(&Evidence {
            way,
            control: sealed.control.clone(),
            report: &sealed.report,
            seen: sealed.seen,
            refused: sealed.refused.clone(),
            net_raw: self.facts.net_raw,
            unguarded: self.facts.unguarded.as_deref(),
            blind,
            lost: self.lost,
        });
        Tried {
            technique: way.name,
            vector: way.vector,
            verdict: judgement.verdict,
            control: sealed.control.is_ok(),
            by: judgement.by,
            detail: judgement.detail,
        }
    }

    /// Takes over all that is queued, if that comes to an end soon: whether it did.
    fn settle(&mut self) -> Result<bool> {
        let end = Instant::now() + SOON;
        while !self.target.drain() {
            interrupt::check()?;
            if Instant::now() >= end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Polls until there is a value, for [`SOON`].
    fn wait_for<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> Result<Option<T>> {
        let end = Instant::now() + SOON;
        loop {
            self.target.drain();
            if let Some(found) = look(self) {
                return Ok(Some(found));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.pause()?;
        }
    }

    fn pause(&mut self) -> Result<()> {
        interrupt::check()?;
        sleep(STEP);
        self.target.drain();
        Ok(())
    }
}
