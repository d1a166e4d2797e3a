//! What many seals and many connections change.

use airgap_tests::scratch::{id, others, standing_for};
use airgap_tests::{Container, Outside};

use super::Wanted;
use super::figure::Figure;
use super::load::{requests, server};
use super::programs::Statistics;
use super::setup::Setup;

const SEALS: [u32; 3] = [1, 100, 10_000];
const CONNECTIONS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let outside = Outside::unrecorded();
    let container = server(&outside, "grown");
    let other = outside.container("other").run();
    let mut figures = seals(wanted, &outside, &container, &other);
    figures.extend(connections(wanted, &outside, &container, &other));
    figures
}

/// Nanoseconds of a program, for a sealed container and for one beside it.
fn seals(
    wanted: &Wanted,
    outside: &Outside,
    container: &Container,
    other: &Container,
) -> Vec<Figure> {
    let column = |count: u32| format!("{count} sealed");
    let (one, most) = (column(SEALS[0]), column(SEALS[SEALS.len() - 1]));
    let limit = 1.1;
    let mut figures: Vec<_> = ["sealed container", "bystander"]
        .iter()
        .map(|whose| {
            Figure::new(format!("egress program, {whose}"), "ns", false).bar(
                &most,
                Some(&one),
                limit,
            )
        })
        .collect();
    for (figure, setup) in figures.iter_mut().zip([Setup::Sealed, Setup::Bystander]) {
        let most = SEALS.into_iter().max().unwrap_or(0);
        standing_for(most as usize);
        let _raised = setup.raise(container, other);
        let statistics = Statistics::start();
        for _ in 0..wanted.rounds {
            for count in SEALS {
                let _others = others((1..count).map(id));
                let spent = statistics.during("airgap_egress", || {
                    requests(outside, container, 1, 32, false);
                });
                figure.push(&column(count), spent);
            }
        }
    }
    figures
}

fn connections(
    wanted: &Wanted,
    outside: &Outside,
    container: &Container,
    other: &Container,
) -> Vec<Figure> {
    let figure =
        |count: &usize| Figure::new(format!("requests on {count} connections"), "1/s", true);
    let mut figures: Vec<_> = CONNECTIONS.iter().map(figure).collect();
    // An even number: either order as often as the other.
    for round in 0..wanted.rounds.next_multiple_of(2) {
        // What is compared runs one after the other, in every second round in the other order.
        let mut turns = [Setup::Unsealed, Setup::Sealed];
        turns.rotate_left(round % 2);
        for (count, figure) in CONNECTIONS.iter().zip(&mut figures) {
            // Ten thousand take a client seconds to open.
            let seconds = wanted.seconds.max((count / 1_000) as u32);
            for setup in turns {
                let _raised = setup.raise(container, other);
                let found = requests(outside, container, seconds, *count, false);
                figure.push(setup.name(), found.rate);
            }
        }
    }
    figures
}
