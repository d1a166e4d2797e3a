//! A container that serves, and sends once a second to a port of its own: what is outside is told
//! by that port, whoever's address it has.

use crate::engine::{Engine, IMAGE};
use crate::seen::must;
use airgap_tests::cmd::Output;
use airgap_tests::drill::place::{HOST4, OUTSIDE4, OUTSIDE6};
use airgap_tests::drill::sink;
use airgap_tests::netns::Netns;
use airgap_tests::{cmd, http, wait};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// A container's start takes an emulated processor several seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// An interface is guarded by then, with nobody's help.
const GUARDED: Duration = Duration::from_secs(30);
/// What is open until then, where raw frames and joins are refused by other hooks.
const PROBES: &str = "answers to probes (echo replies, RSTs)";
/// What the probe tries in one round.
const ROUND: usize = 4;

/// Removed on drop, with its seal.
#[derive(Debug)]
pub(crate) struct App<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) name: String,
    pub(crate) port: u16,
    /// Its first process when it was last looked for; 0: none.
    pid: Cell<u32>,
    /// How often its program ran before its new interface was guarded.
    late: Cell<u32>,
    /// What `airgap` calls what it is sealed as, where that is not its name.
    within: Option<String>,
}

impl<'a> App<'a> {
    /// `verb` is `run -d` or `create`.
    pub(crate) fn new(
        engine: &'a Engine,
        verb: &str,
        name: &str,
        options: &str,
    ) -> Result<Self, String> {
        let app = Self::planned(engine, name);
        app.engine
            .run(&format!("{verb} --name {name} {}", app.words(options)))?;
        Ok(app)
    }

    /// One that somebody else makes.
    pub(crate) fn planned(engine: &'a Engine, name: &str) -> Self {
        Self::left(engine, name, engine.port())
    }

    /// One that an earlier boot made.
    pub(crate) fn left(engine: &'a Engine, name: &str, port: u16) -> Self {
        Self {
            engine,
            name: name.to_owned(),
            port,
            pid: Cell::new(0),
            late: Cell::new(0),
            within: None,
        }
    }

    /// One that is sealed as a part of something else.
    pub(crate) fn within(mut self, what: &str) -> Self {
        self.within = Some(what.to_owned());
        self
    }

    /// What `airgap` is to be told.
    pub(crate) fn target(&self) -> &str {
        self.within.as_deref().unwrap_or(&self.name)
    }

    /// How often its program ran before its new interface was guarded.
    pub(crate) fn late(&self) -> u32 {
        self.late.get()
    }

    /// Options, image and command.
    pub(crate) fn words(&self, options: &str) -> String {
        format!("{options} {IMAGE} {}", self.pulse())
    }

    pub(crate) fn pulse(&self) -> String {
        format!(
            "/airgap-probe pulse --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {}",
            self.port
        )
    }

    /// Runs `VERB NAME`.
    pub(crate) fn does(&self, verb: &str) -> Result<String, String> {
        self.engine.run(&format!("{verb} {}", self.name))
    }

    pub(crate) fn inspect(&self, format: &str) -> Result<String, String> {
        self.engine
            .run(&format!("inspect --format {format} {}", self.name))
    }

    /// Packets of it outside, until now.
    pub(crate) fn outside(&self) -> usize {
        let all = sink::everything();
        all.iter().filter(|a| a.port == self.port).count()
    }

    /// The control: unsealed, its packets are outside.
    pub(crate) fn is_heard(&self) -> Result<(), String> {
        let before = self.outside();
        wait::within(PATIENCE, || (self.outside() > before).then_some(()))
            .ok_or_else(|| format!("the control: nothing of {} is outside", self.name))
    }

