//! `airgap-units`: what runs inside the machines of `cargo xtask units`.
//!
//! - `sink`: the outside world, as in `airgap-reboot`
//! - `boot`: what there is to do and to check after the first and the second start

mod boots;
mod escapes;
mod kinds;
mod sockets;
mod unit;
mod web;

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
            eprintln!("usage: airgap-units sink | boot");
            std::process::exit(2);
        }
    }
}
