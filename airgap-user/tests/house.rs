//! Who may know whom: the imports of this crate, read from its sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A module of the crate's top level, and what it imports from others, with a file each.
type Graph = BTreeMap<String, BTreeMap<String, PathBuf>>;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files, with the module of the top level that each is in. Tests are no part of it.
fn files() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![sources()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.extension().is_none_or(|e| e != "rs") || name == "tests.rs" {
                continue;
            }
            let below = path.strip_prefix(sources()).expect("below the sources");
            let first = below.components().next().expect("a name");
            let module = first.as_os_str().to_string_lossy();
            let module = module.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<_> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.push((module, path.clone(), code.join("\n")));
        }
    }
    found
}

/// First names behind `crate::`, groups included.
fn names(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let (mut depth, mut begins) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                c if begins && !c.is_whitespace() => {
                    names.insert(word(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn word(text: &str) -> String {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    text[..end.unwrap_or(text.len())].to_owned()
}

fn graph() -> Graph {
    let files = files();
    let modules: BTreeSet<_> = files.iter().map(|(module, ..)| module.clone()).collect();
    let mut graph = Graph::new();
    for (module, path, code) in &files {
        let known = graph.entry(module.clone()).or_default();
        for name in names(code) {
            if name != *module && modules.contains(&name) {
                known.entry(name).or_insert_with(|| path.clone());
            }
        }
    }
    graph
}

/// A way from `from` to `to`, if there is one.
fn way(graph: &Graph, from: &str, to: &str, seen: &mut BTreeSet<String>) -> Option<Vec<String>> {
    if !seen.insert(from.to_owned()) {
        return None;
    }
    for (next, path) in graph.get(from)? {
        let step = format!("{from} → {next} ({})", path.display());
        if next == to {
            return Some(vec![step]);
        }
        if let Some(mut rest) = way(graph, next, to, seen) {
            rest.insert(0, step);
            return Some(rest);
        }
    }
    None
}

#[test]
fn no_module_knows_who_knows_it() {
    let graph = graph();
    assert!(graph.len() > 20, "{} modules were read", graph.len());
    assert!(graph["commands"].contains_key("gate"), "the control");
    for module in graph.keys() {
        let circle = way(&graph, module, module, &mut BTreeSet::new());
        assert_eq!(circle, None, "a circle of imports");
    }
}

#[test]
fn the_host_knows_nothing_of_seals() {
    let known = &graph()["host"];
    let only: Vec<_> = known.keys().map(String::as_str).collect();
    assert_eq!(only, ["failure", "notation"]);
}

#[test]
fn what_works_knows_neither_commands_nor_output() {
    let graph = graph();
    let low = [
        "seal",
        "gate",
        "names",
        "events",
        "report",
        "verify",
        "coverage",
        "preflight",
        "container",
        "policy",
        "state",
        "technique",
        "metrics",
        "command",
    ];
    for module in low {
        for above in ["cli", "commands", "output", "top"] {
            let found = graph[module].get(above);
            assert_eq!(found, None, "{module} imports {above}");
        }
    }
}

/// A command has arguments, an order of steps, and words: what puts a seal in force, and has to
/// take it back whole, is in one place.
#[test]
fn only_what_seals_puts_a_seal_in_force() {
    let puts = [".seal_id(", ".seal_path(", ".seal_cgroup("];
    let mut found = BTreeSet::new();
    for (module, path, code) in files() {
        for call in puts.iter().filter(|call| code.contains(**call)) {
            let allowed = ["seal", "gate"].contains(&module.as_str());
            assert!(allowed, "{call} in {}", path.display());
            found.insert(*call);
        }
    }
    assert_eq!(found.len(), puts.len(), "the control");
}

#[test]
fn each_outside_crate_has_its_place() {
    for (module, path, code) in files() {
        let has = |name: &str| code.contains(&format!("{name}::"));
        let place = path.display();
        assert!(
            !has("bollard") || module == "container",
            "bollard in {place}"
        );
        let knows_aya = ["gate", "events"].contains(&module.as_str());
        assert!(
            !has("aya") && !has("aya_obj") || knows_aya,
            "aya in {place}"
        );
        assert!(!has("ratatui") || module == "top", "ratatui in {place}");
    }
}

#[test]
fn only_what_shows_prints() {
    for (module, path, code) in files() {
        let shows = ["output", "top", "main"].contains(&module.as_str());
        for print in ["println!(", "print!(", "eprint!(", "eprintln!("] {
            let found = code.contains(print);
            assert!(!found || shows, "{print} in {}", path.display());
        }
    }
}
