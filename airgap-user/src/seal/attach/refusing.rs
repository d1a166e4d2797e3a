//! What is refused, before a seal and after it.

use std::path::Path;

use anyhow::Result;

use super::wanted::{Site, Wanted};
use crate::{
    container::{Container, Look},
    coverage::Vector,
    failure::{Failure, exit},
    gate::{Gate, Lock},
    policy::Rules,
    preflight::{self, Facts, Finding, Risk},
    seal::Report,
};

/// Refuses one that is gone: nobody would lift its seal.
pub(crate) async fn refuse_removed(site: &Site<'_>, container: &Container) -> Result<()> {
    if site.engine.has(&container.id).await.unwrap_or(true) {
        return Ok(());
    }
    Err(Failure::new(
        "the container was removed while it was sealed",
        "docker ps -a lists those that exist",
    )
    .into())
}

/// Refuses what is not covered (`--require full`).
pub(crate) fn refuse_gaps(coverage: &[Vector]) -> Result<()> {
    let open: Vec<_> = coverage
        .iter()
        .filter(|v| !v.covered)
        .map(|v| format!("{}: {}", v.vector, v.by))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("--require full: not covered: {}", open.join("; ")),
        "close it as said, or attach without --require full",
    )
    .into())
}

/// Findings that nobody accepted.
pub(crate) fn not_accepted(facts: &Facts, accepted: u64) -> Vec<Finding> {
    let found = preflight::judge(facts).into_iter();
    let (accepted, refused): (Vec<_>, Vec<_>) =
        found.partition(|finding| accepted & finding.risk.bit() != 0);
    for finding in accepted {
        log::warn!("accepted risk {}: {}", finding.risk, finding.what);
    }
    refused
}

/// Refuses what was found in a container, by name; of an audit only what could not be judged.
pub(crate) fn refuse(container: &Container, found: &[Finding], audit: bool) -> Result<()> {
    if audit {
        let shares = |finding: &&Finding| finding.risk.is_of_the_network();
        let (apart, rest): (Vec<_>, Vec<_>) = found.iter().partition(shares);
        for finding in rest {
            log::warn!(
                "{}: a seal would be refused: {} ({}): {}",
                container.name,
                finding.what,
                finding.risk,
                finding.mend()
            );
        }
        let named: Vec<_> = apart
            .iter()
            .map(|f| format!("{} ({})", f.what, f.risk))
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let what = format!(
            "the container '{}' cannot be audited, as what others send is not told from its own: {}",
            container.name,
            named.join("; ")
        );
        return Err(Failure::new(what, "give it a network namespace of its own").into());
    }
    let who = format!(
        "the container '{}' could leave around a seal",
        container.name
    );
    refuse_findings(&who, found, Finding::mend)
}

/// Refuses what was found, by name: each risk once, with what mends it.
pub(crate) fn refuse_findings(
    what: &str,
    found: &[Finding],
    mend: impl Fn(&Finding) -> &'static str,
) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = found
        .iter()
        .map(|finding| format!("{} ({})", finding.what, finding.risk))
        .collect();
    let mut mends: Vec<String> = Vec::new();
    for finding in found {
        let mend = format!("{}, or pass --accept {}", mend(finding), finding.risk);
        if !mends.contains(&mend) {
            mends.push(mend);
        }
    }
    Err(Failure::new(format!("{what}: {}", named.join("; ")), mends.join("; ")).into())
}

/// Refuses a seal that was made, and is not in force in the kernel.
pub(crate) fn refuse_broken(report: &Report, hint: &str) -> Result<()> {
    if report.problems.is_empty() {
        return Ok(());
    }
    let what = format!(
        "the kernel does not show the {} in force: {}",
        if report.audit { "audit" } else { "seal" },
        report.problems.join("; ")
    );
    Err(Failure::new(what, hint).into())
}

/// Refuses an audit of what is sealed, or ought to be: it would open it.
pub(crate) fn refuse_opening(after: &Rules, before: Option<&Rules>, name: &str) -> Result<()> {
    if !after.audit || before.is_none_or(|before| before.audit) {
        return Ok(());
    }
    Err(Failure::new(
        format!("the container '{name}' is sealed, and an audit refuses nothing: it would open it"),
        format!("detach it first, if that is meant: airgap detach {name}"),
    )
    .with_code(exit::USAGE)
    .into())
}

/// Refuses UDP ports that are served to anybody.
pub(crate) fn refuse_forgeable(rules: &Rules, name: &str) -> Result<()> {
    let Some(why) = rules.forgeable() else {
        return Ok(());
    };
    let ports: Vec<_> = rules.ports.iter().map(ToString::to_string).collect();
    let target = match name.strip_prefix("cgroup:") {
        Some(path) => format!("--cgroup {path}"),
        None => name.to_owned(),
    };
    let hint = format!(
        "airgap attach -p {} --from CIDR {target}, where CIDR is the network of those that ask",
        ports.join(",")
    );
    Err(Failure::new(why, hint).with_code(exit::USAGE).into())
}

/// Refuses what the engine was told: it is judged before anything changes.
pub(crate) fn refuse_configured(
    container: &Container,
    rules: &Rules,
    accept: &[Risk],
) -> Result<()> {
    let facts = Facts::of_engine(container)
        .with_clients(container, &rules.ports, &rules.clients)
        .with_exits(container, &rules.exits);
    let accepted = accept.iter().fold(0, |set, risk| set | risk.bit());
    let found = preflight::judge(&facts).into_iter();
    // What an audit cannot judge is no risk that could be accepted.
    let taken =
        |f: &Finding| accepted & f.risk.bit() != 0 && !(rules.audit && f.risk.is_of_the_network());
    let found: Vec<_> = found.filter(|f| !taken(f)).collect();
    refuse(container, &found, rules.audit)
}

/// Whether it only takes back of a seal that stands: no finding refuses that, unless a risk
/// is not among those accepted (`accept`) any more that was.
pub(crate) fn narrows(
    site: &Site<'_>,
    container: &Container,
    wanted: &Wanted,
    accept: &[Risk],
) -> Result<bool> {
    let _lock = Lock::take()?;
    let Some(gate) = Gate::open(site.place)? else {
        return Ok(false);
    };
    let key = container.key()?;
    let Some(standing) = gate.standing(&key)? else {
        return Ok(false);
    };
    let keeps = standing.accepted & !Risk::set(accept) == 0;
    let standing = standing.rules();
    let seal = gate.number_of(&key).map(|number| gate.seal(number));
    let whole = seal.is_some_and(|seal| seal.is_ok_and(|seal| seal.complete == 1));
    let after = wanted.rules_after(Some(&standing));
    Ok(whole && keeps && after.is_narrower_than(&standing))
}

/// What a look finds, for a dry run; what would be refused is, unless it `narrows`.
pub(crate) fn refuse_found(
    root: &Path,
    container: &Container,
    rules: &Rules,
    accept: &[Risk],
    narrows: bool,
) -> Result<(Option<Look>, Facts)> {
    let mut look = Look::live(root, container, Look::TIME);
    let facts = Facts::gather(container, look.as_mut())
        .with_clients(container, &rules.ports, &rules.clients)
        .with_exits(container, &rules.exits);
    let accepted = accept.iter().fold(0, |set, risk| set | risk.bit());
    let found = not_accepted(&facts, accepted);
    if !narrows {
        refuse(container, &found, rules.audit)?;
    }
    Ok((look, facts))
}
