//! `airgap-engines`: what runs inside the machines of `cargo xtask engines`.
//!
//! - `sink`: the outside world, as in `airgap-reboot`
//! - `list`: every scenario on the engine `AIRGAP_ENGINE`, each a line `row: WORD|WHAT|FIGURE`;
//!   then a reboot, and what there is to see after it
//! - `package`: the Debian package, installed, upgraded, removed and purged
//! - `one NUMBER`: one of them

mod app;
mod boots;
mod compose;
mod engine;
mod labels;
mod life;
mod list;
mod networks;
mod package;
mod pods;
mod refusals;
mod rootless;
mod runs;
mod seen;
mod servers;

use airgap_tests::drill::sink;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["sink"] => sink::run(),
        ["list"] => boots::run(),
        ["package"] => package::run(),
        ["one", number] => list::one(number),
        _ => {
            eprintln!("usage: airgap-engines sink | list | package | one NUMBER");
            std::process::exit(2);
        }
    }
}
