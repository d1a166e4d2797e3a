//! Promise: nothing leaves. Every way out that we know, tried from a container without a seal,
//! from a sealed one, and from behind what people use instead: a firewall rule on the host, and a
//! Docker network without a way out. `cargo xtask escape` prints the table.

use ::airgap::technique::{Reach, Sealed, Way, vector};
use airgap_tests::airgap::seal;
use airgap_tests::bench::{Attempt, Bench};
use airgap_tests::firewall::Firewall;
use airgap_tests::internal::Internal;
use airgap_tests::table::{self, Table};
use airgap_tests::techniques::{self, cgroup_level, frame_level};
use airgap_tests::{Container, Outcome, Outside, SERVICE_PORT};
use std::thread;
use std::time::{Duration, Instant};

/// For the control, which ends as soon as it is seen.
const LONG: Duration = Duration::from_secs(2);
/// For what is expected to be stopped; a blocked call has taken its own time already.
const SHORT: Duration = Duration::from_millis(100);
/// The kernel delays reports of joins at random.
const JOIN: Duration = Duration::from_millis(1200);

/// A technique and what must become of it.
struct Row {
    technique: &'static str,
    control: Reach,
    /// The errno that only the cgroup layer gives; frames are stopped behind the veth.
    sealed: Option<Sealed>,
    join: bool,
}

fn rows() -> Vec<Row> {
    let row = |way: &'static Way, sealed| Row {
        technique: way.name,
        control: seen_at(way.reach),
        sealed,
        join: way.vector == vector::JOINS,
    };
    let sockets = cgroup_level().map(|way| row(way, Some(way.sealed)));
    sockets
        .chain(frame_level().map(|way| row(way, None)))
        .collect()
}

/// Where a frame of it is seen: a question to Docker's resolver goes on from there.
fn seen_at(reach: Reach) -> Reach {
    match reach {
        Reach::Resolver => Reach::Outside,
        other => other,
    }
}

/// One column: how far each technique got.
fn column(bench: &mut Bench<'_>, rows: &[Row], window: Duration) -> Vec<Attempt> {
    let start = Instant::now();
    let column = rows
        .iter()
        .map(|row| {
            let window = if row.join { window.max(JOIN) } else { window };
            bench.reach(row.technique, row.control, window)
        })
        .collect();
    eprintln!("{} attempts in {:?}", rows.len(), start.elapsed());
    column
}

