//! Servers that people run, as Debian packages them: a thousand requests with a reload in between
//! fail no more often under a seal than without.

use crate::app::App;
use crate::engine::Engine;
use crate::seen::{Scenario, Seen, must};
use airgap_tests::drill::place::HOST4;
use airgap_tests::drill::sink;
use airgap_tests::netns::Netns;
use airgap_tests::{cmd, http, wait};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Programs of the machine's own `/usr`, which containers see read-only.
const IMAGE: &str = "servers";
const FOLDER: &str = "/run/servers";
const REQUESTS: usize = 1000;
/// Enough to meet the reload.
const CONTROL: usize = 200;
const PUBLISHED: u16 = 6001;

/// One server: how it starts, and which signal has it read its configuration again.
struct Server {
    program: &'static str,
    line: &'static str,
    reload: &'static str,
}

const NGINX: Server = Server {
    program: "/usr/sbin/nginx",
    line: "/usr/sbin/nginx -e /dev/stderr -c /run/servers/nginx.conf",
    reload: "HUP",
};
const GUNICORN: Server = Server {
    program: "/usr/bin/gunicorn",
    line: "/usr/bin/gunicorn -w 2 -b 0.0.0.0:5060 --worker-tmp-dir /dev/shm --chdir /run/servers app:app",
    reload: "HUP",
};
const HAPROXY: Server = Server {
    program: "/usr/sbin/haproxy",
    line: "/usr/sbin/haproxy -W -f /run/servers/haproxy.cfg",
    reload: "USR2",
};
const NODE: Server = Server {
    program: "/usr/bin/node",
    line: "/usr/bin/node /run/servers/server.js",
    reload: "HUP",
};

const FILES: [(&str, &str); 4] = [
    (
        "nginx.conf",
        "daemon off;\nuser root;\npid /tmp/nginx.pid;\nworker_processes 2;\nevents {}\n\
         http {\n  access_log off;\n  client_body_temp_path /tmp/a;\n  proxy_temp_path /tmp/b;\n\
         \x20 fastcgi_temp_path /tmp/c;\n  uwsgi_temp_path /tmp/d;\n  scgi_temp_path /tmp/e;\n\
         \x20 server { listen 5060; location / { return 200 'alive'; } }\n}\n",
    ),
    (
        "app.py",
        "def app(environ, start_response):\n    \
         start_response('200 OK', [('Content-Length', '5')])\n    return [b'alive']\n",
    ),
    (
        "haproxy.cfg",
        "defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
         frontend all\n  bind :5060\n  \
         http-request return status 200 content-type text/plain string alive\n",
    ),
    // A worker is taken out once the next one listens.
    (
        "server.js",
        "const cluster = require('cluster'), http = require('http');\n\
         if (cluster.isMaster) {\n  let worker = cluster.fork();\n  \
         process.on('SIGHUP', () => {\n    const old = worker;\n    worker = cluster.fork();\n    \
         worker.on('listening', () => old.disconnect());\n  });\n} else {\n  \
         http.createServer((q, a) => a.end('alive')).listen(5060);\n}\n",
    ),
];

pub(crate) fn nginx(engine: &Engine) -> Scenario {
    serves(engine, &NGINX)
}

pub(crate) fn gunicorn(engine: &Engine) -> Scenario {
    serves(engine, &GUNICORN)
}

pub(crate) fn haproxy(engine: &Engine) -> Scenario {
    serves(engine, &HAPROXY)
}

pub(crate) fn node(engine: &Engine) -> Scenario {
    serves(engine, &NODE)
}

fn serves(engine: &Engine, server: &Server) -> Scenario {
    if !Path::new(server.program).exists() {
        return Ok(Seen::Absent("not installed"));
    }
    prepare(engine)?;
    let web = App::left(engine, "web", 0);
    let line = server.line;
    engine.run(&format!(
        "run -d --name web -p {PUBLISHED}:5060 -v /usr:/usr:ro -v {FOLDER}:{FOLDER}:ro \
         --tmpfs /tmp {IMAGE} {line}"
    ))?;
    let logs = || engine.attempt("logs web").describe();
    wait::within(crate::app::PATIENCE, || ask().ok())
        .ok_or_else(|| format!("the control: it does not answer\n{}", logs()))?;
    let open = ask_often(&web, CONTROL, server.reload)?;
    web.attach("")?;
    let sealed = ask_often(&web, REQUESTS, server.reload)?;
    must(
        sealed <= open,
        format!(
            "{sealed} of {REQUESTS} failed, {open} of {CONTROL} without\n{}",
            logs()
        ),
    )?;
    let state = web.state()?;
    Ok(Seen::Ok(format!(
        "{state}; {} of {REQUESTS} answered, with a reload",
        REQUESTS - sealed
    )))
}

/// Asks so often, with a reload after a third; how many were not answered.
fn ask_often(web: &App<'_>, requests: usize, reload: &str) -> Result<usize, String> {
    let mut failed = 0;
    for request in 0..requests {
        if request == requests / 3 {
            web.does(&format!("kill -s {reload}"))?;
        }
        failed += usize::from(ask().is_err());
    }
    Ok(failed)
}

fn ask() -> Result<(), String> {
    let at: SocketAddr = format!("{HOST4}:{PUBLISHED}").parse().expect("an address");
    let answer = Netns::named(sink::NAME).run(|| http::get(at, "/"));
    let answer = answer.map_err(|e| format!("{e:#}"))?;
    must(answer == b"alive", String::from_utf8_lossy(&answer))
}

/// An image with nothing in it but where the machine's `/usr` goes.
fn prepare(engine: &Engine) -> Result<(), String> {
    let write =
        |path: String, text: &str| fs::write(&path, text).map_err(|e| format!("{path}: {e}"));
    fs::create_dir_all(FOLDER).map_err(|e| format!("{FOLDER}: {e}"))?;
    for (name, text) in FILES {
        write(format!("{FOLDER}/{name}"), text)?;
    }
    if engine
        .attempt(&format!("inspect --type image {IMAGE}"))
        .code
        == 0
    {
        return Ok(());
    }
    let root = "/run/airgap-servers";
    cmd::attempt(&format!("rm -rf {root}"));
    for dir in ["usr", "etc", "tmp", "run/servers", "var/log"] {
        fs::create_dir_all(format!("{root}/{dir}")).map_err(|e| format!("{dir}: {e}"))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), format!("{root}/{link}"))
            .map_err(|e| format!("{link}: {e}"))?;
    }
    for (name, text) in [
        ("passwd", "root:x:0:0:root:/:/bin/sh\n"),
        ("group", "root:x:0:\n"),
    ] {
        write(format!("{root}/etc/{name}"), text)?;
    }
    // Names of libraries that are no usual ones, and what /usr leads to by links.
    for name in ["ld.so.cache", "alternatives"] {
        cmd::attempt(&format!("cp -a /etc/{name} {root}/etc/"));
    }
    let tar = "/run/airgap-servers.tar";
    cmd::ok(&format!("tar --directory {root} --create --file {tar} ."));
    engine.run(&format!("import {tar} {IMAGE}")).map(drop)
}
