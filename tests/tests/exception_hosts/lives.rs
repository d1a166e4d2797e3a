//! What an exception by name is after its container was restarted, after its networks changed,
//! and after a reboot.

use super::{ASKED_AGAIN, NAME, World, addresses, at, exit, hosts, texts, to};
use airgap_tests::airgap::{STATE, airgap, airgap_ok, binary, seal};
use airgap_tests::files::Files;
use airgap_tests::reach::Reach;
use airgap_tests::upstream::Says;
use airgap_tests::watch::Watch;
use airgap_tests::{Container, cmd, wait};
use std::fs;
use std::net::IpAddr;

/// The lines of a hosts file, sorted, without those of the exception; and how many these are.
fn lines(container: &Container) -> (Vec<String>, usize) {
    let text = hosts(container);
    let (named, mut others): (Vec<_>, Vec<_>) = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .partition(|line| line.contains(NAME));
    others.sort_unstable();
    (others, named.len())
}

#[test]
fn a_name_is_there_again_after_a_restart_and_its_address_after_no_reboot() {
    let world = World::new();
    let (one, upstream) = (IpAddr::from(world.upstream.one), &world.upstream);
    upstream.says(NAME, Says::Addresses(vec![one], 60));
    let web = world.container("web");
    let (before, none) = lines(&web);
    assert_eq!(none, 0);
    let mut keeper = Watch::keeping();
    seal(&web.name, &["--to", &to(NAME)]);
    let comment = |lines: &(Vec<String>, usize)| {
        let (others, named) = lines;
        let others: Vec<_> = others.iter().filter(|l| !l.starts_with('#')).collect();
        (others.len(), *named)
    };
    let own = before.iter().filter(|line| !line.starts_with('#')).count();
    assert_eq!(comment(&lines(&web)), (own, 1), "{}", hosts(&web));
    // The engine writes the file anew.
    web.restart();
    wait::until("the line is there again", wait::SOON, || {
        (comment(&lines(&web)) == (own, 1)).then_some(())
    });
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {}", at(one)));
    let network = format!("{}-more", world.outside.plan.name);
    let label = airgap_tests::LABEL;
    let suffix = &world.outside.plan.suffix;
    cmd::ok(&format!(
        "docker network create --internal --label {label}={suffix} {network}"
    ));
    cmd::ok(&format!("docker network connect {network} {}", web.name));
    wait::until("a line more of the engine's, and ours", wait::SOON, || {
        (comment(&lines(&web)) == (own + 1, 1)).then_some(())
    });
    cmd::ok(&format!("docker network disconnect {network} {}", web.name));
    cmd::ok(&format!("docker network rm {network}"));
    // The engine takes more than that network's lines out of its file; ours stays, once.
    assert_eq!(lines(&web).1, 1, "{}", hosts(&web));
    reach.does(&format!("tcp b {}", at(one)));
    // The record has the name alone, so that a reboot opens no address that may be another's.
    keeper.kill();
    let path = format!("{STATE}/seals/{}.json", web.id);
    let text = fs::read_to_string(&path).expect("a record");
    assert!(
        text.contains(NAME) && !text.contains(&one.to_string()),
        "{text}"
    );
    cmd::ok(&format!(
        "rm -r /sys/fs/bpf/airgap/v{}",
        airgap_common::ABI_VERSION
    ));
    wait::until("the kernel side is gone", wait::SOON, || {
        reach.say(&format!("tcp open {}", at(upstream.two))).ok()
    });
    airgap_ok(&["restore"]);
    assert_eq!(exit(&web)["state"], "closed");
    airgap(&["status", &web.name]).expect_code(4);
    reach.is_refused(&format!("tcp c {}", at(one)));
    drop(keeper);
    let _keeper = Watch::keeping();
    wait::until("it is asked for anew", ASKED_AGAIN, || {
        (addresses(&web) == texts(&[one])).then_some(())
    });
    reach.does(&format!("tcp d {}", at(one)));
    airgap_ok(&["detach", &web.name]);
    assert_eq!(lines(&web).1, 0);
}

/// What this host's own file says of the name is its own business.
#[test]
fn the_hosts_file_of_this_host_is_not_asked() {
    let world = World::new();
    let upstream = &world.upstream;
    let (one, two) = (IpAddr::from(upstream.one), IpAddr::from(upstream.two));
    upstream.says(NAME, Says::Addresses(vec![one], 60));
    let _keeper = Watch::keeping();
    let web = world.container("web");
    seal(&web.name, &[]);
    let files = Files::new();
    let own = files.write("hosts", &format!("{two} {NAME}\n"));
    let mount = format!("mount --bind {own} /etc/hosts");
    let look = format!("getent ahostsv4 {NAME}");
    let (airgap, id) = (binary(), &web.id);
    let allow = format!(
        "AIRGAP_STATE={STATE} {} allow --to {} {id}",
        airgap.display(),
        to(NAME)
    );
    let script = format!("{mount} && {look} && {allow}");
    let out = cmd::run("unshare", &["--mount", "sh", "-c", &script]);
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    // The control: there it is in force for whoever asks as programs do.
    assert!(
        out.stdout.contains(&format!("{two} ")),
        "{}",
        out.describe()
    );
    assert_eq!(addresses(&web), texts(&[one]));
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {}", at(one)));
    reach.is_refused(&format!("tcp b {}", at(two)));
}
