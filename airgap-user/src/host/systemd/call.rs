//! Calls of `systemctl`, each with an end.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::failure::Failure;

/// For an answer. A busy machine's systemd took 0.3 s.
pub const ANSWER: Duration = Duration::from_secs(20);
/// For a job: a unit may take its time to stop and to start.
pub const JOB: Duration = Duration::from_secs(300);

/// Fails where systemd is not what runs this host (sd_booted(3)).
///
/// # Errors
/// Then.
pub fn require() -> Result<(), Failure> {
    match Path::new("/run/systemd/system").is_dir() {
        true => Ok(()),
        false => Err(Failure::new(
            "systemd does not run this host, so there are no units",
            "seal the cgroup itself: airgap attach --cgroup PATH",
        )),
    }
}

/// What `systemctl` says to these words.
///
/// # Errors
/// If it is not there, fails, or does not end in time: then it is ended.
pub fn systemctl(words: &[&str], patience: Duration) -> Result<String, Failure> {
    call("systemctl", words, patience)
}

fn call(program: &str, words: &[&str], patience: Duration) -> Result<String, Failure> {
    let line = format!("{program} {}", words.join(" "));
    let hint = || format!("run it by hand: {line}");
    let mut child = Command::new(program)
        .args(words)
        .env("LC_ALL", "C")
        .env_remove("SYSTEMD_COLORS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::new(format!("cannot run {program}: {error}"), "install systemd")
        })?;
    let said = child.stdout.take().map(reader);
    let wrong = child.stderr.take().map(reader);
    let heard = |from: Option<mpsc::Receiver<String>>| {
        from.and_then(|from| from.recv_timeout(patience).ok())
    };
    let Some(said) = heard(said) else {
        // It may have ended this moment.
        let _ = child.kill();
        let _ = child.wait();
        let what = format!("{line} has not ended within {} s", patience.as_secs());
        return Err(Failure::new(what, hint()));
    };
    let wrong = heard(wrong).unwrap_or_default();
    let status = child
        .wait()
        .map_err(|error| Failure::new(format!("cannot wait for {line}: {error}"), hint()))?;
    match status.success() {
        true => Ok(said),
        false => {
            let why = wrong.lines().next().unwrap_or_default();
            Err(Failure::new(format!("{line}: {status} {why}"), hint()))
        }
    }
}

/// All that comes, once it has ended.
fn reader(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (to, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        // Nobody listens any more: it was too late.
        let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_ended() {
        let said = call("sh", &["-c", "echo $LC_ALL"], ANSWER).unwrap();
        assert_eq!(said, "C\n");
        let error = call("sh", &["-c", "echo why >&2; exit 3"], ANSWER).unwrap_err();
        assert!(error.message.contains("exit status: 3 why"), "{error}");
        let error = call("sleep", &["1000"], Duration::from_millis(50)).unwrap_err();
        assert!(error.message.contains("has not ended"), "{error}");
        assert!(call("no such program", &[], ANSWER).is_err());
    }
}
