//! Promise: what has the host's network answers a TCP connection by no other link of the host than
//! the host's routes say, where a neighbour may have taken the client's address.

use super::sender::{MOMENT, Neighbour, bridge_mac, mac_of};
use airgap_tests::airgap::command;
use airgap_tests::{Frame, Outside, wait};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

const PORT: u16 = 18_054;
/// Greets one client, waits for a word of his, and tells him a secret by another link.
const SERVE: &str = "import socket,struct,sys
l=socket.socket(); l.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
l.bind(('',18054)); l.listen(); c,_=l.accept()
c.sendall(b'greeting'); c.recv(1)
c.setsockopt(socket.SOL_SOCKET,socket.SO_BINDTODEVICE,sys.argv[1].encode())
c.setsockopt(socket.SOL_SOCKET,socket.SO_DONTROUTE,1)
c.sendall(sys.argv[2].encode()); sys.stdin.read()
c.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0))";

/// A service, ended on drop.
struct Service(Option<Child>);

impl Service {
    fn start(command: &mut Command, bridge: &str, secret: &str) -> Self {
        command.args(["python3", "-c", SERVE, bridge, secret]);
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(Some(pipes.spawn().expect("it starts")))
    }

    /// Ends it; what it, or airgap, said.
    fn end(mut self) -> String {
        let mut child = self.0.take().expect("not ended yet");
        drop(child.stdin.take());
        let out = child.wait_with_output().expect("wait");
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            drop(child.wait());
        }
    }
}

/// Whether the secret reaches a neighbour that says by ARP that it has the client's address.
fn is_told(outside: &Outside, neighbour: &Neighbour<'_>, secret: &str) -> bool {
    let at = SocketAddr::new(outside.plan.host4.into(), PORT);
    let connect = || TcpStream::connect_timeout(&at, MOMENT).ok();
    let client = wait::until("it listens", wait::SOON, || outside.netns.run(connect));
    client
        .set_read_timeout(Some(wait::SOON))
        .expect("setsockopt");
    let mut greeting = [0; 8];
    (&client).read_exact(&mut greeting).expect("it is served");
    (&client).write_all(b"x").expect("send");
    let host = (bridge_mac(outside), outside.plan.gateway4);
    let own = mac_of(&neighbour.container);
    let told = |f: &Frame| f.contains(secret) && f.bytes.starts_with(&own);
    (0..20).any(|_| {
        neighbour.claim_to(host, outside.plan.outside4, own);
        neighbour.tap.watch(MOMENT, told).is_some()
    })
}

#[test]
fn a_connection_is_answered_by_no_other_link() {
    let outside = Outside::new();
    let neighbour = Neighbour::of(&outside);
    let bridge = &outside.plan.bridge;
    let service = Service::start(Command::new("env").arg("--"), bridge, "open-secret");
    assert!(is_told(&outside, &neighbour, "open-secret"), "the control");
    drop(service);

    let from = outside.plan.outside4.to_string();
    let mut exec = command();
    exec.args([
        "exec", "--user", "nobody", "-p", "18054", "--from", &from, "--",
    ]);
    let service = Service::start(exec.current_dir("/"), bridge, "sealed-secret");
    assert!(!is_told(&outside, &neighbour, "sealed-secret"), "sealed");
    let said = service.end();
    assert!(said.contains("next-hop"), "{said}");
}
