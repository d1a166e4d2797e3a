//! What makes `airgap hook` known to Podman (oci-hooks(5)).

use super::PODMAN;

/// Where Podman looks unless its `hooks_dir` says otherwise (containers.conf(5)), below the
/// root; not below /etc.
pub(super) const HOOK: &str = "usr/share/containers/oci/hooks.d/50-airgap.json";

/// Podman has the runtime run it for what has the annotation, before the program and after its
/// end. What is nearly the annotation counts, as with labels: `airgap hook` reads it.
pub(super) fn hook(binary: &str, state: &str) -> String {
    let hook = serde_json::json!({
        "version": "1.0.0",
        "hook": {
            "path": binary,
            "args": ["airgap", "--host", PODMAN, "--state-dir", state, "hook"],
        },
        "when": { "annotations": { "(?i)^airgap.?seal$": "" } },
        "stages": ["createRuntime", "poststop"],
    });
    format!("{hook:#}\n")
}

#[cfg(test)]
mod tests {
    use super::hook;
    use serde_json::Value;

    #[test]
    fn names_the_annotation_and_both_stages() {
        let text = hook("/usr/bin/airgap", "/var/lib/airgap");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["hook"]["args"][4], "/var/lib/airgap");
        assert_eq!(json["when"]["annotations"]["(?i)^airgap.?seal$"], "");
        assert_eq!(json["stages"].as_array().map(Vec::len), Some(2));
    }
}
