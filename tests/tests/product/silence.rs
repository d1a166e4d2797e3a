//! Security hooks that the kernel stops calling.

use super::{
    airgap,
    container::{Container, cgroup_of},
};
use airgap_tests::{
    engine::Engine,
    ftrace::{FtraceOff, is_switched_whatever_is_attached},
    scratch::{Network, try_in},
    wait,
};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

pub(crate) const MEND: &str = "sysctl kernel.ftrace_enabled=1";

/// `airgap watch` and what it said so far; ended on drop.
pub(crate) struct Watch(Child, std::path::PathBuf);

impl Watch {
    pub(crate) fn start(engine: &Engine) -> Self {
        let log = std::env::temp_dir().join("airgap-watch.log");
        let child = Command::new(std::env::var("AIRGAP_BIN").expect("AIRGAP_BIN is not set"))
            .args(["--host", &engine.host(), "watch"])
            .stderr(fs::File::create(&log).expect("a log"))
            .stdout(Stdio::null())
            .spawn()
            .expect("start airgap watch");
        Self(child, log)
    }

    pub(crate) fn said(&self, what: &str) -> usize {
        let log = fs::read_to_string(&self.1).expect("the log");
        log.lines().filter(|line| line.contains(what)).count()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `kernel.ftrace_enabled=0` switches every hook off, and whoever asks is told.
pub(crate) fn hooks_fall_silent_and_return(engine: &Engine, container: &Container, sealed: i32) {
    let cgroup = cgroup_of(container);
    let opens = || {
        let report = try_in(&cgroup, Network::Own, "packet-socket", "m");
        report.errno != libc::EPERM
    };
    let watch = Watch::start(engine);
    wait::until("watch looks", wait::SOON, || {
        (watch.said("no quarantine") > 0).then_some(())
    });
    assert!(!opens(), "the hooks refuse before");
    let (code, _, before) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(code, sealed, "{before:#}");
    let Some(off) = FtraceOff::now() else {
        assert!(!opens(), "the hooks refuse still");
        let (code, _, after) = airgap(engine, &["status", "--json", "web"]);
        assert_eq!((code, &after["state"]), (sealed, &before["state"]));
        assert_eq!(watch.said("ftrace"), 0);
        println!("\nftrace: this kernel keeps it on");
        return;
    };
    assert!(opens(), "the control: nothing refuses while it is off");
    wait::until("watch tells", wait::SOON, || {
        (watch.said(MEND) > 0).then_some(())
    });
    let (code, _, now) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(
        (code, now["state"].as_str()),
        (4, Some("opened")),
        "{now:#}"
    );
    let summary = now["summary"].as_str().unwrap_or_default();
    assert!(
        summary.contains("sockets that only security hooks refuse"),
        "{summary}"
    );
    assert!(summary.contains(MEND) || sealed == 4, "{summary}");
    let (code, _, list) = airgap(engine, &["list", "--json"]);
    assert_eq!(code, 4, "{list:#}");
    assert!(list.to_string().contains("opened"), "{list:#}");
    let (code, _, doctor) = airgap(engine, &["doctor", "--json"]);
    assert_eq!(code, 3, "{doctor:#}");
    assert!(doctor.to_string().contains(MEND), "{doctor:#}");
    let (code, _, report) = airgap(engine, &["report", "--json", "web"]);
    assert_eq!(code, 4, "{report:#}");
    let (code, stderr, proof) = airgap(engine, &["verify", "--json", "web"]);
    assert_ne!(code, 0, "{stderr}");
    let noted = proof["notes"].to_string();
    assert!(noted.contains(MEND), "{noted}");
    let (code, stderr, _) = airgap(
        engine,
        &["attach", "-d", "--errno", "eperm", "--json", "web"],
    );
    assert_eq!(code, 4, "{stderr}");
    drop(off);
    assert!(!opens(), "they are back");
    wait::until("watch tells of the return", wait::SOON, || {
        (watch.said("refuse again") > 0).then_some(())
    });
    let (code, _, after) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(
        (code, &after["state"]),
        (sealed, &before["state"]),
        "{after:#}"
    );
    assert_eq!((watch.said(MEND), watch.said("refuse again")), (1, 1));
    println!("\nftrace: off was told, and on again");
}

/// What is attached while the kernel calls nothing is kept, is no cover, and is one later.
pub(crate) fn hooks_that_came_in_silence_come_to_life(
    engine: &Engine,
    container: &Container,
    sealed: i32,
) {
    if !is_switched_whatever_is_attached() {
        // These call them all the same.
        return;
    }
    let off = FtraceOff::now().expect("ftrace off");
    let (code, stderr, report) = airgap(
        engine,
        &["attach", "-d", "--errno", "eperm", "--json", "web"],
    );
    assert_eq!(
        (code, report["state"].as_str()),
        (4, Some("opened")),
        "{stderr}"
    );
    drop(off);
    let (code, _, report) = airgap(engine, &["status", "--json", "web"]);
    assert_eq!(code, sealed, "{report:#}");
    let report = try_in(&cgroup_of(container), Network::Own, "packet-socket", "m");
    assert_eq!(report.errno, libc::EPERM, "{report:?}");
    let (code, stderr, _) = airgap(engine, &["detach", "web"]);
    assert_eq!(code, 0, "{stderr}");
}