    /// Everything that it has said, in the order of its lives; empty while it does not run.
    fn log(&self) -> Vec<Value> {
        let read = |pid: u32| fs::read_to_string(format!("/proc/{pid}/root/pulse.log"));
        let text = read(self.pid.get()).or_else(|_| {
            // It has none yet, or another life.
            std::thread::sleep(Duration::from_millis(300));
            let pid = self.inspect("{{.State.Pid}}").unwrap_or_default();
            self.pid.set(pid.parse().unwrap_or(0));
            read(self.pid.get())
        });
        let text = text.unwrap_or_default();
        let lines = text.split_inclusive('\n');
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Attempts of its `life`-th life, at least one round.
    pub(crate) fn life(&self, life: usize) -> Result<Vec<Value>, String> {
        let begins = |record: &Value| record["technique"] == "pulse-begin";
        wait::within(PATIENCE, || {
            let log = self.log();
            let attempts = log.split(begins).nth(life)?;
            (attempts.len() >= ROUND).then(|| attempts.to_vec())
        })
        .ok_or_else(|| {
            format!(
                "{} has no {life}. life: {:?}",
                self.name,
                self.engine.attempt(&format!("logs {}", self.name))
            )
        })
    }

    /// Two rounds from now on.
    fn rounds(&self) -> Result<Vec<Value>, String> {
        let before = self.log().len();
        wait::within(PATIENCE, || {
            let log = self.log();
            // One round may have begun before.
            (log.len() >= before + 3 * ROUND).then(|| log[before + ROUND..].to_vec())
        })
        .ok_or_else(|| format!("{} goes on no longer", self.name))
    }

    /// `airgap attach -d OPTIONS NAME`, which must seal.
    pub(crate) fn attach(&self, options: &str) -> Result<Output, String> {
        let out = self
            .engine
            .airgap(&format!("attach -d {options} {}", self.target()));
        must(matches!(out.code, 0 | 4), said(&out))?;
        Ok(out)
    }

    /// It tries, is refused, and nothing is outside; the state that `status` says.
    pub(crate) fn is_held(&self) -> Result<String, String> {
        self.sends_nothing()?;
        self.state()
    }

    /// It tries, is refused, and nothing is outside, whatever the state is called.
    pub(crate) fn sends_nothing(&self) -> Result<(), String> {
        let before = self.outside();
        self.were_refused(&self.rounds()?)?;
        let sent = self.outside() - before;
        must(sent == 0, format!("{sent} packets outside under the seal"))
    }

    /// All of its `life`-th life was refused, from the first instruction on, and nothing of it is
    /// outside: before that life there were `before` packets.
    pub(crate) fn was_held(&self, life: usize, before: usize) -> Result<String, String> {
        self.were_refused(&self.life(life)?)?;
        let sent = self.outside() - before;
        must(sent == 0, format!("{sent} packets outside in life {life}"))?;
        self.settled()
    }

    /// The state, once the interface of this life is guarded: what is done for each that comes up
    /// may be later than the program (status says so as long), and needs nobody to do anything.
    fn settled(&self) -> Result<String, String> {
        let (mut state, mut open, _) = self.told();
        if state == "opened" && open == PROBES {
            self.late.set(self.late.get() + 1);
            let guarded = wait::within(GUARDED, || {
                (state, open, _) = self.told();
                (state != "opened").then_some(())
            });
            if guarded.is_none() {
                self.tell_guards();
            }
        }
        self.state()
    }

    /// What was done for its interface, for who reads the log.
    fn tell_guards(&self) {
        self.engine
            .airgap(&format!("status --verbose {}", self.target()));
        log("journalctl --boot --no-pager --lines 80 --output short-precise --unit systemd-udevd");
        log("ip -details link");
        log("find /sys/fs/bpf/airgap");
    }

    fn were_refused(&self, attempts: &[Value]) -> Result<(), String> {
        let other = attempts.iter().find(|a| a["outcome"] != "refused");
        match other {
            None => Ok(()),
            Some(other) => Err(format!("{} was not refused: {other}", self.name)),
        }
    }

    /// What `airgap status` says, which must be that it is sealed, and that nothing is open.
    pub(crate) fn state(&self) -> Result<String, String> {
        let (state, open, said) = self.told();
        must(
            matches!(state.as_str(), "sealed" | "limited"),
            format!("status says {state}: {open} {said}"),
        )?;
        Ok(state)
    }

    /// The state, what is open now, and how `airgap status` ended.
    pub(crate) fn told(&self) -> (String, String, String) {
        let out = self
            .engine
            .airgap(&format!("status --json {}", self.target()));
        let told: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
        let state = told["state"].as_str().unwrap_or_default().to_owned();
        let open = told["coverage"].as_array().into_iter().flatten();
        let open: Vec<_> = open
            .filter(|v| v["covered"] == false && v["when"] == "now")
            .filter_map(|v| v["vector"].as_str())
            .collect();
        (state, open.join(", "), said(&out))
    }

    /// A client outside, and one on this host, get an answer at a published port.
    pub(crate) fn answers_at(&self, published: u16) -> Result<(), String> {
        let ask = |address: String| {
            let address: SocketAddr = address.parse().expect("an address");
            move || http::get(address, "/alive").map_err(|e| format!("{address}: {e:#}"))
        };
        let outside = Netns::named(sink::NAME).run(ask(format!("{HOST4}:{published}")));
        let outside = outside.map_err(|e| format!("from outside {e}"));
        let here = || ask(format!("127.0.0.1:{published}"))();
        let answers = outside.and_then(|_| here().map_err(|e| format!("from this host {e}")));
        answers.map(drop).inspect_err(|_| self.tell_refusals())
    }

    /// What was refused, and the links, for who reads the log.
    fn tell_refusals(&self) {
        let tail = format!("tail --json --since 5m --no-follow {}", self.target());
        self.engine.airgap(&tail);
        log("ip -details address");
        log("ip neighbour");
    }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        self.engine.airgap(&format!("detach {}", self.target()));
        let remove = format!("rm --force --volumes {}", self.name);
        self.engine.attempt(&remove);
    }
}

/// Writes what a command says to the log.
fn log(line: &str) {
    eprintln!("{}", cmd::attempt(line).describe());
}

/// The exit status, and the error if there is one.
pub(crate) fn said(out: &Output) -> String {
    let lines = out.stderr.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("error") || line.starts_with("caused by") || line.starts_with("hint")
    });
    let lines: Vec<_> = lines.collect();
    format!("{}: exit {} {}", out.command, out.code, lines.join(" / "))
}
