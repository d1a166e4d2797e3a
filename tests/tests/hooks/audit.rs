//! An audit lets by what the security hooks would refuse, and counts it.

use super::*;
use airgap_common::denial::Reason;

pub(super) fn refuses_none_of_it(pair: &mut Pair) {
    let number = pair.scratch.audit(&id(51));
    let audited = pair.scratch.mkdir(&id(51));
    let outsider = outsider();
    let unix = HOST_TABLE.iter().map(|(name, _)| *name);
    let unix = unix
        .filter(|name| name.starts_with("unix-"))
        .map(|name| (name, name_of(name)));
    let around = AROUND.map(|name| (name, "m".to_owned()));
    for (technique, marker) in around.into_iter().chain(unix) {
        let end = |cgroup| try_in(cgroup, Network::Shared, technique, &marker);
        let (control, report) = (end(&pair.open), end(&audited));
        let same = (report.outcome, report.errno) == (control.outcome, control.errno);
        assert!(same, "{report:?} {control:?}");
        while outsider.dgram.recv(&mut [0; 64]).is_ok() {}
    }
    let (_, counters) = pair.scratch.gate().state(number).expect("a state");
    let counted = |reason: Reason| counters.by_reason[reason as usize];
    assert!(
        counted(Reason::SocketType) >= 4 && counted(Reason::UnixPeer) >= 3,
        "{counters:?}"
    );
}
