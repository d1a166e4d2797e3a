//! Names that are like one that is none.

/// How many are named.
const NEAR: usize = 5;

/// Those most like `wanted`, the nearest first. Pure.
pub fn near(wanted: &str, names: Vec<String>) -> Vec<String> {
    let mut ranked: Vec<_> = names
        .into_iter()
        .map(|name| (distance(wanted, &name), name))
        .collect();
    ranked.sort();
    ranked
        .into_iter()
        .take(NEAR)
        .map(|(_, name)| name)
        .collect()
}

/// The one of `names` that is meant by `word`, which differs by two characters at most, or by one
/// if it is short. Pure.
pub fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = if word.len() < 4 { 1 } else { 2 };
    let near = |name: &&str| word.len().abs_diff(name.len()) <= most && edits(word, name) <= most;
    names
        .into_iter()
        .filter(near)
        .min_by_key(|n| edits(word, n))
}

/// How many characters are to be put in, taken out or changed; none for what one only adds
/// to the other.
fn distance(a: &str, b: &str) -> usize {
    if !a.is_empty() && (b.contains(a) || a.contains(b)) {
        return 0;
    }
    edits(a, b)
}

/// The same, whatever contains what.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, one) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = before + usize::from(one != *other);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_first() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
        let found = near("nginz.service", names(&["ssh.service", "nginx.service"]));
        assert_eq!(found[0], "nginx.service");
        let found = near("nginx", names(&["a", "b", "nginx.service"]));
        assert_eq!(found[0], "nginx.service");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
