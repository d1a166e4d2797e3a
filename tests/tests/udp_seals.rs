//! Promise: UDP ports are the same however they are asked for: by a label, the configuration file,
//! `airgap run` and `airgap exec`; and without clients by none of them.

use airgap_tests::airgap::{airgap, command};
use airgap_tests::cmd;
use airgap_tests::reach::Reach;
use airgap_tests::udp::{PORT, World};
use airgap_tests::watch::Watch;
use airgap_tests::{Container, wait};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;

#[track_caller]
fn await_status(container: &Container, code: i32) -> Value {
    wait::until("it is sealed by its label", wait::SOON, || {
        let out = airgap(&["status", "--json", &container.id]);
        let json: Option<Value> = serde_json::from_str(&out.stdout).ok();
        json.filter(|_| out.code == code || out.code == 0)
    })
}

#[test]
fn labels_ask_for_udp_ports_with_clients() {
    let world = World::new();
    let _watch = Watch::start(&[]);
    let from = format!("airgap.from={}", world.outside.plan.outside4);
    let ports = "airgap.ports=5060,5060/udp,10000-10100/udp";
    let options = ["--label", "airgap.seal=true", "--label", ports];
    let sip = world.outside.container("sip");
    let sip = sip.options(&options).options(&["--label", &from]).run();
    let status = await_status(&sip, 4);
    assert_eq!(
        status["ports"],
        json!(["5060/tcp", "5060/udp", "10000-10100/udp"])
    );
    let mut reach = Reach::new(&sip);
    reach.does(&format!("serve sip 4 {PORT}"));
    let asks = world.client("4");
    asks.say(&sip, PORT, "hello");
    assert_eq!(reach.does("hear sip")["text"], "hello");
    reach.does(&format!("to sip {} answer", asks.at));
    assert_eq!(asks.hears(), Some(("answer".to_owned(), PORT)));
    reach.is_refused(&format!("to sip {} no", world.client("4").at));
    // Without clients it is sealed, and serves nothing.
    let bare = world.outside.container("bare").options(&options).run();
    let status = await_status(&bare, 4);
    assert_eq!(status["ports"], json!([]));
    airgap(&["detach", "--all"]);
}

#[test]
fn the_usual_ports_may_be_of_udp() {
    let world = World::new();
    let web = world.outside.container("web").run();
    let file = std::env::temp_dir().join(format!("airgap-udp-{}.toml", std::process::id()));
    std::fs::write(&file, "ports = [\"5060\", \"5060-5061/udp\"]\n").expect("write");
    let config = file.to_string_lossy();
    let attach = ["--config", &config, "attach", "-d"];
    let refused = airgap(&[&attach[..], &[&web.name]].concat());
    assert_eq!(refused.code, 2, "{}", refused.describe());
    assert!(
        refused.stderr.contains("--from CIDR"),
        "{}",
        refused.describe()
    );
    let from = world.outside.plan.outside4.to_string();
    let sealed = airgap(&[&attach[..], &["--from", &from, &web.name]].concat());
    assert!(matches!(sealed.code, 0 | 4), "{}", sealed.describe());
    assert!(
        sealed.stdout.contains("5060/tcp, 5060-5061/udp"),
        "{}",
        sealed.describe()
    );
    // What is in the record comes back.
    airgap_tests::airgap_ok(&["restore"]);
    let status = airgap(&["status", "--json", &web.name]);
    assert!(
        status.stdout.contains("5060-5061/udp"),
        "{}",
        status.describe()
    );
    std::fs::remove_file(&file).expect("remove");
}

#[test]
fn a_run_is_sealed_with_udp_ports_from_its_start() {
    let world = World::new();
    let plan = &world.outside.plan;
    let twin = world.outside.container("twin").create();
    let image = cmd::ok(&format!("docker inspect -f {{{{.Image}}}} {}", twin.id));
    let name = format!("{}-run", twin.name);
    let from = plan.outside4.to_string();
    let docker = [
        "-d",
        "--name",
        &name,
        "--network",
        &plan.name,
        "--label",
        &format!("{}={}", airgap_tests::LABEL, plan.suffix),
        image.trim(),
        "airgap-probe",
        "serve",
    ];
    let refused = airgap(&[&["run", "-p", "5060/udp", "--"], &docker[..]].concat());
    assert_eq!(refused.code, 2, "{}", refused.describe());
    let run = airgap(
        &[
            &["run", "-p", "5060/udp", "--from", &from, "--"],
            &docker[..],
        ]
        .concat(),
    );
    assert_eq!(run.code, 0, "{}", run.describe());
    assert!(run.stderr.contains("ports 5060/udp"), "{}", run.describe());
    let status = airgap(&["status", "--json", &name]);
    assert!(status.stdout.contains("5060/udp"), "{}", status.describe());
    airgap(&["detach", &name]);
    cmd::ok(&format!("docker rm -f {name}"));
}

/// Answers one question to who asked, and tries to tell somebody else.
const SERVE: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',18053))
open(sys.argv[1],'w').close() if len(sys.argv)>2 else None
data,who=s.recvfrom(99)
s.sendto(b'answer',who)
try: s.sendto(b'stolen',(who[0],20000)); print('told')
except OSError as e: print('refused',e.errno)
s.setsockopt(socket.SOL_SOCKET,socket.SO_BINDTODEVICE,b'docker0')
try: s.sendto(b'elsewhere',who); print('another link: sent')
except OSError as e: print('another link:',e.errno)";

#[test]
fn a_command_serves_udp() {
    let world = World::new();
    let plan = &world.outside.plan;
    let from = plan.outside4.to_string();
    let options = ["exec", "--user", "nobody", "-p", "18053/udp"];
    let words = ["--", "python3", "-c", SERVE, "x"];
    let refused = airgap(&[&options[..], &words].concat());
    assert_eq!(refused.code, 2, "{}", refused.describe());
    let mut run = command();
    run.args(options)
        .args(["--from", &from])
        .args(words)
        .current_dir("/");
    let run = run
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = run.spawn().expect("airgap");
    let asks = world.client("4");
    let service = SocketAddr::new(plan.host4.into(), 18_053);
    let answer = wait::until("the service answers", wait::SOON, || {
        asks.say_to(service, b"hello");
        asks.hears_all_within(std::time::Duration::from_millis(100))
    });
    assert_eq!(answer, b"answer");
    let out = run.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("refused"), "{out:?}");
    // The client's address on another link of this host may be somebody else's.
    assert!(said.contains("another link: 1\n"), "{out:?}");
    assert_eq!(world.outside.seen(), []);
}
