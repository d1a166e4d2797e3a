//! The documents: each command in them is one, and each link leads somewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser as _;

use super::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Path and text of each page.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "md"));
    paths.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The airgap commands in its blocks of console text, without prompt and comment.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside
            && let Some(command) = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "))
        {
            let command = command.strip_prefix("sudo ").unwrap_or(command);
            let command = command.split(" #").next().unwrap_or_default().trim();
            found.extend(command.starts_with("airgap ").then_some(command));
        }
    }
    found
}

/// As a shell would, of quotes and blanks alone.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn each_command_is_one() {
    let mut tried = 0;
    for (path, text) in pages() {
        for command in commands(&text) {
            tried += 1;
            if let Err(error) = Cli::try_parse_from(words(command)) {
                panic!("{}: {command}: {error}", path.display());
            }
        }
    }
    assert!(tried > 10, "{tried}");
    assert!(Cli::try_parse_from(words("airgap attach --no-such web")).is_err());
}

#[test]
fn each_link_leads_somewhere() {
    let mut tried = 0;
    for (path, text) in pages() {
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            tried += 1;
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", path.display());
        }
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn the_first_page_is_short() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() <= 120);
}
