//! What a proof tried is no attempt of the container's, and the other way round.

use super::runs::{list, peak, start, verify};
use airgap_tests::airgap::seal;
use airgap_tests::{Outside, Tail, airgap, cmd, wait};
use serde_json::Value;
use std::time::Duration;

/// Whoever reads the counts learns what the container tried, not what a proof of it did.
#[test]
fn its_own_attempts_are_not_the_containers() {
    let outside = Outside::new();
    let container = outside.container("counted").run();
    seal(&container.name, &[]);
    for port in 20_000..20_005 {
        container.attempt("tcp4", port, "own");
    }
    let denials = |args: &[&str], at: &str| -> Value {
        let out = airgap(args);
        let json: Value = serde_json::from_str(&out.stdout).expect("JSON");
        json.pointer(at)
            .cloned()
            .unwrap_or_else(|| panic!("{json}"))
    };
    let name = &container.name;
    let all = || {
        [
            denials(&["status", "--json", name], "/denials"),
            denials(&["list", "--json"], "/containers/0/denials"),
            denials(&["report", "--json", name], "/status/denials"),
        ]
    };
    for denials in all() {
        assert_eq!(denials["total"], 5, "{denials}");
        assert!(denials.get("by_verify").is_none(), "{denials}");
    }
    for run in 1..=2_u64 {
        verify(&container, 0);
        for denials in all() {
            assert_eq!(denials["total"], 5, "run {run}: {denials}");
            assert!(denials["by_verify"].as_u64() > Some(50 * run), "{denials}");
        }
    }
    let text = airgap(&["status", name]).stdout;
    assert!(text.contains("by airgap verify itself"), "{text}");
    let report = airgap(&["report", name]).stdout;
    assert!(report.contains("made by airgap verify"), "{report}");
    // Also of a run that did not come to its end.
    let mut run = start(&container);
    let pid = i32::try_from(run.pid()).expect("a process id");
    // SAFETY: takes no pointers; the child is ours and not yet reaped.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    wait::until("it ends", wait::SOON, || (!run.is_running()).then_some(()));
    container.attempt("tcp4", 20_005, "own");
    let denials = denials(&["status", "--json", name], "/denials");
    assert_eq!(denials["total"], 6, "{denials}");
    // A seal that is made anew begins with nothing.
    let lifted = airgap(&["detach", name]).stdout;
    for said in [
        "6 attempts were refused under it; ",
        "by airgap verify itself",
    ] {
        assert!(lifted.contains(said), "{lifted}");
    }
    seal(name, &[]);
    let report = airgap(&["status", "--json", name]).stdout;
    assert!(
        report.contains("\"total\":0") && !report.contains("by_verify"),
        "{report}"
    );
}

/// A container that needs no capability for it uses up what is recorded of refusals: that is no
/// leak, and what it hides is no proof.
#[test]
fn a_flood_of_refusals_hides_none_as_a_proof() {
    let outside = Outside::new();
    let spec = outside.container("flood").options(&["--cap-drop", "ALL"]);
    let container = spec.run();
    seal(&container.name, &[]);
    assert_eq!(verify(&container, 0)["verdict"], "PROVEN", "the control");
    let v4 = outside.plan.outside4.to_string();
    let flood = ["phone", "scan", "600000", "--v4", &v4, "--port", "20000"];
    let mut exec = vec!["exec", "-d", &container.id, "airgap-probe"];
    exec.extend(flood);
    cmd::run("docker", &exec).expect_code(0);
    let mut run = Tail::start(&["verify", "--json", &container.name]);
    let mut most = 0;
    wait::until("the run ends", Duration::from_secs(180), || {
        most = most.max(peak(run.pid()).unwrap_or(0));
        (!run.is_running()).then_some(())
    });
    assert!(most > 0 && most < 128 << 10, "{most} KiB");
    let proof: Value = serde_json::from_str(&run.lines().concat()).expect("JSON");
    for tried in list(&proof, "techniques") {
        match tried["verdict"].as_str() {
            Some("PROVEN") => assert!(tried["by"].is_string(), "{tried}"),
            Some("UNKNOWN") => {
                let why = tried["detail"].as_str().unwrap_or("");
                assert!(why.contains("use up what is recorded"), "{tried}");
            }
            _ => panic!("{tried}"),
        }
    }
    // Its own attempts stay its own.
    let status = airgap(&["status", "--json", &container.name]).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let by_verify = status["denials"]["by_verify"].as_u64().unwrap_or(0);
    assert!(by_verify < 1_000, "{status}");
    assert!(
        status["denials"]["total"].as_u64() > Some(by_verify),
        "{status}"
    );
}
