//! One man page (man-pages(7), groff_man(7)). Pure.

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::examples;

/// As the documents have them.
const EXITS: [(&str, &str); 5] = [
    ("0", "all is as asked"),
    ("1", "it failed, or this host lacks something"),
    (
        "2",
        "wrong usage, or refused as it would hurt; nothing has changed",
    ),
    ("3", "not sealed, or something gets out"),
    (
        "4",
        "sealed, and a way out is open now; or not all of a proof is proven",
    ),
];

/// The page of a command, in troff.
pub(crate) fn render(name: &str, command: Command) -> String {
    let command = command
        .name(leaked(name))
        .version(env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).manual("airgap").source("airgap");
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let rendered = man
        .render_title(&mut out)
        .and_then(|()| man.render_name_section(&mut out))
        .and_then(|()| man.render_synopsis_section(&mut out))
        .and_then(|()| man.render_description_section(&mut out))
        .and_then(|()| man.render_options_section(&mut out))
        .and_then(|()| {
            if name == "airgap" {
                man.render_subcommands_section(&mut out)?;
            }
            rest(name).to_writer(&mut out)
        });
    debug_assert!(rendered.is_ok(), "{name}");
    String::from_utf8_lossy(&out).into_owned()
}

/// clap keeps names for the life of the program.
fn leaked(name: &str) -> &'static str {
    String::leak(name.to_owned())
}

fn rest(name: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in examples::of(name) {
        roff.control("TP", []);
        roff.text([bold(*line)]);
        roff.text([roman(*what)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, what) in EXITS {
        roff.control("TP", []);
        roff.text([bold(code)]);
        roff.text([roman(what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(match name {
        "airgap" => "airgap-attach(1), airgap-status(1), airgap-tail(1), airgap-verify(1)",
        _ => "airgap(1)",
    })]);
    roff
}
