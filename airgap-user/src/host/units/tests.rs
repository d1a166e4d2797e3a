//! Tests of `units`.

use super::*;

fn units(starters: &[&str], hosts: &[&str]) -> Vec<Unit> {
    let starters: Vec<_> = starters.iter().map(|s| (*s).to_owned()).collect();
    let (binary, state) = (
        Path::new("/usr/local/sbin/airgap"),
        Path::new("/var/lib/airgap"),
    );
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    all(binary, state, &starters, &hosts).unwrap()
}

fn text<'a>(units: &'a [Unit], path: &str) -> &'a str {
    let unit = units.iter().find(|unit| unit.path.ends_with(path));
    unit.unwrap_or_else(|| panic!("no {path}"))
        .content
        .as_deref()
        .unwrap()
}

#[test]
fn who_starts_containers_waits_for_the_restore() {
    let units = units(
        &[
            "snap.docker.dockerd.service",
            "docker.service",
            "web.service",
        ],
        &[],
    );
    for name in ["docker", "snap.docker.dockerd", "web", "podman-restart"] {
        let content = text(&units, &format!("{name}.service.d/airgap.conf"));
        assert!(content.contains("Requires=airgap-restore.service"));
        assert!(content.contains("After=airgap-restore.service"));
    }
    let restore = text(&units, RESTORE);
    assert!(restore.contains("Before=basic.target containerd.service docker.service"));
    assert!(restore.contains(" web.service\n"), "{restore}");
    assert_eq!(units.len(), 5 + 6);
}

#[test]
fn watch_asks_the_engine_that_was_named() {
    let units = units(&[], &["unix:///d", "unix:///run/podman/podman.sock"]);
    let watch = text(&units, WATCH);
    assert!(
        watch.contains("airgap --host unix:///d --host unix:///run/podman/podman.sock --state-dir"),
        "{watch}"
    );
    assert!(watch.contains("Wants=podman.socket\nAfter=podman.socket\n"));
    let keep = text(&units, KEEP);
    assert!(
        keep.contains("--state-dir /var/lib/airgap keep\n"),
        "{keep}"
    );
    for hosts in [&[][..], &["unix:///run/docker.sock"]] {
        let units = self::units(&[], hosts);
        assert!(!text(&units, WATCH).contains("podman.socket"), "{hosts:?}");
    }
}

#[test]
fn paths_that_mean_something_else_in_a_unit_are_refused() {
    for bad in ["/a b", "/a%h", "/a\nExecStart=/x", "/$x", "rel", "/é"] {
        assert!(
            all(Path::new(bad), Path::new("/s"), &[], &[]).is_err(),
            "{bad}"
        );
        assert!(
            all(Path::new("/b"), Path::new(bad), &[], &[]).is_err(),
            "{bad}"
        );
        let host = format!("unix://{bad}");
        assert!(
            all(Path::new("/b"), Path::new("/s"), &[], &[host]).is_err(),
            "{bad}"
        );
    }
    let odd = all(
        Path::new("/b"),
        Path::new("/s"),
        &["a\nb.service".into()],
        &[],
    )
    .unwrap();
    assert_eq!(odd.len(), 9);
}

#[test]
fn tells_how_the_restore_stands() {
    let root = std::env::temp_dir().join(format!("airgap-boot-{}", std::process::id()));
    let starters = ["own.service".to_owned()];
    assert_eq!(boot(&root, &starters), Boot::Missing);
    let dir = root.join(UNITS);
    fs::create_dir_all(dir.join("basic.target.wants")).unwrap();
    fs::write(root.join(RESTORE), "").unwrap();
    assert_eq!(boot(&root, &starters), Boot::Disabled);
    let link = dir.join("basic.target.wants").join(RESTORE_NAME);
    std::os::unix::fs::symlink("../airgap-restore.service", link).unwrap();
    assert_eq!(boot(&root, &starters), Boot::Unbound(starters.to_vec()));
    let own = root.join(drop_in_of("own.service"));
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, drop_in()).unwrap();
    assert_eq!(boot(&root, &starters), Boot::Ready);
    assert!(written(&root).contains(&drop_in_of("own.service")));
    fs::write(&own, "[Unit]\n").unwrap();
    assert_eq!(written(&root), [KEEP, NRI, RESTORE, WATCH, RULE, HOOK]);
    fs::remove_dir_all(root).unwrap();
}
