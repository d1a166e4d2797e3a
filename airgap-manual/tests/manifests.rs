//! The manifests below `deploy/kubernetes`: that they say what docs/fleets.md says, and that
//! each command line in them is one.

use airgap::cli::Cli;
use clap::Parser as _;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

/// All documents of a file.
fn read(name: &str) -> Vec<Yaml> {
    let path = folder().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    YamlLoader::load_from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn words(list: &Yaml) -> Vec<String> {
    let words = list.as_vec().into_iter().flatten();
    words
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect()
}

/// Each container in a document, wherever it is.
fn containers<'a>(at: &'a Yaml, found: &mut Vec<&'a Yaml>) {
    match at {
        Yaml::Hash(map) => {
            for (key, value) in map {
                if matches!(key.as_str(), Some("containers" | "initContainers")) {
                    found.extend(value.as_vec().into_iter().flatten());
                }
                containers(value, found);
            }
        }
        Yaml::Array(list) => list.iter().for_each(|one| containers(one, found)),
        _ => {}
    }
}

#[test]
fn the_folder_names_each_of_its_files() {
    let named = read("kustomization.yaml");
    let named: BTreeSet<_> = words(&named[0]["resources"]).into_iter().collect();
    let there: BTreeSet<_> = fs::read_dir(folder())
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(named, there);
}

#[test]
fn each_command_line_is_one() {
    let mut lines = 0;
    for name in words(&read("kustomization.yaml")[0]["resources"]) {
        for document in read(&name) {
            let mut found = Vec::new();
            containers(&document, &mut found);
            for container in found {
                let line = [words(&container["command"]), words(&container["args"])].concat();
                assert_eq!(line[0], "/usr/bin/airgap", "{name}");
                if let Err(error) = Cli::try_parse_from(&line) {
                    panic!("{name}: {line:?}: {error}");
                }
                lines += 1;
            }
        }
    }
    assert_eq!(lines, 1);
}

#[test]
fn it_has_no_rights_but_the_node_s() {
    let set = &read("daemonset.yaml")[0];
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    for kind in ["hostPID", "hostNetwork"] {
        assert_eq!(pod[kind].as_bool(), Some(true), "{kind}");
    }
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"].as_bool(), Some(true));
    // Each path of the node that is mounted is one that the page names.
    let page = folder().join("../../docs/fleets.md");
    let page = fs::read_to_string(page).expect("the page");
    let mounted = container["volumeMounts"].as_vec().expect("mounts");
    let volumes = pod["volumes"].as_vec().expect("volumes");
    assert_eq!(mounted.len(), volumes.len());
    for volume in volumes {
        let path = volume["hostPath"]["path"].as_str().expect("a path");
        assert!(page.contains(&format!("`{path}`")), "{path}");
        let its = mounted.iter().find(|mount| mount["name"] == volume["name"]);
        assert_eq!(its.expect("a mount")["mountPath"].as_str(), Some(path));
    }
    for name in words(&read("kustomization.yaml")[0]["resources"]) {
        for document in read(&name) {
            let kind = document["kind"].as_str().expect("a kind");
            assert!(!kind.contains("Role"), "{name}: {kind}");
        }
    }
}
