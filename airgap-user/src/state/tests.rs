use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::{Entry, Origin, Own, Record, State};
use crate::{gate::Lock, policy::Rules};

/// A directory of one test's own, removed with it. Writing needs the gate's
/// lock and directories of root: elsewhere there is nothing to test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Option<(Self, Lock)> {
        let Ok(lock) = Lock::take() else {
            eprintln!("SKIPPED: not root");
            return None;
        };
        let dir = std::env::temp_dir().join(format!("airgap-state-{name}-{}", std::process::id()));
        Some((Self(dir), lock))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record(digit: &str, name: &str) -> Record {
    Record {
        id: digit.repeat(64),
        name: name.into(),
        engine: "unix:///run/x.sock".into(),
        rules: Rules::new(vec![], vec![]).unwrap(),
        accepted: 0,
        since: 7,
        by: Origin::Operator,
        withdrawn: vec![],
        by_hand: 0,
        cgroup: None,
    }
}

#[test]
fn keeps_records_for_root_only_and_forgets_them() {
    let Some((dir, lock)) = Dir::new("keeps") else {
        return;
    };
    let state = State::at(&dir.0);
    assert!(!state.is_prepared().unwrap());
    assert!(state.entries().unwrap().is_empty());
    let web = record("a", "web");
    state.write(&web, &lock).unwrap();
    state.write(&record("b", "db"), &lock).unwrap();
    assert!(state.is_prepared().unwrap());
    let file = dir.0.join("seals").join(format!("{}.json", web.id));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dir.0)), (0o600, 0o700));
    assert_eq!(state.entries().unwrap().len(), 2);
    assert!(matches!(state.find("aaa").unwrap(), Some(Entry::Known(r)) if r == web));
    assert!(state.find("cc").unwrap().is_none() && state.find("").unwrap().is_none());
    state.remove([web.id.as_str()], &lock).unwrap();
    assert!(state.entry(&web.id).is_none());
    state.remove([web.id.as_str()], &lock).unwrap();
    assert!(state.entry(&web.id).is_none());
    // Empty, and not the same as gone.
    state.remove(["b".repeat(64).as_str()], &lock).unwrap();
    assert!(state.is_prepared().unwrap());
}

#[test]
fn a_file_that_cannot_be_read_still_names_its_container() {
    let Some((dir, lock)) = Dir::new("corrupt") else {
        return;
    };
    let state = State::at(&dir.0);
    let web = record("a", "web");
    state.write(&web, &lock).unwrap();
    let earlier = state.raw(&web.id).unwrap();
    let file = dir.0.join("seals").join(format!("{}.json", web.id));
    fs::write(&file, b"{\"version\":1").unwrap();
    let unreadable = |e: &Entry| matches!(e, Entry::Unreadable { id, .. } if *id == web.id);
    assert!(state.entries().unwrap().iter().all(unreadable));
    // A crash in the middle of a write leaves the record as it was.
    fs::write(dir.0.join("seals").join(".x.json.new"), b"{").unwrap();
    assert_eq!(state.entries().unwrap().len(), 1);
    state.put_back(&web.id, earlier.as_deref(), &lock).unwrap();
    assert!(matches!(state.entry(&web.id), Some(Entry::Known(r)) if r == web));
    state.put_back(&web.id, None, &lock).unwrap();
    assert!(state.entry(&web.id).is_none());
}

#[test]
fn a_newer_version_is_never_taken_for_empty() {
    let Some((dir, lock)) = Dir::new("newer") else {
        return;
    };
    let state = State::at(&dir.0);
    state.write(&record("a", "web"), &lock).unwrap();
    fs::write(dir.0.join("version"), b"2\n").unwrap();
    assert!(state.is_prepared().is_err());
    assert!(state.write(&record("b", "db"), &lock).is_err());
    let entries = state.entries().unwrap();
    assert!(matches!(entries.as_slice(), [Entry::Unreadable { .. }]));
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let Some((dir, lock)) = Dir::new("open") else {
        return;
    };
    fs::create_dir(&dir.0).unwrap();
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(State::at(&dir.0).write(&record("a", "web"), &lock).is_err());
    assert!(State::at(&dir.0).entries().unwrap().is_empty());
}

#[test]
fn the_switch_is_on_unless_it_is_clearly_off() {
    let Some((dir, lock)) = Dir::new("switch") else {
        return;
    };
    let state = State::at(&dir.0);
    assert!(!state.quarantine());
    state.set_quarantine(true, &lock).unwrap();
    assert!(state.quarantine());
    state.set_quarantine(false, &lock).unwrap();
    assert!(!state.quarantine());
    fs::create_dir(dir.0.join("quarantine")).unwrap();
    assert!(state.quarantine());
}

#[test]
fn what_verify_tried_is_of_one_seal() {
    let Some((dir, lock)) = Dir::new("own") else {
        return;
    };
    let state = State::at(&dir.0);
    let web = record("a", "web");
    state.write(&web, &lock).unwrap();
    let tried = |count| Own::from([("egress".to_owned(), count)]);
    assert!(state.own_attempts(&web.id, 3, 7).is_empty());
    let at = std::net::IpAddr::from([198, 51, 100, 6]);
    for _ in 0..2 {
        state
            .add_own_attempts(&web.id, 3, 7, (&tried(40), &[at]), &lock)
            .unwrap();
    }
    assert_eq!(state.own_attempts(&web.id, 3, 7), tried(80));
    assert_eq!(state.own_targets(&web.id, 3, 7), [at]);
    // A number that came again, and another container.
    assert!(state.own_attempts(&web.id, 3, 8).is_empty());
    assert!(state.own_attempts(&"b".repeat(64), 3, 7).is_empty());
    assert_eq!(state.entries().unwrap().len(), 1, "it is no seal");
    let file = dir.0.join("verified").join(format!("{}.json", web.id));
    fs::write(&file, "{").unwrap();
    assert!(state.own_attempts(&web.id, 3, 7).is_empty());
    state.remove([web.id.as_str()], &lock).unwrap();
    assert!(!file.exists());
}
