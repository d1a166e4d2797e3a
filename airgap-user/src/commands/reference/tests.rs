use super::{
    Known, Listed, Presence, Says, begins, engineless, exit, options, refuse_command,
    refuse_engineless, resolve,
};
use crate::{
    policy::{Exception, Port, Rules, To},
    preflight::Risk,
    state::{Origin, Record},
    subtree::id_of,
};

fn id(digits: &str) -> String {
    format!("{digits:0<64}")
}

fn known(digits: &str, name: &str) -> Known {
    Known {
        id: id(digits),
        name: name.into(),
        elsewhere: None,
        options: String::new(),
    }
}

fn listed(digits: &str, name: &str) -> Listed {
    (id(digits), name.into())
}

/// Asks as an engine with these containers would answer.
fn ask(
    reference: &str,
    all: &[Listed],
    known: &[Known],
) -> Result<(String, Presence), (u8, String)> {
    let named = all
        .iter()
        .find(|(id, name)| name == reference || id == reference);
    let begun: Vec<_> = all.iter().filter(|l| begins(&l.0, reference)).collect();
    let says = match (named, begun.as_slice()) {
        (Some((id, name)), _) | (None, [(id, name)]) => Says::Container {
            id: id.clone(),
            name: name.clone(),
        },
        (None, []) => Says::Nothing,
        (None, several) => Says::Several(several.len()),
    };
    resolve(reference, &says, all, known).map_err(|f| (f.code, f.message))
}

fn there(digits: &str, name: &str) -> Result<(String, Presence), (u8, String)> {
    Ok((id(digits), Presence::There(name.into())))
}

#[track_caller]
fn refused(result: Result<(String, Presence), (u8, String)>, code: u8, words: &[&str]) {
    let (found, message) = result.expect_err("found");
    assert_eq!(found, code, "{message}");
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_unit_has_its_name_and_its_path() {
    let path = "/system.slice/web.service";
    let sealed = [Known {
        id: id_of(path),
        ..known("ab1", "unit:web.service")
    }];
    for reference in [
        "unit:web.service",
        "unit:web",
        "cgroup:/system.slice/web.service",
        &id_of(path),
    ] {
        assert!(engineless(&sealed, reference).is_some(), "{reference}");
    }
    for reference in ["web", "web.service", "unit:other", "unit:", "cgroup:/web"] {
        assert!(engineless(&sealed, reference).is_none(), "{reference}");
    }
    let slice = Known {
        id: id_of("/user.slice/user-1000.slice"),
        ..known("", "unit:user-1000.slice")
    };
    assert!(engineless(&[slice], "unit:user-1000").is_some());
    assert!(refuse_command("unit:web").is_ok() && refuse_command("exec:x-1").is_err());
    let refused = refuse_engineless("unit:web").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "'unit:web' is a unit, and no container"
    );
}

#[test]
fn a_name_is_the_engines() {
    let sealed = [known("ab1", "web")];
    let plain = [listed("ab1", "web"), listed("cd2", "db")];
    for reference in ["web", "ab", &id("ab1")] {
        assert_eq!(ask(reference, &plain, &sealed), there("ab1", "web"));
    }
    refused(
        ask("db", &plain, &sealed),
        exit::NOT_SEALED,
        &["'db' is not sealed"],
    );
    refused(ask("", &plain, &sealed), exit::NOT_SEALED, &[]);
    refused(
        ask("nobody", &plain, &sealed),
        exit::NOT_SEALED,
        &["there is no container 'nobody', and no seal of that name"],
    );
    // The nearest first, sealed or not.
    let hint = |says: &Says, all: &[Listed], known: &[Known]| {
        let refused = resolve("weeb", says, all, known).unwrap_err();
        (refused.message, refused.hint.unwrap_or_default())
    };
    let (_, near) = hint(&Says::Nothing, &plain, &sealed);
    assert_eq!(near, "there are web (sealed), db");
    let (_, none) = hint(&Says::Nothing, &[], &[]);
    assert_eq!(
        none,
        "there is no container, and nothing is sealed on this host"
    );
    // Nobody says that there is none.
    let (what, sealed_ones) = hint(&Says::Silent, &[], &sealed);
    assert_eq!(what, "'weeb' is not sealed");
    assert_eq!(sealed_ones, "sealed containers: web");
    // Renamed: by the new name, and by the old one no more.
    let renamed = [listed("ab1", "web2")];
    assert_eq!(ask("web2", &renamed, &sealed), there("ab1", "web2"));
    refused(
        ask("web", &renamed, &sealed),
        exit::NOT_SEALED,
        &["called 'web2' now"],
    );
}

