//! Promise: `airgap watch` never opens again what an operator has closed, whatever a file
//! says by then; and what `apply` makes is as written, accepted risks too.

use std::path::Path;

use super::*;

#[test]
fn watch_widens_nothing_that_stands() {
    let world = World::new();
    let (a, b, c) = (world.to(0), world.to(1), world.to(2));
    let text = |to: &[&String]| {
        let to: Vec<_> = to.iter().map(|to| format!("\"{to}\"")).collect();
        let to = to.join(", ");
        format!("[[seal]]\nlabel = \"tier=front\"\nports = [\"8080\"]\nto = [{to}]\n")
    };
    world.write(&text(&[&a, &b]));
    let log = world.files.path("log");
    let watch = Watch::logged(&["--config", &world.config], Path::new(&log));
    let logged = |what: &str| {
        wait::until(what, wait::SOON, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.contains(what).then_some(())
        });
    };
    let front = |name: &str| {
        let front = world.outside.container(name);
        front.options(&["--label", "tier=front"]).run()
    };
    let (web, hand) = (front("web"), front("hand"));
    await_ports(&web, &json!(["8080/tcp"]));
    await_ports(&hand, &json!(["8080/tcp"]));
    Reach::new(&web).does(&format!("tcp b {b}"));
    // Narrowed by hand, in both ways; then the file has more.
    airgap(&["disallow", &web.name, "--to", &b]);
    seal(&hand.name, &["-p", "9090", "--to", &a]);
    world.write(&text(&[&a, &b, &c]));
    web.restart();
    hand.restart();
    logged(&format!("{}: its seal stays as it was made", web.name));
    // The control: what comes up now is as the file says now, which is read anew.
    let new = front("new");
    await_ports(&new, &json!(["8080/tcp"]));
    Reach::new(&new).does(&format!("tcp c {c}"));
    let check = || {
        let (mut web, mut hand_reach) = (Reach::new(&web), Reach::new(&hand));
        web.does(&format!("tcp a {a}"));
        hand_reach.does(&format!("tcp a {a}"));
        for to in [&b, &c] {
            web.is_refused(&format!("tcp x {to}"));
            hand_reach.is_refused(&format!("tcp x {to}"));
        }
        assert_eq!(status(&hand)["ports"], json!(["9090/tcp"]));
    };
    check();
    // Nor does another watch, which finds them as they are.
    drop(watch);
    let watch = Watch::start(&["--config", &world.config]);
    check();
    // A file that is wrong counts as it was before.
    world.files.write("policy.d/z.toml", "[[seal]]\n");
    let late = front("late");
    await_ports(&late, &json!(["8080/tcp"]));
    fs::remove_file(world.files.path("policy.d/z.toml")).expect("remove");
    drop(watch);
    // An operator opens it, after he was shown what.
    let out = world.apply(&["--diff"]).expect_code(0);
    assert!(
        out.stdout.contains(&format!("+ to {c}/tcp")),
        "{}",
        out.describe()
    );
    world.apply(&[]);
    Reach::new(&web).does(&format!("tcp c {c}"));
    airgap_ok(&["detach", "--all"]);
}

#[test]
fn a_risk_that_is_not_written_is_accepted_no_more() {
    let world = World::new();
    let gateway = |container: &Container| container.plan().gateway4.to_string();
    let plain = world.outside.container("plain").run();
    let name = &plain.name;
    seal(name, &["-p", "5060,8080", "--accept", "log-driver"]);
    assert_eq!(status(&plain)["accepted"], json!(["log-driver"]));
    let text = format!("[[seal]]\ncontainer = \"{name}\"\nports = [\"8080\"]\n");
    world.write(&text);
    let out = world.apply(&["--diff"]).expect_code(0);
    assert!(
        out.stdout.contains("- accepts log-driver"),
        "{}",
        out.describe()
    );
    world.apply(&[]);
    assert_eq!(status(&plain)["accepted"], json!([]));
    assert_eq!(status(&plain)["ports"], json!(["8080/tcp"]));
    // What an operator allowed stands beside it, with what he accepted for it alone.
    let near = format!("{}:443", gateway(&plain));
    airgap(&["allow", name, "--to", &near, "--accept", "host-exit"]);
    world.apply(&[]);
    let report = status(&plain);
    assert_eq!(report["accepted"], json!(["host-exit"]));
    assert_eq!(report["exits"][0]["to"], json!(format!("{near}/tcp")));
    let own = format!("to = [\"{}:80\"]\n", gateway(&plain));
    world.write(&(text.clone() + &own));
    let out = world.apply(&[]).expect_code(1);
    assert!(out.stderr.contains("host-exit"), "{}", out.describe());
    // One that is there, and not written, refuses it, although there are fewer ports.
    let risky = world.outside.container("risky");
    let risky = risky.options(&["--log-driver", "syslog"]);
    let risky = risky.options(&["--log-opt", "syslog-address=udp://127.0.0.1:9"]);
    let risky = risky.run();
    seal(&risky.name, &["-p", "5060,8080", "--accept", "log-driver"]);
    let text = format!(
        "[[seal]]\ncontainer = \"{}\"\nports = [\"8080\"]\n",
        risky.name
    );
    world.write(&text);
    let before = kernel_state();
    let out = world.apply(&[]).expect_code(1);
    assert!(out.stderr.contains("log-driver"), "{}", out.describe());
    assert_eq!(before, kernel_state());
    assert_eq!(status(&risky)["accepted"], json!(["log-driver"]));
    // The control.
    world.write(&(text + "accept = [\"log-driver\"]\n"));
    world.apply(&[]);
    assert_eq!(status(&risky)["ports"], json!(["8080/tcp"]));
    airgap_ok(&["detach", "--all"]);
}
