//! Promise: a neighbour on the bridge that has CAP_NET_RAW makes no far client a peer of a UDP
//! service port, and none of itself.

use airgap::technique::packet::{frame, send};
use airgap::technique::raw::{ipv4, udp};
use airgap::technique::sys::Socket;
use airgap_tests::airgap::seal;
use airgap_tests::reach::Reach;
use airgap_tests::udp::{PORT, World, refused};
use airgap_tests::{Container, SERVICE_PORT};
use std::net::SocketAddr;

const IPV4: u16 = 0x0800;

fn mac_of(container: &Container) -> [u8; 6] {
    container.mac().try_into().expect("six bytes")
}

/// A datagram to the service in the name of `from`, by a frame to the container's own address.
#[track_caller]
fn forge(neighbour: &Container, web: &Container, from: SocketAddr, text: &str) {
    let SocketAddr::V4(of) = from else {
        panic!("{from} is none of IPv4");
    };
    let datagram = udp(of.port(), PORT, text.as_bytes());
    let packet = ipv4(*of.ip(), web.ip4(), libc::IPPROTO_UDP, &datagram);
    let bytes = frame(mac_of(web), mac_of(neighbour), IPV4, &packet);
    let sent = neighbour.netns().run(|| {
        let socket = Socket::new(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        send(&socket, c"eth0", mac_of(web), &bytes)
    });
    assert!(sent.is_ok(), "the neighbour cannot send");
}

#[test]
fn a_neighbour_asks_in_nobody_s_name() {
    let world = World::new();
    let web = world.outside.container("web").run();
    let options = ["--cap-drop", "ALL", "--cap-add", "NET_RAW"];
    let neighbour = world.outside.container("neighbour").options(&options).run();
    let mut reach = Reach::new(&web);
    reach.does(&format!("serve sip 4 {PORT}"));
    let asks = world.client("4");
    forge(&neighbour, &web, asks.at, "control");
    let heard = reach.does("hear sip");
    assert_eq!(
        heard["from"],
        asks.at.to_string(),
        "the control: unsealed, it is heard"
    );

    world.seal(&web, &["-p", "5060/udp"]);
    let before = refused(&web, "inbound");
    let own = SocketAddr::new(neighbour.ip4().into(), 4000);
    for from in [asks.at, own] {
        forge(&neighbour, &web, from, "forged");
        assert_eq!(reach.say("hear sip"), Err(libc::EAGAIN), "{from}");
    }
    // Others on the bridge look for routers and groups as they come up, and are counted, too.
    let counted = refused(&web, "inbound") - before;
    assert!(counted >= 2, "{counted} of 2 forged questions are counted");
    reach.is_refused(&format!("to sip {} answer", asks.at));
    reach.is_refused(&format!("to sip {own} answer"));
    assert_eq!(asks.heard_nothing(), None);
    // Whoever is who they say is served: far away, and the neighbour, once it may ask.
    asks.say(&web, PORT, "real");
    assert_eq!(reach.does("hear sip")["text"], "real");
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    seal(&web.name, &["--from", &neighbour.ip4().to_string()]);
    forge(&neighbour, &web, own, "its own");
    assert_eq!(reach.does("hear sip")["text"], "its own");
    reach.does(&format!("to sip {own} answer"));
    let tcp = world.outside.get(web.ip4(), SERVICE_PORT, "/");
    assert!(tcp.is_err(), "TCP is not served at that port");
}
