//! Promise: no pretend, whenever airgap dies. After a death or a failure at any system call that
//! changes something the container is sealed or as before, and what airgap says is never more than
//! that; the next attach or detach finishes the job.

use airgap_tests::airgap::{STATE, binary, seal};
use airgap_tests::kernel;
use airgap_tests::other::Other;
use airgap_tests::{Container, Outcome, Outside, Tail, airgap, airgap_ok, cmd, fault, wait};
use std::path::Path;

const PORT: u16 = 20_000;

/// Whether all ways that are tried are refused by the gate; some of each, or another error, is
/// neither sealed nor as before.
#[track_caller]
fn is_refused(container: &Container, when: &str) -> bool {
    let tried = ["udp4", "tcp4", "udp6", "tcp6"]
        .map(|technique| container.attempt(technique, PORT, "death"));
    let refused = tried
        .each_ref()
        .map(|t| t.outcome == Outcome::Refused && t.errno == kernel::refused());
    let open = tried.each_ref().map(|t| t.outcome != Outcome::Refused);
    assert!(
        refused == [true; 4] || open == [true; 4],
        "{when}: neither sealed nor open: {tried:?}"
    );
    refused[0]
}

/// Never more than what is so.
#[track_caller]
fn assert_honest(container: &Container, when: &str) -> bool {
    let refused = is_refused(container, when);
    let status = airgap(&["status", &container.name]);
    let says_sealed = matches!(status.code, 0 | 4);
    assert!(
        says_sealed || status.code == 3,
        "{when}\n{}",
        status.describe()
    );
    assert!(
        refused || !says_sealed,
        "{when}: open, and said to be sealed\n{}",
        status.describe()
    );
    refused
}

fn has_record(container: &Container) -> bool {
    Path::new(STATE)
        .join(format!("seals/{}.json", container.id))
        .exists()
}

/// The next attach mends what a torn one left, the next detach leaves nothing of it.
#[track_caller]
fn assert_mended(container: &Container, when: &str) {
    seal(&container.name, &[]);
    assert!(
        assert_honest(container, when),
        "{when}: attach did not mend it"
    );
    let out = airgap_ok(&["detach", &container.name]);
    let (refused, recorded) = (is_refused(container, when), has_record(container));
    assert!(
        !refused && !recorded,
        "{when}: refused {refused}, recorded {recorded}\n{}",
        out.describe()
    );
}

fn attach_dies(beside: bool) {
    let outside = Outside::new();
    let container = outside.container("dies").run();
    let other = outside.container("other").create();
    if beside {
        seal(&other.id, &[]);
    }
    let args = ["attach", "-d", &container.name];
    let points = fault::points(&binary(), &args);
    airgap_ok(&["detach", &container.name]);
    let (mut killed, mut sealed) = (0, 0);
    for point in fault::sample(points) {
        let out = fault::run(&binary(), &args, &point, "signal=KILL");
        let when = format!("attach killed at {point:?}, exit {}", out.code);
        killed += u32::from(out.code == 128 + libc::SIGKILL);
        sealed += u32::from(assert_honest(&container, &when));
        assert_mended(&container, &when);
    }
    eprintln!("{killed} attaches died, {sealed} of them with the seal in force");
    assert!(killed > 3, "only {killed} attaches were killed");
}

#[test]
fn attach_killed_anywhere_is_sealed_or_as_before() {
    attach_dies(false);
}

#[test]
fn attach_killed_anywhere_beside_others_is_sealed_or_as_before() {
    attach_dies(true);
}

#[test]
fn attach_without_memory_anywhere_is_sealed_or_as_before() {
    let outside = Outside::new();
    let container = outside.container("nomem").run();
    let args = ["attach", "-d", &container.name];
    let points = fault::points(&binary(), &args);
    airgap_ok(&["detach", &container.name]);
    let mut failed = 0;
    // A lost line of output is no failure of the seal.
    let matter = points
        .into_iter()
        .filter(|point| point.call != "write" || point.number == 1);
    for point in fault::sample(matter.collect()) {
        let out = fault::run(&binary(), &args, &point, "error=ENOMEM");
        let when = format!("attach with ENOMEM at {point:?}\n{}", out.describe());
        let refused = assert_honest(&container, &when);
        let succeeded = matches!(out.code, 0 | 4);
        if succeeded {
            assert!(refused, "said to be sealed: {when}");
        } else {
            failed += 1;
            assert!(!refused && !has_record(&container), "not as before: {when}");
        }
        assert_mended(&container, &when);
    }
    assert!(failed > 1, "only {failed} attaches failed");
}

