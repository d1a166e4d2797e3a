//! Words as a shell takes them.

use std::borrow::Cow;

/// A word as it is where a shell reads nothing into it, else in quotes. Pure.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', "'\\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn what_a_shell_reads_something_into_is_quoted() {
        for plain in ["attach", "--unit", "web.service", "198.51.100.0/24:443"] {
            assert_eq!(shell_word(plain), plain);
        }
        assert_eq!(shell_word("a\\x2db.service"), "'a\\x2db.service'");
        assert_eq!(shell_word("it's; id"), "'it'\\''s; id'");
        assert_eq!(shell_word(""), "''");
    }
}
