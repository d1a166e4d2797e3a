//! Promise: the image that `cargo xtask image` makes seals the pods of its node, with what the
//! DaemonSet's manifest gives it and nothing else.

use airgap_tests::beacon::{self, assert_refused, assert_sent};
use airgap_tests::containerd::Containerd;
use airgap_tests::cri::message::{Mount, Variable};
use airgap_tests::cri::{Agent, Pod, PodSpec};
use airgap_tests::files::Files;
use airgap_tests::{Outside, SERVICE_PORT, airgap, cmd, wait};
use std::fs;
use std::path::Path;
use std::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

const IMAGE: &str = "registry.example.org/airgap:test";

/// The DaemonSet's pod and the command line of its one container, as the manifest has them, but
/// that the runtime listens elsewhere and seals are recorded where the tests have them.
#[track_caller]
fn manifest(containerd: &Containerd) -> (PodSpec, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/daemonset.yaml");
    let text = fs::read_to_string(path).expect("the manifest");
    let read = YamlLoader::load_from_str(&text).expect("YAML");
    let spec = &read[0]["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    // What an agent of the harness is.
    assert_eq!(spec["hostNetwork"].as_bool(), Some(true));
    assert_eq!(spec["hostPID"].as_bool(), Some(true));
    let security = container["securityContext"].as_hash().expect("a context");
    let words = security
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_bool()));
    let words: Vec<_> = words.collect();
    let agent = ["privileged", "readOnlyRootFilesystem"].map(|key| (Some(key), Some(true)));
    assert_eq!(words, agent);

    let word = |at: &Yaml| at.as_str().expect("a word").to_owned();
    let list = |at: &Yaml| at.as_vec().expect("a list").clone();
    let line = [list(&container["command"]), list(&container["args"])].concat();
    let line = line.iter().map(word).map(|word| match word.as_str() {
        "/run/nri/nri.sock" => containerd.nri(),
        _ => word,
    });
    let volumes = list(&spec["volumes"]);
    let mounts = list(&container["volumeMounts"]).into_iter().map(|mount| {
        let has = |volume: &&Yaml| volume["name"] == mount["name"];
        let volume = &volumes.iter().find(has).expect("a volume")["hostPath"];
        let from = word(&volume["path"]);
        if volume["type"].as_str() == Some("DirectoryOrCreate") {
            fs::create_dir_all(&from).expect("mkdir");
        }
        Mount {
            to: word(&mount["mountPath"]),
            from,
            read_only: mount["readOnly"].as_bool() == Some(true),
            propagation: match mount["mountPropagation"].as_str() {
                Some("HostToContainer") => 1,
                None => 0,
                other => panic!("{other:?}"),
            },
        }
    });
    let mut pod = PodSpec::open("daemonset");
    pod.host_network = true;
    pod.agent = Some(Agent {
        image: IMAGE.to_owned(),
        mounts: mounts.collect(),
        environment: vec![Variable {
            name: "AIRGAP_STATE".into(),
            value: airgap::STATE.into(),
        }],
    });
    (pod, line.collect())
}

/// The image of the binary under test, in a file.
#[track_caller]
fn make(files: &Files, name: &str) -> String {
    let path = files.path(name);
    let mut xtask = Command::new(env!("CARGO"));
    xtask
        .args(["run", "--quiet", "--package", "xtask", "--", "image"])
        .args(["--airgap", &airgap::binary().display().to_string()])
        .args(["--name", IMAGE, "--output", &path]);
    let made = cmd::run_command(&mut xtask).expect_code(0);
    assert!(made.stdout.contains(IMAGE), "{}", made.describe());
    path
}

#[test]
fn the_image_seals_pods_with_what_its_manifest_gives() {
    let outside = Outside::new();
    // A bridge that just came up is no way for IPv6 yet.
    let _anchor = outside.container("anchor").run();
    let files = Files::new();
    let [first, second] = ["first.tar", "second.tar"].map(|name| make(&files, name));
    let bytes = |path: &str| fs::read(path).expect("an archive");
    assert!(bytes(&first) == bytes(&second), "two runs, other bytes");

    let containerd = Containerd::start_spreading(&outside);
    let import = [
        "images",
        "import",
        "--snapshotter",
        "native",
        "--local",
        &first,
    ];
    cmd::run_command(containerd.ctr().args(import)).expect_code(0);
    let loaded = cmd::run("docker", &["load", "--input", &first]).expect_code(0);
    assert!(loaded.stdout.contains(IMAGE), "{}", loaded.describe());
    cmd::ok(&format!("docker rmi {IMAGE}"));

    let (spec, line) = manifest(&containerd);
    let plugin = Pod::run(&containerd, &spec, 0).expect("the DaemonSet's pod");
    plugin.launch("nri", 0, &line).expect("its container");
    let told = || plugin.log("nri", 0);
    let connected = || told().contains("asked by").then_some(());
    if wait::within(wait::SOON * 3, connected).is_none() {
        panic!("it does not connect: {}", told());
    }
    let command = beacon::command(&outside).split_off(1);
    let run = |spec: &PodSpec| {
        let pod = Pod::run(&containerd, spec, 0).expect("it is made");
        pod.launch("web", 0, &command).expect("it starts");
        pod
    };
    let control = run(&PodSpec::open("control"));
    assert_sent(&control.tried("web", 0));
    drop(control);
    outside.clear();

    let spec = PodSpec::sealed("web");
    let pod = run(&spec);
    assert_refused(&pod.tried("web", 0));
    let arrivals = outside.arrivals();
    assert!(arrivals.is_empty(), "{arrivals:?}\n{}", told());
    let body = outside.get(pod.address(), SERVICE_PORT, "/");
    body.expect("the sealed service answers");
    // The node's own airgap sees what that of the image has sealed.
    let status = airgap(&["status", "--json", &spec.reference()]);
    assert!(matches!(status.code, 0 | 4), "{}", status.describe());
    assert!(
        status.stdout.contains("\"problems\":[]"),
        "{}",
        status.describe()
    );
    // A seal is the kernel's: it outlives the image.
    drop(plugin);
    pod.launch("late", 0, &command).expect("it starts");
    assert_refused(&pod.tried("late", 0));
    airgap(&["detach", &spec.reference()]).expect_code(0);
}
