//! Promise: `--hosts` shows what each host says of itself, and takes none for sealed that was not
//! asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use airgap_tests::airgap::{STATE, airgap, binary, seal};
use airgap_tests::files::Files;
use airgap_tests::schema::violations;
use airgap_tests::{Outside, cmd};
use serde_json::Value;

/// What stands for ssh: `here` is this machine, `bare` one without airgap, and everything else
/// cannot be reached. As ssh does, it hands one line to a login shell.
struct Network {
    files: Files,
    ssh: String,
}

impl Network {
    fn new() -> Self {
        let files = Files::new();
        let airgap = binary();
        let dir = airgap.parent().expect("a directory").display();
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {log}\ncase $1 in\n\
             here) PATH={dir}:$PATH AIRGAP_STATE={STATE} exec sh -c \"$2\" ;;\n\
             bare) PATH=/bin exec sh -c \"$2\" ;;\n\
             *) echo \"ssh: connect to host $1 port 22: No route to host\" >&2; exit 255 ;;\nesac\n",
            log = files.path("asked")
        );
        let ssh = files.write("ssh", &script);
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self { files, ssh }
    }

    fn ask(&self, args: &[&str]) -> cmd::Output {
        airgap(&[args, &["--ssh", &self.ssh]].concat())
    }
}

/// What one host says, which is no answer of several.
fn own_shape() -> Value {
    serde_json::json!({ "schema": 1, "state": "sealed" })
}

#[test]
fn each_host_answers_for_itself() {
    let outside = Outside::new();
    let web = outside.container("web").run();
    seal(&web.name, &[]);
    let network = Network::new();
    let here = airgap(&["list"]);
    let out = network
        .ask(&["list", "--hosts", "here"])
        .expect_code(here.code);
    let indented: Vec<_> = here
        .stdout
        .lines()
        .map(|line| format!("  {line}"))
        .collect();
    assert_eq!(out.stdout, format!("here\n{}\n", indented.join("\n")));
    // One that cannot be asked is none that is sealed.
    let out = network
        .ask(&["list", "--hosts", "here,far,bare"])
        .expect_code(3);
    assert!(
        out.stdout
            .contains("far\n  UNKNOWN  it was not asked: ssh: connect to host far")
            && out.stdout.contains("bare\n  UNKNOWN  it was not asked: "),
        "{}",
        out.describe()
    );
    let status = airgap(&["status", "--json", &web.name]);
    let out = network.ask(&["status", "--json", "--hosts", "here,far", &web.name]);
    let out = out.expect_code(3);
    let all: Value = serde_json::from_str(&out.stdout).expect("JSON");
    let schema: Value =
        serde_json::from_str(&airgap(&["schema", "hosts"]).stdout).expect("a schema");
    assert_eq!(violations(&schema, &all), Vec::<String>::new(), "{all:#}");
    assert_ne!(violations(&schema, &own_shape()), Vec::<String>::new());
    assert_eq!(all["hosts"][0]["code"], status.code);
    let own: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(all["hosts"][0]["output"]["seal"], own["seal"]);
    assert_eq!(all["hosts"][0]["output"]["state"], own["state"]);
    assert_eq!(all["hosts"][1].get("code"), None);
    let out = network.ask(&["status", "--hosts", "here", "nobody"]);
    assert!(
        out.code != 0 && out.stdout.starts_with("here\n  exit ") && !out.stdout.contains("SEALED"),
        "{}",
        out.describe()
    );
    let out = network.ask(&["report", "--hosts", "here", "--since", "1h", &web.name]);
    assert!(
        out.stdout.starts_with("here\n") && out.stdout.contains(&web.name),
        "{}",
        out.describe()
    );
}

#[test]
fn what_is_no_host_is_refused_and_nobody_is_asked() {
    let network = Network::new();
    for (args, word) in [
        (
            &["list", "--hosts", "here,-oProxyCommand=x"][..],
            "is no host",
        ),
        (&["list", "--hosts", "here,"], "is no host"),
        (
            &["report", "--html", "f", "--hosts", "here", "web"],
            "--hosts",
        ),
        (
            &["report", "--verify", "f", "--hosts", "here", "web"],
            "--hosts",
        ),
    ] {
        let out = network.ask(args).expect_code(2);
        assert!(out.stderr.contains(word), "{}", out.describe());
    }
    assert!(fs::metadata(network.files.path("asked")).is_err());
    let out = airgap(&["list", "--hosts", "here", "--ssh", "/none/ssh"]).expect_code(3);
    assert!(out.stdout.contains("cannot be run"), "{}", out.describe());
    let out = airgap(&["list", "--hosts", "here", "--ssh", " "]).expect_code(2);
    assert!(out.stderr.contains("--ssh"), "{}", out.describe());
}
