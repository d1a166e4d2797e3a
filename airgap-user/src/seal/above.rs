//! What a seal has that is above this host's ceiling: it was asked for before the ceiling was.

use super::Report;
use crate::{
    config::Ceilings,
    policy::{Exception, Rules, To},
    preflight::Risk,
};

/// Says so in a report.
pub(crate) fn tell_above(report: &mut Report, ceilings: &Ceilings) {
    if ceilings.is_empty() {
        return;
    }
    let over = |state: &str| state == "ended";
    let exits = report.exits.iter().filter(|exit| !over(exit.state));
    let exits = exits.filter_map(|exit| To::near_or_far(&exit.to).ok());
    let rules = Rules {
        ports: parsed(&report.ports),
        clients: parsed(&report.clients),
        exits: exits.map(Exception::from).collect(),
        errno: None,
        audit: false,
    };
    let accepted = report.accepted.iter();
    let accepted: Vec<Risk> = accepted.filter_map(|risk| risk.parse().ok()).collect();
    report.above_ceiling = ceilings.above(&rules, Risk::set(&accepted));
}

/// What airgap has written itself can be read.
fn parsed<T: std::str::FromStr>(texts: &[String]) -> Vec<T> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
