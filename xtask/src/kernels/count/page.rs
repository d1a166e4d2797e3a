//! The tables of `docs/PERFORMANCE.md`.

use std::fmt::Write as _;

use super::{figures::Figures, limits};

/// Set-ups, as the columns are called; the first is the base of comparison.
const SETUPS: [(&str, &str); 8] = [
    ("unsealed", "unsealed"),
    ("allowing", "only allowing"),
    ("sealed", "sealed"),
    ("from", "sealed, `--from`"),
    ("beside", "bystander, same parent"),
    ("elsewhere", "bystander elsewhere"),
    ("iptables", "iptables"),
    ("nftables", "nftables"),
];

const OPERATIONS: [(&str, &str); 11] = [
    ("kept", "request, kept connection, 1 KiB"),
    ("fresh-client", "fresh connection, client closes"),
    ("fresh-server", "fresh connection, server closes"),
    ("large", "request, kept connection, 64 KiB"),
    ("small", "write of 128 bytes"),
    ("udp", "datagram and echo"),
    ("connect", "`connect` outwards"),
    ("send", "`sendto` outwards"),
    ("socket", "`socket` and `close`"),
    ("loop-kept", "ping-pong over loopback"),
    ("loop-fresh", "connection over loopback"),
];

/// Seeds that differ by more do not agree.
const AGREE: f64 = 0.005;

const HEAD: &str = "\
## Counted instructions

Counted in an emulated machine with one processor, whose clock is that processor's instructions: \
client, forwarding host and server together, in user and kernel mode. Two boots, with other random \
numbers; the lesser count. Each cell: instructions for one operation, how many more that are than \
unsealed, and unsealed divided by it (1 is best). *Only allowing* are two programs that do nothing \
on the hooks that packets pass: no gate there can cost less. Refused calls are cheaper than allowed \
ones because nothing is sent. iptables and nftables: replies and requests of the service port by \
`ct state`. Instructions are not time: what waits for memory counts the same.
";

const LIMITS: &str = "\
Unsealed divided by the set-up, more is better; the last column is what programs that do nothing \
on the same hooks leave, which no gate there can reach.

";

/// `all`: how a kernel was booted, and what both seeds counted.
pub(super) fn text(release: &str, all: &[(&str, [Figures; 2])]) -> String {
    let mut text = HEAD.to_owned();
    if let Some((_, seeds)) = all.first() {
        let _ = write!(
            text,
            "\n### Limits, over IPv4, on the first of these\n\n{LIMITS}"
        );
        text.push_str(&limits::table(seeds));
    }
    for (boot, seeds) in all {
        let lsm = if boot.ends_with("-nolsm") {
            "without BPF LSM: hooks by fmod_ret"
        } else {
            "with BPF LSM"
        };
        for family in [4, 6] {
            let _ = write!(
                text,
                "\n### IPv{family}, {lsm} ({release})\n\n| operation |"
            );
            let present: Vec<_> = SETUPS
                .iter()
                .filter(|(setup, _)| {
                    seeds[0]
                        .iter()
                        .any(|((s, _, f), _)| s == setup && *f == family)
                })
                .collect();
            for (_, title) in &present {
                let _ = write!(text, " {title} |");
            }
            let _ = writeln!(text, "\n|---{}", "|---".repeat(present.len()) + "|");
            for (operation, title) in OPERATIONS {
                let _ = write!(text, "| {title} |");
                for (setup, _) in &present {
                    let _ = write!(text, " {} |", cell(seeds, setup, operation, family));
                }
                text.push('\n');
            }
        }
    }
    text
}

fn cell(seeds: &[Figures; 2], setup: &str, operation: &str, family: u8) -> String {
    let least = |setup: &str| {
        let [a, b] = [0, 1].map(|seed: usize| seeds[seed].get(setup, operation, family));
        Some((a?.min(b?), (a? - b?).abs() / a?.min(b?)))
    };
    let Some((count, apart)) = least(setup) else {
        return "–".to_owned();
    };
    let mut cell = thousands(count);
    if setup != SETUPS[0].0
        && let Some((base, _)) = least(SETUPS[0].0)
    {
        let sign = if count < base { '-' } else { '+' };
        let _ = write!(
            cell,
            " ({sign}{}, {:.3})",
            thousands((count - base).abs()),
            base / count
        );
    }
    if apart > AGREE {
        let _ = write!(cell, " *does not repeat: {:.1} %*", apart * 100.0);
    }
    cell
}

fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_how_much_more_and_whether_it_repeats() {
        let figures = |sealed: u32| {
            let text = format!("count: unsealed|kept|4|900\ncount: sealed|kept|4|{sealed}\n");
            Figures::parse(&text).expect("figures")
        };
        let seeds = [figures(1002), figures(1000)];
        assert_eq!(cell(&seeds, "sealed", "kept", 4), "1,000 (+100, 0.900)");
        assert_eq!(cell(&seeds, "unsealed", "kept", 4), "900");
        assert_eq!(cell(&seeds, "sealed", "kept", 6), "–");
        let seeds = [figures(1010), figures(1000)];
        assert!(cell(&seeds, "sealed", "kept", 4).ends_with("*does not repeat: 1.0 %*"));
        let page = text("6.12.1", &[("6.12", seeds)]);
        assert!(
            page.contains("| operation | unsealed | sealed |\n|---|---|---|\n"),
            "{page}"
        );
        assert_eq!(thousands(1_234_567.4), "1,234,567");
    }
}
