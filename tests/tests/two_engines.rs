//! Promise: a host's engines are asked together, and the silence of one says nothing of what
//! another has.

use airgap_tests::files::Files;
use airgap_tests::podman::Podman;
use airgap_tests::watch::Watch;
use airgap_tests::{Outside, airgap, wait};
use serde_json::Value;

const DOCKER: &str = "unix:///var/run/docker.sock";

fn create(podman: &Podman, name: &str, options: &[&str]) -> String {
    let fixed = ["create", "--name", name, "--network", Podman::NETWORK];
    let image = airgap_tests::image::ensure();
    let words = fixed.iter().chain(options).copied();
    let words = words.chain([image, "airgap-probe", "serve"]);
    let out = podman.docker(&words.collect::<Vec<_>>()).expect_code(0);
    out.stdout.trim().to_owned()
}

fn states(list: &str) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(list).expect("JSON");
    let rows = list["containers"].as_array().expect("rows");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| (text(&row["container"]["id"]), text(&row["state"]));
    rows.iter().map(row).collect()
}

#[test]
fn names_are_found_wherever_they_are() {
    let outside = Outside::new();
    let podman = Podman::start(&outside);
    let files = Files::new();
    let host = podman.host();
    let both = files.write(
        "airgap.toml",
        &format!("engine = [\"{DOCKER}\", \"{host}\"]\n"),
    );
    let ours = |args: &[&str]| airgap(&[&["--config", both.as_str()], args].concat());

    let docker = outside.container("web").create();
    let alone = create(&podman, "alone", &[]);
    let twin = create(&podman, &docker.name, &[]);

    // Each where it is, by one command.
    let first = ours(&["attach", "-d", "alone", &docker.id]);
    assert!(matches!(first.code, 0 | 4), "{}", first.describe());
    let list = ours(&["list", "--json"]);
    let sealed = states(&list.stdout);
    for id in [&alone, &docker.id] {
        let found = sealed.iter().find(|(one, _)| one == id);
        let state = &found.unwrap_or_else(|| panic!("{}", list.describe())).1;
        assert!(
            state != "gone" && state != "unsealed",
            "{}",
            list.describe()
        );
    }
    // The sealed one of two is meant, and a new seal is for neither until it is said which.
    let status = ours(&["status", "--json", &docker.name]);
    assert!(status.stdout.contains(&docker.id), "{}", status.describe());
    let refused = ours(&["attach", "-d", &docker.name]).expect_code(1);
    for said in ["2 engines", DOCKER, podman.host().as_str(), "--host"] {
        assert!(refused.stderr.contains(said), "{}", refused.describe());
    }
    let nobody = ours(&["attach", "-d", "nobody"]).expect_code(1);
    assert!(
        nobody.stderr.contains("no container 'nobody'"),
        "{}",
        nobody.describe()
    );
    ours(&["attach", "-d", &twin]);
    let many = ours(&["status", &docker.name]);
    assert!(
        many.stderr.contains("stands for 2 seals"),
        "{}",
        many.describe()
    );
    ours(&["detach", &twin]).expect_code(0);

    // What is of the one that is silent is not gone, and the other's is known as before.
    let gone = format!("unix://{}", files.path("none.sock"));
    let half = ["--host", DOCKER, "--host", &gone];
    let list = airgap(&[&half[..], &["list", "--json"]].concat());
    let sealed = states(&list.stdout);
    assert!(
        sealed.iter().all(|(_, state)| state != "gone"),
        "{}",
        list.describe()
    );
    assert_eq!(sealed.len(), 2, "{}", list.describe());
    let missed = airgap(&[&half[..], &["attach", "-d", "nobody"]].concat()).expect_code(1);
    assert!(
        missed.stderr.contains("does not answer"),
        "{}",
        missed.describe()
    );
    let doctor = airgap(&[&half[..], &["doctor"]].concat());
    for said in [DOCKER, &gone] {
        let host = said.trim_start_matches("unix://");
        assert!(doctor.stdout.contains(host), "{}", doctor.describe());
    }
    let config = airgap(&["config", "--config", &both]);
    assert!(
        config.stdout.contains(&podman.host()),
        "{}",
        config.describe()
    );
    ours(&["detach", "alone", &docker.id]).expect_code(0);
}

#[test]
fn labels_are_read_on_both() {
    let outside = Outside::new();
    let podman = Podman::start(&outside);
    let both = ["--host", DOCKER, "--host", &podman.host()];
    let _watch = Watch::start(&both);
    let label = ["--label", "airgap.seal=true"];
    let docker = outside.container("labelled").options(&label).create();
    let other = create(&podman, "labelled", &label);
    for id in [&docker.id, &other] {
        wait::until("it is sealed by its label", wait::SOON, || {
            let status = airgap(&[&both[..], &["status", id]].concat());
            matches!(status.code, 0 | 4).then_some(())
        });
    }
    // Each engine's word counts for its own alone.
    podman.docker(&["rm", "-f", "labelled"]).expect_code(0);
    wait::until("its seal goes with it", wait::SOON, || {
        let list = airgap(&[&both[..], &["list", "--json"]].concat());
        (!list.stdout.contains(&other)).then_some(())
    });
    let status = airgap(&[&both[..], &["status", &docker.id]].concat());
    assert!(matches!(status.code, 0 | 4), "{}", status.describe());
    airgap(&["detach", &docker.id]).expect_code(0);
}
