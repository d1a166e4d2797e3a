//! Names of units, and where their cgroups are (systemd.unit(5), systemd.slice(5)). Pure.

use crate::failure::{Failure, exit};

/// Units that have a cgroup that can be sealed.
const KINDS: [&str; 3] = [".service", ".scope", ".slice"];
/// The others.
const OTHERS: [&str; 8] = [
    ".socket",
    ".target",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
    ".device",
];
/// `UNIT_NAME_MAX` (src/basic/unit-name.h).
const LONGEST: usize = 255;
/// What systemd keeps the name of a cgroup apart from, by an underscore before it
/// (`cg_needs_escape`, src/basic/cgroup-util.c, v252 to v257): files of the kernel's.
const RESERVED: [&str; 3] = ["notify_on_release", "release_agent", "tasks"];
/// The same where a dot follows.
const CONTROLLERS: [&str; 15] = [
    "cgroup",
    "cpu",
    "cpuacct",
    "cpuset",
    "io",
    "blkio",
    "memory",
    "devices",
    "pids",
    "bpf-firewall",
    "bpf-devices",
    "bpf-foreign",
    "bpf-socket-bind",
    "bpf-restrict-network-interfaces",
    "bpf-bind-network-interface",
];

/// The whole name of a unit: what has no suffix is a service, or a slice where one is meant.
///
/// # Errors
/// If it is no name, or that of a unit without a cgroup that can be sealed.
pub fn whole(text: &str, slice: bool) -> Result<String, Failure> {
    let usage = |what: String, hint: String| Failure::new(what, hint).with_code(exit::USAGE);
    let word = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || text.len() > LONGEST || !text.chars().all(word) || text.starts_with('@') {
        return Err(usage(
            format!("'{text}' is no name of a unit"),
            "systemctl list-units says what there is; systemd-escape writes what has other characters".into(),
        ));
    }
    if let Some(suffix) = OTHERS.iter().find(|suffix| text.ends_with(*suffix)) {
        return Err(usage(
            format!(
                "{text} has no processes that could be sealed: it is a {}",
                &suffix[1..]
            ),
            "name the service that it starts".into(),
        ));
    }
    let name = match (KINDS.iter().find(|suffix| text.ends_with(*suffix)), slice) {
        (Some(suffix), true) if *suffix != ".slice" => {
            let what = format!("{text} is no slice");
            return Err(usage(what, format!("airgap attach --unit {text}")));
        }
        (Some(_), _) => text.to_owned(),
        (None, true) => format!("{text}.slice"),
        (None, false) => format!("{text}.service"),
    };
    if name.contains("@.") {
        return Err(usage(
            format!("{name} is a template: it has no processes, its instances have"),
            format!("name one: {}", name.replace("@.", "@INSTANCE.")),
        ));
    }
    Ok(name)
}

/// The path of a unit's cgroup that lies in this slice; for a slice, its own. `None`: the
/// slice's name is none.
pub fn path(unit: &str, slice: &str) -> Option<String> {
    if unit.ends_with(".slice") {
        return slice_path(unit);
    }
    Some(format!("{}/{}", slice_path(slice)?, directory(unit)))
}

/// `a-b.slice` lies in `a.slice`; the root of all is `-.slice`.
fn slice_path(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".slice")?;
    if stem == "-" {
        return Some(String::new());
    }
    let mut path = String::new();
    let mut prefix = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return None;
        }
        if !prefix.is_empty() {
            prefix.push('-');
        }
        prefix.push_str(part);
        path.push('/');
        path.push_str(&directory(&format!("{prefix}.slice")));
    }
    Some(path)
}

/// What a unit's directory is called.
fn directory(name: &str) -> String {
    let controls = |word: &&str| {
        let rest = name.strip_prefix(*word);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let apart = name.starts_with(['_', '.'])
        || RESERVED.contains(&name)
        || CONTROLLERS.iter().any(controls);
    let underscore = if apart { "_" } else { "" };
    format!("{underscore}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_a_service() {
        for (text, slice, name) in [
            ("nginx", false, "nginx.service"),
            ("nginx.service", false, "nginx.service"),
            ("session-1.scope", false, "session-1.scope"),
            ("app", true, "app.slice"),
            ("app.slice", true, "app.slice"),
            ("app.slice", false, "app.slice"),
            ("web@a-b", false, "web@a-b.service"),
            ("a\\x2db.v2", false, "a\\x2db.v2.service"),
        ] {
            assert_eq!(whole(text, slice).unwrap(), name);
        }
        for (text, slice, said) in [
            ("", false, "no name"),
            ("a b", false, "no name"),
            ("ngin*", false, "no name"),
            ("../x", false, "no name"),
            ("nginx.socket", false, "name the service"),
            ("nginx.service", true, "--unit nginx.service"),
            ("web@.service", false, "web@INSTANCE.service"),
            ("web@", false, "web@INSTANCE.service"),
        ] {
            let refused = whole(text, slice).unwrap_err();
            let all = format!("{refused} {}", refused.hint.clone().unwrap_or_default());
            assert!(all.contains(said), "{text}: {all}");
            assert_eq!(refused.code, exit::USAGE);
        }
    }

    /// As systemd 257 has them, in a machine.
    #[test]
    fn paths_are_systemds() {
        for (unit, slice, at) in [
            (
                "nginx.service",
                "system.slice",
                "/system.slice/nginx.service",
            ),
            (
                "memory.service",
                "a-b-c.slice",
                "/a.slice/a-b.slice/a-b-c.slice/_memory.service",
            ),
            (
                "_odd.service",
                "a-b-c.slice",
                "/a.slice/a-b.slice/a-b-c.slice/__odd.service",
            ),
            (
                "foo-bar@a-b.service",
                "system-foo\\x2dbar.slice",
                "/system.slice/system-foo\\x2dbar.slice/foo-bar@a-b.service",
            ),
            ("init.scope", "-.slice", "/init.scope"),
            ("app-x.slice", "app.slice", "/app.slice/app-x.slice"),
            (
                "memoryless.service",
                "system.slice",
                "/system.slice/memoryless.service",
            ),
        ] {
            assert_eq!(path(unit, slice).as_deref(), Some(at), "{unit}");
        }
        assert_eq!(path("-.slice", "").as_deref(), Some(""));
        for slice in ["a--b.slice", "-a.slice", "a-.slice", "x", ""] {
            assert_eq!(path("x.service", slice), None, "{slice}");
        }
    }
}
