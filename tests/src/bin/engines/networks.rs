//! Containers on networks of every kind.

use crate::app::App;
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::http;
use std::net::UdpSocket;
use std::time::Duration;

/// Removed on drop.
struct Network<'a> {
    engine: &'a Engine,
    name: &'static str,
}

impl<'a> Network<'a> {
    fn new(engine: &'a Engine, name: &'static str, options: &str) -> Result<Self, String> {
        engine.run(&format!("network create {options} {name}"))?;
        Ok(Self { engine, name })
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        self.engine.attempt(&format!("network rm {}", self.name));
    }
}

pub(crate) fn connect(engine: &Engine) -> Scenario {
    let _first = Network::new(engine, "first", "")?;
    let _second = Network::new(engine, "second", "")?;
    let app = App::new(engine, "run -d", "web", "--network first")?;
    app.is_heard()?;
    app.attach("")?;
    engine.run("network connect second web")?;
    app.is_held()?;
    engine.run("network disconnect first web")?;
    // The other interface is the way now.
    let state = app.is_held()?;
    let out = engine.airgap("detach web");
    must(out.code == 0, out.describe())?;
    app.is_heard()?;
    Ok(Seen::Ok(state))
}

pub(crate) fn none(engine: &Engine) -> Scenario {
    // What an unsealed one gets there.
    let twin = App::new(engine, "run -d", "twin", "--network none")?;
    let app = App::new(engine, "create", "web", "--network none")?;
    app.attach("")?;
    app.does("start")?;
    let state = app.was_held(1, 0)?;
    // The control: it has a stack, and an unsealed one may talk to itself as root.
    let of = |app: &App<'_>| {
        let line = format!(
            "exec {} /airgap-probe try raw4-icmp --v4 127.0.0.1 --v6 ::1 --port {} --marker x",
            app.name, app.port
        );
        engine.attempt(&line).stdout
    };
    let (open, shut) = (of(&twin), of(&app));
    must(
        shut.contains("\"refused\""),
        format!("sealed: {shut} unsealed: {open}"),
    )?;
    Ok(Seen::Ok(state))
}

/// There is no way to the outside, but one to the host's end of the bridge.
pub(crate) fn internal(engine: &Engine) -> Scenario {
    let _network = Network::new(
        engine,
        "inside",
        "--internal --subnet 198.51.100.64/28 --gateway 198.51.100.65",
    )?;
    let app = App::planned(engine, "web");
    let words = app
        .words("--name web --network inside")
        .replace("--v4 198.51.100.34", "--v4 198.51.100.65");
    engine.run(&format!("run -d {words}"))?;
    let host = UdpSocket::bind(("198.51.100.65", app.port)).map_err(|e| e.to_string())?;
    host.set_read_timeout(Some(Duration::from_secs(60)))
        .map_err(|e| e.to_string())?;
    let mut buffer = [0; 256];
    host.recv(&mut buffer)
        .map_err(|e| format!("the control: nothing came to the gateway: {e}"))?;
    app.attach("")?;
    host.set_nonblocking(true).map_err(|e| e.to_string())?;
    while host.recv(&mut buffer).is_ok() {}
    let state = app.is_held()?;
    must(
        host.recv(&mut buffer).is_err(),
        "a datagram came to the gateway under the seal",
    )?;
    Ok(Seen::Ok(state))
}

pub(crate) fn ipv6(engine: &Engine) -> Scenario {
    let _network = Network::new(
        engine,
        "six",
        "--ipv6 --subnet 198.51.100.64/28 --subnet 2001:db8:0:c::/64",
    )?;
    let app = App::new(
        engine,
        "run -d",
        "web",
        "--network six --ip6 2001:db8:0:c::10 --publish 6005:5060",
    )?;
    app.is_heard()?;
    let by6 = || {
        let at = "[2001:db8:0:c::10]:5060".parse().expect("an address");
        http::get(at, "/alive").map_err(|e| format!("by IPv6: {e:#}"))
    };
    by6()?;
    app.attach("")?;
    let state = app.is_held()?;
    by6()?;
    app.answers_at(6005)?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.was_held(2, before)?;
    Ok(Seen::Ok(state))
}

pub(crate) fn macvlan(engine: &Engine) -> Scenario {
    on_link(engine, "macvlan")
}

pub(crate) fn ipvlan(engine: &Engine) -> Scenario {
    on_link(engine, "ipvlan")
}

/// On the very link to the outside.
fn on_link(engine: &Engine, driver: &str) -> Scenario {
    let made = Network::new(
        engine,
        "link",
        &format!(
            "--driver {driver} --subnet 198.51.100.32/28 --gateway 198.51.100.46 -o parent=sink0"
        ),
    );
    let _network = match made {
        // Podman 4.3 with netavark 1.4.
        Err(why) if why.contains("unsupported driver") => {
            return Ok(Seen::Absent("not run: this engine has no such network"));
        }
        made => made?,
    };
    let app = App::new(engine, "run -d", "web", "--network link --ip 198.51.100.40")?;
    app.is_heard()?;
    app.attach("")?;
    app.sends_nothing()?;
    let before = app.outside();
    app.does("restart -t 0")?;
    app.life(2)?;
    app.sends_nothing()?;
    let sent = app.outside() - before;
    must(sent == 0, format!("{sent} packets outside after a restart"))?;
    // No end of it is the host's to guard: what only that would stop is named.
    let (state, open, _) = app.told();
    must(
        matches!(state.as_str(), "sealed" | "limited" | "opened"),
        &*state,
    )?;
    Ok(Seen::Ok(match open.as_str() {
        "" => state,
        open => format!("{state}, as status says: {open}"),
    }))
}
