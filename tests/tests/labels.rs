//! Promise: only the operator's words widen a seal. What an image says of itself counts for
//! nothing, and that is said.

use airgap_tests::airgap::seal;
use airgap_tests::image::Labelled;
use airgap_tests::watch::Watch;
use airgap_tests::{Container, Outside, SERVICE_PORT, airgap, airgap_ok, cmd, wait};
use serde_json::{Value, json};
use std::fs;

const SEAL: &str = "airgap.seal=true";
const WIDE: [&str; 3] = [
    "airgap.ports=7000,7001",
    "airgap.from=198.51.100.0/24",
    "airgap.accept=log-driver,existing-connections",
];

#[track_caller]
fn await_status(container: &Container) -> Value {
    wait::until("it is sealed by its label", wait::SOON, || {
        let out = airgap(&["status", "--json", &container.id]);
        let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
        json.filter(|_| matches!(out.code, 0 | 4))
    })
}

fn labels(labels: &[&'static str]) -> Vec<&'static str> {
    labels.iter().flat_map(|l| ["--label", *l]).collect()
}

/// Labels of the image that would widen do nothing, and are named in the log and by status; the
/// same from the command line count, as far as this host allows. Clients only become fewer.
#[test]
fn an_image_widens_no_seal_and_the_caller_does() {
    let outside = Outside::new();
    let image = Labelled::new(&WIDE);
    let log = std::env::temp_dir().join(format!("airgap-labels-{}", std::process::id()));
    let watch = Watch::logged(&["--allow-accept", "log-driver"], &log);
    let image_says = outside
        .container("image")
        .image(&image.reference)
        .options(&labels(&[SEAL]))
        .run();
    let json = await_status(&image_says);
    assert_eq!(json["ports"], json!(["5060/tcp"]));
    assert_eq!(json["clients"], json!(["198.51.100.0/24"]));
    assert_eq!(json["accepted"], json!([]));
    let ignored = json["labels_ignored"].to_string();
    let text = airgap(&["status", &image_says.id]).stdout;
    let logged = wait::until("the log names what is ignored", wait::SOON, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("is sealed by its label").then_some(text)
    });
    for label in WIDE.into_iter().filter(|l| !l.starts_with("airgap.from")) {
        for place in [&ignored, &text, &logged] {
            assert!(place.contains(label), "{label}: {place}");
        }
    }
    outside
        .get(image_says.ip4(), SERVICE_PORT, "/")
        .expect("the port that was meant answers");

    // The control: the same words, from whoever made the container.
    let mut own = vec![SEAL];
    own.extend(WIDE);
    let caller_says = outside.container("caller").options(&labels(&own)).create();
    let json = await_status(&caller_says);
    assert_eq!(json["ports"], json!(["7000/tcp", "7001/tcp"]));
    assert_eq!(json["clients"], json!(["198.51.100.0/24"]));
    assert_eq!(json["accepted"], json!(["log-driver"]));
    let ignored = json["labels_ignored"].to_string();
    assert!(
        ignored.contains("existing-connections") && !ignored.contains("log-driver:"),
        "{ignored}"
    );
    // Over the image's words the caller's count as well.
    let other = outside
        .container("other")
        .image(&image.reference)
        .options(&labels(&[SEAL, "airgap.ports=5060,80"]))
        .create();
    let json = await_status(&other);
    assert_eq!(json["ports"], json!(["80/tcp", "5060/tcp"]));
    assert_eq!(json["accepted"], json!([]));
    // The image's own wish to be sealed counts.
    let tight = Labelled::new(&[SEAL]);
    let tight = outside.container("tight").image(&tight.reference).create();
    await_status(&tight);
    drop(watch);
    drop(fs::remove_file(&log));
    airgap_ok(&["detach", "--all"]);
}

/// What a label accepted is its seal's alone, and another flag is another seal.
#[test]
fn what_a_label_accepts_is_allowed_by_the_host_and_inherited_by_nobody() {
    let outside = Outside::new();
    let container = outside
        .container("risky")
        .options(&["--log-driver", "syslog"])
        .options(&["--log-opt", "syslog-address=udp://127.0.0.1:9"])
        .options(&labels(&[SEAL, "airgap.accept=log-driver"]))
        .create();
    let accepted = || await_status(&container)["accepted"].clone();
    let watch = Watch::start(&[]);
    assert_eq!(accepted(), json!([]), "no host allowed it");
    drop(watch);
    let log = std::env::temp_dir().join(format!("airgap-flags-{}", std::process::id()));
    let watch = Watch::logged(&["--allow-accept", "log-driver"], &log);
    assert_eq!(accepted(), json!(["log-driver"]));
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.contains("the seal by its label changes"), "{text}");
    drop(watch);
    drop(fs::remove_file(&log));
    // By hand, it has to be accepted by hand.
    let refused = airgap(&["attach", "-d", &container.id]).expect_code(1);
    assert!(
        refused.stderr.contains("log-driver"),
        "{}",
        refused.describe()
    );
    seal(&container.id, &["--accept", "log-driver"]);
    assert_eq!(accepted(), json!(["log-driver"]));
    // And by hand it is inherited, also where no label may.
    let watch = Watch::start(&[]);
    drop(watch);
    assert_eq!(accepted(), json!(["log-driver"]));
    seal(&container.id, &[]);
    airgap_ok(&["detach", &container.id]);
    airgap(&["watch", "--allow-accept", "existing-connections"]).expect_code(2);
}

