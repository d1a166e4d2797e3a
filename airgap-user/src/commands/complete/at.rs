//! What the word at the cursor is, by the arguments that its command has. Pure.

use clap::{Arg, Command};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    /// One that is sealed, whatever it is.
    Sealed,
    Risk,
    /// What `airgap explain` takes.
    Word,
}

/// The word at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) kind: Kind,
    /// What of it is written.
    pub(super) begun: String,
    /// Bytes of it that the shell takes for another word.
    pub(super) drop: usize,
}

/// The words behind `airgap`, the last one at the cursor. `None`: nothing is known for it.
pub(super) fn at(cli: &Command, words: &[String]) -> Option<At> {
    let mut built = cli.clone();
    built.build();
    let (mut words, mut drop) = joined(words);
    let mut cursor = words.pop()?;
    let mut command = &built;
    let mut pending: Option<&Arg> = None;
    let mut positional = 0;
    for word in &words {
        if pending.take().is_some() {
            continue;
        }
        match word.as_str() {
            // What follows is somebody else's.
            "--" => return None,
            option if option.starts_with('-') => pending = valued(command, option),
            name => match command.find_subcommand(name) {
                Some(found) if positional == 0 => command = found,
                _ => positional += 1,
            },
        }
    }
    let arg = match pending {
        Some(arg) => arg,
        None if cursor.starts_with("--") => {
            let (option, value) = cursor.split_once('=')?;
            let arg = valued(command, option)?;
            (cursor, drop) = (value.to_owned(), 0);
            arg
        }
        None if cursor.starts_with('-') => return None,
        None => {
            let mut all: Vec<_> = command.get_positionals().collect();
            let last = all.pop()?;
            let several = last.get_num_args().is_some_and(|n| n.max_values() > 1);
            match all.get(positional) {
                Some(arg) => arg,
                None if positional == all.len() || several => last,
                None => return None,
            }
        }
    };
    Some(At {
        kind: kind(command, arg)?,
        begun: cursor,
        drop,
    })
}

/// Bash takes `:` and `=` for words of their own; what it joins to is one word. With how many
/// bytes of the last one are such words.
fn joined(words: &[String]) -> (Vec<String>, usize) {
    let mut all: Vec<String> = Vec::new();
    let (mut joins, mut drop) = (false, 0);
    for word in words {
        let is_break = matches!(word.as_str(), ":" | "=");
        match all.last_mut() {
            Some(last) if joins || is_break => {
                if joins {
                    drop = last.len();
                }
                *last += word;
                if is_break {
                    drop = last.len();
                }
            }
            _ => {
                drop = 0;
                all.push(word.clone());
            }
        }
        joins = is_break;
    }
    (all, drop)
}

/// The option of a word, if the next word is its value.
fn valued<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let mut options = command.get_arguments();
    options.find(|arg| {
        let named = match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(long), _) => arg.get_long() == Some(long),
            (None, Some(short)) => arg.get_short().is_some_and(|c| short == c.to_string()),
            _ => false,
        };
        named && arg.get_action().takes_values()
    })
}

/// By the name of its value in the help.
fn kind(command: &Command, arg: &Arg) -> Option<Kind> {
    let value = arg.get_value_names()?.first()?;
    match (value.as_str(), command.get_name()) {
        ("CONTAINER", "attach") => Some(Kind::Container),
        ("CONTAINER", _) => Some(Kind::Sealed),
        ("RISK", _) => Some(Kind::Risk),
        ("EVENT|WORD|-", _) => Some(Kind::Word),
        _ => None,
    }
}
