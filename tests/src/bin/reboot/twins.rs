//! The two containers, and what they say of themselves.

use airgap_tests::cmd::{self, Output};
use airgap_tests::drill::place::{GATEWAY6, NET4, NET6, OUTSIDE4, OUTSIDE6, PORT};
use airgap_tests::wait;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

const IMAGE: &str = "drill";
/// A container's start takes an emulated processor several seconds.
const PATIENCE: Duration = Duration::from_secs(180);
/// Last line of a beacon before it serves.
const DONE: &str = "beacon-done";

/// A container of the drill.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) name: &'static str,
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
}

pub(crate) const SEALED: Twin = Twin {
    name: "sealed",
    v4: "198.51.100.10",
    v6: "2001:db8:0:a::10",
};
/// The control: the same, never sealed.
pub(crate) const OPEN: Twin = Twin {
    name: "open",
    v4: "198.51.100.11",
    v6: "2001:db8:0:a::11",
};

/// An image with the probe in it, and a network.
pub(crate) fn prepare() {
    let mut tar = Command::new("tar")
        .args(["--directory", "/opt", "--create", "airgap-probe"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start tar");
    let mut import = Command::new("docker");
    import
        .args(["import", "-", IMAGE])
        .stdin(tar.stdout.take().expect("tar was given a pipe"));
    assert!(import.status().expect("start docker").success(), "import");
    assert!(tar.wait().expect("tar").success(), "tar");
    cmd::ok(&format!(
        "docker network create --ipv6 --subnet {NET4} --subnet {NET6} --gateway {GATEWAY6} \
         -o com.docker.network.bridge.enable_ip_masquerade=false {IMAGE}"
    ));
}

impl Twin {
    /// A container that sends in every way it knows, serves then, and comes back with the engine.
    pub(crate) fn create(&self, options: &str) {
        let Self { name, v4, v6 } = self;
        cmd::ok(&format!(
            "docker create --name {name} --restart always --stop-timeout 0 --network {IMAGE} \
             --ip {v4} --ip6 {v6} --dns {OUTSIDE4} {options} {IMAGE} /airgap-probe beacon \
             --v4 {OUTSIDE4} --v6 {OUTSIDE6} --port {PORT} --marker {name}"
        ));
    }

    /// What the beacon reported in its `boots`-th life, each attempt one record.
    pub(crate) fn attempts(&self, boots: usize) -> Vec<Value> {
        let what = format!("{} has sent and serves, {boots}", self.name);
        wait::until(&what, PATIENCE, || {
            let log = cmd::attempt(&format!("docker logs {}", self.name)).stdout;
            let records: Vec<Value> = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            let is_done = |record: &Value| record["technique"] == DONE;
            let lives = records.iter().filter(|record| is_done(record)).count();
            (lives >= boots).then(|| {
                let life = records.split(is_done).nth(boots - 1);
                life.map(<[Value]>::to_vec).unwrap_or_default()
            })
        })
    }

    /// `docker inspect`.
    pub(crate) fn inspect(&self, format: &str) -> Output {
        cmd::run("docker", &["inspect", "--format", format, self.name])
    }
}
