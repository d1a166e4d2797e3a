//! Promise: no unprotected instant for a Compose service, its recreation from another image
//! included, when labels ask for the seal; and without labels the new container is told from the
//! sealed one that had its name.

use airgap_tests::airgap::STATE;
use airgap_tests::beacon::{self, assert_refused, assert_sent, await_boot};
use airgap_tests::watch::Watch;
use airgap_tests::{LABEL, Outside, PREFIX, SERVICE_PORT, airgap, airgap_ok, cmd, image, wait};
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A project with one service, `web`; taken down on drop.
struct Project<'a> {
    outside: &'a Outside,
    dir: PathBuf,
    labels: Value,
    /// Another image, with another id.
    other: String,
}

impl<'a> Project<'a> {
    #[track_caller]
    fn new(outside: &'a Outside, labels: Value) -> Self {
        let suffix = &outside.plan.suffix;
        let dir = std::env::temp_dir().join(format!("{PREFIX}compose-{suffix}"));
        fs::create_dir_all(&dir).expect("mkdir");
        let other = format!("airgap-test-other:{suffix}");
        let base = outside.container("base").create();
        let commit = ["commit", "--change", "ENV SECOND=1", &base.id, &other];
        cmd::run("docker", &commit).expect_code(0);
        Self {
            outside,
            dir,
            labels,
            other,
        }
    }

    fn name(&self) -> String {
        format!("{PREFIX}{}", self.outside.plan.suffix)
    }

    fn compose(&self, args: &str) -> cmd::Output {
        let file = self.dir.join("docker-compose.yml").display().to_string();
        let line = format!("--project-name {} --file {file} {args}", self.name());
        cmd::run("docker-compose", &line.split(' ').collect::<Vec<_>>())
    }

