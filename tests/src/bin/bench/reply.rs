//! The reply path: a service in the container, its clients outside.

use airgap_tests::Outside;

use super::Wanted;
use super::figure::Figure;
use super::load::{bulk, requests, server};
use super::setup::{self, ALL, Setup};

const CONNECTIONS: usize = 32;

/// For each round that is asked for: on a virtual machine neighbouring runs differ by a tenth and
/// more, and the limits are a fiftieth.
const ROUNDS: usize = 2;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let outside = Outside::unrecorded();
    let container = server(&outside, "served");
    let other = outside.container("other").run();
    let rate = setup::requests;
    let gigabits = |name: &str| Figure::new(name, "Gbit/s", true);
    let mut kept = rate("requests on connections that last");
    let mut p99 = Figure::new("their 99th percentile", "ms", false);
    let mut fresh = rate("requests on connections of their own");
    let mut large = gigabits("bulk");
    let mut small = gigabits("bulk, written 128 bytes at a time");
    let seconds = wanted.seconds;
    for round in 0..wanted.rounds * ROUNDS {
        eprintln!("round {} of {}", round + 1, wanted.rounds * ROUNDS);
        // What is compared runs one after the other; in every second round in the other order, so
        // that whatever grows or wanes meanwhile favours nobody.
        let turns = |run: &mut dyn FnMut(&str)| {
            let run = |setup: Setup| {
                let _raised = setup.raise(&container, &other);
                run(setup.name());
            };
            if round % 2 == 0 {
                ALL.into_iter().for_each(run);
            } else {
                ALL.into_iter().rev().for_each(run);
            }
        };
        turns(&mut |name| {
            let found = requests(&outside, &container, seconds, CONNECTIONS, false);
            kept.push(name, found.rate);
            p99.push(name, found.p99);
        });
        turns(&mut |name| {
            let found = requests(&outside, &container, seconds, CONNECTIONS, true);
            fresh.push(name, found.rate);
        });
        turns(&mut |name| large.push(name, bulk(&outside, &container, seconds, false)));
        turns(&mut |name| small.push(name, bulk(&outside, &container, seconds, true)));
    }
    vec![kept, p99, fresh, large, small]
}
