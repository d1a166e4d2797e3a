//! Promise: real programs live with exceptions: PostgreSQL as the neighbour of a Compose service,
//! restarted meanwhile, and TLS to a host whose address changes.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use airgap_tests::airgap::{airgap, airgap_ok, seal};
use airgap_tests::cmd::{self, Output};
use airgap_tests::container::PROGRAMS;
use airgap_tests::files::Files;
use airgap_tests::upstream::{Says, Upstream};
use airgap_tests::watch::Watch;
use airgap_tests::{LABEL, Outside, PREFIX, image, wait};
use serde_json::{Value, json};

/// PostgreSQL's own programs, of whichever version the host has.
fn postgresql() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .find(|bin| bin.join("initdb").exists());
    found.expect("PostgreSQL: cargo xtask setup")
}

/// A Compose project with `web`, whose labels ask for a seal, and two databases; taken down on
/// drop.
struct Project<'a> {
    outside: &'a Outside,
    files: Files,
}

impl<'a> Project<'a> {
    #[track_caller]
    fn up(outside: &'a Outside, labels: Value) -> Self {
        let project = Self {
            outside,
            files: Files::new(),
        };
        let bin = postgresql().display().to_string();
        let serve = format!(
            "{bin}/initdb -D /data/db -A trust -U app --no-locale -E UTF8 --no-sync && \
             echo host all all all trust >> /data/db/pg_hba.conf && \
             exec {bin}/postgres -D /data/db -k /data -c listen_addresses='*'"
        );
        // Mounts that end in `--volume` words for docker are a list here.
        let mounts: Vec<_> = PROGRAMS
            .iter()
            .filter(|word| word.contains(":ro"))
            .collect();
        let service = |command: Value, labels: Value| {
            let mut labels = labels;
            labels[LABEL] = json!(outside.plan.suffix);
            json!({
                "image": image::ensure(),
                "command": command,
                "labels": labels,
                "volumes": mounts,
                "tmpfs": ["/data:mode=1777"],
                "user": "65534",
                "dns": outside.plan.outside4,
                "stop_grace_period": "0s",
            })
        };
        let database = || service(json!(["sh", "-c", serve]), json!({}));
        let file = json!({
            "version": "2.4",
            "services": {
                "db": database(),
                "other": database(),
                "web": service(json!(["sleep", "1000000"]), labels),
            },
            "networks": { "default": { "external": { "name": outside.plan.name } } },
        });
        // JSON is YAML.
        project.files.write("docker-compose.yml", &file.to_string());
        project.compose("up -d db other").expect_code(0);
        project
    }

    fn compose(&self, args: &str) -> Output {
        let file = self.files.path("docker-compose.yml");
        let name = format!("{PREFIX}{}", self.outside.plan.suffix);
        let line = format!("--project-name {name} --file {file} {args}");
        cmd::run("docker-compose", &line.split(' ').collect::<Vec<_>>())
    }

    fn id(&self, service: &str) -> String {
        let out = self.compose(&format!("ps -q {service}")).expect_code(0);
        out.stdout.trim().to_owned()
    }

    /// What `web` gets from a database.
    fn asks(&self, host: &str, sql: &str) -> Output {
        let psql = postgresql().join("psql").display().to_string();
        let web = self.id("web");
        let to = format!("host={host} user=app dbname=postgres connect_timeout=5");
        let words = ["exec", &web, &psql, "-tAX", "-d", &to, "-c", sql];
        cmd::run("docker", &words)
    }

    #[track_caller]
    fn answers(&self, host: &str, sql: &str, wanted: &str) {
        let mut last = String::new();
        let done = wait::within(wait::SOON, || {
            let out = self.asks(host, sql);
            last = out.describe();
            (out.code == 0 && out.stdout.trim() == wanted).then_some(())
        });
        assert!(done.is_some(), "{last}");
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let out = self.compose("down --timeout 0");
        if out.code != 0 {
            eprintln!("cannot clean up\n{}", out.describe());
        }
    }
}

