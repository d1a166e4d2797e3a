//! Services that systemd listens for.

use crate::unit::{CONFINED, PATIENCE, airgap, arrived, is_sealed, said, write_unit};
use airgap_tests::drill::check::Checks;
use airgap_tests::drill::place::{HOST4, OUTSIDE4, OUTSIDE6};
use airgap_tests::drill::sink;
use airgap_tests::{cmd, http, netns::Netns, wait};
use std::net::SocketAddr;

const FED: u16 = 8098;
/// Where each instance sends to, before it answers.
const SENDS: u16 = 25_000;

fn get() -> anyhow::Result<Vec<u8>> {
    let address: SocketAddr = format!("{HOST4}:{FED}").parse().expect("an address");
    Netns::named(sink::NAME).run(|| http::get(address, "/"))
}

pub(crate) fn run(checks: &Checks) {
    refused(checks);
    in_one_slice(checks);
}

/// By itself the service is not sealable: the listener is of another cgroup.
fn refused(checks: &Checks) {
    write_unit("handed.socket", "[Socket]\nListenStream=8099\n");
    write_unit(
        "handed.service",
        &format!("[Service]\nType=exec\nExecStart=/bin/sleep 100000\n{CONFINED}"),
    );
    cmd::ok("systemctl daemon-reload");
    cmd::ok("systemctl start handed.socket");
    cmd::ok("systemctl start handed.service");
    let refused = airgap("attach -d --harden --unit handed");
    let way = refused
        .stderr
        .contains("airgap attach -p PORT --slice NAME");
    checks.that(
        refused.code == 1 && refused.stderr.contains("foreign-socket") && way,
        "socket activation is refused by name, with the way",
        &said(&refused),
    );
    cmd::ok("systemctl stop handed.socket handed.service");
}

/// Listener and service in one slice: what was accepted is judged with it.
fn in_one_slice(checks: &Checks) {
    write_unit(
        "fed.socket",
        &format!("[Socket]\nListenStream={FED}\nAccept=yes\nSlice=fed.slice\n"),
    );
    let send = format!("/opt/airgap-probe try udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {SENDS}");
    let script = format!(
        "#!/bin/sh\n{send} > /dev/null 2>&1\n\
         while read -r line && [ \"$line\" != \"$(printf '\\r')\" ]; do :; done\n\
         printf 'HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nhello\\n'\n"
    );
    crate::unit::write_script("/usr/local/bin/fed", &script);
    write_unit(
        "fed@.service",
        &format!(
            "[Service]\nExecStart=/usr/local/bin/fed\nStandardInput=socket\nSlice=fed.slice\n{CONFINED}"
        ),
    );
    cmd::ok("systemctl daemon-reload");
    cmd::ok("systemctl start fed.socket");
    let answer = get();
    let heard = wait::within(PATIENCE, || (arrived(SENDS) > 0).then_some(()));
    checks.that(
        answer.is_ok() && heard.is_some(),
        "control: systemd listens, its service answers and sends",
        &format!("{answer:?}"),
    );
    let sealed = airgap(&format!(
        "attach -d -p {FED} --from 198.51.100.32/28 --slice fed"
    ));
    checks.that(
        is_sealed(&sealed),
        "socket and service in one slice",
        &said(&sealed),
    );
    let before = arrived(SENDS);
    let answers = (0..20).filter(|_| get().is_ok()).count();
    let count = arrived(SENDS) - before;
    checks.that(
        answers == 20 && count == 0,
        "its clients are answered, and nothing leaves",
        &format!("{answers} of 20; {count} packets"),
    );
    // The control for that the accepted connection is under the seal: of nobody's port it is
    // not answered.
    let shut = airgap("attach -d -p 8097 --from 198.51.100.32/28 --slice fed");
    let answer = get();
    checks.that(
        is_sealed(&shut) && answer.is_err(),
        "of another port nothing is answered",
        &format!("{answer:?}"),
    );
    airgap("detach unit:fed.slice");
    let answer = get();
    checks.that(
        answer.is_ok(),
        "control: detached, it is answered again",
        &format!("{answer:?}"),
    );
    cmd::ok("systemctl stop fed.socket");
}
