//! Promise: what a container tried can be kept: exact counts, as JSON and as a page.

use airgap_tests::airgap::seal;
use airgap_tests::files::Files;
use airgap_tests::{Container, Outside, airgap, airgap_ok};
use serde_json::Value;
use std::path::Path;

const PORT: u16 = 20_000;
/// A process name that would be markup on a careless page.
const NASTY: &str = "<img src='x\">";

fn report(container: &Container, options: &[&str]) -> Value {
    let mut args = vec!["report", "--json", &container.name];
    args.extend(options);
    let report = serde_json::from_str(&airgap_ok(&args).stdout).expect("JSON");
    // A contract: every report of these tests is as its schema says.
    let schema = airgap_ok(&["schema", "report"]).stdout;
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let violations = airgap_tests::schema::violations(&schema, &report);
    assert_eq!(violations, [""; 0], "{report:#}");
    report
}

/// The entry of `list` with these fields.
fn entry<'a>(list: &'a Value, fields: &[(&str, &str)]) -> &'a Value {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let entries = list.as_array().expect("a list");
    let found = entries.iter().find(|e| {
        fields
            .iter()
            .all(|(name, wanted)| text(&e[*name]) == *wanted)
    });
    found.unwrap_or_else(|| panic!("none with {fields:?}: {list:#}"))
}

fn sum(list: &Value) -> u64 {
    let entries = list.as_array().expect("a list");
    entries.iter().filter_map(|e| e["count"].as_u64()).sum()
}

/// Three connects under a name that is markup, and three DNS questions.
fn phone_home(outside: &Outside, container: &Container) {
    let nasty = format!("/tmp/{NASTY}");
    container
        .exec(&["cp", "/bin/airgap-probe", &nasty])
        .expect_code(0);
    let (v4, v6) = (
        outside.plan.outside4.to_string(),
        outside.plan.outside6.to_string(),
    );
    let port = PORT.to_string();
    let order = ["try", "tcp4", "--v4", &v4, "--v6", &v6, "--port", &port];
    for _ in 0..3 {
        let mut command = vec![nasty.as_str()];
        command.extend(order);
        container.exec(&command).expect_code(0);
    }
    container.attempt("dns-direct", PORT, "first");
}

#[test]
fn what_a_container_tried_is_reported_and_compared() {
    let (outside, files) = (Outside::new(), Files::new());
    let container = outside.container("audited").run();
    seal(&container.name, &["-p", "5060"]);
    phone_home(&outside, &container);
    let v4 = outside.plan.outside4.to_string();

    let first = report(&container, &[]);
    assert_eq!(first["schema"], 1);
    assert_eq!(first["container"]["id"], container.id.as_str());
    assert!(first["container"]["image"].is_string(), "{first:#}");
    assert_eq!(first["status"]["ports"][0], "5060/tcp");
    assert_eq!(first["verify"], Value::Null);
    let port = PORT.to_string();
    let fields = [("kind", "address"), ("ip", v4.as_str()), ("port", &port)];
    let tcp = entry(&first["destinations"], &fields);
    assert_eq!(tcp["count"], 3, "{tcp}");
    assert_eq!(tcp["transport"], "tcp", "{tcp}");
    assert_eq!(tcp["unattributed"], 0, "{tcp}");
    // The kernel keeps 15 bytes of a name; this has fewer.
    assert_eq!(tcp["processes"][0]["what"], NASTY, "{tcp}");
    let made = entry(&first["processes"], &[("name", NASTY)]);
    assert_eq!((&made["count"], &made["processes"]), (&3.into(), &3.into()));
    // They have ended; the kernel has noted what they were called with.
    let command = made["command_line"].as_str().expect("a command line");
    assert!(
        command.starts_with(&format!("/tmp/{NASTY} try tcp4 --v4 ")),
        "{made}"
    );
    assert_eq!(made["executable"], Value::Null);
    let name = [("kind", "name"), ("name", "first.leak.example")];
    let asked = entry(&first["destinations"], &name);
    assert_eq!(asked["servers"][0]["what"], format!("{v4}:53"), "{asked}");
    // Nothing is lost between the kernel's counters and the list.
    let total = first["attempts"]["total"].as_u64().expect("a number");
    assert_eq!(total, first["status"]["denials"]["total"], "{first:#}");
    assert_eq!(sum(&first["destinations"]), total, "{first:#}");
    assert_eq!(sum(&first["processes"]), total, "{first:#}");

    page(&files, &container, &v4);
    compared(&files, &container, &first);
    limited(&container, total);
    proof(&files, &container);
    assert_eq!(outside.seen(), [], "something got out");
}

