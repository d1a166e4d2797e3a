//! Promise: each shell asks airgap for the word at the cursor, and offers what it answers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packed files, beside an `airgap` that notes what it is asked and knows one name; removed
/// on drop.
struct Packed(PathBuf);

impl Packed {
    fn new(shell: &str) -> Self {
        let name = format!("airgap-completions-{shell}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let manual = Command::new(env!("CARGO_BIN_EXE_airgap-manual"))
            .arg(&dir)
            .status();
        assert!(manual.expect("airgap-manual runs").success());
        let fake = dir.join("airgap");
        let script = "#!/bin/sh\nprintf '%s|' \"$@\" >> \"${0%/*}/asked\"\n\
                      case $* in *none*) ;; *) echo zz-web ;; esac\n";
        fs::write(&fake, script).expect("a program");
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(dir)
    }

    fn file(&self, below: &str) -> String {
        self.0.join("usr/share").join(below).display().to_string()
    }

    /// What the shell says, with the file as `$0`; `None`: there is no such shell.
    fn says(&self, shell: &[&str], script: &str, file: &str) -> Option<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let out = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", &script.replace("FILE", &self.file(file))])
            .env("PATH", format!("{}:{path}", self.0.display()))
            .output();
        let Ok(out) = out else {
            println!("skipped: there is no {} here", shell[0]);
            return None;
        };
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{stderr}");
        Some(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.0.join("asked")).unwrap_or_default()
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

const ASKED: &str = "__complete|--|attach|-d|z|";

#[test]
fn bash_offers_names_and_else_what_clap_knows() {
    let packed = Packed::new("bash");
    let script = r#"source FILE
        try() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            "$(complete -p airgap | sed 's/.*-F \([^ ]*\).*/\1/')" airgap "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            echo "${COMPREPLY[*]}"
        }
        try airgap attach -d z; try airgap none; try airgap attach --dry-none; try airgap det"#;
    let file = "bash-completion/completions/airgap";
    let said = packed.says(&["bash"], script, file).expect("bash");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines, ["zz-web", "", "", "zz-web"], "{said}");
    assert!(packed.asked().starts_with(ASKED), "{}", packed.asked());
    // The control: without an answer clap's own.
    fs::remove_file(packed.0.join("airgap")).expect("rm");
    let script = script.replace("try airgap none;", "try airgap det;");
    let said = packed.says(&["bash"], &script, file).expect("bash");
    assert!(said.contains("detach"), "{said}");
}

#[test]
fn zsh_offers_names_and_else_what_it_does_by_itself() {
    let packed = Packed::new("zsh");
    let file = "zsh/vendor-completions/_airgap";
    let script = r"compdef() {}; compadd() { print -r -- added ${(P)2} }; _default() { print default }
        source FILE
        airgap_words=(attach -d z); _airgap_names
        airgap_words=(none); _airgap_names";
    let Some(said) = packed.says(&["zsh", "-f"], script, file) else {
        return;
    };
    assert_eq!(said, "added zz-web\ndefault\n");
    assert!(packed.asked().starts_with(ASKED), "{}", packed.asked());
    let text = fs::read_to_string(Path::new(&packed.file(file))).expect("the file");
    assert!(text.contains(":RISK:_airgap_names'") && !text.contains(":_default'"));
}

#[test]
fn fish_offers_names_and_risks() {
    let packed = Packed::new("fish");
    let file = "fish/vendor_completions.d/airgap.fish";
    let script = "source FILE; complete -C 'airgap attach -d z'; complete -C 'airgap attach --accept z'; complete -C 'airgap detac'";
    let Some(said) = packed.says(&["fish", "--no-config"], script, file) else {
        return;
    };
    let words: Vec<_> = said
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(words, ["zz-web", "zz-web", "detach"], "{said}");
    assert!(packed.asked().starts_with(ASKED), "{}", packed.asked());
}
