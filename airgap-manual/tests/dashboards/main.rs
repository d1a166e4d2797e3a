//! `deploy/grafana` and `deploy/prometheus`: that they are what their readers take, and that each
//! metric, label and state in them is one that airgap tells.

mod expression;

use airgap::cli::Cli;
use airgap::coverage::SealState;
use airgap::metrics::{SealMetrics, StateMetrics, render};
use clap::CommandFactory as _;
use expression::Expression;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use yaml_rust2::{Yaml, YamlLoader};

/// Labels that Prometheus gives to whatever it scrapes.
const OF_ALL: [&str; 2] = ["instance", "job"];

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Labels of each metric, and what is told of them, from an exposition with one of each.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let seal = SealMetrics {
        reasons: airgap::events::REASONS.map(|reason| (reason, 1)).to_vec(),
        top: vec![("198.51.100.7".into(), 443, 1)],
        exits: vec![("198.51.100.10:443/tcp".into(), Default::default())],
        ..SealMetrics::default()
    };
    let audit = SealMetrics {
        audit: true,
        ..seal.clone()
    };
    let state = StateMetrics {
        container: "web".into(),
        id: "ab".into(),
        state: SealState::Sealed,
    };
    let text = render(&[seal, audit], &[state]);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once('{').expect("each has labels");
        let labels = labels.split("\",").map(|label| label.split('=').next());
        let labels = labels.flatten().map(str::to_owned);
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    assert!(found.len() >= 10, "{found:?}");
    found.insert("up".to_owned(), BTreeSet::new());
    found
}

/// Holds an expression, and what is said by its labels, against what is exported.
#[track_caller]
fn assert_told(text: &str, named: &[String]) {
    let exported = exported();
    let said = Expression::read(text);
    assert!(!said.metrics.is_empty(), "{text}: no metric");
    let mut known: BTreeSet<&str> = OF_ALL.into();
    for (metric, chosen) in &said.metrics {
        let labels = exported
            .get(metric)
            .unwrap_or_else(|| panic!("{text}: {metric} is not exported"));
        known.extend(labels.iter().map(String::as_str));
        for (label, values) in chosen {
            let has = labels.contains(label) || OF_ALL.contains(&label.as_str());
            assert!(has, "{text}: {metric} has no {label}");
            let states = SealState::ALL.map(|state| state.name());
            for value in values {
                let is_one = match label.as_str() {
                    "airgap_state" => states.contains(&value.as_str()),
                    "reason" => airgap::events::REASONS.contains(&value.as_str()),
                    _ => true,
                };
                assert!(is_one, "{text}: no {label} is {value}");
            }
        }
    }
    for label in said.grouped.iter().flatten().chain(&said.free) {
        assert!(known.contains(label.as_str()), "{text}: no {label}");
    }
    for label in named {
        let left = said.grouped.as_ref();
        let left = left.map_or(known.contains(label.as_str()), |by| by.contains(label));
        assert!(left, "{text}: {label} is not left");
    }
}

/// The names between `before` and the end of a word, in each place of a template.
fn names(template: &str, before: &str) -> Vec<String> {
    let after = template.split(before).skip(1);
    let end = |rest: &str| {
        let rest = rest.trim_start();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].to_owned()
    };
    after.map(end).collect()
}

