//! How a command ends, and what stays.

use airgap_tests::Terminal;

use super::*;

#[test]
fn exit_codes_are_the_command_s() {
    let _turn = sweep::take_turn();
    for (words, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["airgap-test-no-such-program"], 127),
        (&["/airgap/no/such/program"], 127),
        (&["/etc/passwd"], 126),
        (&["/"], 126),
    ] {
        let out = sealed(&[], words).expect_code(code);
        assert!(!out.stderr.contains(REFUSED), "{}", out.describe());
        let none = out.stderr.contains("airgap: no attempt was refused\n");
        assert_eq!(none, !matches!(code, 126 | 127), "{}", out.describe());
    }
    // Nobody may go there, which only the command's own user is told.
    let out = sealed(&[], &["/root/.profile"]);
    assert_eq!(out.code, 126, "{}", out.describe());
    assert_nothing_left("after the codes");
}

#[test]
fn a_denial_fails_a_run_that_asks_for_it() {
    let outside = Outside::new();
    let line = format!(
        "curl -s -m 3 http://{}:20001/; exit $0",
        outside.plan.outside4
    );
    let run = |options: &[&str], code: &str| sealed(options, &["sh", "-c", &line, code]);
    run(&[], "0").expect_code(0);
    run(&["--fail-on-denial"], "0").expect_code(4);
    run(&["--fail-on-denial"], "9").expect_code(9);
    sealed(&["--fail-on-denial"], &["true"]).expect_code(0);
}

#[test]
fn signals_reach_the_command() {
    let _turn = sweep::take_turn();
    let script = "trap 'exit 41' TERM; trap 'exit 42' USR1; sleep 60 & wait";
    for (signal, code) in [(libc::SIGTERM, 41), (libc::SIGUSR1, 42)] {
        let mut run = Running::start(&mut exec(&[], &["sh", "-c", script]));
        await_program("sleep");
        run.signal(signal);
        // The sleep is left and waited for: end that, too.
        let left = await_program("sleep");
        // SAFETY: takes numbers.
        unsafe { libc::kill(left as i32, libc::SIGKILL) };
        assert_eq!(run.code(), code);
    }
    let mut run = Running::start(&mut exec(&[], &["sleep", "60"]));
    await_program("sleep");
    run.signal(libc::SIGTERM);
    assert_eq!(run.code(), 128 + libc::SIGTERM);
    // One that ends both is no wish to leave what runs on, however late it is seen.
    let mut run = Running::start(&mut exec(&[], &["sleep", "60"]));
    let left = await_program("sleep");
    run.signal(libc::SIGSTOP);
    run.signal(libc::SIGINT);
    // SAFETY: takes numbers.
    unsafe { libc::kill(left as i32, libc::SIGINT) };
    wait::until("the command's end", wait::SOON, || {
        (!inside().contains(&left)).then_some(())
    });
    run.signal(libc::SIGCONT);
    assert_eq!(run.code(), 128 + libc::SIGINT);
    assert_nothing_left("after the signals");
}

const SCRIPT: &str = "/tmp/airgap-test-exec.sh";

#[test]
fn the_terminal_is_the_command_s() {
    let _turn = sweep::take_turn();
    let terminal = Terminal::new(120, 30, &[]);
    let run = format!("{} exec --user nobody -- ", binary().display());
    // The terminal's own signal, once, and its input.
    let script = "n=0; trap 'n=$((n+1))' INT; echo rea''dy; read a; read b; echo n=$n b=$b; exit 5";
    fs::write(SCRIPT, script).unwrap();
    terminal.line(&format!("{run} sh {SCRIPT}; echo code=$?"));
    terminal.await_screen("the command", |screen| screen.contains("\nready"));
    terminal.key("C-c");
    terminal.line("typed");
    let screen = terminal.await_screen("the end", |screen| screen.contains("code=5"));
    assert!(screen.contains("n=1 b=typed"), "{screen}");
    fs::remove_file(SCRIPT).unwrap();
    // Stopped and gone on with.
    terminal.line(&format!("clear; {run} sleep 60; echo code=$?"));
    await_program("sleep");
    terminal.key("C-z");
    terminal.await_screen("stopped", |screen| screen.contains("Stopped"));
    // The line of the shell that says so has the command's words, too.
    terminal.line("clear; echo cle''ar");
    terminal.await_screen("cleared", |screen| {
        screen.lines().any(|line| line == "clear")
    });
    terminal.line("fg; echo code=$?");
    terminal.await_screen("gone on", |screen| screen.contains("exec --user nobody"));
    terminal.key("C-c");
    terminal.await_screen("ended", |screen| screen.contains("code=130"));
    assert_nothing_left("after the terminal");
}

