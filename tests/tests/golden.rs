//! Promise: words that an operator can act on. What each command says of an ordinary container,
//! word for word, on a kernel without security hooks and on a host that restores nothing: a change
//! of the words is a change of `tests/golden`.

use airgap_tests::airgap::{binary, hooks_refuse};
use airgap_tests::{Container, Golden, Outside, Tail, Terminal, airgap, wait};
use std::time::Duration;

/// Words for what differs from run to run.
fn golden(outside: &Outside, web: &Container) -> Golden {
    let mut golden = Golden::default();
    golden.word(&web.name, "web");
    golden.word(&web.id, &"0123456789ab".repeat(6)[..64]);
    golden.word(&web.id[..12], "0123456789ab");
    golden.word(web.ip4().to_string(), "WEB");
    golden.word(airgap_tests::image::ensure(), "IMAGE");
    golden.word(outside.plan.outside4.to_string(), "OUTSIDE");
    golden.word(web.veth(), "veth0");
    // The rest of the probe's arguments: addresses that are drawn.
    golden.end(" --v4 ");

    golden.word(binary().display().to_string(), "airgap");
    golden
}

/// Whether this kernel's words are the ones that are kept.
fn is_kept() -> bool {
    let kept = !hooks_refuse();
    if !kept {
        println!("skipped: the texts are of a kernel without security hooks, which this one has");
    }
    kept
}

#[test]
fn an_ordinary_container_s_day() {
    if !is_kept() {
        return;
    }
    let outside = Outside::new();
    let web = outside.container("web").run();
    let golden = golden(&outside, &web);
    let say = |name: &str, args: &[&str], code: i32| {
        let out = airgap(args);
        let text = format!("{}{}exit {}\n", out.stderr, out.stdout, out.code);
        golden.assert(name, &text);
        out.expect_code(code);
    };
    say("attach-dry-run", &["attach", "--dry-run", &web.name], 0);
    say("attach", &["attach", "-d", &web.name], 0);
    let mut tail = Tail::start(&["tail", &web.name]);
    tail.await_start();
    for technique in ["tcp4", "udp4", "dns-embedded"] {
        web.attempt(technique, 20_000, "golden");
    }
    let lines = wait::until("three refusals", wait::SOON, || {
        let lines = tail.lines();
        (lines.len() >= 3).then_some(lines)
    });
    golden.assert("tail", &lines.join("\n"));
    tail.kill();
    say("list", &["list"], 0);
    say("status", &["status", &web.name], 0);
    say("status-explain", &["status", "--explain", &web.name], 0);
    say("report", &["report", &web.name], 0);
    let terminal = Terminal::new(100, 24, &[]);
    terminal.line(&format!("{} top", binary().display()));
    let screen = terminal.await_screen("judged, and counted", |screen| {
        let line = screen.lines().find(|line| line.contains(&web.name));
        let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
        // With its rate, which comes with the second look.
        matches!(words[..], ["limited", _, "0", "3", _])
    });
    golden.assert("top", &screen);
    drop(terminal);
    let guard = web.veth();
    // Opened on purpose: a restart on a kernel without security hooks.
    web.restart();
    let mut golden = self::golden(&outside, &web);
    golden.word(guard, "veth0");
    let opened = wait::until("the restart is told", Duration::from_secs(30), || {
        let out = airgap(&["status", &web.name]);
        (out.code == 4).then_some(out)
    });
    // The kernel's own packets come when they come.
    let chatter = "; kernel chatter: ";
    let text = (opened.stderr + &opened.stdout).replace(chatter, "\0");
    let parts: Vec<_> = text.split('\0').collect();
    let digits = |part: &str| {
        part.trim_start_matches(|c: char| c.is_ascii_digit())
            .to_owned()
    };
    let rest = parts.iter().skip(1).map(|part| digits(part));
    golden.assert(
        "status-opened",
        &(parts[0].to_owned() + &rest.collect::<String>()),
    );
    let out = airgap(&["detach", &web.name]).expect_code(0);
    // The kernel releases the one before the restart when it likes.
    let text = (out.stderr + &out.stdout).replace("2 cgroups", "1 cgroup");
    golden.assert("detach", &text);
    let out = airgap(&["status", &web.name]).expect_code(3);
    golden.assert("status-detached", &(out.stderr + &out.stdout));
}

#[test]
fn what_the_host_can_do() {
    if !is_kept() {
        return;
    }
    let _turn = airgap_tests::sweep::take_turn();
    let out = airgap(&["doctor"]);
    let mut golden = Golden::default();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    golden.word(release.trim(), "KERNEL");
    golden.assert("doctor", &(out.stderr + &out.stdout));
}

#[test]
fn every_word_is_explained() {
    let all = airgap(&["explain"]).expect_code(0).stdout;
    let mut text = all.clone();
    let words = all.lines().filter_map(|line| line.strip_prefix("  "));
    for word in words {
        text += "\n";
        text += &airgap(&["explain", word]).expect_code(0).stdout;
    }
    Golden::default().assert("explain", &text);
}