#[test]
fn detach_killed_anywhere_is_sealed_or_lifted() {
    let outside = Outside::new();
    let container = outside.container("lifts").run();
    let args = ["detach", &container.name];
    seal(&container.name, &[]);
    let points = fault::points(&binary(), &args);
    let mut killed = 0;
    for (n, point) in fault::sample(points).into_iter().enumerate() {
        seal(&container.name, &[]);
        let out = fault::run(&binary(), &args, &point, "signal=KILL");
        let when = format!("detach killed at {point:?}, exit {}", out.code);
        killed += u32::from(out.code == 128 + libc::SIGKILL);
        let refused = assert_honest(&container, &when);
        // Sealed now or after a reboot, as long as it was not lifted in full.
        assert!(
            !refused || has_record(&container),
            "{when}: a reboot would open it"
        );
        if n % 2 == 0 {
            assert_mended(&container, &when);
        } else {
            airgap_ok(&["detach", "--all"]);
        }
        assert!(
            !is_refused(&container, &when) && !has_record(&container),
            "{when}"
        );
        let pins = format!("/sys/fs/bpf/airgap/v{}", airgap_common::ABI_VERSION);
        assert!(!Path::new(&pins).exists(), "{when}");
    }
    assert!(killed > 3, "only {killed} detaches were killed");
}

#[test]
fn an_upgrade_killed_anywhere_stays_sealed() {
    let outside = Outside::new();
    let other = Other::new();
    let container = outside.container("upgrade").run();
    seal(&container.name, &[]);
    let points = fault::points(&other.0, &["restore"]);
    airgap_ok(&["restore"]);
    let mut killed = 0;
    for point in fault::sample(points) {
        let out = fault::run(&other.0, &["restore"], &point, "signal=KILL");
        let when = format!("upgrade killed at {point:?}, exit {}", out.code);
        killed += u32::from(out.code == 128 + libc::SIGKILL);
        assert!(is_refused(&container, &when), "{when}: open");
        airgap_ok(&["restore"]);
        assert!(assert_honest(&container, &when), "{when}");
    }
    assert_eq!(outside.seen(), []);
    assert!(killed > 3, "only {killed} upgrades were killed");
}

#[test]
fn attaches_at_the_same_time_make_one_seal() {
    let outside = Outside::new();
    let container = outside.container("both").run();
    let mut all: Vec<_> = (0..6)
        .map(|_| Tail::start(&["attach", "-d", &container.name]))
        .collect();
    wait::until("all have ended", wait::SOON, || {
        all.iter_mut().all(|tail| !tail.is_running()).then_some(())
    });
    let list = airgap(&["list", "--json"]);
    assert_eq!(
        list.stdout.matches("\"seal\":").count(),
        1,
        "{}",
        list.describe()
    );
    assert!(assert_honest(&container, "after six attaches"));
    // One of them may have come after the other's last step.
    let together = ["attach", "detach"].map(|verb| {
        let args: &[&str] = if verb == "attach" {
            &["attach", "-d"]
        } else {
            &["detach"]
        };
        Tail::start(&[args, &[container.name.as_str()]].concat())
    });
    let mut together = together;
    wait::until("both have ended", wait::SOON, || {
        together
            .iter_mut()
            .all(|tail| !tail.is_running())
            .then_some(())
    });
    let refused = assert_honest(&container, "attach and detach together");
    assert_eq!(refused, has_record(&container), "kernel and record differ");
}

#[test]
fn an_oom_and_a_kill_leave_the_seal() {
    let outside = Outside::new();
    let container = outside
        .container("oom")
        .options(&["--memory", "16m", "--restart", "always"])
        .run();
    seal(&container.name, &[]);
    let first = container.pid();
    let hog = "while :; do x=$x$x$x; x=${x:-aaaaaaaa}; done";
    let killed = container.exec(&["sh", "-c", hog]);
    assert_eq!(
        killed.code,
        128 + libc::SIGKILL,
        "no OOM\n{}",
        killed.describe()
    );
    assert!(assert_honest(&container, "after an OOM"));
    cmd::attempt(&format!("docker kill -s KILL {}", container.id));
    wait::until("it runs again", wait::SOON * 3, || {
        container.try_pid().filter(|pid| *pid != first).or_else(|| {
            // Docker takes a kill by hand for a stop.
            cmd::attempt(&format!("docker start {}", container.id));
            None
        })
    });
    assert!(assert_honest(&container, "after a restart"));
}
