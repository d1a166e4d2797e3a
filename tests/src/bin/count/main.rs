//! `airgap-count`: counts the instructions that network operations take, in an emulated machine
//! whose clock is its one processor's instructions (`cargo xtask bench --exact`).
//!
//! - `drive WORDS…`: measures; `setups=A,B`, `operations=A,B`, `families=4,6`, `runs=N`. A line
//!   `count: SETUP|OPERATION|FAMILY|INSTRUCTIONS` for each, the least of all runs; with
//!   `programs=1` what each program takes instead, `program: …`
//! - `contained CGROUP`: the server, as a container; prints its pid

mod client;
mod clock;
mod operation;
mod programs;
mod server;
mod setup;
mod world;

use airgap_tests::contained;
use operation::Operation;
use programs::Programs;
use setup::Setup;
use world::World;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["contained", cgroup] => contained::run(cgroup, server::run),
        ["drive", ref wanted @ ..] => drive(wanted),
        _ => Err(format!("unknown words: {words:?}")),
    };
    if let Err(error) = done {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

/// What is measured; all of it unless said otherwise.
struct Wanted {
    setups: Vec<Setup>,
    operations: Vec<Operation>,
    families: Vec<u8>,
    runs: usize,
    /// What each program takes, instead of the whole.
    programs: bool,
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut wanted = Self {
            setups: Setup::ALL.into(),
            operations: Operation::ALL.into(),
            families: vec![4, 6],
            runs: 3,
            programs: false,
        };
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("{word}: no ="))?;
            match key {
                "setups" => wanted.setups = each(value, Setup::parse)?,
                "operations" => wanted.operations = each(value, Operation::parse)?,
                "families" => wanted.families = each(value, |family| family.parse().ok())?,
                "runs" => wanted.runs = value.parse().map_err(|e| format!("{word}: {e}"))?,
                "programs" => wanted.programs = value == "1",
                _ => return Err(format!("unknown word {word}")),
            }
        }
        Ok(wanted)
    }
}

fn each<T>(list: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let one = |name| parse(name).ok_or_else(|| format!("unknown name {name}"));
    list.split(',').map(one).collect()
}

fn drive(words: &[&str]) -> Result<(), String> {
    let wanted = Wanted::parse(words)?;
    world::join_client_cgroup();
    for setup in wanted.setups {
        // Each in a world of its own: what one leaves behind costs the next nothing.
        let world = World::new(setup.parents());
        let raised = setup.raise(&world);
        for family in &wanted.families {
            for operation in &wanted.operations {
                if !setup.allows(*operation) {
                    continue;
                }
                if wanted.programs {
                    println!(
                        "program: == {}, {}, IPv{family}",
                        setup.name(),
                        operation.name()
                    );
                    let programs = Programs::start();
                    world.measure(*operation, *family);
                    programs.print(operation.times().into());
                    continue;
                }
                let least = (0..wanted.runs)
                    .map(|_| world.measure(*operation, *family))
                    .min();
                let each = least.unwrap_or_default() as f64 / f64::from(operation.times());
                println!(
                    "count: {}|{}|{family}|{each:.1}",
                    setup.name(),
                    operation.name()
                );
            }
        }
        drop(raised);
    }
    Ok(())
}
