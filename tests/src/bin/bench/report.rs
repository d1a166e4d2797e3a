//! `PERFORMANCE.md`, its plots, and the same as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::figure::{Figure, Spread, short};
use super::{Wanted, machine, plot};

/// Directory of the plots and the JSON, beside `PERFORMANCE.md`.
const DIRECTORY: &str = "performance";

pub(crate) fn write(wanted: &Wanted, out: &Path, figures: &[Figure]) -> Result<()> {
    let directory = out.join(DIRECTORY);
    let put = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    for figure in figures {
        put(&format!("{}.svg", file_name(figure)), plot::svg(figure))?;
    }
    let all: Vec<_> = figures.iter().map(Figure::json).collect();
    let all = json!({ "machine": machine::lines(), "rounds": wanted.rounds, "figures": all });
    put("figures.json", format!("{all:#}\n"))?;
    let path = out.join("PERFORMANCE.md");
    fs::write(&path, page(wanted, figures))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn file_name(figure: &Figure) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = figure.name.to_lowercase().chars().map(plain).collect();
    let words: Vec<_> = name.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

fn page(wanted: &Wanted, figures: &[Figure]) -> String {
    let mut page = String::from(
        "# Performance\n\nWritten by `cargo xtask bench`; nothing here is typed by hand. Set-ups \
         are measured in turn within each round; what counts are the ratios of neighbours. \
         Medians, with the lowest and the highest run.\n\n",
    );
    for line in machine::lines() {
        let _ = writeln!(page, "- {line}");
    }
    let _ = writeln!(
        page,
        "- {} rounds, {} s for each load: `cargo xtask bench --rounds {} --seconds {}`\n",
        wanted.rounds, wanted.seconds, wanted.rounds, wanted.seconds
    );
    page.push_str(COMMANDS);
    page.push_str("\n## Limits by the clock\n\nWhat clients get of a service swings by a quarter here, more than a seal costs: its limits are those of the counted instructions, above.\n\n| what | measured | limit | |\n|---|---|---|---|\n");
    for (what, spread, limit, holds) in figures.iter().flat_map(Figure::verdicts) {
        let word = if holds { "kept" } else { "**missed**" };
        let _ = writeln!(page, "| {what} | {} | {limit} | {word} |", spread.text());
    }
    page.push_str("\n## Figures\n");
    for figure in figures {
        let _ = write!(
            page,
            "\n### {}\n\n![{0}]({DIRECTORY}/{}.svg)\n\n| set-up | {} | beside {} |\n|---|---|---|\n",
            figure.name,
            file_name(figure),
            figure.unit,
            figure.base()
        );
        for (name, runs) in &figure.columns {
            let spread = Spread::of(runs).map(|s| s.text()).unwrap_or_default();
            let ratio = Spread::of(&figure.ratios(name, figure.base()));
            let ratio = ratio.filter(|_| name != figure.base());
            let ratio = ratio.map(|s| s.text()).unwrap_or_default();
            let _ = writeln!(page, "| {name} | {spread} | {ratio} |");
        }
    }
    page
}

const COMMANDS: &str = "\
The loads, from a network namespace behind a veth to a container on a Docker bridge, client and server on a processor each:\n\n\
- what is compared runs one after the other, in every second round in the other order; bulk, and \
requests of 32 clients, twice as many rounds\n\
- one request at a time: client and server on one processor, the tenth percentile of 50 runs; three times as many rounds\n\
- requests: `wrk -t1 -c32 --latency http://…:5060/`, nginx with one worker; with \
`-H 'Connection: close'` for connections of their own\n\
- bulk: `iperf3 -c … -R`, with `-N -l 128` for small writes\n\
- refused calls: the median of 2,000 in one process; what is dropped in silence is given up after \
one second, once\n\
- programs: the kernel's statistics (`BPF_ENABLE_STATS`), which add their own clock to each run\n\n\
Set-ups: *unsealed*, nothing at all; *sealed*, the container is sealed; *bystander*, another one \
is; *allowing*, programs that do nothing on the cgroup hooks that packets pass, which is what the \
kernel takes for calling any; *iptables*, a rule in `DOCKER-USER` that drops what is no reply; *nftables*, the same as a \
chain of its own. `IPAddressDeny=` needs the container's cgroup in systemd's hands and was not \
run; an `--internal` network publishes no port.\n";

/// For the terminal: a line for each limit.
pub(crate) fn summary(figures: &[Figure]) -> String {
    let mut text = String::new();
    for (what, spread, limit, holds) in figures.iter().flat_map(Figure::verdicts) {
        let word = if holds { "kept  " } else { "MISSED" };
        let _ = writeln!(text, "{word} {what}: {} {limit}", short(spread.median));
    }
    text
}
