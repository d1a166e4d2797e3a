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
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{
    program::{NOT_FOUND, NOT_STARTED, find, reason},
    supervise::{Outcome, Signals, Task},
};
use super::{
    seal_options::{Common, usage},
    sites::mount,
};
use crate::{
    command::User,
    config::{Ceilings, Config},
    failure::{Failure, exit},
    gate::{Gate, Place, Reading},
    policy::{Cidr, Exception, Rules},
    preflight::Risk,
    seal::command::{Asked, Sealed},
};

/// Arguments of `exec`.
#[derive(Args, Debug)]
#[command(
    mut_arg("ports", |arg| arg.help("Service port that clients may connect to; repeatable [default: none]")),
    mut_arg("to", |arg| arg.help("Where it may connect, or send datagrams to: ADDRESS or CIDR (IPv6 in brackets), and PORT, FIRST-LAST or * (all but 53 and 853); repeatable [default: nowhere]")),
    mut_arg("from", |arg| arg.requires("ports"))
)]
pub struct Exec {
    /// What the seal is to be.
    #[command(flatten)]
    pub seal: Common,
    /// Run as this user, a name or a number [default: who called sudo]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Exit 4 if the command succeeds and anything was refused
    #[arg(long)]
    pub fail_on_denial: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

pub(crate) fn run(config: &Config, args: &Exec) -> Result<u8> {
    let says = &args.seal;
    let mut named = says.to.iter().map(|to| &to.0);
    if let Some(to) = named.find(|to| to.target.net().is_none()) {
        return Err(Failure::new(
            format!("{to} leads to a container by name, and a command is in no network of one"),
            "name its address in --to, or run the command in a container: airgap run",
        )
        .with_code(exit::USAGE)
        .into());
    }
    let exits = says.to.iter().map(|to| Exception::from(to.0.clone()));
    let rules = match says.ports.is_empty() {
        // Not the default port: a command need not serve.
        true => Ok(Rules {
            clients: vec![Cidr::NOBODY],
            ..Rules::NOTHING
        }),
        false => Rules::new(says.ports.clone(), says.from.clone()),
    };
    let rules = rules
        .and_then(|rules| rules.with_exits(exits.collect()))
        .map_err(|error| usage(error, "exec"))?
        .failing_with(says.errno);
    let ceilings = Ceilings::read(config);
    ceilings.refuse(&rules, &says.accept)?;
    let rules = ceilings.narrowed(rules);
    let user = User::choose(args.user.as_deref())?;
    let name = args.command.first().map_or(OsStr::new(""), |word| word);
    if let Err(code) = find(name, env::var_os("PATH").as_deref()) {
        let what = format!("cannot run '{}': {}", name.display(), reason(code));
        let hint = "name a program, by its path or as one that PATH has";
        return Err(Failure::new(what, hint).with_code(code).into());
    }
    judging::judge(&says.accept, &rules, &user)?;
    let place = Place::host()?;
    // From before the seal: whoever is ended while it is made leaves none behind. Threads that
    // begin from here on take none either.
    let signals = Signals::take()?;
    let kernel = Reading::begin(&place);
    mount()?;
    let asked = Asked {
        program: name,
        rules: &rules,
        accept: &says.accept,
        full: says.require.is_some(),
    };
    let sealed = Sealed::make(&place, &kernel, &asked)?;
    let task = Task {
        nest: &sealed.nest,
        root: &place.cgroup,
        user: &user,
        confined: sealed.confined,
        network: says.accept.contains(&Risk::NetworkFs),
        command: &args.command,
    };
    let outcome = supervise::run(&task, &signals);
    end(sealed, &place, outcome, args)
}

/// Says what was refused; lifts the seal, unless processes are left.
fn end(sealed: Sealed, place: &Place, outcome: Result<Outcome>, args: &Exec) -> Result<u8> {
    // Nothing that fails here may keep the seal from being lifted.
    let refused = Gate::open(place).and_then(|gate| match gate {
        Some(gate) if gate.seal(sealed.number).is_ok() => {
            refused::read(&gate, sealed.number).map(Some)
        }
        _ => Ok(None),
    });
    let name = sealed.name.clone();
    if matches!(&outcome, Ok(Outcome { left: true, .. })) {
        log::warn!(
            "processes of {name} are left, and stay sealed until they end: airgap status {name}"
        );
    } else {
        sealed.lift(place)?;
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

#[cfg(test)]
mod tests;