/// Where the engine cannot tell what the image says, nothing is widened and nothing in force is
/// changed.
#[test]
fn without_the_image_labels_are_in_doubt() {
    let outside = Outside::new();
    let image = Labelled::new(&["some=thing"]);
    let make = |name: &str| {
        let own = labels(&[SEAL, "airgap.ports=7000", "airgap.from=198.51.100.7"]);
        let spec = outside.container(name).image(&image.reference);
        spec.options(&own).create()
    };
    let known = make("known");
    let watch = Watch::start(&[]);
    let json = await_status(&known);
    assert_eq!(json["ports"], json!(["7000/tcp"]));
    drop(watch);
    let unknown = make("unknown");
    cmd::ok(&format!("docker rmi -f {}", image.reference));
    let gone = cmd::attempt(&format!(
        "docker image inspect {}",
        cmd::ok(&format!("docker inspect -f {{{{.Image}}}} {}", known.id))
    ));
    assert_ne!(gone.code, 0, "the image is there still");
    let _watch = Watch::start(&[]);
    let json = await_status(&unknown);
    assert_eq!(json["ports"], json!(["5060/tcp"]));
    assert_eq!(json["clients"], json!(["198.51.100.7/32"]));
    assert!(
        json["labels_ignored"]
            .to_string()
            .contains("airgap.ports=7000")
    );
    assert_eq!(await_status(&known)["ports"], json!(["7000/tcp"]));
}

/// A second one would only race the first: it says which one runs, and changes nothing.
#[test]
fn a_second_watch_names_the_one_that_runs() {
    let _outside = Outside::new();
    let watch = Watch::start(&[]);
    let second = airgap(&["watch", "--quarantine"]).expect_code(1);
    let named = format!("airgap watch runs already (pid {})", watch.pid());
    assert!(second.stderr.contains(&named), "{}", second.describe());
    assert!(second.stderr.contains("hint: one is enough"));
    let quarantine = airgap_ok(&["quarantine"]);
    assert!(
        quarantine.stdout.contains("off"),
        "{}",
        quarantine.describe()
    );
    // The control: with the first gone there is room for another.
    drop(watch);
    drop(Watch::start(&[]));
}

/// A detach does not take the label away: it says who seals the container again, which is true.
#[test]
fn a_detach_says_who_seals_it_again() {
    let outside = Outside::new();
    let labelled = outside.container("labelled").options(&labels(&[SEAL]));
    let labelled = labelled.create();
    let plain = outside.container("plain").create();
    let watch = Watch::start(&[]);
    await_status(&labelled);
    seal(&plain.id, &[]);
    let out = airgap_ok(&["detach", &labelled.id, &plain.id]);
    let named = format!(
        "{}: its label asks for a seal, and airgap watch (pid {})",
        labelled.name,
        watch.pid()
    );
    assert!(out.stderr.contains(&named), "{}", out.describe());
    assert!(!out.stderr.contains(&plain.name), "{}", out.describe());
    assert!(labelled.try_start());
    await_status(&labelled);
    drop(watch);
    // Nobody is there to seal it again.
    let out = airgap_ok(&["detach", &labelled.id]);
    assert!(
        !out.stderr.contains("asks for a seal"),
        "{}",
        out.describe()
    );
}