/// By the JSON model of dashboards (schemaVersion 39, Grafana 10.4 and newer).
#[test]
fn the_dashboard_is_one_and_asks_for_what_is_told() {
    let text = read("grafana/airgap.json");
    let board: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(board["schemaVersion"], 39);
    for (key, value) in [("uid", "airgap"), ("title", "airgap")] {
        assert_eq!(board[key], value);
    }
    // One that was exported from a Grafana has an id of that one's.
    assert!(board["id"].is_null() && board["__inputs"].is_null());
    let variables = board["templating"]["list"].as_array().expect("variables");
    let known: Vec<_> = variables.iter().map(|v| v["name"].as_str()).collect();
    assert_eq!(known, ["datasource", "instance", "container"].map(Some));
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    for variable in &variables[1..] {
        assert_eq!(variable["type"], "query", "{variable}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}", "{variable}");
        assert_told(variable["query"].as_str().expect("a query"), &[]);
    }

    let (mut ids, mut asked) = (BTreeSet::new(), 0);
    let mut taken: Vec<[u64; 4]> = Vec::new();
    let mut read = BTreeSet::new();
    for panel in board["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(!panel["title"].as_str().expect("a title").is_empty());
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64());
        let place = place.map(|number| number.expect("a place"));
        let [x, y, w, h] = place;
        assert!(w > 0 && h > 0 && x + w <= 24, "{panel}");
        let apart =
            |[a, b, c, d]: &[u64; 4]| x >= a + c || *a >= x + w || y >= b + d || *b >= y + h;
        assert!(taken.iter().all(apart), "{panel} lies over another");
        taken.push(place);
        if panel["type"] == "row" {
            continue;
        }
        let kind = panel["type"].as_str().expect("a type");
        assert!(["stat", "table", "timeseries"].contains(&kind), "{kind}");
        assert!(panel["description"].as_str().is_some_and(|d| d.len() > 10));
        assert_eq!(panel["datasource"]["type"], "prometheus", "{panel}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            assert!(target["refId"].as_str().is_some(), "{target}");
            let expr = target["expr"].as_str().expect("an expression");
            let legend = target["legendFormat"].as_str().expect("a legend");
            assert_told(expr, &names(legend, "{{"));
            for used in names(expr, "$").iter().filter(|n| !n.starts_with("__")) {
                assert!(known.contains(&Some(used.as_str())), "{expr}: ${used}");
            }
            read.extend(Expression::read(expr).metrics.into_keys());
            asked += 1;
        }
    }
    assert!(asked >= 15, "{asked}");
    // And nothing that is told is left out.
    let mut all: BTreeSet<_> = exported().into_keys().collect();
    all.remove("up");
    assert_eq!(read, all);
}

#[test]
fn each_alert_is_told_and_says_what_to_do() {
    let rules = YamlLoader::load_from_str(&read("prometheus/airgap.rules.yml")).expect("YAML");
    let groups = rules[0]["groups"].as_vec().expect("groups");
    let (mut alerts, mut states) = (BTreeSet::new(), BTreeSet::new());
    for rule in groups
        .iter()
        .flat_map(|g| g["rules"].as_vec().expect("rules"))
    {
        let word = |at: &Yaml| at.as_str().map(str::to_owned).expect("a text");
        let name = word(&rule["alert"]);
        assert!(alerts.insert(name.clone()), "{name} twice");
        let severity = word(&rule["labels"]["severity"]);
        assert!(
            ["critical", "warning"].contains(&severity.as_str()),
            "{name}"
        );
        let expr = word(&rule["expr"]);
        let said = word(&rule["annotations"]["description"]);
        let summary = word(&rule["annotations"]["summary"]);
        assert_told(&expr, &names(&format!("{summary} {said}"), "$labels."));
        let chosen = Expression::read(&expr).metrics.remove("airgap_state");
        states.extend(chosen.into_iter().flatten().flat_map(|(_, values)| values));
        // What to do is a command that there is.
        let cli = Cli::command();
        let commands = names(&said, "`airgap ");
        assert!(!commands.is_empty(), "{name}: {said}");
        for command in commands {
            assert!(cli.find_subcommand(&command).is_some(), "{name}: {command}");
        }
    }
    // Each state deserves an alert, but for those in which nothing is amiss.
    let well = ["sealed", "limited", "gone"];
    let all: BTreeSet<_> = SealState::ALL
        .iter()
        .map(|state| state.name().to_owned())
        .filter(|name| !well.contains(&name.as_str()))
        .collect();
    assert_eq!(states, all);
}

/// The control: what is not told is found out.
#[test]
fn what_is_not_told_is_refused() {
    for wrong in [
        "airgap_refused",
        "sum(airgap_sealed{pod=\"a\"})",
        "sum by (pod) (airgap_sealed)",
        "airgap_state{airgap_state=~\"sealed|open\"}",
        "median(airgap_sealed)",
        "1",
    ] {
        let held = std::panic::catch_unwind(|| assert_told(wrong, &[]));
        assert!(held.is_err(), "{wrong}");
    }
    let lost = "sum by (container) (airgap_sealed)";
    assert!(std::panic::catch_unwind(|| assert_told(lost, &["id".into()])).is_err());
    assert_told(lost, &["container".into()]);
}
