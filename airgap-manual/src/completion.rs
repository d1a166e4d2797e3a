//! Completions of bash, zsh and fish: clap's, which know commands and options, and beside them
//! what only a running host knows (`airgap __complete`: containers, risks, words).

use std::{fs, path::Path};

use airgap::cli::Cli;
use anyhow::{Context as _, Result, ensure};
use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};

/// Of each shell, below `DIR/usr/share`.
pub(crate) const PLACES: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/vendor-completions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

/// Names have no blanks and nothing that a shell reads anything into: airgap leaves others out.
const BASH: &str = r#"
_airgap_and_names() {
    local names
    mapfile -t names < <(command airgap __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if ((${#names[@]})); then
        COMPREPLY=("${names[@]}")
        return 0
    fi
    _airgap "$@"
}
"#;
const ZSH: &str = r#"
_airgap_names() {
    local -a names
    names=(${(f)"$(command airgap __complete -- "${(@)airgap_words}" 2>/dev/null)"})
    if (( $#names )); then
        compadd -a names
    else
        _default
    fi
}
"#;
/// What `_arguments` leaves of them are the last ones.
const ZSH_WORDS: &str = r#"
    local -a airgap_words=("${(@)words[2,CURRENT]}")
"#;
const FISH: &str = r#"
function __airgap_names
    set -l words (commandline -opc) (commandline -ct)
    command airgap __complete -- $words[2..-1] 2>/dev/null
end
complete -c airgap -n "not __fish_airgap_needs_command" -a '(__airgap_names)'
"#;

/// Writes the one of a shell into a directory.
pub(crate) fn write(shell: Shell, dir: &Path) -> Result<()> {
    let path = generate_to(shell, &mut Cli::command(), "airgap", dir)
        .with_context(|| format!("cannot write the completions of {shell}"))?;
    let text = fs::read_to_string(&path).context("cannot read the completions")?;
    let text = with_names(shell, &text)?;
    // bash-completion(7) looks for the command's own name.
    let named = match shell {
        Shell::Bash => path.with_file_name("airgap"),
        _ => path.clone(),
    };
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    fs::write(&named, text).with_context(|| format!("cannot write {}", named.display()))
}

/// Clap's text with the names beside it. Pure.
///
/// # Errors
/// If clap writes it otherwise than it did.
fn with_names(shell: Shell, text: &str) -> Result<String> {
    let replaced = |from: &str, to: &str| {
        ensure!(text.contains(from), "clap's {shell} has no {from:?}");
        Ok(text.replace(from, to))
    };
    Ok(match shell {
        Shell::Bash => {
            let text = replaced("complete -F _airgap ", "complete -F _airgap_and_names ")?;
            let at = text.rfind("\nif [[ ").context("clap's bash has no end")?;
            format!("{}{BASH}{}", &text[..at], &text[at..])
        }
        Shell::Zsh => {
            let text = replaced(":_default'", ":_airgap_names'")?;
            let begin = "_airgap() {\n";
            let at = text.find(begin).context("clap's zsh has no begin")?;
            let (head, body) = (&text[..at], &text[at + begin.len()..]);
            format!(
                "{head}{}\n{begin}{}{body}",
                ZSH.trim_start(),
                &ZSH_WORDS[1..]
            )
        }
        Shell::Fish => {
            let option = |line: &str| {
                let risk = [" -l accept ", " -l allow-accept "];
                match risk.iter().any(|risk| line.contains(risk)) {
                    true => format!("{line} -f -a '(__airgap_names)'\n"),
                    false => format!("{line}\n"),
                }
            };
            let lines: String = text.lines().map(option).collect();
            ensure!(lines != text, "clap's fish has no --accept");
            lines + FISH
        }
        _ => text.to_owned(),
    })
}
