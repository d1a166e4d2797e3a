//! Tests of `found`.

use super::*;

#[test]
fn a_path_is_named_in_many_ways() {
    let root = Path::new("/sys/fs/cgroup/unified");
    for text in [
        "/system.slice/x.service",
        "system.slice/x.service/",
        "cgroup:/system.slice/x.service",
        "/sys/fs/cgroup/unified/system.slice//x.service",
    ] {
        let path = path_of(root, text).unwrap();
        assert_eq!(path, "/system.slice/x.service", "{text}");
    }
    for text in ["", "/", "/sys/fs/cgroup/unified", "/a/../b", "./a"] {
        assert!(path_of(root, text).is_err(), "{text}");
    }
}

#[test]
fn another_of_the_same_name_is_found_where_something_runs() {
    let root = std::env::temp_dir().join(format!("airgap-elsewhere-{}", std::process::id()));
    for (dir, populated) in [
        ("a/x.service", 1),
        ("b/x.service", 0),
        ("user@7.service/y.service", 1),
    ] {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).unwrap();
        let events = format!("populated {populated}\nfrozen 0\n");
        fs::write(dir.join("cgroup.events"), events).unwrap();
    }
    let found = |path| elsewhere(&root, path);
    assert_eq!(found("/b/x.service").as_deref(), Some("/a/x.service"));
    assert_eq!(found("/a/x.service"), None, "nothing runs in the other");
    assert_eq!(found("/c/y.service"), None, "a user's own");
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn what_is_within_is_told_from_what_is_called_alike() {
    let path = "/a.slice/x.service";
    assert!(is_within(path, path) && is_within("/a.slice/x.service/y", path));
    assert!(!is_within("/a.slice/x.service2", path) && !is_within("/a.slice", path));
}

#[test]
fn others_have_seals_of_their_own() {
    let id = "0123456789abcdef".repeat(4);
    for (path, said) in [
        (format!("/docker/{id}"), "the container 0123456789ab"),
        (
            format!("/system.slice/docker-{id}.scope/x"),
            "the container",
        ),
        ("/airgap/x".to_owned(), "airgap exec"),
        ("/docker".to_owned(), "an engine"),
        ("/machine.slice/x.scope".to_owned(), "an engine"),
    ] {
        let refused = refuse_others(&path).unwrap_err();
        assert!(refused.message.contains(said), "{refused}");
    }
    assert!(refuse_others("/system.slice/airgap-watch.service").is_ok());
}