#[test]
fn no_way_out_of_a_sealed_container() {
    let outside = Outside::new();
    let rows = rows();
    let mut problems = Vec::new();

    let unsealed = {
        let container = outside.container("unsealed").run();
        let mut bench = Bench::new(&outside, &container);
        column(&mut bench, &rows, LONG)
    };
    for (row, attempt) in rows.iter().zip(&unsealed) {
        if attempt.reach != Some(row.control) {
            problems.push(format!("control {}: {attempt:?}", row.technique));
        }
    }
    let (sealed, leaks) = sealed_column(&outside, &rows);
    problems.extend(leaks);
    // What others hold is for the table only: it takes four times as long.
    if table::is_wanted() {
        let (iptables, internal) = others(&outside, &rows);
        publish(&rows, &[unsealed, sealed, iptables, internal]);
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

fn publish(rows: &[Row], columns: &[Vec<Attempt>; 4]) {
    let found = |i: usize| columns.iter().map(|column| column[i].reach).collect();
    let names = rows.iter().map(|row| row.technique.to_owned());
    let sealed = columns[1].iter();
    Table {
        rows: names
            .enumerate()
            .map(|(i, name)| (name, found(i)))
            .collect(),
        errnos: sealed.map(|attempt| attempt.report.errno).collect(),
    }
    .publish();
}

/// The two columns without a promise, side by side.
fn others(outside: &Outside, rows: &[Row]) -> (Vec<Attempt>, Vec<Attempt>) {
    let filtered = outside.container("filtered").run();
    let _rule = Firewall::replies_only(&outside.plan, filtered.ip4());
    served(outside, &filtered);
    let network = Internal::new(outside);
    let isolated = network.container("internal").run();
    outside.clear();
    let mut iptables = Bench::new(outside, &filtered);
    let mut internal = Bench::beside(outside, &isolated);
    thread::scope(|scope| {
        let iptables = scope.spawn(|| column(&mut iptables, rows, SHORT));
        let internal = column(&mut internal, rows, SHORT);
        let iptables = iptables.join();
        let iptables = iptables.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (iptables, internal)
    })
}

/// The service answers: what stops a way out has not stopped everything.
#[track_caller]
fn served(outside: &Outside, container: &Container) {
    let body = outside.get(container.ip4(), SERVICE_PORT, "/alive");
    body.unwrap_or_else(|e| panic!("{} does not serve: {e:#}", container.name));
}

/// The sealed column, and whatever is wrong with it: a socket's packet must not even get to the
/// veth, and the call must have failed as the table says.
fn sealed_column(outside: &Outside, rows: &[Row]) -> (Vec<Attempt>, Vec<String>) {
    let container = outside.container("sealed").run();
    seal(&container.name, &[]);
    served(outside, &container);
    let mut bench = Bench::new(outside, &container);
    bench.clear();
    let mut column = Vec::new();
    for row in rows {
        let name = row.technique;
        let window = if row.join { JOIN } else { SHORT };
        let attempt = bench.reach(name, row.control, window);
        if let Some(expected) = row.sealed {
            bench.no_frames(&format!("{name} ({:?})", attempt.report));
            bench.ended_as(&attempt.report, expected);
        } else if let Some(reach) = attempt.reach {
            let leak = format!("LEAK {name}: {reach:?} ({:?})", attempt.report);
            bench.problems.push(leak);
        }
        column.push(attempt);
    }
    bench.clear();
    // Longer than a SYN's first repetition.
    bench.veth.watch(Duration::from_millis(2500), |frame| {
        !frame.is_neighbour_discovery()
    });
    bench.no_frames("later");
    served(outside, &container);
    (column, bench.problems)
}

/// Bits of a host's number that a question can choose in the networks of these proofs: ARP in a
/// /27, solicitations in a /64.
const CHOICE: [(&str, u32); 2] = [("4", 5), ("6", 64)];
/// `Policy::nd_per_second` of every seal.
const BUDGET: usize = 64;
const SECONDS: usize = 3;

/// What is left: neighbour discovery, which the kernel needs. A container that forges frames on
/// lo can have it ask for addresses of its choice, and everybody on the link can hear. The budget
/// bounds it; this measures it.
#[test]
fn what_the_kernel_asks_the_link_is_bounded() {
    let outside = Outside::new();
    let container = outside.container("whisperer").run();
    let mut lines = Vec::new();
    for when in ["unsealed", "sealed"] {
        if when == "sealed" {
            seal(&container.name, &[]);
        }
        for (version, bits) in CHOICE {
            let bench = Bench::new(&outside, &container);
            bench.clear();
            let whisper = ["airgap-probe", "whisper", version, &SECONDS.to_string()];
            container.exec(&whisper).expect_code(0);
            bench.bridge.barrier();
            let mac = container.mac();
            let asked = bench.bridge.incoming();
            let asked = asked.iter().filter(|f| f.source_mac() == mac).count();
            assert!(
                asked > 0,
                "{when}, IPv{version}: the whisperer is not heard at all"
            );
            // A second of the budget may have begun before and another end after.
            let most = BUDGET * (SECONDS + 2);
            if when == "sealed" {
                assert!(
                    asked <= most,
                    "IPv{version}: {asked} questions in {SECONDS} s"
                );
            }
            let rate = asked * bits as usize / SECONDS;
            lines.push(format!(
                "{when}, IPv{version}: {asked} questions in {SECONDS} s, {bits} bits each: at \
                 most {rate} bit/s to the local link"
            ));
        }
    }
    lines.push(format!(
        "bound of a seal: {BUDGET} questions/s, {} bit/s by IPv6",
        BUDGET * 64
    ));
    table::append("residual channel", &lines);
}

/// What Docker refuses has no positive control. It is refused with and without a seal, and this
/// test fails on the day one of these begins to work.
#[test]
fn what_docker_refuses_stays_refused() {
    let outside = Outside::new();
    let container = outside.container("refused").run();
    let mut allowed = Vec::new();
    for when in ["unsealed", "sealed"] {
        if when == "sealed" {
            seal(&container.name, &[]);
        }
        let mut bench = Bench::new(&outside, &container);
        for technique in techniques::refused() {
            let attempt = bench.attempt_only(technique);
            println!("{when} {technique}: {attempt:?}");
            if matches!(attempt.outcome, Outcome::Sent | Outcome::NoAnswer) {
                allowed.push(format!("{when} {technique}: {attempt:?}"));
            }
        }
    }
    assert_eq!(allowed, Vec::<String>::new());
}
