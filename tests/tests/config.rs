//! Promise: what is a property of the host is said once, in a file that only root writes; what is
//! wrong in it changes nothing.

use airgap_tests::airgap::seal;
use airgap_tests::files::Files;
use airgap_tests::watch::Watch;
use airgap_tests::{Outside, airgap, airgap_ok, kernel_state, sweep, wait};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn status(id: &str) -> Option<Value> {
    serde_json::from_str(&airgap(&["status", "--json", id]).stdout).ok()
}

#[test]
fn a_file_says_what_no_command_line_says() {
    let (outside, files) = (Outside::new(), Files::new());
    let file = files.write("airgap.toml", "ports = [\"8080\", \"5060\"]\n");
    let web = outside.container("web").run();
    let named = outside.container("named").run();
    seal(&web.name, &["--config", &file]);
    seal(&named.name, &["--config", &file, "-p", "5060"]);
    let ports = |id| status(id).expect("a report")["ports"].clone();
    assert_eq!(ports(&web.id), json!(["5060/tcp", "8080/tcp"]));
    assert_eq!(ports(&named.id), json!(["5060/tcp"]));
    // Attached again without the file: a seal keeps what it has.
    seal(&web.name, &[]);
    assert_eq!(ports(&web.id), json!(["5060/tcp", "8080/tcp"]));
    let nobody = files.write("other.toml", "engine = \"unix:///nowhere/engine.sock\"\n");
    let out = airgap(&["--config", &nobody, "attach", "-d", &web.name]).expect_code(1);
    assert!(
        out.stderr.contains("/nowhere/engine.sock"),
        "{}",
        out.describe()
    );
    let host = "unix:///var/run/docker.sock";
    airgap_ok(&[
        "--config",
        &nobody,
        "--host",
        host,
        "attach",
        "--dry-run",
        &web.name,
    ]);
}

#[test]
fn what_is_in_effect_is_shown_with_its_source() {
    let _turn = sweep::take_turn();
    let files = Files::new();
    let text = "# a comment\nports = [\"80\"]\n[labels]\naccept = [\"log-driver\"]\n";
    let file = files.write("airgap.toml", text);
    let out = airgap_ok(&["--config", &file, "--host", "unix:///a", "config", "--json"]);
    let told: Value = serde_json::from_str(&out.stdout).expect("JSON");
    let row = |key: &str| {
        let rows = told["settings"].as_array().expect("a list");
        let row = rows.iter().find(|row| row["key"] == key);
        row.unwrap_or_else(|| panic!("no {key}: {told}")).clone()
    };
    let line = |line: usize| format!("{file}, line {line}");
    assert_eq!(
        row("engine"),
        json!({"key": "engine", "value": "unix:///a", "from": "--host"})
    );
    assert_eq!(row("ports")["from"], line(2));
    assert_eq!(row("labels.accept")["value"], "log-driver");
    assert_eq!(row("labels.accept")["from"], line(4));
    assert_eq!(row("labels.to")["value"], "anything");
    let text = airgap_ok(&["--config", &file, "config"]).stdout;
    assert!(
        text.contains(&format!(
            "80/tcp                                {}",
            line(2)
        )),
        "{text}"
    );
}

/// An exception that this host grants no label is left out of the seal, and named.
#[test]
fn labels_lead_no_further_than_the_host_lets_them() {
    let (outside, files) = (Outside::new(), Files::new());
    let target = outside.plan.outside4;
    let text = format!("ports = [\"7000\"]\n[labels]\nto = [\"{target}:20001\"]\n");
    let file = files.write("airgap.toml", &text);
    let _watch = Watch::start(&["--config", &file]);
    let asked = format!("airgap.to={target}:20001,{target}:20002");
    let options = ["--label", "airgap.seal=true", "--label", &asked];
    let web = outside.container("web").options(&options).run();
    let report = wait::until("it is sealed by its label", wait::SOON, || {
        status(&web.id)
            .filter(|report| report["state"] != "not-sealed" && !report["exits"].is_null())
    });
    assert_eq!(report["ports"], json!(["7000/tcp"]));
    let exits: Vec<_> = report["exits"].as_array().expect("a list").iter().collect();
    assert_eq!(exits.len(), 1, "{report:#}");
    assert_eq!(exits[0]["to"], format!("{target}:20001/tcp"));
    let out = airgap(&["--config", &file, "status", &web.id]);
    let left_out = format!("airgap.to={target}:20002/tcp: this host lets no label have it");
    assert!(out.stdout.contains(&left_out), "{}", out.describe());
}

#[test]
fn a_wrong_file_changes_nothing() {
    let (outside, files) = (Outside::new(), Files::new());
    let web = outside.container("web").run();
    let before = kernel_state();
    let wrong = [
        ("port = [\"80\"]\n", "line 1: unknown field `port`"),
        (
            "\n[labels]\naccept = [\"existing-connections\"]\n",
            "line 3: no label",
        ),
        ("ports = [\"80\"\n", "line "),
    ];
    for (text, why) in wrong {
        let file = files.write("airgap.toml", text);
        for command in [&["attach", "-d", &web.name][..], &["list"], &["config"]] {
            let mut args = vec!["--config", &file];
            args.extend(command);
            let out = airgap(&args).expect_code(2);
            assert!(
                out.stderr.contains(&format!("{file}: {why}")),
                "{}",
                out.describe()
            );
        }
        let out = airgap(&["--config", &file, "doctor"]).expect_code(1);
        let row = out
            .stdout
            .lines()
            .find(|line| line.contains("configuration"));
        assert!(row.is_some_and(|row| row.starts_with("failed") && row.contains(why)));
    }
    // Others could widen seals by it.
    let file = files.write("airgap.toml", "ports = [\"80\"]\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("chmod");
    let out = airgap(&["--config", &file, "attach", "-d", &web.name]).expect_code(1);
    assert!(
        out.stderr.contains("others than root may write it"),
        "{}",
        out.describe()
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    airgap_ok(&[
        "--config",
        &file,
        "attach",
        "--dry-run",
        "-p",
        "5060",
        &web.name,
    ]);
    let gone = files.path("none.toml");
    let out = airgap(&["--config", &gone, "list"]).expect_code(1);
    assert!(out.stderr.contains("none.toml"), "{}", out.describe());
    assert_eq!(kernel_state(), before);
}
