//! Units that are no plain services: instances of a template, and scopes.

use crate::unit::{CONFINED, PATIENCE, airgap, arrived, is_sealed, said, show, status, write_unit};
use airgap_tests::drill::check::Checks;
use airgap_tests::drill::place::{OUTSIDE4, OUTSIDE6};
use airgap_tests::{cmd, wait};
use std::fs;
use std::process::{Child, Command};

/// Where each sends to, again and again.
const INSTANCE: u16 = 24_001;
const SCOPE: u16 = 24_002;

fn knock(port: u16) -> String {
    format!("/opt/airgap-probe knock udp4 --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {port}")
}

fn is_heard(checks: &Checks, port: u16, what: &str) {
    let heard = wait::within(PATIENCE, || (arrived(port) > 0).then_some(()));
    checks.that(heard.is_some(), &format!("control: {what} is heard"), "");
}

/// Whether it goes on trying, and none of it arrives.
fn is_shut(checks: &Checks, unit: &str, port: u16, what: &str) {
    let name = format!("unit:{unit}");
    let total = || status(&name)["denials"]["total"].as_u64();
    let before = arrived(port);
    let first = total().unwrap_or(0);
    let more = wait::within(PATIENCE, || total().filter(|now| *now > first + 5));
    let count = arrived(port) - before;
    checks.that(
        more.is_some() && count == 0,
        &format!("{what}: tries, and is not heard"),
        &format!("{count} packets, {} denials", more.unwrap_or(0)),
    );
}

pub(crate) fn run(checks: &Checks) {
    instance(checks);
    scope(checks);
}

fn instance(checks: &Checks) {
    let text = format!(
        "[Service]\nExecStart={}\nStandardOutput=null\n{CONFINED}",
        knock(INSTANCE)
    );
    write_unit("many@.service", &text);
    cmd::ok("systemctl daemon-reload");
    cmd::ok("systemctl start many@one");
    is_heard(checks, INSTANCE, "an instance of a template");
    let sealed = airgap("attach -d --accept user-namespaces --unit many@one");
    checks.that(
        is_sealed(&sealed),
        "an instance of a template",
        &said(&sealed),
    );
    let path = show("many@one", "ControlGroup");
    checks.that(
        path.contains("system-many.slice/many@one.service"),
        "it is in a slice of its template's",
        &path,
    );
    is_shut(checks, "many@one", INSTANCE, "an instance");
    // The slice of the template goes with its last instance, and comes again.
    cmd::ok("systemctl stop many@one");
    let gone = wait::within(PATIENCE, || {
        let slice = "/sys/fs/cgroup/system.slice/system-many.slice/many@one.service";
        (!fs::exists(slice).unwrap_or(true)).then_some(())
    });
    let before = arrived(INSTANCE);
    cmd::ok("systemctl start many@one");
    is_shut(checks, "many@one", INSTANCE, "an instance, started anew");
    checks.that(
        gone.is_some() && arrived(INSTANCE) == before,
        "an instance is born sealed",
        &format!("{} packets", arrived(INSTANCE) - before),
    );
    airgap("detach unit:many@one");
    cmd::ok("systemctl stop many@one");
}

/// A scope that others have started, of a user that nobody else is.
fn scope(checks: &Checks) {
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--scope", "--unit", "apart.scope", "setpriv"]);
    run.args([
        "--reuid=64123",
        "--regid=64123",
        "--clear-groups",
        "--no-new-privs",
    ]);
    run.args(["--bounding-set=-all", "--inh-caps=-all", "sh", "-c"]);
    run.arg(format!("exec {} > /dev/null", knock(SCOPE)));
    let _scope = Ended(run.spawn().expect("systemd-run"));
    is_heard(checks, SCOPE, "a scope");
    let plain = airgap("attach -d --unit apart.scope");
    // No unit file confines it: what is left is accepted by name.
    let risks = [
        "user-namespaces",
        "device",
        "unix-sockets",
        "network-fs",
        "seccomp",
    ];
    let accept: Vec<_> = risks
        .iter()
        .map(|risk| format!("--accept {risk}"))
        .collect();
    let sealed = airgap(&format!(
        "attach -d {} --unit apart.scope",
        accept.join(" ")
    ));
    checks.that(
        plain.code == 1 && is_sealed(&sealed),
        "a scope, with what is left accepted",
        &format!("{}; {}", said(&plain), said(&sealed)),
    );
    is_shut(checks, "apart.scope", SCOPE, "a scope");
    airgap("detach unit:apart.scope");
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
