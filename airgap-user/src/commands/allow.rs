//! `airgap allow` and `airgap disallow`: exceptions of a seal that stands, and nothing
//! else of it.

use anyhow::{Context as _, Result};
use clap::Args;
use std::time::Duration;

use super::{
    attach::SHOW,
    reference::{Directory, is_engineless_name, refuse_command, refuse_pod, seals_of},
    sites::Sites,
    standing,
};
use crate::{
    config::{Ceilings, Config},
    container::{Container, Hosts},
    failure::{Failure, exit},
    gate::{Gate, Place},
    host::clock,
    names::refuse_unkept,
    output,
    policy::{Exception, Hold, NearTo, Rules, To, parse_reason},
    preflight::Risk,
    seal::{
        Report,
        attach::{
            before::accepted_before, exit_change::ExitChange, refusing::refuse_configured, sealing,
            wanted::Wanted,
        },
        subtree::change_exits,
        subtree_of,
    },
    state::{Entry, Origin, Record, State},
    subtree::Subtree,
};

/// Arguments of `allow`.
#[derive(Args, Debug)]
pub struct Allow {
    /// Where it may connect, or send datagrams to; repeatable (airgap attach --help)
    #[arg(long = "to", required = true, value_name = "TARGET:PORTS[/udp]")]
    pub to: Vec<NearTo>,
    /// How long, as 15m or 2h; by the kernel's own clock, and never over a reboot [default: for good]
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub time: Option<Duration>,
    /// How long an address holds that was found for a name, from when it was last seen: 1m to
    /// 24h, or forever (airgap explain endless-lease) [default: 2m of a neighbour, 15m of a host]
    #[arg(long, value_name = "TIME|forever")]
    pub hold: Option<Hold>,
    /// Why, for whoever reads the status
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    pub reason: Option<String>,
    /// Accept a risk that would be refused, by its name; repeatable
    #[arg(long = "accept", value_name = "RISK")]
    pub accept: Vec<Risk>,
    /// As JSON, as airgap status has it
    #[arg(long)]
    pub json: bool,
    /// Name, id or unique prefix of an id; unit:NAME, cgroup:PATH
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Arguments of `disallow`.
#[derive(Args, Debug)]
pub struct Disallow {
    /// The exception that goes, as status shows it; repeatable
    #[arg(
        long = "to",
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "TARGET:PORTS[/udp]"
    )]
    pub to: Vec<NearTo>,
    /// Every exception of the container
    #[arg(long)]
    pub all: bool,
    /// As JSON, as airgap status has it
    #[arg(long)]
    pub json: bool,
    /// Name, id or unique prefix of an id; unit:NAME, cgroup:PATH
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

fn span(text: &str) -> Result<Duration, String> {
    match clock::parse_ago(text)? {
        time if time.is_zero() => Err("no time at all: write 90s, 15m, 1h or 2d".into()),
        time => Ok(time),
    }
}

pub(crate) async fn allow(
    hosts: &Hosts,
    state: &State,
    config: &Config,
    args: &Allow,
) -> Result<u8> {
    let until = args.time.map(|time| {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        clock::since_boot_nanos().saturating_add(nanos)
    });
    let to = targets(&args.to, &args.container)?;
    let more = to.iter().map(|to| {
        Exception {
            until,
            reason: args.reason.clone(),
            allowed: true,
            ..Exception::from(to.clone())
        }
        .held(args.hold)
    });
    let change = ExitChange::Allow(more.collect());
    let ceilings = Ceilings::read(config);
    let report = made(
        hosts,
        state,
        &args.container,
        change,
        (&args.accept, ceilings),
    )
    .await?;
    said(&report, args.json)
}

pub(crate) async fn disallow(hosts: &Hosts, state: &State, args: &Disallow) -> Result<u8> {
    let change = match args.all {
        true => ExitChange::WithdrawAll,
        false => ExitChange::Withdraw(targets(&args.to, &args.container)?),
    };
    let taken: Vec<_> = match &change {
        ExitChange::Withdraw(to) => to.iter().map(ToString::to_string).collect(),
        _ => vec!["all of them".to_owned()],
    };
    // What only takes back is below any.
    let none = (&[][..], Ceilings::default());
    let report = made(hosts, state, &args.container, change, none).await?;
    // An audit shuts and cuts nothing.
    if !report.audit {
        log::info!("shut, and what was connected is cut: {}", taken.join(", "));
    }
    said(&report, args.json)
}

/// Where exceptions lead: only of what has the host's network also to loopback.
fn targets(named: &[NearTo], reference: &str) -> Result<Vec<To>> {
    let near = is_engineless_name(reference);
    let target = |to: &NearTo| match near {
        true => Ok(to.0.clone()),
        false => to.0.to_string().parse(),
    };
    let usage = |e| Failure::new(e, "airgap allow --help").with_code(exit::USAGE);
    let all: Result<_, String> = named.iter().map(target).collect();
    Ok(all.map_err(usage)?)
}

