//! How soon a refused attempt fails.

use airgap_tests::{Container, Outside};
use serde_json::Value;

use super::Wanted;
use super::figure::Figure;
use super::load::server;
use super::setup::Setup;

/// Set-ups that refuse, and the one that does not, first.
const SETUPS: [Setup; 4] = [
    Setup::Unsealed,
    Setup::Sealed,
    Setup::Iptables,
    Setup::Nftables,
];
/// Calls of the probe's `cost`, and how the report names them.
const CALLS: [(&str, &str); 4] = [
    ("connect", "connect() outwards"),
    ("sendto", "sendto() outwards"),
    ("loopback", "connect() over loopback"),
    ("socket", "socket() and close()"),
];

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let outside = Outside::unrecorded();
    let container = outside.container("denied").run();
    let glibc = server(&outside, "glibc");
    let mut figures: Vec<_> = CALLS
        .iter()
        .map(|(_, what)| Figure::new(*what, "µs", false))
        .collect();
    let mut against = Figure::new("a refused connect() beside one over loopback", "µs", false).bar(
        "refused",
        Some("over loopback"),
        0.6,
    );
    let mut lookup = Figure::new("getaddrinfo() of a name, glibc", "ms", false).bar(
        Setup::Sealed.name(),
        None,
        20.0,
    );
    for round in 0..wanted.rounds {
        eprintln!("round {} of {}", round + 1, wanted.rounds);
        for setup in SETUPS {
            {
                let _raised = setup.raise(&container, &glibc);
                let cost = cost(&outside, &container);
                for ((key, _), figure) in CALLS.iter().zip(&mut figures) {
                    figure.push(setup.name(), micros(&cost, key));
                }
                if setup == Setup::Sealed {
                    against.push("over loopback", micros(&cost, "loopback"));
                    against.push("refused", micros(&cost, "connect"));
                }
            }
            let _raised = setup.raise(&glibc, &container);
            lookup.push(setup.name(), resolve(&glibc));
        }
    }
    let mut rate = Figure::new("denials a second, one core", "1/s", true);
    for (column, runs) in figures[1].columns.clone() {
        if column == Setup::Sealed.name() {
            for micros in runs {
                rate.push(&column, 1e6 / micros);
            }
        }
    }
    figures.extend([against, lookup, rate]);
    figures
}

/// Medians of calls from inside the container, nanoseconds.
fn cost(outside: &Outside, container: &Container) -> Value {
    let target = outside.plan.outside4.to_string();
    let out = container.exec(&["airgap-probe", "cost", "--v4", &target, "--port", "443"]);
    let out = out.expect_code(0);
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", out.describe()))
}

fn micros(cost: &Value, call: &str) -> f64 {
    let nanos = cost[call].as_f64();
    nanos.unwrap_or_else(|| panic!("no {call} in {cost}")) / 1e3
}

/// Milliseconds of one lookup with glibc's resolver, answered or not.
fn resolve(container: &Container) -> f64 {
    const SCRIPT: &str = "use Socket qw(getaddrinfo); use Time::HiRes qw(time); \
        my $start = time; getaddrinfo('bench.airgap.example', 443); \
        printf qq(%.6f\\n), (time - $start) * 1000";
    let out = container.exec(&["perl", "-e", SCRIPT]).expect_code(0);
    let found = out.stdout.trim().parse();
    found.unwrap_or_else(|e| panic!("{e}\n{}", out.describe()))
}
