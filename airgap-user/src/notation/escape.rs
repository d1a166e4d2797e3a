//! Strings that a container chose, made safe for a terminal and for lines.

use std::borrow::Cow;

/// Escapes control characters and those that change the direction of text
/// (`\n`, `\x1b`, `\u{202e}`, …).
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if is_dangerous(c) && (c as u32) < 0x100 => out += &format!("\\x{:02x}", c as u32),
            c if is_dangerous(c) => out += &format!("\\u{{{:x}}}", c as u32),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Controls, bidi controls (UAX #9), zero-width and line separators.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn leaves_ordinary_names_alone() {
        for name in ["curl", "nginx: worker", "pañuelo", "日本"] {
            assert_eq!(escape(name), name);
        }
    }

    #[test]
    fn a_terminal_cannot_be_driven() {
        assert_eq!(escape("a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(escape("a\nerror: b"), "a\\nerror: b");
        assert_eq!(escape("\u{9b}31m"), "\\x9b31m");
        assert_eq!(escape("exe\u{202e}fdp"), "exe\\u{202e}fdp");
    }
}
