//! `airgap-reboot`: what runs inside the machine of `cargo xtask reboot`.
//!
//! - `sink`: the outside world, as a service that starts before the engine: a network namespace
//!   behind a veth, and a line in `/run/airgap-sink` for every frame that gets there
//! - `boot`: what there is to do and to check after the first, the second and the third start

mod boots;
mod twins;

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
        ["boot"] => boots::run(),
        _ => {
            eprintln!("usage: airgap-reboot sink | boot");
            std::process::exit(2);
        }
    }
}
