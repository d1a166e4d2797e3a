//! Text that is safe between tags.

use crate::notation::escape;

/// Text for a page: controls made visible, markup made text. Good between
/// tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let visible = escape(text);
    let mut out = String::with_capacity(visible.len() + 8);
    for c in visible.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
