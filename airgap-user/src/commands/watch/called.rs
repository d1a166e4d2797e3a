//! What Compose calls a container that it makes anew. Pure.
//!
//! It makes the new one beside the old one, as the beginning of the old one's id, `_` and the
//! name, and renames it when the old one is gone.

/// Digits of the id in such a name.
const DIGITS: usize = 12;
const PROJECT: &str = "com.docker.compose.project";

/// The name that a container gets for good, if this is one of Compose's for a while.
fn for_good(name: &str) -> Option<&str> {
    let (digits, rest) = name.split_once('_')?;
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == DIGITS && digits.bytes().all(is_hex) && !rest.is_empty()).then_some(rest)
}

/// What a container is to be called in the log: by its labels Compose made it, or not.
pub(super) fn called<'a, V>(
    name: &'a str,
    labels: &std::collections::HashMap<String, V>,
) -> &'a str {
    match labels.contains_key(PROJECT) {
        true => for_good(name).unwrap_or(name),
        false => name,
    }
}

/// Whether what is recorded is the name for a while of what is called `now`.
pub(super) fn is_old_name(recorded: &str, now: &str) -> bool {
    recorded != now && for_good(recorded) == Some(now)
}

#[cfg(test)]
mod tests {
    use super::{PROJECT, called, is_old_name};
    use std::collections::HashMap;

    #[test]
    fn a_name_for_a_while_is_told_from_others() {
        let by_compose = HashMap::from([(PROJECT.to_owned(), "shop")]);
        let by_hand: HashMap<String, &str> = HashMap::new();
        let name = "0123456789ab_shop-web-1";
        assert_eq!(called(name, &by_compose), "shop-web-1");
        assert_eq!(called(name, &by_hand), name);
        for other in [
            "shop-web-1",
            "0123456789ab_",
            "0123456789a_web",
            "0123456789AB_web",
        ] {
            assert_eq!(called(other, &by_compose), other);
        }
        assert!(is_old_name(name, "shop-web-1"));
        assert!(!is_old_name(name, name) && !is_old_name("web", "web-old"));
        assert!(!is_old_name(name, "shop-db-1"));
    }
}
