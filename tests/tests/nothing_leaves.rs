//! Promise: nothing leaves. The corpus itself is tried in `escape.rs`.

use airgap_tests::Outside;
use airgap_tests::airgap::seal;
use airgap_tests::bench::Bench;
use airgap_tests::techniques::{EPERM, JOINS, PACKET_SOCKETS, TABLE};

#[test]
fn without_net_raw_packet_sockets_are_refused() {
    let outside = Outside::new();
    let container = outside
        .container("capless")
        .options(&["--cap-drop", "NET_RAW"])
        .run();
    let mut bench = Bench::new(&outside, &container);
    seal(&container.name, &[]);
    bench.clear();
    for &(technique, _) in PACKET_SOCKETS {
        bench.sealed(technique, EPERM);
    }
    bench.judge();
}

#[test]
fn the_tables_name_every_technique() {
    let outside = Outside::new();
    let container = outside.container("list").run();
    let listed = container
        .exec(&["airgap-probe", "list"])
        .expect_code(0)
        .stdout;
    let mut listed: Vec<_> = listed.lines().collect();
    let extra = PACKET_SOCKETS.iter().chain(JOINS).map(|&(name, _)| name);
    let mut known: Vec<_> = TABLE.iter().map(|&(name, ..)| name).chain(extra).collect();
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}
