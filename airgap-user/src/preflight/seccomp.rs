//! What a seccomp profile of the user's own lets through that leads around a seal.

use serde::Deserialize;

/// A profile as engines take it (JSON, as in moby's `profiles/seccomp`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    #[serde(default)]
    syscalls: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    names: Option<Vec<String>>,
    /// An older form.
    #[serde(default)]
    name: Option<String>,
    action: String,
    #[serde(default)]
    args: Option<Vec<serde_json::Value>>,
    #[serde(default)]
    includes: Option<Condition>,
}

#[derive(Deserialize, Default)]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
}

/// What `--security-opt` says of seccomp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// The engine's own profile, with which it is fine.
    Default,
    /// None.
    Unconfined,
    /// One of the user's: what it lets through, in words; empty: nothing of concern.
    Own {
        /// Kernel keys: the kernel runs a program of the host's for them.
        keys: Option<String>,
        /// User namespaces.
        namespaces: Option<String>,
    },
    /// One that cannot be read.
    Unknown,
}

/// Reads the engine's words. Pure, but for a profile that is named by its path.
pub(super) fn filter(options: &[String]) -> Filter {
    let value = options.iter().rev().find_map(|option| {
        let rest = option.strip_prefix("seccomp")?;
        rest.strip_prefix(['=', ':'])
    });
    match value.map(str::trim) {
        None | Some("" | "builtin" | "default") => Filter::Default,
        Some("unconfined") => Filter::Unconfined,
        Some(json) if json.starts_with('{') => own(json),
        // Podman names the file.
        Some(path) => std::fs::read_to_string(path).map_or(Filter::Unknown, |json| own(&json)),
    }
}

fn own(json: &str) -> Filter {
    let Ok(profile) = serde_json::from_str::<Profile>(json) else {
        return Filter::Unknown;
    };
    let first = |calls: &[&'static str]| {
        let call = calls.iter().find(|call| profile.lets_through(call))?;
        Some((*call).to_owned())
    };
    Filter::Own {
        keys: first(&["request_key", "add_key", "keyctl"]),
        namespaces: first(&["unshare", "clone", "clone3"]),
    }
}

impl Profile {
    /// Whether a call may pass whatever its arguments are, without a capability that
    /// would be refused anyhow.
    fn lets_through(&self, call: &str) -> bool {
        let allows = |action: &str| {
            matches!(
                action,
                "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE" | "SCMP_ACT_NOTIFY"
            )
        };
        let names = |group: &Group| {
            let listed = group.names.iter().flatten().any(|name| name == call);
            listed || group.name.as_deref() == Some(call)
        };
        let groups = self.syscalls.iter().flatten().filter(|group| names(group));
        let mut allowed = allows(&self.default_action);
        for group in groups {
            let narrow = group.args.as_ref().is_some_and(|args| !args.is_empty());
            let with = group.includes.as_ref().and_then(|c| c.caps.as_ref());
            let conditional = with.is_some_and(|caps| !caps.is_empty());
            match allows(&group.action) {
                true if !narrow && !conditional => allowed = true,
                // Denied for all arguments.
                false if !narrow && !conditional => return false,
                _ => {}
            }
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(option: &str) -> Filter {
        filter(&["no-new-privileges".into(), option.into()])
    }

    #[test]
    fn reads_the_options() {
        assert_eq!(filter(&[]), Filter::Default);
        for (text, filter) in [
            ("seccomp=unconfined", Filter::Unconfined),
            ("seccomp:unconfined", Filter::Unconfined),
            ("seccomp=builtin", Filter::Default),
            ("seccomp={", Filter::Unknown),
            ("seccomp=/none/profile.json", Filter::Unknown),
            ("apparmor=unconfined", Filter::Default),
        ] {
            assert_eq!(of(text), filter, "{text}");
        }
    }

    #[test]
    fn knows_what_a_profile_lets_through() {
        let profile = |json: &str| match of(&format!("seccomp={json}")) {
            Filter::Own { keys, namespaces } => (keys.is_some(), namespaces.is_some()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#),
            (true, true)
        );
        assert_eq!(
            profile(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#),
            (false, false)
        );
        let denied = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ERRNO",
            "names":["add_key","keyctl","request_key","unshare","clone","clone3"]}]}"#;
        assert_eq!(profile(denied), (false, false));
        let conditional = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["unshare","clone3"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
        assert_eq!(profile(conditional), (false, false));
        let older = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"keyctl","action":"SCMP_ACT_ALLOW","args":[]}]}"#;
        assert_eq!(profile(older), (true, false));
    }

    #[test]
    fn any_text_is_survived() {
        for text in [
            "{}",
            "[]",
            "{\"defaultAction\":1}",
            "{\"defaultAction\":\"x\",\"syscalls\":null}",
            "{\"defaultAction\":\"x\",\"syscalls\":[{}]}",
        ] {
            let _ = of(&format!("seccomp={text}"));
        }
    }
}