#[test]
fn a_new_container_of_the_old_name_is_not_answered_for() {
    let sealed = [known("ab1", "web")];
    // Removed and made again; renamed and made again.
    let again = [listed("cd2", "web")];
    refused(
        ask("web", &again, &sealed),
        exit::NOT_SEALED,
        &[
            "(cd2000000000) is not sealed",
            "is of ab1000000000, which is gone",
        ],
    );
    // With what is recorded of the other.
    let record = Record {
        id: id("ab1"),
        name: "web".into(),
        engine: String::new(),
        rules: Rules::new(
            vec![Port::tcp(8080)],
            vec!["198.51.100.0/24".parse().unwrap()],
        )
        .and_then(|rules| {
            let to = ["container:db:5432", "[2001:db8::7]:443"];
            let to = to.map(|to| Exception::from(to.parse::<To>().unwrap()));
            rules.with_exits(to.into())
        })
        .unwrap(),
        accepted: Risk::LogDriver.bit(),
        since: 0,
        by: Origin::Operator,
        withdrawn: vec![],
        by_hand: 0,
        cgroup: None,
    };
    let recorded = Known {
        options: options(&record),
        ..known("ab1", "web")
    };
    let says = Says::Container {
        id: id("cd2"),
        name: "web".into(),
    };
    let error = resolve("web", &says, &again, &[recorded]).unwrap_err();
    let hint = "airgap attach -p 8080/tcp --from 198.51.100.0/24 --to container:db:5432/tcp \
                --to '[2001:db8::7]:443/tcp' --accept log-driver cd2000000000 seals it as that one was";
    let said = error.hint.unwrap_or_default();
    assert!(said.starts_with(hint), "{said}");
    let moved = [listed("ab1", "web-old"), listed("cd2", "web")];
    refused(
        ask("web", &moved, &sealed),
        exit::NOT_SEALED,
        &["is of ab1000000000, called 'web-old' now"],
    );
    // Names that changed places.
    let both = [known("ab1", "a"), known("cd2", "b")];
    let swapped = [listed("ab1", "b"), listed("cd2", "a")];
    assert_eq!(ask("a", &swapped, &both), there("cd2", "a"));
    assert_eq!(ask("b", &swapped, &both), there("ab1", "b"));
}

#[test]
fn what_is_gone_keeps_its_name_while_nobody_has_it() {
    let gone = Ok((id("ab1"), Presence::Gone));
    let other = [listed("cd2", "db")];
    for reference in ["web", "ab1", &id("ab1")] {
        assert_eq!(ask(reference, &other, &[known("ab1", "web")]), gone);
    }
    // Twice recorded so is nobody's.
    let twice = [known("ab1", "web"), known("ab2", "web")];
    refused(ask("web", &other, &twice), exit::FAILED, &["2 seals"]);
    // Its engine is not asked.
    let elsewhere = Known {
        elsewhere: Some("unix:///run/podman.sock".into()),
        ..known("ab1", "web")
    };
    let not_known = Ok((id("ab1"), Presence::NotKnown));
    assert_eq!(
        ask("web", &other, std::slice::from_ref(&elsewhere)),
        not_known
    );
    refused(
        ask("web", &[listed("cd2", "web")], &[elsewhere]),
        exit::NOT_SEALED,
        &["of the engine at unix:///run/podman.sock"],
    );
}

#[test]
fn the_beginning_of_two_ids_is_neither() {
    let all = [listed("ab1", "web"), listed("ab2", "db")];
    let one = [known("ab1", "web")];
    refused(ask("ab", &all, &one), exit::FAILED, &["2 container ids"]);
    assert_eq!(ask("ab1", &all, &one), there("ab1", "web"));
    // One that is there and one that is gone.
    let both = [known("ab1", "web"), known("ab2", "db")];
    refused(
        ask("ab", &all[..1], &both),
        exit::FAILED,
        &["2 seals or containers"],
    );
    refused(
        ask("ab", &all[..1], &both[1..]),
        exit::FAILED,
        &["2 seals or containers"],
    );
    refused(ask("ab", &[], &both), exit::FAILED, &["2 seals"]);
    // A name comes before a beginning.
    let named = [listed("cd3", "ab")];
    refused(
        ask("ab", &named, &both),
        exit::NOT_SEALED,
        &["is not sealed"],
    );
}

#[test]
fn without_an_engine_it_is_as_recorded() {
    let sealed = [known("ab1", "web"), known("ab2", "db"), known("cd3", "db")];
    let ask = |reference: &str| {
        resolve(reference, &Says::Silent, &[], &sealed).map_err(|f| (f.code, f.message))
    };
    for reference in ["web", "ab1", &id("ab1")] {
        assert_eq!(ask(reference), Ok((id("ab1"), Presence::NotKnown)));
    }
    refused(ask("ab"), exit::FAILED, &["2 seals"]);
    refused(ask("db"), exit::FAILED, &["2 seals"]);
    refused(ask("nobody"), exit::NOT_SEALED, &["is not sealed"]);
}
