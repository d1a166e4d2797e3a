//! Where packets are looked at, and a container that comes up elsewhere.

use super::{
    airgap,
    container::{Container, cgroup_of},
    silence::Watch,
};
use airgap::container::Cgroup;
use airgap_tests::{
    engine::Engine,
    scratch::{Network, try_in},
    wait,
};
use serde_json::json;
use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

/// Cgroups that an engine would make below another parent; gone when dropped.
struct Elsewhere(PathBuf, Cgroup);

impl Elsewhere {
    fn make(id: &str) -> Self {
        let top = PathBuf::from("/sys/fs/cgroup/elsewhere");
        let path = top.join(format!("docker-{id}.scope"));
        fs::create_dir_all(&path).expect("make the cgroup");
        let cgroup = Cgroup {
            id: fs::metadata(&path).expect("the cgroup").ino(),
            level: 2,
            path,
        };
        Self(top, cgroup)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for path in [&self.1.path, &self.0] {
            if let Err(error) = fs::remove_dir(path) {
                eprintln!("{} stays: {error}", path.display());
            }
        }
    }
}

/// `hooked`: the security hooks are in force.
pub(crate) fn is_denied_and_mended(
    engine: &Engine,
    container: &Container,
    sealed: i32,
    hooked: bool,
) {
    let attached = || {
        let (_, stderr, status) = airgap(engine, &["status", "--json", "web"]);
        assert!(status["attached_to"].is_array(), "{stderr}");
        status["attached_to"].clone()
    };
    if !hooked {
        assert_eq!(attached(), json!([]), "the whole host");
        return;
    }
    assert_eq!(attached(), json!(["/docker"]));
    let (_, _, doctor) = airgap(engine, &["doctor", "--json"]);
    let said = "packets are looked at in /docker alone";
    assert!(doctor.to_string().contains(said), "{doctor:#}");

    let elsewhere = Elsewhere::make(&container.described.id);
    let call = |cgroup: &Cgroup| try_in(cgroup, Network::Own, "udp4", "m").detail;
    assert_eq!(call(&elsewhere.1), "socket", "it gets none of the network");
    assert_eq!(call(&cgroup_of(container)), "sendto");
    let (_, _, status) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(status["state"], "broken", "{status:#}");
    let problems = status["problems"].to_string();
    assert!(problems.contains("gets no network socket"), "{problems}");
    let (_, _, doctor) = airgap(engine, &["doctor", "--json"]);
    assert!(
        doctor.to_string().contains("gets no network socket"),
        "{doctor:#}"
    );

    let watch = Watch::start(engine);
    wait::until("watch mends it", wait::SOON, || {
        (watch.said("they are sealed as they should be now") > 0).then_some(())
    });
    assert_eq!(call(&elsewhere.1), "sendto");
    assert_eq!(attached(), json!(["/docker", "/elsewhere"]));
    let (code, stderr, _) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(code, sealed, "{stderr}");
    println!("\nelsewhere: denied every socket, told, and mended");
}
