//! What the project holds its own counts against.

use std::fmt::Write as _;

use super::figures::Figures;

/// What is held against a limit: unsealed divided by the set-up, or the instructions themselves.
#[derive(Clone, Copy)]
enum Limit {
    /// At least this part of unsealed.
    Ratio(f64),
    /// At most so much less of unsealed than the sealed set-up without `--from`.
    BelowSealed(f64),
    /// At most so many instructions.
    Instructions(f64),
}

const LIMITS: [(&str, &str, &str, Limit); 16] = [
    (
        "kept connection, sealed",
        "sealed",
        "kept",
        Limit::Ratio(0.955),
    ),
    (
        "fresh connection, client closes, sealed",
        "sealed",
        "fresh-client",
        Limit::Ratio(0.94),
    ),
    (
        "fresh connection, server closes, sealed",
        "sealed",
        "fresh-server",
        Limit::Ratio(0.94),
    ),
    (
        "kept connection, `--from`",
        "from",
        "kept",
        Limit::BelowSealed(0.005),
    ),
    (
        "fresh connection, client closes, `--from`",
        "from",
        "fresh-client",
        Limit::Ratio(0.925),
    ),
    (
        "fresh connection, server closes, `--from`",
        "from",
        "fresh-server",
        Limit::Ratio(0.925),
    ),
    (
        "64 KiB reply, sealed",
        "sealed",
        "large",
        Limit::Ratio(0.965),
    ),
    (
        "write of 128 bytes, sealed",
        "sealed",
        "small",
        Limit::Ratio(0.92),
    ),
    (
        "`socket` and `close`, sealed",
        "sealed",
        "socket",
        Limit::Ratio(0.87),
    ),
    (
        "ping-pong over loopback, sealed",
        "sealed",
        "loop-kept",
        Limit::Ratio(0.92),
    ),
    (
        "connection over loopback, sealed",
        "sealed",
        "loop-fresh",
        Limit::Ratio(0.85),
    ),
    (
        "kept connection, bystander elsewhere",
        "elsewhere",
        "kept",
        Limit::Ratio(0.985),
    ),
    (
        "kept connection, bystander below the same parent",
        "beside",
        "kept",
        Limit::Ratio(0.96),
    ),
    (
        "fresh connection, bystander elsewhere",
        "elsewhere",
        "fresh-client",
        Limit::Ratio(0.98),
    ),
    (
        "refused `connect`",
        "sealed",
        "connect",
        Limit::Instructions(9_000.0),
    ),
    (
        "refused `sendto`",
        "sealed",
        "send",
        Limit::Instructions(3_500.0),
    ),
];

/// Where iptables and nftables are compared: what a service answers.
const REPLIES: [&str; 5] = ["kept", "fresh-client", "fresh-server", "large", "small"];

/// A table of one boot's counts over IPv4, beside what programs that do nothing take there.
pub(super) fn table(seeds: &[Figures; 2]) -> String {
    let least = |setup: &str, operation: &str| {
        let [a, b] = [0, 1].map(|seed: usize| seeds[seed].get(setup, operation, 4));
        Some(a?.min(b?))
    };
    let ratio = |setup: &str, operation: &str| {
        Some(least("unsealed", operation)? / least(setup, operation)?)
    };
    let mut text =
        String::from("| what | counted | limit | | only allowing |\n|---|---|---|---|---|\n");
    let mut row = |what: &str, counted: String, limit: String, holds: bool, least: Option<f64>| {
        let word = if holds { "kept" } else { "**missed**" };
        let least = least.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}"));
        let _ = writeln!(text, "| {what} | {counted} | {limit} | {word} | {least} |");
    };
    for (what, setup, operation, limit) in LIMITS {
        let (Some(count), Some(of)) = (least(setup, operation), ratio(setup, operation)) else {
            continue;
        };
        let allowing = ratio("allowing", operation);
        match limit {
            Limit::Ratio(limit) => {
                row(
                    what,
                    format!("{of:.3}"),
                    format!("≥ {limit}"),
                    of >= limit,
                    allowing,
                );
            }
            Limit::BelowSealed(limit) => {
                let Some(sealed) = ratio("sealed", operation) else {
                    continue;
                };
                let text = format!("sealed − {limit}");
                row(
                    what,
                    format!("{of:.3}"),
                    text,
                    of >= sealed - limit,
                    allowing,
                );
            }
            Limit::Instructions(limit) => {
                let text = format!("≤ {limit:.0} instructions");
                row(what, format!("{count:.0}"), text, count <= limit, None);
            }
        }
    }
    for (other, title) in [("iptables", "iptables"), ("nftables", "nftables")] {
        let ahead = REPLIES
            .iter()
            .filter_map(|operation| Some(least("sealed", operation)? <= least(other, operation)?));
        let ahead: Vec<_> = ahead.collect();
        let count = ahead.iter().filter(|ahead| **ahead).count();
        if !ahead.is_empty() {
            row(
                &format!("replies that take no more, sealed, than with {title}"),
                format!("{count} of {}", ahead.len()),
                "all".to_owned(),
                count == ahead.len(),
                None,
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_held_against_the_lesser_count() {
        let figures = |sealed: u32, send: u32| {
            let text = format!(
                "count: unsealed|kept|4|955\ncount: sealed|kept|4|{sealed}\n\
                 count: allowing|kept|4|970\ncount: iptables|kept|4|990\n\
                 count: unsealed|send|4|9000\ncount: sealed|send|4|{send}\n"
            );
            Figures::parse(&text).expect("figures")
        };
        let text = table(&[figures(1000, 3501), figures(1001, 3502)]);
        assert!(
            text.contains("| kept connection, sealed | 0.955 | ≥ 0.955 | kept | 0.985 |"),
            "{text}"
        );
        assert!(
            text.contains("| refused `sendto` | 3501 | ≤ 3500 instructions | **missed** | – |"),
            "{text}"
        );
        assert!(
            text.contains("than with iptables | 0 of 1 | all | **missed** |"),
            "{text}"
        );
        assert!(!text.contains("nftables"), "{text}");
    }
}
