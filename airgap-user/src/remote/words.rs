//! The command line of another host, made of this one's. Pure.

/// Options of this host alone, each with a value.
const OWN: [&str; 2] = ["--hosts", "--ssh"];

/// The words after `airgap` without those that say which hosts are asked.
pub(super) fn forwarded(words: impl Iterator<Item = String>) -> Vec<String> {
    let (mut out, mut skip, mut options) = (Vec::new(), false, true);
    for word in words {
        if skip {
            skip = false;
            continue;
        }
        options &= word != "--";
        let (name, value) = word
            .split_once('=')
            .map_or((&*word, None), |(n, v)| (n, Some(v)));
        if options && OWN.contains(&name) {
            skip = value.is_none();
            continue;
        }
        out.push(word);
    }
    out
}

/// What the login shell of a host is told, whichever shell that is: airgap with these words,
/// as root, by sudo if need be.
pub(super) fn command(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    let words = words.join(" ");
    let script = format!(
        "if [ \"$(id -u)\" = 0 ]; then exec airgap {words}; else exec sudo -n airgap {words}; fi"
    );
    format!("exec sh -c {}", quoted(&script))
}

/// A word that a shell takes for nothing else (POSIX.1-2024, Shell Command Language, 2.2.2).
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Whether ssh takes it for a host, and not for an option, and it is one word.
pub(super) fn is_host(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> String {
        forwarded(line.split(' ').map(str::to_owned)).join(" ")
    }

    #[test]
    fn what_is_meant_for_this_host_stays_here() {
        for (line, wanted) in [
            ("list --hosts a,b", "list"),
            ("list --json --hosts=a,b --ssh rsh", "list --json"),
            ("--hosts a status web", "status web"),
            (
                "--state-dir /s status --ssh=x --explain web",
                "--state-dir /s status --explain web",
            ),
            // What comes after is a container's name.
            ("status --hosts a -- --hosts", "status -- --hosts"),
            ("report --since 1h web --hosts a", "report --since 1h web"),
        ] {
            assert_eq!(of(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_name_is_a_word_for_whatever_shell() {
        let said = command(&["status".into(), "we'b; reboot $(x)".into()]);
        // A shell in the place of the login shell, and of airgap a program that says its words.
        let dir = std::env::temp_dir().join(format!("airgap-words-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("mkdir");
        for (name, script) in [("airgap", "printf '%s|' \"$@\""), ("id", "echo 0")] {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("chmod");
        }
        let path = format!("{}:/usr/bin:/bin", dir.display());
        let mut shell = std::process::Command::new("sh");
        let out = shell
            .args(["-c", &said])
            .env("PATH", path)
            .output()
            .expect("sh");
        std::fs::remove_dir_all(&dir).expect("remove");
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            "status|we'b; reboot $(x)|"
        );
    }

    #[test]
    fn an_option_or_a_blank_is_no_host() {
        for good in ["a", "root@a.example", "192.0.2.7", "[2001:db8::7]"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a\n"] {
            assert!(!is_host(bad), "{bad:?}");
        }
    }
}
