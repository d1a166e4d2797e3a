//! What shells are offered, of the commands as they are.

use clap::CommandFactory as _;

use super::Cli;
use crate::commands::complete::kind_at;

#[test]
fn the_word_at_the_cursor_is_known_by_its_command() {
    for (line, wanted) in [
        ("attach ", Some(("Container", "", 0))),
        ("attach we", Some(("Container", "we", 0))),
        (
            "--host unix:///x attach -p 80 --from 10.0.0.0/8 web d",
            Some(("Container", "d", 0)),
        ),
        ("attach -d ", Some(("Container", "", 0))),
        ("attach -p ", None),
        ("attach -", None),
        ("attach --accept ", Some(("Risk", "", 0))),
        ("attach --accept=ho", Some(("Risk", "ho", 0))),
        ("attach --accept = ho", Some(("Risk", "ho", 0))),
        ("watch --allow-accept lo", Some(("Risk", "lo", 0))),
        ("run --accept root -- ", None),
        ("exec -- ", None),
        ("status ", Some(("Sealed", "", 0))),
        ("status web ", None),
        ("detach web ", Some(("Sealed", "", 0))),
        ("seal ", Some(("Container", "", 0))),
        ("status unit : ng", Some(("Sealed", "unit:ng", 5))),
        ("status unit :", Some(("Sealed", "unit:", 5))),
        ("status unit:ng", Some(("Sealed", "unit:ng", 0))),
        ("explain ", Some(("Word", "", 0))),
        ("", None),
        ("top ", None),
        ("frobnicate ", None),
    ] {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let found = kind_at(&Cli::command(), &words);
        let wanted = wanted.map(|(kind, begun, drop)| (kind.to_owned(), begun.to_owned(), drop));
        assert_eq!(found, wanted, "{line}");
    }
}