/// Puts the change in force, of a unit or a cgroup, too.
async fn made(
    hosts: &Hosts,
    state: &State,
    reference: &str,
    change: ExitChange,
    (accept, ceilings): (&[Risk], Ceilings),
) -> Result<Report> {
    if !is_engineless_name(reference) {
        return changed(hosts, state, reference, change, (accept, ceilings)).await;
    }
    refuse_pod(reference)?;
    refuse_command(reference)?;
    let gate = standing()?;
    let seals = seals_of(gate.as_ref())?;
    let references = [reference.to_owned()];
    let directory = Directory::open(hosts, &seals, state, &references).await?;
    let meant = directory.find(reference).await?;
    let (number, seal) = meant.in_force(&seals)?;
    let name = meant.name(&seal);
    let Some((gate, subtree)) = gate
        .map(|gate| subtree_of(&gate, number, &meant.id).map(|subtree| (gate, subtree)))
        .transpose()?
    else {
        anyhow::bail!("the gate is gone while its seals were read");
    };
    drop(gate);
    let subtree = subtree.context("no cgroup is sealed by that name")?;
    let subtree = Subtree { name, ..subtree };
    change_exits(state, &subtree, change, accept, ceilings, SHOW)
        .with_context(|| format!("cannot change the exceptions of {reference}"))
}

/// Puts the change in force, and reads the seal back.
async fn changed(
    hosts: &Hosts,
    state: &State,
    reference: &str,
    change: ExitChange,
    (accept, ceilings): (&[Risk], Ceilings),
) -> Result<Report> {
    let sites = Sites::standing(hosts, state).await?;
    let (engine, container) = sites.engines.find(reference).await?;
    let site = sites.of(engine);
    let rules = in_force(site.place, &container)?;
    change.refuse_unknown(&rules, &container.name)?;
    let recorded = match state.entry(&container.id) {
        Some(Entry::Known(record)) => Some(record),
        _ => None,
    };
    let by = recorded.as_ref().map_or(Origin::Operator, |r| r.by);
    let wanted = Wanted {
        rules: Rules {
            exits: Vec::new(),
            ..rules
        },
        ports_named: false,
        from_named: false,
        exits: change.clone(),
        accept: accept.to_vec(),
        accept_alone: false,
        full: false,
        // Also of a label's seal, which comes back as it was.
        refuse: !change.is_withdrawal(),
        by,
        ceilings,
    };
    wanted.refuse_above(&container.name, Some(&wanted.rules), 0)?;
    // Before anything changes.
    if let ExitChange::Allow(more) = &wanted.exits {
        let mut all = accept.to_vec();
        let accepted = accepted_for(
            recorded.as_ref(),
            accepted_before(site.place, state, &container)?,
        );
        let within = !Risk::OF_EXITS | wanted.ceilings.accepted(accepted);
        all.extend(Risk::of_set(accepted & within));
        let new = Rules {
            exits: more.clone(),
            ..wanted.rules.clone()
        };
        refuse_configured(&container, &new, &all)?;
        refuse_unkept(more)?;
    }
    sealing::seal(&site, &container, &wanted)
        .await
        .with_context(|| format!("cannot change the exceptions of '{}'", container.name))
}

/// The risks of which an exception that an operator adds need not name any: those that an
/// operator accepted. A label's word is good for what it lets out by other ways than
/// exceptions, which is nothing new. Pure.
fn accepted_for(recorded: Option<&Record>, by_operator: u64) -> u64 {
    match recorded {
        Some(recorded) if recorded.by == Origin::Label => {
            recorded.accepted & !Risk::OF_EXITS | by_operator
        }
        _ => by_operator,
    }
}

/// What is in force.
fn in_force(place: &Place, container: &Container) -> Result<Rules> {
    let standing = match Gate::open(place)? {
        Some(gate) => gate.standing(&container.key()?)?,
        None => None,
    };
    let standing = standing.ok_or_else(|| {
        Failure::new(
            format!("the container '{}' is not sealed", container.name),
            format!("airgap attach --to TARGET:PORT {}", container.name),
        )
        .with_code(exit::NOT_SEALED)
    })?;
    Ok(standing.rules())
}

fn said(report: &Report, json: bool) -> Result<u8> {
    if report.audit {
        log::warn!(
            "{} is under audit, NOT SEALED: this changes what is judged, and nothing is refused",
            report.container.name
        );
    }
    match json {
        true => output::report(report, true, output::Detail::default())?,
        false => output::exits(report)?,
    }
    Ok(report.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_needs_no_word_of_a_labels() {
        let record = |by| Record {
            id: "a".repeat(64),
            name: "web".into(),
            engine: String::new(),
            rules: Rules::new(vec![], vec![]).unwrap(),
            accepted: Risk::HostExit.bit() | Risk::LogDriver.bit(),
            since: 0,
            by,
            withdrawn: vec![],
            by_hand: 0,
            cgroup: None,
        };
        let label = record(Origin::Label);
        assert_eq!(accepted_for(Some(&label), 0), Risk::LogDriver.bit());
        let wide = Risk::WideException.bit();
        assert_eq!(
            accepted_for(Some(&label), wide),
            Risk::LogDriver.bit() | wide
        );
        let operator = record(Origin::Operator);
        assert_eq!(accepted_for(Some(&operator), wide), wide);
        assert_eq!(accepted_for(None, wide), wide);
    }
}
