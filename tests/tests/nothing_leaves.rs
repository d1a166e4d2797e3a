//! Promise: nothing leaves. The corpus itself is tried in `escape.rs`.

use airgap_tests::Outside;
use airgap_tests::airgap::seal;
use airgap_tests::bench::Bench;
use airgap_tests::techniques::packet_sockets;

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
    for way in packet_sockets() {
        bench.sealed(way);
    }
    bench.judge();
}