#[test]
fn what_outlives_its_airgap_stays_sealed_and_is_cleared_away() {
    let outside = Outside::new();
    let target = outside.plan.outside4;
    let script = format!("while :; do curl -s -m 2 http://{target}:20001/; sleep 0.05; done");
    let mut run = Running::start(&mut exec(&[], &["sh", "-c", &script]));
    await_program("curl");
    run.signal(libc::SIGKILL);
    assert_eq!(run.code(), -1);
    let list = airgap_tests::airgap(&["list"]);
    let line = list.stdout.lines().find(|line| line.contains("exec:sh-"));
    let line = line.unwrap_or_else(|| panic!("{}", list.describe()));
    let name = line.split_whitespace().next().unwrap();
    let denials = || -> u64 {
        let status = airgap_tests::airgap(&["status", "--json", name]);
        let json: serde_json::Value = serde_json::from_str(&status.stdout)
            .unwrap_or_else(|e| panic!("{e}\n{}", status.describe()));
        assert_eq!(json["running"], true, "{}", status.describe());
        json["denials"]["total"].as_u64().unwrap()
    };
    for words in [
        &["attach", "-d", name][..],
        &["allow", name, "--to", "198.51.100.9:443"],
        &["disallow", name, "--all"],
        &["verify", name],
    ] {
        let out = airgap_tests::airgap(words);
        assert_eq!(out.code, 1, "{}", out.describe());
        assert!(out.stderr.contains("is a command"), "{}", out.describe());
    }
    let before = denials();
    wait::until("it is refused still", wait::SOON, || {
        (denials() > before).then_some(())
    });
    for words in [&["tail", "--no-follow", name][..], &["report", name]] {
        let out = airgap_tests::airgap(words);
        assert!(out.stdout.contains(":20001"), "{}", out.describe());
    }
    assert!(outside.seen().is_empty(), "{:?}", outside.seen());
    for pid in inside() {
        // SAFETY: takes numbers.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
    wait::until("it has ended", wait::SOON, || {
        inside().is_empty().then_some(())
    });
    // Whoever looks next clears away.
    airgap_tests::airgap_ok(&["list"]);
    assert_nothing_left("after its end");
}

#[test]
fn what_is_detached_is_open_and_said_to_be() {
    let outside = Outside::new();
    let script = format!(
        "while curl -s -m 2 http://{}:20001/; [ $? = 7 ]; do sleep 0.05; done",
        outside.plan.outside4
    );
    let mut run = Running::start(&mut exec(
        // In the host's network: its own leads nowhere, sealed or not.
        &["--fail-on-denial", "-p", "18082"],
        &["sh", "-c", &script],
    ));
    await_program("curl");
    assert!(outside.seen().is_empty(), "{:?}", outside.seen());
    let list = airgap_tests::airgap(&["list"]).stdout;
    let name = list
        .split_whitespace()
        .find(|word| word.starts_with("exec:"));
    airgap_tests::airgap_ok(&["detach", name.unwrap()]);
    wait::until("it gets out", wait::SOON, || {
        (!outside.seen().is_empty()).then_some(())
    });
    assert_eq!(run.code(), 3);
    assert_nothing_left("after the detach");
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let outside = Outside::new();
    let line = format!(
        "curl -s -m 3 http://{}:20001/; exit $0",
        outside.plan.outside4
    );
    let runs: Vec<_> = (0..8)
        .map(|code: i32| {
            let run = exec(&[], &["sh", "-c", &line, &code.to_string()]);
            std::thread::spawn(move || cmd::run_command(&mut { run }))
        })
        .collect();
    for (code, run) in runs.into_iter().enumerate() {
        let out = run.join().unwrap();
        assert_eq!(out.code, code as i32, "{}", out.describe());
        assert!(
            out.stderr.contains("refused 1 attempt:"),
            "{}",
            out.describe()
        );
    }
    assert!(outside.seen().is_empty(), "{:?}", outside.seen());
    assert_nothing_left("after all of them");
}

#[test]
fn one_that_is_ended_before_it_began_leaves_nothing() {
    const BEGUN: &str = "/tmp/airgap-test-exec-begun";
    let _turn = sweep::take_turn();
    drop(fs::remove_file(BEGUN));
    let lock = ::airgap::gate::Lock::take().expect("the gate's lock");
    let mut run = Running::start(&mut exec(&[], &["touch", BEGUN]));
    let status = format!("/proc/{}/status", run.0.id());
    wait::until("it takes its signals itself", wait::SOON, || {
        let text = fs::read_to_string(&status).ok()?;
        let blocked = text.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        let blocked = u64::from_str_radix(blocked.trim(), 16).ok()?;
        (blocked & 1 << (libc::SIGTERM - 1) != 0).then_some(())
    });
    run.signal(libc::SIGTERM);
    drop(lock);
    assert_eq!(run.code(), 128 + libc::SIGTERM);
    assert!(!Path::new(BEGUN).exists(), "it was started all the same");
    assert_nothing_left("after one that did not begin");
}
