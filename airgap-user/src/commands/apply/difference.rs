//! What a seal allows that it did not, and the other way round. Pure.

use crate::{
    policy::{Errno, Rules},
    preflight::Risk,
};

/// What changes, a line each: what newly becomes reachable first. Empty: nothing does.
/// `before`, with what it had accepted; `None`: it is not sealed.
pub(in crate::commands) fn difference(
    before: Option<(&Rules, u64)>,
    after: &Rules,
    accept: &[Risk],
) -> Vec<String> {
    let accept = accept.iter().fold(0, |set, risk| set | risk.bit());
    let mut lines = Vec::new();
    // An audit refuses nothing: all is reachable before a seal.
    let before = before.filter(|(before, _)| !before.audit || after.audit);
    let Some((before, accepted)) = before else {
        lines.push("is not sealed now; of all that it can reach this stays:".to_owned());
        lines.extend(opened(after, None, accept, 0));
        return lines;
    };
    lines.extend(opened(after, Some(before), accept, accepted));
    let gone = |exit: &&crate::policy::Exception| !after.exits.contains(exit);
    // One that only changes is told as what it becomes.
    let lost = before.exits.iter().filter(gone);
    let lost = lost.filter(|exit| !after.exits.iter().any(|one| one.to == exit.to));
    lines.extend(lost.map(|exit| format!("- to {}: cut at once", exit.to)));
    let ports = before
        .ports
        .iter()
        .filter(|port| !after.ports.contains(port));
    lines.extend(ports.map(|port| format!("- port {port}")));
    if before.clients.is_empty() && !after.clients.is_empty() {
        lines.push("- clients: any".to_owned());
    }
    let clients = before.clients.iter();
    let clients = clients.filter(|client| !after.clients.contains(client));
    // Where any may connect now these still can.
    let clients = clients.filter(|_| !after.clients.is_empty());
    lines.extend(clients.map(|client| format!("- client {client}")));
    let risks = Risk::names(accepted & !accept).into_iter();
    lines.extend(risks.map(|risk| format!("- accepts {risk}")));
    let errno = |rules: &Rules| rules.errno.unwrap_or_default();
    if errno(before) != errno(after) {
        lines.push(format!("~ refused calls fail: {}", told(errno(after))));
    }
    lines
}

fn told(errno: Errno) -> String {
    errno.to_string()
}

fn opened(after: &Rules, before: Option<&Rules>, accept: u64, accepted: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for exit in &after.exits {
        let same = before.and_then(|before| before.exits.iter().find(|one| one.to == exit.to));
        let by_hand = if exit.allowed {
            " (by airgap allow)"
        } else {
            ""
        };
        let hold = exit
            .hold
            .map_or(String::new(), |hold| format!(", hold {hold}"));
        match same {
            None => lines.push(format!(
                "+ to {}{hold}{by_hand}: {}",
                exit.to,
                exit.to.opens()
            )),
            Some(same) if same.hold != exit.hold || same.until != exit.until => {
                let until = if exit.until.is_none() && same.until.is_some() {
                    ", without an end"
                } else {
                    ""
                };
                lines.push(format!("~ to {}{hold}{until}", exit.to));
            }
            Some(_) => {}
        }
    }
    let new = |port: &&crate::policy::Port| !before.is_some_and(|b| b.ports.contains(port));
    lines.extend(
        after
            .ports
            .iter()
            .filter(new)
            .map(|port| format!("+ port {port}")),
    );
    match before {
        Some(before) if before.clients.is_empty() => {}
        _ if after.clients.is_empty() => {
            lines.push("+ clients: ANY (each is an exit)".to_owned());
        }
        before => {
            let clients = after.clients.iter();
            let new = clients.filter(|one| !before.is_some_and(|b| b.clients.contains(one)));
            lines.extend(new.map(|client| format!("+ client {client}")));
        }
    }
    let risks = Risk::names(accept & !accepted).into_iter();
    lines.extend(risks.map(|risk| format!("+ accepts {risk}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exception, Port, To};

    fn rules(ports: &[u16], from: &[&str], to: &[&str]) -> Rules {
        let exit = |text: &&str| Exception::from(text.parse::<To>().unwrap());
        Rules {
            ports: ports.iter().map(|port| Port::tcp(*port)).collect(),
            clients: from.iter().map(|client| client.parse().unwrap()).collect(),
            exits: to.iter().map(exit).collect(),
            errno: None,
            audit: false,
        }
    }

    #[test]
    fn what_opens_is_told_first_and_what_stays_is_not_told() {
        let (a, b) = ("198.51.100.1:1", "198.51.100.2:2");
        let before = rules(&[80, 81], &["198.51.100.0/24"], &[a]);
        let after = rules(&[80, 82], &[], &[b]);
        let bit = Risk::HostExit.bit();
        let lines = difference(Some((&before, bit)), &after, &[]);
        assert_eq!(
            lines,
            [
                "+ to 198.51.100.2:2/tcp: anything over TCP on that port, and its answers",
                "+ port 82/tcp",
                "+ clients: ANY (each is an exit)",
                "- to 198.51.100.1:1/tcp: cut at once",
                "- port 81/tcp",
                "- accepts host-exit",
            ]
        );
        assert_eq!(
            difference(Some((&after, bit)), &after, &[Risk::HostExit]),
            [""; 0]
        );
        let back = difference(Some((&after, 0)), &before, &[Risk::HostExit]);
        assert!(back.contains(&"- clients: any".to_owned()), "{back:?}");
        assert!(back.contains(&"+ accepts host-exit".to_owned()), "{back:?}");
        assert!(
            !back.iter().any(|line| line.starts_with("+ client")),
            "{back:?}"
        );
    }

    #[test]
    fn another_hold_and_an_end_that_goes_are_changes() {
        let mut before = rules(&[80], &[], &["api.example.com:443", "198.51.100.1:1"]);
        let after = before.clone();
        before.exits[0].hold = "5m".parse().ok();
        before.exits[1].until = Some(5);
        let lines = difference(Some((&before, 0)), &after, &[]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("hold 900s"), "{lines:?}");
        assert!(lines[1].contains("without an end"), "{lines:?}");
    }

    #[test]
    fn a_first_seal_tells_all_that_stays_open() {
        let lines = difference(None, &rules(&[80], &["198.51.100.7"], &[]), &[]);
        assert!(lines[0].contains("not sealed"), "{lines:?}");
        assert_eq!(lines[1..], ["+ port 80/tcp", "+ client 198.51.100.7/32"]);
        // An audit is none, whatever it judges by.
        let seal = rules(&[80], &["198.51.100.7"], &[]);
        let audit = seal.clone().audited(true);
        assert_eq!(difference(Some((&audit, 0)), &seal, &[]), lines);
    }
}