    /// `docker-compose up -d`; the service's container id.
    #[track_caller]
    fn up(&self, image: &str) -> String {
        let mut command = beacon::command(self.outside);
        command.remove(0);
        let mut labels = self.labels.clone();
        labels[LABEL] = json!(self.outside.plan.suffix);
        // JSON is YAML.
        let file = json!({
            "version": "2.4",
            "services": { "web": {
                "image": image,
                "command": command,
                "labels": labels,
                "cap_drop": ["NET_RAW"],
                "dns": self.outside.plan.outside4,
                "stop_grace_period": "0s",
            }},
            "networks": { "default": { "external": { "name": self.outside.plan.name } } },
        });
        fs::write(self.dir.join("docker-compose.yml"), file.to_string()).expect("compose file");
        self.compose("up -d").expect_code(0);
        let id = self.compose("ps -q web").expect_code(0).stdout;
        id.trim().to_owned()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let out = self.compose("down --timeout 0");
        if out.code != 0 {
            eprintln!("cannot clean up\n{}", out.describe());
        }
        cmd::attempt(&format!("docker rmi {}", self.other));
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn log(id: &str) -> String {
    cmd::attempt(&format!("docker logs {id}")).stdout
}

fn inspect(id: &str, format: &str) -> String {
    let out = cmd::run("docker", &["inspect", "-f", format, id]).expect_code(0);
    out.stdout.trim().to_owned()
}

fn address(id: &str) -> Ipv4Addr {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    inspect(id, format).parse().expect("an address")
}

/// What `airgap list` shows, and its exit status.
fn list() -> (Vec<Value>, i32) {
    let out = airgap(&["list", "--json"]);
    let json: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
    let rows = json["containers"].as_array().cloned().unwrap_or_default();
    (rows, out.code)
}

#[test]
fn labels_seal_each_container_of_a_service() {
    let outside = Outside::new();
    let labels = json!({ "airgap.seal": "true", "airgap.ports": "5060/tcp" });
    // Dropped after the project, whose seals it takes away.
    let _watch = Watch::start(&["--quarantine"]);
    let project = Project::new(&outside, labels);
    let mut made = Vec::new();
    for image in [image::ensure(), &project.other] {
        outside.clear();
        let id = project.up(image);
        assert_refused(&await_boot(1, || log(&id)));
        // The container before it takes its seal along.
        wait::until("exactly the new one is sealed", wait::SOON, || {
            let (rows, code) = list();
            let [row] = rows.as_slice() else { return None };
            let sealed =
                row["container"]["id"] == id.as_str() && row["ports"] == json!(["5060/tcp"]);
            (sealed && matches!(code, 0 | 4)).then_some(())
        });
        let arrivals = outside.arrivals();
        assert!(arrivals.is_empty(), "{arrivals:?}");
        outside
            .get(address(&id), SERVICE_PORT, "/")
            .expect("the service answers");
        made.push((id.clone(), inspect(&id, "{{.Name}} {{.Image}}")));
    }
    let [(first, was), (second, is)] = made.as_slice() else {
        panic!("{made:?}");
    };
    assert_ne!(first, second, "it was recreated");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (was, is) = (words(was), words(is));
    assert_eq!(was[0], is[0], "under the same name");
    assert_ne!(was[1], is[1], "from another image");
}

/// Also the control of the test above: without labels each first instruction gets out.
#[test]
fn without_labels_the_new_container_is_shown_as_not_sealed() {
    let outside = Outside::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = outside.container("anchor").run();
    let project = Project::new(&outside, json!({}));
    let first = project.up(image::ensure());
    assert_sent(&await_boot(1, || log(&first)));
    let attach = airgap(&["attach", "-d", &first]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    cmd::ok(&format!("docker restart -t 0 {first}"));
    assert_refused(&await_boot(2, || log(&first)));
    outside.clear();
    let second = project.up(&project.other);
    assert_ne!(first, second, "it was recreated");
    assert_sent(&await_boot(1, || log(&second)));
    assert!(!outside.arrivals().is_empty(), "nothing was heard of it");

    let out = airgap(&["list"]).expect_code(3);
    let name = inspect(&second, "{{.Name}}");
    let name = name.trim_start_matches('/');
    assert!(
        out.stdout.contains("NOT SEALED") && out.stdout.contains(name),
        "{}",
        out.describe()
    );
    let (rows, _) = list();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["container"]["id"], first.as_str(), "{rows:?}");
    assert_eq!(rows[0]["container"]["name"], name, "{rows:?}");
    assert_eq!(rows[0]["not_sealed"], second.as_str(), "{rows:?}");
    airgap_ok(&["detach", &first]);
}

/// Compose 2 makes the new one as `ID_NAME` beside the old one, and renames it when that is gone.
#[test]
fn what_compose_renames_is_called_by_its_present_name() {
    let outside = Outside::new();
    let log = std::env::temp_dir().join(format!("{PREFIX}renamed-{}", outside.plan.suffix));
    let watch = Watch::logged(&[], &log);
    let mut labels = vec!["--label", "airgap.seal=true"];
    labels.extend(["--label", "com.docker.compose.project=shop"]);
    let web = outside.container("web").options(&labels).create();
    let name = web.name.clone();
    cmd::ok(&format!("docker rename {name} {name}-old"));
    let begun = format!("{}_{name}", &web.id[..12]);
    let run = ["create", "--name", &begun, "--network", "none"];
    let image = image::ensure();
    let own = format!("{LABEL}={}", outside.plan.suffix);
    let rest = ["--label", &own, image, "sleep", "60"];
    let made = cmd::run("docker", &[&run[..], &labels, &rest].concat()).expect_code(0);
    let id = made.stdout.trim().to_owned();
    let recorded = || -> Option<String> {
        let text = fs::read_to_string(format!("{STATE}/seals/{id}.json")).ok()?;
        let record: Value = serde_json::from_str(&text).ok()?;
        Some(record["name"].as_str()?.to_owned())
    };
    let is = |what: &str, name: &str| {
        wait::until(what, wait::SOON, || (recorded()? == name).then_some(()));
    };
    is("it is sealed by the name that it has", &begun);
    cmd::ok(&format!("docker rename {id} {name}"));
    cmd::ok(&format!("docker start {id}"));
    is("its present name is recorded", &name);
    let said = fs::read_to_string(&log).expect("the log");
    let line = format!("{name} ({}) is sealed by its label", &id[..12]);
    assert!(said.contains(&line) && !said.contains(&begun), "{said}");
    cmd::ok(&format!("docker rm -f {id}"));
    wait::until("its seal goes", wait::SOON, || {
        recorded().is_none().then_some(())
    });
    drop(watch);
    drop(fs::remove_file(&log));
}
