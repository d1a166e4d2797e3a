//! `airgap exec`: a command, sealed from its first instruction until its last process
//! has ended.
//!
//! The gate is armed, the cgroup marked and all of it read back before anything enters.
//! The kernel enforces alone: whoever ends this process ends no seal.

mod judging;
mod program;
mod refused;
mod supervise;

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use airgap_common::map::{ID_LEN, SealNumber};
use anyhow::{Context as _, Result};
use clap::Args;

use self::program::{NOT_FOUND, NOT_STARTED, find, reason};
use crate::{
    command::{Confined, Nest, PREFIX, User, abandoned, exists, is_command, prepare},
    config::{Ceilings, Config},
    container::end_orphans,
    failure::{Failure, exit},
    gate::{Gate, Lock, Place, Reading, Sealing, mount_bpffs, seal_id},
    host::clock::now,
    policy::{Cidr, Errno, Exception, NearTo, Port, Rules},
    preflight::Risk,
    seal::{
        Report,
        attach::refusing::{refuse_broken, refuse_gaps},
    },
};
use supervise::{Outcome, Signals, Task};

/// Arguments of `exec`.
#[derive(Args, Debug)]
pub struct Exec {
    /// Service port that clients may connect to; repeatable [default: none]
    #[arg(
        short,
        long = "port",
        value_name = "PORT[-LAST][/udp]",
        value_delimiter = ','
    )]
    pub ports: Vec<Port>,
    /// Only clients from here may connect; repeatable, required with UDP ports [default: any client]
    #[arg(long = "from", value_name = "CIDR", requires = "ports")]
    pub from: Vec<Cidr>,
    /// Where it may connect, or send datagrams to; repeatable (airgap attach --help)
    #[arg(long = "to", value_name = "TARGET:PORTS[/udp]")]
    pub to: Vec<NearTo>,
    /// How refused calls fail (airgap attach --help)
    #[arg(long, value_name = "offline|eperm")]
    pub errno: Option<Errno>,
    /// Run as this user, a name or a number [default: who called sudo]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Accept a risk that would be refused, by its name; repeatable
    #[arg(long = "accept", value_name = "RISK")]
    pub accept: Vec<Risk>,
    /// Exit 4 if the command succeeds and anything was refused
    #[arg(long)]
    pub fail_on_denial: bool,
    /// With `full`: do not start it unless every vector is covered
    #[arg(long, value_name = "full", value_parser = ["full"])]
    pub require: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// How long closed connections are ended for, and how long is in between.
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(5);

pub(crate) fn run(config: &Config, args: &Exec) -> Result<u8> {
    let usage = |e| Failure::new(e, "airgap exec --help").with_code(exit::USAGE);
    if let Some(to) = args
        .to
        .iter()
        .map(|to| &to.0)
        .find(|to| to.target.net().is_none())
    {
        return Err(Failure::new(
            format!("{to} leads to a container by name, and a command is in no network of one"),
            "name its address in --to, or run the command in a container: airgap run",
        )
        .with_code(exit::USAGE)
        .into());
    }
    let exits = args
        .to
        .iter()
        .map(|to| Exception::from(to.0.clone()))
        .collect();
    let rules = match args.ports.is_empty() {
        // Not the default port: a command need not serve.
        true => Ok(Rules {
            ports: Vec::new(),
            clients: vec![Cidr::NOBODY],
            exits: Vec::new(),
            errno: None,
            audit: false,
        }),
        false => Rules::new(args.ports.clone(), args.from.clone()),
    };
    let rules = rules
        .and_then(|rules| rules.with_exits(exits))
        .map_err(usage)?
        .failing_with(args.errno);
    let ceilings = Ceilings::read(config);
    ceilings.refuse(&rules, &args.accept)?;
    let rules = ceilings.narrowed(rules);
    let user = User::choose(args.user.as_deref())?;
    let name = args.command.first().map_or(OsStr::new(""), |word| word);
    if let Err(code) = find(name, env::var_os("PATH").as_deref()) {
        let what = format!("cannot run '{}': {}", name.display(), reason(code));
        let hint = "name a program, by its path or as one that PATH has";
        return Err(Failure::new(what, hint).with_code(code).into());
    }
    judging::judge(&args.accept, &rules, &user)?;
    let place = Place::host()?;
    // From before the seal: whoever is ended while it is made leaves none behind. Threads that
    // begin from here on take none either.
    let signals = Signals::take()?;
    let kernel = Reading::begin(&place);
    if mount_bpffs()? {
        log::info!("mounted bpffs at /sys/fs/bpf");
    }
    let sealed = Sealed::make(&place, &kernel, args, &rules)?;
    let task = Task {
        nest: &sealed.nest,
        root: &place.cgroup,
        user: &user,
        confined: sealed.confined,
        network: args.accept.contains(&Risk::NetworkFs),
        command: &args.command,
    };
    let outcome = supervise::run(&task, &signals);
    sealed.end(&place, outcome, args)
}

