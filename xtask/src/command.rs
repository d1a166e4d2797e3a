//! Child processes: run them, and say the whole command line when one fails.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command with inherited output.
///
/// # Errors
/// When it cannot start or does not exit with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command and returns what it wrote on stdout, trimmed.
///
/// # Errors
/// When it cannot start or does not exit with 0; the message carries its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            line(command),
            output.status,
            stderr.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether the command starts and exits with 0; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it, with the variables set or removed for it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        let name = name.to_string_lossy();
        match value {
            Some(value) => words.push(format!("{name}={}", quote(&value.to_string_lossy()))),
            None => words.splice(0..0, [format!("-u {name}")]).for_each(drop),
        }
    }
    if words.first().is_some_and(|word| word.starts_with("-u ")) {
        words.insert(0, "env".to_owned());
    }
    words.push(quote(&command.get_program().to_string_lossy()));
    words.extend(command.get_args().map(|arg| quote(&arg.to_string_lossy())));
    words.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.contains('\x1f') {
        return format!("$'{}'", word.replace('\'', "\\'").replace('\x1f', "\\x1f"));
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("ls");
        command.args(["a b", "it's"]).env("X", "1").env_remove("Y");
        assert_eq!(line(&command), r"env -u Y X=1 ls 'a b' 'it'\''s'");
    }

    #[test]
    fn a_failure_names_the_command_and_its_stderr() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 7"]))
            .expect_err("sh exits with 7");
        let text = format!("{error}");
        assert!(text.contains("`sh -c 'echo why >&2; exit 7'`"), "{text}");
        assert!(text.contains("why") && text.contains('7'), "{text}");
    }
}
