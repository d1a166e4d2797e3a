//! How long airgap itself takes, and how much memory.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use airgap_tests::airgap::{self, binary};
use airgap_tests::engine::{Described, Engine};
use airgap_tests::{Container, Outside, airgap_ok, cmd, wait};

use super::Wanted;
use super::figure::Figure;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let outside = Outside::unrecorded();
    let (one, two) = (
        outside.container("one").run(),
        outside.container("two").run(),
    );
    let mut whole = Figure::new("attach, the whole command with Docker", "ms", false);
    let mut own = Figure::new(
        "attach, against an engine that answers at once",
        "ms",
        false,
    )
    .bar("cold", None, 90.0)
    .bar("warm", None, 15.0);
    // A tcx link waits for a grace period of the kernel's, 10 to 20 ms, and a veth has two.
    let mut processor =
        Figure::new("attach, the same, processor time", "ms", false).bar("warm", None, 10.0);
    let engine = Engine::start(Described {
        id: two.id.clone(),
        name: two.name.clone(),
        pid: two.pid(),
    });
    for _ in 0..wanted.rounds {
        // The first seal of a host loads the programs.
        whole.push("cold", attach(&one, &[]).wall);
        whole.push("warm", attach(&two, &[]).wall);
        airgap_ok(&["detach", "--all"]);
        let host = engine.host();
        let cold = attach(&two, &["--host", &host]);
        airgap_ok(&["detach", "--all"]);
        attach(&one, &[]);
        let warm = attach(&two, &["--host", &host]);
        for (column, taken) in [("cold", cold), ("warm", warm)] {
            own.push(column, taken.wall);
            processor.push(column, taken.processor);
        }
        airgap_ok(&["detach", "--all"]);
    }
    let mut sizes = Figure::new("sizes", "MB", false)
        .bar("static binary", None, 8.0)
        .bar("resident memory of tail", None, 15.0);
    let bytes = fs::metadata(binary()).expect("the binary").len();
    sizes.push("static binary", bytes as f64 / 1e6);
    attach(&one, &[]);
    sizes.push("resident memory of tail", tail_memory(&one));
    vec![whole, own, processor, sizes]
}

/// Milliseconds.
struct Taken {
    /// From start to exit.
    wall: f64,
    /// In user mode and in the kernel.
    processor: f64,
}

fn attach(container: &Container, options: &[&str]) -> Taken {
    let (start, before) = (Instant::now(), processor_time());
    let mut command = airgap::command();
    command
        .args(options)
        .args(["attach", "-d", &container.name]);
    let out = cmd::run_command(&mut command);
    let taken = start.elapsed();
    assert!(matches!(out.code, 0 | 4), "{}", out.describe());
    Taken {
        wall: taken.as_secs_f64() * 1e3,
        processor: processor_time() - before,
    }
}

/// Milliseconds of all children that have ended.
fn processor_time() -> f64 {
    // SAFETY: plain data, which the call fills.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| t.tv_sec as f64 * 1e3 + t.tv_usec as f64 / 1e3;
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Most that `tail` ever held, megabytes, once it has shown some denials.
fn tail_memory(container: &Container) -> f64 {
    let mut tail = airgap::command()
        .args(["tail", "--json", &container.name])
        .stdout(Stdio::null())
        .spawn()
        .expect("start tail");
    let status = format!("/proc/{}/status", tail.id());
    for _ in 0..200 {
        container.attempt("udp4", 9, "memory");
    }
    let peak = wait::until("tail's memory", wait::SOON, || {
        let text = fs::read_to_string(&status).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
    });
    tail.kill().expect("end tail");
    tail.wait().expect("wait for tail");
    peak * 1024.0 / 1e6
}