/// A command's seal, read back.
struct Sealed {
    name: String,
    number: SealNumber,
    nest: Nest,
    confined: Confined,
}

impl Sealed {
    /// Puts the seal in force, and makes the cgroup. On an error everything is as before.
    fn make(place: &Place, kernel: &Reading, args: &Exec, rules: &Rules) -> Result<Self> {
        let lock = Lock::take()?;
        tidy_up(place, &lock)?;
        let mut gate = Gate::arm_for(None, kernel, place, &lock)?;
        let hooks = gate.security().in_force().is_some();
        let confined = Confined {
            unix: hooks || args.accept.contains(&Risk::UnixSockets),
            hooks,
            // What it shares with the host leads out, too.
            apart: rules.ports.is_empty() && rules.exits.is_empty(),
        };
        if confined.apart {
            prepare()?;
        }
        let made = Nest::id(confined).and_then(|id| {
            let command = args.command.first().map_or(OsStr::new(""), |word| word);
            let command = Path::new(command).file_name().unwrap_or(command);
            let name = format!("{PREFIX}{}-{}", command.display(), &id[..4]);
            let key: [u8; ID_LEN] = id
                .as_bytes()
                .try_into()
                .context("an id of another length")?;
            let sealed = gate.seal_id(
                &Sealing {
                    id: &key,
                    name: &name,
                    policy: rules.compile_in(!confined.apart),
                    clients: &rules.clients,
                    exits: &rules.exits,
                    accepted: args.accept.iter().fold(0, |set, risk| set | risk.bit()),
                    since: now(),
                },
                &lock,
            )?;
            // The kernel marks it: it knows the id.
            match Nest::make(&place.cgroup, id) {
                Ok(nest) => Ok((sealed.number, name, nest)),
                Err(error) => {
                    gate.unseal(&[sealed.number], &lock)?;
                    Err(error)
                }
            }
        });
        let (number, name, nest) = match made {
            Ok(made) => made,
            Err(error) => {
                gate.disarm_if_idle(&lock)?;
                return Err(error.context("the command cannot be sealed, and was not started"));
            }
        };
        let sealed = Self {
            name,
            number,
            nest,
            confined,
        };
        match sealed.read_back(&mut gate, args, &lock) {
            Ok(()) => Ok(sealed),
            Err(error) => {
                sealed.nest.remove()?;
                gate.unseal(&[number], &lock)?;
                gate.disarm_if_idle(&lock)?;
                Err(error.context("the command was not started"))
            }
        }
    }

    fn read_back(&self, gate: &mut Gate, args: &Exec, lock: &Lock) -> Result<()> {
        // What the kernel has marked need not be marked again; an overflow is seen here.
        gate.seal_cgroup(self.number, &self.nest.cgroup, lock)?;
        gate.complete(self.number, lock)?;
        let seal = gate.seal(self.number)?;
        let report = Report::with(gate, self.number, &seal, None, None, None)?;
        const DOCTOR: &str = "airgap doctor says what this host can do";
        refuse_broken(&report, DOCTOR)?;
        if report.cgroups.is_empty() {
            let what = "the kernel does not show the seal in force: it has no cgroup";
            return Err(Failure::new(what, DOCTOR).into());
        }
        if args.require.is_some() {
            refuse_gaps(&report.coverage)?;
        }
        Ok(())
    }

