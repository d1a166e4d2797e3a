//! Texts that are kept: what a command says, word for word, in `tests/golden`.

use std::fs;
use std::path::PathBuf;

/// Puts a word in the place of what differs from run to run.
#[derive(Debug, Default)]
pub struct Golden {
    words: Vec<(String, String)>,
    ends: Vec<&'static str>,
}

impl Golden {
    /// With `said` standing for `found`, wherever it is.
    pub fn word(&mut self, found: impl Into<String>, said: &str) {
        self.words.push((found.into(), said.to_owned()));
    }

    /// Leaves out what is behind `from` on its line.
    pub fn end(&mut self, from: &'static str) {
        self.ends.push(from);
    }

    fn cut<'a>(&self, line: &'a str) -> &'a str {
        let before = |line: &'a str, end: &&str| line.split_once(*end).map_or(line, |(l, _)| l);
        self.ends.iter().fold(line, before)
    }

    /// The text, with the words of [`Golden::word`] and those for times and processes; two spaces
    /// for more, as columns are as wide as what was replaced.
    #[must_use]
    pub fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, said) in &self.words {
            text = text.replace(found, said);
        }
        let lines = text.lines().map(|line| self.cut(line).trim_end());
        let lines = lines.map(|line| narrow(&times(line)) + "\n");
        lines.collect()
    }

    /// Compares with `tests/golden/NAME.txt`, or writes it where `AIRGAP_GOLDEN=write` is set.
    ///
    /// # Panics
    /// If they differ: with the first line that does.
    #[track_caller]
    pub fn assert(&self, name: &str, text: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.txt"));
        let now = self.plain(text);
        if std::env::var_os("AIRGAP_GOLDEN").is_some_and(|how| how == "write") {
            fs::write(&path, now).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            return;
        }
        let kept = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if kept == now {
            return;
        }
        let ends = "(the end)";
        let (mut old, mut new) = (kept.lines(), now.lines());
        let (old, new) = loop {
            match (old.next(), new.next()) {
                (Some(old), Some(new)) if old == new => {}
                (old, new) => break (old.unwrap_or(ends), new.unwrap_or(ends)),
            }
        };
        panic!(
            "{name} says another thing\nkept: {old}\nnow:  {new}\n\nall of it now:\n{now}\n\
             if it is meant: AIRGAP_GOLDEN=write, and read the difference"
        );
    }
}

/// `3 s`, days, times of day and `program[12]` become `N s`, `DATE`, `HH:MM:SS` and `program[PID]`.
fn times(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for i in 0..words.len() {
        if is_time(&words[i]) {
            words[i] = "HH:MM:SS".to_owned();
        }
        if let Some(plain) = date(&words[i]).or_else(|| process(&words[i])) {
            words[i] = plain;
        }
        let unit = words.get(i + 1).map_or("", |word| {
            word.trim_matches(|c: char| !c.is_ascii_alphabetic())
        });
        let is_number = !words[i].is_empty() && words[i].bytes().all(|b| b.is_ascii_digit());
        if is_number && ["ms", "s", "min", "h", "d"].contains(&unit) {
            words[i] = "N".to_owned();
        }
    }
    words.join(" ")
}

/// Two spaces for more, but at the line's begin.
fn narrow(line: &str) -> String {
    let text = line.trim_start();
    let mut narrow = line[..line.len() - text.len()].to_owned();
    let mut spaces = 0;
    for c in text.chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 {
            narrow.push(c);
        }
    }
    narrow
}

/// `2026-11-29`, also with a time of day behind a `T`.
fn date(word: &str) -> Option<String> {
    let day = word.split_once('T').map_or(word, |(day, _)| day);
    let parts: Vec<_> = day.split('-').map(str::len).collect();
    let numbers = day.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    (numbers && parts == [4, 2, 2]).then(|| "DATE".to_owned())
}

/// `sh[12]`.
fn process(word: &str) -> Option<String> {
    let (name, pid) = word.strip_suffix(']')?.split_once('[')?;
    let is_pid = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
    is_pid.then(|| format!("{name}[PID]"))
}

/// `12:34:56`, also with a fraction.
fn is_time(word: &str) -> bool {
    let parts: Vec<_> = word.split(':').collect();
    let digits =
        |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    parts.len() == 3 && parts.iter().all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_no_difference() {
        let mut golden = Golden::default();
        golden.word("airgap-test-web-1", "web");
        let text = "  airgap-test-web-1      since 12 s for 3 min, port 5060  \n12:00:01.250 a:b:c 12 s.\n\
                    2026-11-29 sh[12] at 2026-11-29T17:16:28Z";
        let plain =
            "  web  since N s for N min, port 5060\nHH:MM:SS a:b:c N s.\nDATE sh[PID] at DATE\n";
        assert_eq!(golden.plain(text), plain);
    }
}
