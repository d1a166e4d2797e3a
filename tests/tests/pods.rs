//! Promise: a pod of Podman's is sealed as one: all of its containers, those that come later, and
//! over its restarts.

use airgap_tests::beacon::{self, assert_refused, assert_sent, await_boot};
use airgap_tests::podman::Podman;
use airgap_tests::{Outside, SERVICE_PORT, cmd::Output};
use serde_json::Value;

struct World {
    outside: Outside,
    podman: Podman,
}

impl World {
    fn new() -> Self {
        let outside = Outside::new();
        let podman = Podman::start(&outside);
        Self { outside, podman }
    }

    #[track_caller]
    fn podman(&self, args: &[&str]) -> String {
        let out = self.podman.podman(args).expect_code(0);
        out.stdout.trim().to_owned()
    }

    /// A pod with two first-instruction senders, of which one serves; it does not run yet.
    fn pod(&self, name: &str) {
        let fixed = [
            "pod",
            "create",
            "--name",
            name,
            "--network",
            Podman::NETWORK,
        ];
        self.podman(&fixed);
        for member in ["web", "side"] {
            self.member(name, member, &[]);
        }
    }

    fn member(&self, pod: &str, name: &str, options: &[&str]) {
        let fixed = ["create", "--pull", "never", "--pod", pod, "--name", name];
        let own = ["--cap-drop", "NET_RAW", "--stop-timeout", "0"];
        let words = fixed.iter().chain(&own).chain(options);
        let words = words.map(|&word| word.to_owned());
        let line: Vec<_> = words.chain(beacon::command(&self.outside)).collect();
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        self.podman(&line);
    }

    /// What the senders of the pod's `boot`-th start were told.
    fn refused(&self, boot: usize) {
        for member in ["web", "side"] {
            assert_refused(&await_boot(boot, || self.podman.log(member)));
        }
    }
}

#[test]
fn a_pod_is_sealed_as_one() {
    let world = World::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = world.outside.container("anchor").run();
    let is_pod = |out: &Output| out.stderr.contains("airgap attach pod:NAME");

    world.pod("control");
    world.podman(&["pod", "start", "control"]);
    for member in ["web", "side"] {
        assert_sent(&await_boot(1, || world.podman.log(member)));
    }
    world.podman(&["pod", "rm", "-f", "control"]);
    world.outside.clear();

    world.pod("shop");
    for member in ["web", "side"] {
        let alone = world.podman.airgap(&["attach", "-d", member]);
        assert!(alone.code == 1 && is_pod(&alone), "{}", alone.describe());
    }
    let dry = world.podman.airgap(&["attach", "--dry-run", "pod:shop"]);
    let attach = world.podman.airgap(&["attach", "-d", "pod:shop"]);
    assert!(matches!(attach.code, 0 | 4), "{}", attach.describe());
    assert_eq!(dry.code, attach.code, "{}", dry.describe());
    let state = |of: &str| -> Value {
        let status = world.podman.airgap(&["status", "--json", of]);
        serde_json::from_str(&status.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", status.describe()))
    };
    assert_eq!(state("shop")["running"], false, "as created");
    world.podman(&["pod", "start", "shop"]);
    world.refused(1);
    world.podman(&["pod", "restart", "shop"]);
    world.refused(2);
    world.podman(&["pod", "stop", "shop"]);
    assert_eq!(state("pod:shop")["running"], false, "stopped");
    world.podman(&["pod", "start", "shop"]);
    world.refused(3);
    assert_eq!(state("pod:shop")["running"], true);
    let arrivals = world.outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}");

    // Its veth is another one now.
    let again = world.podman.airgap(&["attach", "-d", "pod:shop"]);
    assert!(matches!(again.code, 0 | 4), "{}", again.describe());
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = world.podman.docker(&["inspect", "-f", format, "web"]);
    let address: std::net::IpAddr = address.stdout.trim().parse().expect("an address");
    let body = world.outside.get(address, SERVICE_PORT, "/");
    body.expect("the sealed service answers");
    let list = world.podman.airgap(&["list"]);
    assert!(list.stdout.contains("pod:shop"), "{}", list.describe());
    let tail = world
        .podman
        .airgap(&["tail", "--json", "--since", "1h", "--no-follow", "pod:shop"]);
    let mut told = tail.stdout.lines().map(serde_json::from_str::<Value>);
    let named = |event: &Value| event["container"]["name"] == "pod:shop";
    assert!(
        told.any(|e| named(&e.expect("JSON"))),
        "{}",
        tail.describe()
    );

    // Who comes later is under the same seal, and judged with the others.
    world.member("shop", "late", &["--privileged"]);
    let judged = world.podman.airgap(&["status", "pod:shop"]);
    assert!(
        judged.code == 4 && judged.stdout.contains("configuration"),
        "{}",
        judged.describe()
    );
    let refused = world.podman.airgap(&["attach", "-d", "pod:shop"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("--accept privileged"),
        "{}",
        refused.describe()
    );
    world.podman(&["rm", "-f", "late"]);
    // One that Podman puts elsewhere is under no seal of the pod's, before it runs as well.
    world.member("shop", "away", &["--cgroup-parent", "/airgap-test-away"]);
    let stray = world.podman.airgap(&["attach", "-d", "pod:shop"]);
    assert!(
        stray.code == 1 && stray.stderr.contains("not in the pod's (away)"),
        "{}",
        stray.describe()
    );
    world.podman(&["rm", "-f", "away"]);
    world.member("shop", "later", &[]);
    world.podman(&["start", "later"]);
    assert_refused(&await_boot(1, || world.podman.log("later")));

    let out = world.podman.airgap(&["detach", "pod:shop"]);
    out.expect_code(0);
    world.podman(&["pod", "restart", "shop"]);
    assert_sent(&await_boot(4, || world.podman.log("web")));
}

#[test]
fn a_pod_is_proven_and_looked_after() {
    let world = World::new();
    let _anchor = world.outside.container("anchor").run();
    world.pod("shop");
    world.podman(&["pod", "start", "shop"]);
    world.podman.airgap(&["attach", "-d", "shop"]);
    let verify = world.podman.airgap(&["verify", "--json", "pod:shop"]);
    let proof: Value = serde_json::from_str(&verify.stdout).expect("JSON");
    let bad = proof["techniques"].as_array().into_iter().flatten();
    let bad: Vec<_> = bad.filter(|t| t["verdict"] == "LEAK").collect();
    assert!(
        bad.is_empty() && verify.code == 0,
        "{bad:#?}{}",
        verify.stderr
    );
    let to = format!("{}:20000/udp", world.outside.plan.outside4);
    let allow = world
        .podman
        .airgap(&["allow", "--to", &to, "--for", "1m", "pod:shop"]);
    assert!(matches!(allow.code, 0 | 4), "{}", allow.describe());
    world.outside.clear();
    world.podman(&["restart", "-t", "0", "side"]);
    let records = await_boot(2, || world.podman.log("side"));
    let udp4 = records.iter().find(|r| r["technique"] == "udp4");
    assert_eq!(udp4.expect("tried")["outcome"], "sent", "{records:#?}");
    // A pod that is gone leaves a seal that says so.
    world.podman(&["pod", "rm", "-f", "shop"]);
    let list = world.podman.airgap(&["list"]);
    assert!(list.stdout.contains("gone"), "{}", list.describe());
    let unknown = world.podman.airgap(&["attach", "-d", "pod:shop"]);
    assert_eq!(unknown.code, 1, "{}", unknown.describe());
    world.podman.airgap(&["detach", "--all"]).expect_code(0);
}