    /// Says what was refused; lifts the seal, unless processes are left.
    fn end(self, place: &Place, outcome: Result<Outcome>, args: &Exec) -> Result<u8> {
        // Nothing that fails here may keep the seal from being lifted.
        let refused = Gate::open(place).and_then(|gate| match gate {
            Some(gate) if gate.seal(self.number).is_ok() => {
                refused::read(&gate, self.number).map(Some)
            }
            _ => Ok(None),
        });
        let name = self.name;
        if matches!(&outcome, Ok(Outcome { left: true, .. })) {
            log::warn!(
                "processes of {name} are left, and stay sealed until they end: airgap status {name}"
            );
        } else {
            // Of one that could not be started.
            self.nest.kill();
            let lock = Lock::take()?;
            lift(place, self.number, self.nest, &lock)?;
        }
        let code = outcome?.code;
        let refused = refused.context("what was refused cannot be read")?;
        match &refused {
            Some(Some(list)) => refused::tell(list)?,
            Some(None) => refused::tell_none(),
            None => {}
        }
        match refused {
            // What was not refused any more, nobody knows.
            None if args.fail_on_denial => Err(Failure::new(
                format!("the seal of {name} was lifted while it ran"),
                "let nobody run airgap detach on it meanwhile",
            )
            .with_code(exit::NOT_SEALED)
            .into()),
            None => {
                log::warn!("the seal of {name} was lifted while it ran");
                Ok(code)
            }
            Some(Some(_)) if args.fail_on_denial && code == exit::OK => Ok(exit::OPENED),
            Some(_) => Ok(code),
        }
    }
}

/// Ends the connections that the command has left.
fn await_orphans(cgroup: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = match end_orphans(cgroup)? {
            Some(0) => return Ok(()),
            Some(left) => left,
            None => {
                log::warn!(
                    "this kernel has no tcp_diag: what connections that the command has closed still have is not ended"
                );
                return Ok(());
            }
        };
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(
                format!("{left} connections of the command do not end; they stay sealed"),
                "airgap list, later, lifts the seal",
            )
            .into());
        }
        sleep(STEP);
    }
}

/// The cgroup first: without a process in it nothing is left to be refused.
fn lift(place: &Place, number: SealNumber, nest: Nest, lock: &Lock) -> Result<()> {
    // While they are under the seal: later what they were refused would leave.
    if !Confined::of(&nest.id).is_some_and(|confined| confined.apart) {
        await_orphans(nest.cgroup.id)?;
    }
    let gone = nest.remove();
    if let Some(mut gate) = Gate::open(place)? {
        let stands = gate.seals()?.iter().any(|(other, _)| *other == number);
        // Somebody may have detached it meanwhile.
        if stands && gone.is_ok() {
            gate.unseal(&[number], lock)?;
        }
        gate.disarm_if_idle(lock)?;
    }
    gone
}

/// Ends the seals of commands that have ended without an airgap to see it.
///
/// # Errors
/// If the gate cannot be read or written.
pub(super) fn tidy_up(place: &Place, lock: &Lock) -> Result<()> {
    for nest in abandoned(&place.cgroup) {
        let key = <[u8; ID_LEN]>::try_from(nest.id.as_bytes());
        let gate = Gate::open(place)?;
        let number = key
            .ok()
            .zip(gate)
            .and_then(|(key, gate)| gate.number_of(&key));
        let name = nest.id.clone();
        let gone = match number {
            Some(number) => lift(place, number, nest, lock),
            None => nest.remove(),
        };
        // It stays sealed, and delays nobody's command.
        if let Err(error) = gone {
            log::warn!("the seal of the ended command {name} is lifted later: {error:#}");
        }
    }
    lift_without_cgroup(place, lock)
}

/// Seals of commands whose cgroup is not there: airgap was killed before it was made, or
/// after it was removed. Both are done under this lock.
fn lift_without_cgroup(place: &Place, lock: &Lock) -> Result<()> {
    let Some(mut gate) = Gate::open(place)? else {
        return Ok(());
    };
    let mut orphans = Vec::new();
    for (number, seal) in gate.seals()? {
        let id = seal_id(&seal);
        if is_command(&id) && !exists(&place.cgroup, &id) {
            orphans.push(number);
        }
    }
    if !orphans.is_empty() {
        gate.unseal(&orphans, lock)?;
        gate.disarm_if_idle(lock)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