#[test]
fn a_compose_service_keeps_its_database_and_nothing_else() {
    let outside = Outside::new();
    let labels = json!({ "airgap.seal": "true", "airgap.to": "container:db:5432" });
    let project = Project::up(&outside, labels);
    let alike = "select 6 * 7";
    // The control: open, both databases answer.
    project.compose("up -d web").expect_code(0);
    project.answers("db", alike, "42");
    project.answers("other", alike, "42");
    let watch = Watch::start(&[]);
    let web = project.id("web");
    let mut last = String::new();
    let sealed = wait::within(wait::SOON, || {
        let out = airgap(&["status", "--json", &web]);
        last = out.describe();
        let report: Value = serde_json::from_str(&out.stdout).ok()?;
        (report["exits"][0]["state"] == "in-force").then_some(())
    });
    assert!(sealed.is_some(), "{last}");
    project.answers("db", alike, "42");
    let out = project.asks("other", alike);
    assert_ne!(out.code, 0, "{}", out.describe());
    // Much of it, both ways.
    let much = "select sum(length(repeat('x', 100))) from generate_series(1, 100000)";
    project.answers("db", much, "10000000");
    project.answers(
        "db",
        "select repeat('y', 2000000) = repeat('y', 2000000)",
        "t",
    );
    let rows = project.asks(
        "db",
        "select repeat('z', 100) from generate_series(1, 50000)",
    );
    assert_eq!(rows.stdout.len(), 50_000 * 101, "{}", rows.code);
    let used = json_of(&airgap(&["status", "--json", &web]))["exits"][0].clone();
    assert!(used["connections"].as_u64() >= Some(4), "{used}");
    assert!(used["bytes_in"].as_u64() >= Some(5_000_000), "{used}");
    // Made anew, it is another container, perhaps at another address: the name leads there.
    project
        .compose("up -d --force-recreate --no-deps db")
        .expect_code(0);
    project.answers("db", alike, "42");
    let out = project.asks("other", alike);
    assert_ne!(out.code, 0, "{}", out.describe());
    drop(watch);
    airgap_ok(&["detach", &web]);
    project.answers("other", alike, "42");
}

#[track_caller]
fn json_of(out: &Output) -> Value {
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", out.describe()))
}

const NAME: &str = "api.example.com";
const HTTPS: u16 = 8443;

/// A TLS server for [`NAME`] at every address of a network namespace; ended on drop.
struct Tls {
    child: Child,
}

impl Tls {
    #[track_caller]
    fn serve(files: &Files, netns: &str) -> Self {
        let (key, certificate) = (files.path("key.pem"), files.path("ca.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", &format!("/CN={NAME}")])
            .args(["-addext", &format!("subjectAltName=DNS:{NAME}")])
            .args(["-keyout", &key, "-out", &certificate])
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{made:?}");
        let child = Command::new("ip")
            .args([
                "netns", "exec", netns, "openssl", "s_server", "-quiet", "-www",
            ])
            .args([
                "-key",
                &key,
                "-cert",
                &certificate,
                "-accept",
                &HTTPS.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl s_server");
        Self { child }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server is asked again after half a minute at the soonest, whenever somebody looks.
const ASKED_AGAIN: Duration = Duration::from_secs(75);

#[test]
fn tls_goes_on_while_the_name_moves() {
    let outside = Outside::new();
    let upstream = Upstream::beside(&outside.plan, 7443);
    let files = Files::new();
    let _server = Tls::serve(&files, &upstream.netns());
    let (one, two): (IpAddr, IpAddr) = (upstream.one.into(), upstream.two.into());
    upstream.says(NAME, Says::Addresses(vec![one], 0));
    let (server, mount) = (upstream.server.to_string(), files.path("ca.pem"));
    let mount = format!("{mount}:/tmp/ca.pem:ro");
    let web = outside
        .container("web")
        .options(&PROGRAMS)
        .options(&["--dns", &server, "--volume", &mount])
        .run();
    let fetch = |host: &str, more: &[&str]| {
        let url = format!("https://{host}:{HTTPS}/");
        let curl = [
            "/usr/bin/curl",
            "--silent",
            "--show-error",
            "--connect-timeout",
            "5",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{remote_ip}",
            "--cacert",
            "/tmp/ca.pem",
            &url,
        ];
        web.exec(&[&curl[..], more].concat())
    };
    let at = |address: IpAddr| format!("200 {address}");
    // The control: open, it gets there, and its questions get to the server.
    let direct = format!("{NAME}:{HTTPS}:{two}");
    wait::until("the server is there", wait::SOON, || {
        (fetch(NAME, &["--resolve", &direct]).stdout == at(two)).then_some(())
    });
    fetch(NAME, &[]);
    let own = IpAddr::from(web.ip4());
    let mine = || {
        upstream
            .asked()
            .iter()
            .filter(|a| a.from.ip() == own)
            .count()
    };
    let before = mine();
    assert!(before > 0, "it asked");
    let _keeper = Watch::keeping();
    seal(&web.name, &["--to", &format!("{NAME}:{HTTPS}")]);
    assert_eq!(fetch(NAME, &[]).stdout, at(one));
    // The other address has the same certificate, and is none of the name's.
    let out = fetch(NAME, &["--resolve", &direct]);
    assert_eq!(out.code, 7, "{}", out.describe());
    // Another name of the same host is no name here.
    assert_eq!(fetch("www.example.com", &[]).code, 6);
    upstream.says(NAME, Says::Addresses(vec![two], 0));
    wait::until("the program is led to the new address", ASKED_AGAIN, || {
        let out = fetch(NAME, &[]);
        // Whenever it asks, one of both answers, with the right certificate.
        assert!(
            out.stdout == at(one) || out.stdout == at(two),
            "{}",
            out.describe()
        );
        (out.stdout == at(two)).then_some(())
    });
    assert_eq!(mine(), before, "what it asked itself went nowhere");
    airgap_ok(&["detach", &web.name]);
}
