//! Pages that a run writes its own part of, and leaves the others' as they are.

use std::collections::BTreeMap;

/// Parts by their place on the page, each without the `## ` before it.
pub(super) type Parts = BTreeMap<(usize, String), String>;

/// What a page has, part for part.
pub(super) fn parts(page: &str) -> Parts {
    page.split("\n## ")
        .skip(1)
        .filter_map(|part| {
            let (name, _) = part.split_once('\n')?;
            Some((order(name), part.trim_end().to_owned()))
        })
        .collect()
}

/// The whole page.
pub(super) fn whole(introduction: &str, parts: Parts) -> String {
    let parts: String = parts
        .into_values()
        .map(|part| format!("\n## {part}\n"))
        .collect();
    format!("{introduction}{parts}")
}

/// By suite, the oldest first.
pub(super) fn order(name: &str) -> (usize, String) {
    let suites = ["bookworm", "trixie", "sid"];
    let place = suites.iter().position(|suite| name.starts_with(suite));
    (place.unwrap_or(suites.len()), name.to_owned())
}
