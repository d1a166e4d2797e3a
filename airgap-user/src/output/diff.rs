//! A unified diff, for files of a few dozen lines. Pure.

/// What turns `old` into `new`, with all lines as context; `None`: no file.
pub(super) fn unified(path: &str, old: Option<&str>, new: Option<&str>) -> String {
    let name = |side: &str, file: Option<&str>| match file {
        Some(_) => format!("{side} {path}\n"),
        None => format!("{side} /dev/null\n"),
    };
    let (old_lines, new_lines) = (lines(old), lines(new));
    let range = |lines: &[&str]| match lines.len() {
        0 => "0,0".to_owned(),
        n => format!("1,{n}"),
    };
    let mut out = name("---", old) + &name("+++", new);
    out += &format!("@@ -{} +{} @@\n", range(&old_lines), range(&new_lines));
    for (sign, line) in edits(&old_lines, &new_lines) {
        out.push(sign);
        out += line;
        out.push('\n');
    }
    out
}

fn lines(file: Option<&str>) -> Vec<&str> {
    file.map_or_else(Vec::new, |text| text.lines().collect())
}

/// By the longest common subsequence.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            out.push(('-', old[i]));
            i += 1;
        } else {
            out.push(('+', new[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn shows_what_changes() {
        assert_eq!(
            unified("/f", Some("a\nb\nc\n"), Some("a\nx\nc\nd\n")),
            "--- /f\n+++ /f\n@@ -1,3 +1,4 @@\n a\n-b\n+x\n c\n+d\n"
        );
        assert_eq!(
            unified("/f", None, Some("a\n")),
            "--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n"
        );
        assert_eq!(
            unified("/f", Some("a\n"), None),
            "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"
        );
    }
}
