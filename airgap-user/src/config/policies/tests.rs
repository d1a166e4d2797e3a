use std::path::Path;

use super::{file::parse, *};
use crate::policy::Port;

const ALL: &str = "\
# The shop.
[[seal]]
service = \"shop/web\"
ports = [\"8080\"]
from = [\"198.51.100.0/24\"]
to = [
  \"container:db:5432\",
  \"api.example.com:443\",
]
hold = \"5m\"
accept = [\"host-exit\"]
errno = \"eperm\"

[[seal]]
container = \"web\"
";

fn read(text: &str) -> Policies {
    let seals = parse(text, Path::new("/p.d/a.toml"), &[Port::tcp(5060)]);
    Policies(seals.unwrap_or_else(|wrong| panic!("{wrong}\n{text}")))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn every_key_is_read() {
    let Policies(seals) = read(ALL);
    let [shop, web] = seals.as_slice() else {
        panic!("{seals:?}")
    };
    assert_eq!((shop.line, web.line), (2, 14));
    assert_eq!(shop.place(), "/p.d/a.toml, line 2");
    assert_eq!(shop.whom.to_string(), "service shop/web");
    assert_eq!(shop.rules.ports, [Port::tcp(8080)]);
    assert_eq!(shop.rules.clients, ["198.51.100.0/24".parse().unwrap()]);
    let to: Vec<_> = shop.rules.exits.iter().map(|e| e.to.to_string()).collect();
    assert_eq!(to, ["container:db:5432/tcp", "api.example.com:443/tcp"]);
    let hold = "5m".parse().ok();
    assert!(shop.rules.exits.iter().all(|exit| exit.hold == hold));
    assert_eq!(shop.accept, [Risk::HostExit]);
    assert!(shop.rules.errno.is_some());
    assert_eq!(web.rules.ports, [Port::tcp(5060)], "the usual ones");
    assert!(web.rules.exits.is_empty() && web.accept.is_empty());
}

#[test]
fn what_means_nothing_is_refused_with_its_line() {
    for (text, line, word) in [
        ("[[seals]]\n", 1, "unknown field"),
        (
            "[[seal]]\ncontainer = \"a\"\nport = [\"1\"]",
            3,
            "unknown field `port`",
        ),
        ("\n[[seal]]\nports = [\"1\"]", 2, "name whom"),
        (
            "[[seal]]\ncontainer = \"a\"\nlabel = \"a=b\"",
            1,
            "name whom",
        ),
        ("[[seal]]\ncontainer = \"a b\"", 2, "no name"),
        ("[[seal]]\nservice = \"web\"", 2, "PROJECT/SERVICE"),
        ("[[seal]]\nlabel = \"tier\"", 2, "NAME=VALUE"),
        ("[[seal]]\ncontainer = \"a\"\nports = []", 3, "name one"),
        ("[[seal]]\ncontainer = \"a\"\nfrom = []", 3, "name one"),
        ("[[seal]]\ncontainer = \"a\"\nports = [\"http\"]", 3, "http"),
        (
            "[[seal]]\ncontainer = \"a\"\nports = [\"53/udp\"]",
            1,
            "--from",
        ),
        (
            "[[seal]]\ncontainer = \"a\"\nto = [\n\"198.51.100.1\"]",
            4,
            "names no port",
        ),
        (
            "[[seal]]\ncontainer = \"a\"\nto = [\"127.0.0.1:1\"]",
            3,
            "127.0.0.1",
        ),
        ("[[seal]]\ncontainer = \"a\"\nhold = \"5m\"", 3, "no name"),
        (
            "[[seal]]\ncontainer = \"a\"\naccept = [\"risky\"]",
            3,
            "risky",
        ),
        (
            "[[seal]]\ncontainer = \"a\"\naccept = [\"existing-connections\"]",
            3,
            "of one moment",
        ),
        ("[[seal]]\ncontainer = \"a\"\nerrno = \"no\"", 3, "eperm"),
    ] {
        let wrong = parse(text, Path::new("/x"), &[Port::tcp(1)]).expect_err(text);
        assert_eq!(wrong.line, line, "{text}: {wrong}");
        assert!(wrong.what.contains(word), "{text}: {wrong}");
    }
}

#[test]
fn a_label_counts_where_it_is_not_the_images_word() {
    let all = read("[[seal]]\nlabel = \"tier=front\"\n");
    let (front, none) = (labels(&[("tier", "front")]), labels(&[]));
    let place = |own: &Labels, image: Option<&Labels>| {
        all.of("web", own, image).map(|found| found.is_some())
    };
    assert!(place(&front, Some(&none)).unwrap());
    assert!(!place(&none, Some(&none)).unwrap());
    assert!(!place(&front, Some(&front)).unwrap(), "the image says so");
    assert!(!place(&none, None).unwrap());
    let not_known = place(&front, None).unwrap_err();
    assert!(not_known.hint.unwrap().contains("container = \"web\""));
    let service = read("[[seal]]\nservice = \"shop/web\"\n");
    let (project, name) = ("com.docker.compose.project", "com.docker.compose.service");
    let own = labels(&[(project, "shop"), (name, "web")]);
    assert!(service.of("x", &own, Some(&none)).unwrap().is_some());
    let half = labels(&[(name, "web")]);
    let found = service.of("x", &own, Some(&half)).unwrap();
    assert!(found.is_none(), "half of it is the image's word");
    let other = labels(&[(project, "other"), (name, "web")]);
    assert!(service.of("x", &other, Some(&none)).unwrap().is_none());
}

#[test]
fn two_for_one_are_refused() {
    let twice = "[[seal]]\ncontainer = \"a\"\n[[seal]]\ncontainer = \"a\"\n";
    let error = read(twice).each_once().unwrap_err().to_string();
    assert!(
        error.contains("line 3") && error.contains("line 1"),
        "{error}"
    );
    let both = read("[[seal]]\ncontainer = \"a\"\n[[seal]]\nlabel = \"x=y\"\n");
    let both = both.each_once().unwrap();
    let own = labels(&[("x", "y")]);
    let error = both.of("a", &own, Some(&labels(&[]))).unwrap_err();
    assert_eq!(error.code, exit::USAGE);
    assert!(both.of("b", &own, Some(&labels(&[]))).unwrap().is_some());
}

#[test]
fn what_an_operator_allowed_stands_beside_it() {
    let Policies(seals) = read("[[seal]]\ncontainer = \"a\"\nto = [\"198.51.100.1:1\"]\n");
    let one = |to: &str, allowed| Exception {
        allowed,
        ..Exception::from(to.parse::<crate::policy::To>().unwrap())
    };
    let before = [
        one("198.51.100.1:1", true),
        one("198.51.100.2:2", true),
        one("198.51.100.3:3", false),
    ];
    assert_eq!(seals[0].beside(&before), [before[1].clone()]);
}
