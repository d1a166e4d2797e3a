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
use std::process::Command;

/// The machine's own programs, copied: a folder of the host's would be a way out, and said so.
const IMAGE: &str = "servers";
const FOLDER: &str = "/run/servers";
/// Where the image is laid out.
const ROOT: &str = "/var/tmp/servers";
/// What programs load by name, as it is.
const LOADED: &str = "/usr/lib/python3 /usr/lib/python3.[0-9]* /usr/share/nodejs /usr/share/nginx \
                      /usr/lib/nginx";
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
        "run -d --name web -p {PUBLISHED}:5060 --tmpfs /tmp {IMAGE} {line}"
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

/// An image with these servers, what they load, and their configuration.
fn prepare(engine: &Engine) -> Result<(), String> {
    let line = format!("inspect --type image {IMAGE}");
    if engine.attempt(&line).code == 0 {
        return Ok(());
    }
    let write =
        |path: String, text: &str| fs::write(&path, text).map_err(|e| format!("{path}: {e}"));
    shell(&format!("rm -rf {ROOT}"))?;
    for dir in [
        "usr/lib",
        "usr/lib64",
        "usr/bin",
        "usr/sbin",
        "etc",
        "tmp",
        "var/log",
    ] {
        fs::create_dir_all(format!("{ROOT}/{dir}")).map_err(|e| format!("{dir}: {e}"))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), format!("{ROOT}/{link}"))
            .map_err(|e| format!("{link}: {e}"))?;
    }
    let folder = format!("{ROOT}{FOLDER}");
    fs::create_dir_all(&folder).map_err(|e| format!("{folder}: {e}"))?;
    for (name, text) in FILES {
        write(format!("{folder}/{name}"), text)?;
    }
    for (name, text) in [
        ("passwd", "root:x:0:0:root:/:/bin/sh\n"),
        ("group", "root:x:0:\n"),
    ] {
        write(format!("{ROOT}/etc/{name}"), text)?;
    }
    let programs = [&NGINX, &GUNICORN, &HAPROXY, &NODE].map(|server| server.program);
    let programs = programs.join(" ");
    // Those that are not installed are no rows; libraries are called by their links' names.
    shell(&format!(
        "cd /; for f in {programs} /usr/bin/python3; do cp -L --parents $f {ROOT}; done; \
         cp -a --parents {LOADED} {ROOT}; \
         ldd {programs} /usr/bin/python3 /usr/lib/python3*/lib-dynload/*.so \
           | grep -o '/[^ :]*[.]so[^ :]*' | sort -u | while read -r f; do \
         case $f in /usr/*) t=$f;; *) t=/usr$f;; esac; \
         [ -e {ROOT}$t ] || install -D $f {ROOT}$t; done; true"
    ))?;
    let tar = format!("{ROOT}.tar");
    shell(&format!("tar --directory {ROOT} --create --file {tar} ."))?;
    engine.run(&format!("import {tar} {IMAGE}"))?;
    shell(&format!("rm -rf {ROOT} {tar}"))
}

fn shell(script: &str) -> Result<(), String> {
    let out = cmd::run_command(Command::new("sh").args(["-c", script]));
    match out.code {
        0 => Ok(()),
        _ => Err(out.describe()),
    }
}