fn page(files: &Files, container: &Container, v4: &str) {
    let path = files.path("page.html");
    airgap_ok(&["report", &container.name, "--html", &path]);
    let page = std::fs::read_to_string(Path::new(&path)).expect("the page");
    assert!(
        page.contains(&format!("<td>tcp {v4}:{PORT}</td><td class=\"n\">3</td>")),
        "{page}"
    );
    assert!(page.contains("name first.leak.example"), "{page}");
    assert!(page.contains("&lt;img src=&#39;x&quot;&gt;"), "{page}");
    assert!(
        !page.contains("<img") && !page.contains("<script"),
        "{page}"
    );
    assert!(
        page.contains("<svg") && page.ends_with("</html>\n"),
        "{page}"
    );
    let text = airgap_ok(&["report", &container.name]).stdout;
    assert!(
        text.contains(&format!("tcp {v4}:{PORT}  by {NASTY}")),
        "{text}"
    );
}

/// One more name is one more host, for root and for anybody.
fn compared(files: &Files, container: &Container, first: &Value) {
    container.attempt("dns-direct", PORT, "second");
    let old = files.write("old.json", &first.to_string());
    let new = files.write("new.json", &report(container, &[]).to_string());
    let out = airgap_ok(&["report", "--diff", &old, &new, "--json"]);
    let found: Value = serde_json::from_str(&out.stdout).expect("JSON");
    assert_eq!(
        found["new_hosts"],
        serde_json::json!(["second.leak.example"])
    );
    assert_eq!(found["new_destinations"][0]["name"], "second.leak.example");
    assert_eq!(
        found["gone_destinations"],
        serde_json::json!([]),
        "{found:#}"
    );
    let text = airgap_ok(&["report", "--diff", &old, &new]).stdout;
    assert!(
        text.contains("tries to contact 1 new host: second.leak.example\n"),
        "{text}"
    );
    let out = airgap(&["report", "--diff", &old, &files.path("page.html")]).expect_code(1);
    assert!(
        out.stderr.contains("it is no report") && out.stderr.contains("hint:"),
        "{}",
        out.describe()
    );
}

/// What `--since` leaves out is counted.
fn limited(container: &Container, before: u64) {
    let all = report(container, &["--since", "1h"]);
    assert_eq!(all["attempts"]["earlier"], 0, "{all:#}");
    let none = report(container, &["--since", "0s"]);
    assert_eq!(none["attempts"]["total"], 0, "{none:#}");
    assert!(
        none["attempts"]["earlier"].as_u64() > Some(before),
        "{none:#}"
    );
}

/// A proof of this container is taken in, of another one refused.
fn proof(files: &Files, container: &Container) {
    let saved = serde_json::json!({
        "schema": 1, "container": "x", "id": container.id, "verdict": "UNKNOWN", "techniques": [],
        "vectors": [{ "vector": "TCP", "verdict": "UNKNOWN", "tried": 1, "proven": 0 }],
        "not_tried": [], "notes": [],
    });
    let own = files.write("own.json", &saved.to_string());
    let report = report(container, &["--verify", &own]);
    assert_eq!(report["verify"]["verdict"], "UNKNOWN");
    assert!(report["verify"]["file_modified"].is_string(), "{report:#}");
    let other = saved.to_string().replace(&container.id, "ab");
    let other = files.write("other.json", &other);
    let out = airgap(&["report", &container.name, "--verify", &other]).expect_code(1);
    assert!(
        out.stderr.contains("of another container"),
        "{}",
        out.describe()
    );
}

#[test]
fn an_unsealed_container_has_no_report() {
    let outside = Outside::new();
    let container = outside.container("open").run();
    airgap(&["report", &container.name]).expect_code(3);
}
