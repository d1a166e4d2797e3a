//! `airgap-manual DIR`: writes the man pages and shell completions of airgap below DIR, as
//! `cargo xtask dist` packs them.

mod completion;
mod examples;
mod page;

use std::{env, fs, path::Path};

use airgap::cli::Cli;
use anyhow::{Context as _, Result, bail};
use clap::{Command, CommandFactory as _};

/// Where packages have them, below `DIR/usr/share`.
const MAN: &str = "man/man1";

fn main() -> Result<()> {
    let mut args = env::args_os().skip(1);
    let (Some(dir), None) = (args.next(), args.next()) else {
        bail!("usage: airgap-manual DIR");
    };
    write(&Path::new(&dir).join("usr/share"))
}

fn write(share: &Path) -> Result<()> {
    let man = make(&share.join(MAN))?;
    for (name, command) in pages(&Cli::command()) {
        let path = man.join(format!("{name}.1"));
        let text = page::render(&name, command);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (shell, dir) in completion::PLACES {
        completion::write(shell, &make(&share.join(dir))?)?;
    }
    Ok(())
}

fn make(dir: &Path) -> Result<std::path::PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir.to_owned())
}

/// The command itself and what it can do, but for what is hidden, by the page's name.
fn pages(cli: &Command) -> Vec<(String, Command)> {
    let mut built = cli.clone().disable_help_subcommand(true);
    built.build();
    let mut pages = vec![("airgap".to_owned(), built.clone())];
    for command in built.get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("airgap-{}", command.get_name());
        pages.push((name, command.clone()));
    }
    pages
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn each_command_has_a_page_with_examples_that_are_commands() {
        let pages = pages(&Cli::command());
        assert!(pages.len() > 15, "{}", pages.len());
        for (name, command) in pages {
            let examples = examples::of(&name);
            assert!(!examples.is_empty(), "{name} has no example");
            for (line, what) in examples {
                assert!(!what.is_empty(), "{line}");
                let words = line.strip_prefix("sudo ").unwrap_or(line).split(' ');
                let words: Vec<_> = words.map(|word| word.trim_matches('\'')).collect();
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
                let verb = name.strip_prefix("airgap-").unwrap_or(words[1]);
                assert_eq!(words[1], verb, "{name}: {line}");
            }
            let text = page::render(&name, command);
            for section in [".TH ", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
                assert!(text.contains(section), "{name} lacks {section}");
            }
        }
    }
}
