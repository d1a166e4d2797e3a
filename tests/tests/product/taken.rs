//! A discipline of somebody else's where the guard of the veth goes, before tcx (Linux 6.6).

use super::{
    Engine, airgap,
    container::{Container, HOST_END},
    names, release,
};
use airgap::host::netlink::Netlink;
use serde_json::Value;

/// What is in the way is named with the command that clears it, by a dry run, too; it is left
/// as it was; and once it is gone an attach guards.
pub(crate) fn what_takes_the_place_of_a_guard_is_named(
    engine: &Engine,
    container: &Container,
    sealed: i32,
) {
    if release() >= (6, 6) {
        println!("\ntaken: not tried, tcx has a place of its own");
        return;
    }
    let kind = || {
        let kind = Netlink::route().and_then(|link| link.arriving_discipline(HOST_END));
        kind.expect("the disciplines")
    };
    let link = Netlink::route().expect("netlink");
    if let Err(error) = link.add_discipline(HOST_END, c"ingress") {
        assert_ne!(sealed, 0, "a frame layer without sch_ingress: {error}");
        println!("\ntaken: not tried, this kernel has no sch_ingress");
        return;
    }
    let clears = |report: &Value| {
        let vectors = report["coverage"].as_array().into_iter().flatten();
        vectors
            .filter(|v| {
                let mend = v["mend"].as_str().unwrap_or_default();
                mend.contains("tc qdisc del dev vethweb ingress; airgap attach web")
            })
            .count()
    };
    let attach = ["attach", "-d", "--errno", "eperm", "--json", "web"];
    let dry = ["attach", "--dry-run", "--errno", "eperm", "--json", "web"];
    let (said, stderr, would) = airgap(engine, &dry);
    assert_eq!(said, 4, "{stderr}");
    assert!(clears(&would) > 0, "{would:#}");
    let (code, stderr, report) = airgap(engine, &attach);
    assert_eq!(code, 4, "{stderr}");
    assert!(clears(&report) > 0, "{report:#}");
    container.serves(2);
    let (code, stderr, _) = airgap(engine, &["detach", "web"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(kind().as_deref(), Some(c"ingress"), "it is not airgap's");
    let (code, stderr, _) = airgap(engine, &attach);
    assert_eq!(code, 4, "{stderr}");
    link.delete_discipline(HOST_END, c"ingress")
        .expect("remove it");
    let (code, stderr, report) = airgap(engine, &attach);
    assert_eq!(code, sealed, "{stderr}");
    assert_eq!(
        clears(&report),
        0,
        "{:?}",
        names(&report["coverage"], |_| true)
    );
    container.serves(2);
    let (code, stderr, _) = airgap(engine, &["detach", "web"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(kind(), None, "airgap's own place is gone");
    println!("\ntaken: named, left alone, and guarded once it was gone");
}
