//! The escape table: techniques down, set-ups across.

use ::airgap::technique::Reach;
use serde_json::json;
use std::env;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;

/// The columns, in order.
pub const SETUPS: [&str; 4] = ["unsealed", "sealed", "iptables", "internal"];
const SEALED: usize = 1;

/// How far each technique got from each set-up.
#[derive(Debug)]
pub struct Table {
    /// A technique and its reach, one for each of [`SETUPS`].
    pub rows: Vec<(String, Vec<Option<Reach>>)>,
    /// What the sealed attempts failed with, 0 for nothing.
    pub errnos: Vec<i32>,
}

impl Table {
    /// Prints the table, and writes it to `$AIRGAP_ESCAPE_OUT`, as JSON lines if
    /// `$AIRGAP_ESCAPE_JSON` is set.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn publish(&self) {
        println!("{}", self.text());
        write(&if as_json() { self.json() } else { self.text() });
    }

    fn count(&self, setup: usize, reach: Reach) -> usize {
        let column = self.rows.iter().map(|(_, found)| found[setup]);
        column.filter(|&found| found == Some(reach)).count()
    }

    fn text(&self) -> String {
        let names = self.rows.iter().map(|(name, _)| name.len());
        let width = names.max().unwrap_or(0).max("left on the link".len());
        let mut text = String::new();
        let mut line = |name: &str, cells: [String; SETUPS.len()]| {
            let mut line = format!("{name:width$}");
            for (cell, setup) in cells.iter().zip(SETUPS) {
                let _ = write!(line, "  {cell:>w$}", w = setup.len());
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line("technique", SETUPS.map(str::to_owned));
        for (name, found) in &self.rows {
            line(name, std::array::from_fn(|i| word(found[i]).to_owned()));
        }
        for (name, reach) in [("out", Reach::Outside), ("left on the link", Reach::Link)] {
            line(
                name,
                std::array::from_fn(|i| self.count(i, reach).to_string()),
            );
        }
        text + &self.summary() + "\n"
    }

    /// `N techniques: sealed N leaks, N on the link; unsealed …`.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = |setup: usize| {
            format!(
                "{} {} leaks, {} on the link",
                SETUPS[setup],
                self.count(setup, Reach::Outside),
                self.count(setup, Reach::Link)
            )
        };
        let order = [SEALED, 0, 2, 3].map(of).join("; ");
        format!("{} techniques: {order}", self.rows.len())
    }

    fn json(&self) -> String {
        let mut text = String::new();
        for ((name, found), errno) in self.rows.iter().zip(&self.errnos) {
            let mut row = json!({ "technique": name, "sealed_errno": errno });
            for (setup, &reach) in SETUPS.iter().zip(found) {
                row[setup] = json!(word(reach));
            }
            let _ = writeln!(text, "{row}");
        }
        text
    }
}

/// Prints a finding that is no row, and adds it to the file that the table is in.
///
/// # Panics
/// When the file cannot be written.
pub fn append(title: &str, lines: &[String]) {
    println!("{}", lines.join("\n"));
    write(&if as_json() {
        format!("{}\n", json!({ "finding": title, "lines": lines }))
    } else {
        format!("{title}:\n  {}\n", lines.join("\n  "))
    });
}

/// Whether somebody waits for a table.
#[must_use]
pub fn is_wanted() -> bool {
    env::var_os("AIRGAP_ESCAPE_OUT").is_some()
}

fn as_json() -> bool {
    env::var_os("AIRGAP_ESCAPE_JSON").is_some()
}

fn write(text: &str) {
    let Some(path) = env::var_os("AIRGAP_ESCAPE_OUT") else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|e| panic!("{}: {e}", path.to_string_lossy()));
}

fn word(reach: Option<Reach>) -> &'static str {
    match reach {
        Some(Reach::Outside | Reach::Resolver) => "out",
        Some(Reach::Link | Reach::Guest) => "link",
        None => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let (out, link) = (Some(Reach::Outside), Some(Reach::Link));
        Table {
            rows: vec![
                ("tcp4".to_owned(), vec![out, None, link, None]),
                (
                    "a-longer-name-than-that".to_owned(),
                    vec![link, None, link, link],
                ),
            ],
            errnos: vec![1, 0],
        }
    }

    #[test]
    fn aligns_and_sums_up() {
        let text = table().text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "technique                unsealed  sealed  iptables  internal"
        );
        assert_eq!(
            lines[1],
            "tcp4                          out       -      link         -"
        );
        assert_eq!(
            lines[3],
            "out                             1       0         0         0"
        );
        assert_eq!(
            lines[5],
            "2 techniques: sealed 0 leaks, 0 on the link; unsealed 1 leaks, 1 on the link; \
             iptables 0 leaks, 2 on the link; internal 0 leaks, 1 on the link"
        );
    }

    #[test]
    fn says_the_same_in_json() {
        let json = table().json();
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["technique"], "tcp4");
        assert_eq!(
            (&first["unsealed"], &first["sealed"]),
            (&json!("out"), &json!("-"))
        );
        assert_eq!(first["sealed_errno"], 1);
    }
}
