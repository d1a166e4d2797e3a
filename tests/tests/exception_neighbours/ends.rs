//! When a neighbour goes, or gives up its address.

use super::*;

#[test]
fn an_address_ends_with_its_neighbour_and_no_process_of_ours() {
    let world = World::new();
    let mut options = vec!["--to", "container:db:5060"];
    options.extend(FOREVER);
    let web = world.sealed(&options);
    let mut reach = Reach::new(&web);
    let address = world.db.ip4();
    reach.does(&format!("tcp a {}", at(address)));
    // Nothing of airgap runs.
    cmd::ok(&format!("docker rm -f {}", world.db.id));
    let (_heir, tap) = world.inherit(address);
    reach.is_refused(&format!("tcp b {}", at(address)));
    // What is connected is the old one's, and sends nothing to the new one.
    let _ = reach.say("send a secret");
    got_nothing(&tap);
    let (report, code) = status(&web);
    assert_eq!(
        (code, &report["state"]),
        (4, &"exception-closed".into()),
        "{report}"
    );
    let why = report["exits"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("'db' has ended"), "{report}");
    // The control: that address is reached where it is allowed.
    airgap(&["allow", "--to", &at(address), &web.name]).expect_code(4);
    reach.does(&format!("tcp c {}", at(address)));
    tap.barrier();
    let reached = tap.suspicious();
    assert!(
        reached
            .iter()
            .any(|f| f.ports().is_some_and(|(_, to)| to == SERVICE_PORT))
    );
}

#[test]
fn a_neighbour_that_comes_back_elsewhere_is_followed() {
    let world = World::new();
    let web = world.outside.container("web").run();
    let _keeper = Watch::keeping();
    airgap(&["keep"]).expect_code(1);
    seal(&web.name, &["--to", "container:db:5060"]);
    let old = world.db.ip4();
    leads_to(&web, Some(old), wait::SOON);
    let row = exit(&web);
    assert!(row["held_until"].is_u64(), "{row}");
    assert_eq!(row["looked_after"], true, "{row}");
    let text = airgap_ok(&["status", &web.name]).stdout;
    assert!(
        text.contains("unless airgap watch or airgap keep looks again"),
        "{text}"
    );
    // Stopped: shut, and said.
    let network = &world.outside.plan.name;
    cmd::ok(&format!("docker stop -t 0 {}", world.db.id));
    leads_to(&web, None, wait::SOON);
    assert_eq!(status(&web).1, 4);
    let (_heir, tap) = world.inherit(old);
    let new = host(&world.outside, 21);
    cmd::ok(&format!(
        "docker network disconnect {network} {}",
        world.db.id
    ));
    cmd::ok(&format!(
        "docker network connect --alias db --ip {new} {network} {}",
        world.db.id
    ));
    cmd::ok(&format!("docker start {}", world.db.id));
    leads_to(&web, Some(new), wait::SOON);
    assert_eq!(status(&web).1, 0, "{}", status(&web).0);
    let mut reach = Reach::new(&web);
    reach.is_refused(&format!("tcp a {}", at(old)));
    reach.does(&format!("tcp b {}", at(new)));
    assert!(reach.does("look db").to_string().contains(&new.to_string()));
    got_nothing(&tap);
    // The sealed one comes back with the exception, and with the name.
    drop(reach);
    web.restart();
    wait::until("the name is in the new file", wait::SOON, || {
        hosts(&web).contains(&new.to_string()).then_some(())
    });
    let lines = hosts(&web);
    assert_eq!(lines.matches(" db\n").count(), 2, "{lines}");
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {}", at(new)));
    reach.is_refused(&format!("tcp b {}", at(old)));
}

#[test]
fn an_address_that_its_neighbour_gave_up_is_not_reached() {
    let world = World::new();
    let web = world.outside.container("web").run();
    let mut keeper = Watch::keeping();
    let network = world.outside.plan.name.clone();
    seal(&web.name, &["--to", "container:db:5060", "--hold", "1m"]);
    let address = world.db.ip4();
    let mut reach = Reach::new(&web);
    reach.does(&format!("tcp a {}", at(address)));
    // Its cgroup lives on, and so does the keeper.
    cmd::ok(&format!(
        "docker network disconnect {network} {}",
        world.db.id
    ));
    leads_to(&web, None, wait::SOON);
    {
        let (_heir, tap) = world.inherit(address);
        reach.is_refused(&format!("tcp b {}", at(address)));
        let _ = reach.say("send a secret");
        got_nothing(&tap);
    }
    cmd::ok(&format!(
        "docker network connect --alias db --ip {address} {network} {}",
        world.db.id
    ));
    leads_to(&web, Some(address), wait::SOON);
    reach.does(&format!("tcp c {}", at(address)));
    // Without a keeper its hold ends it, for what is connected, too.
    keeper.kill();
    cmd::ok(&format!(
        "docker network disconnect {network} {}",
        world.db.id
    ));
    leads_to(&web, None, PAST_THE_HOLD);
    let (_heir, tap) = world.inherit(address);
    reach.is_refused(&format!("tcp d {}", at(address)));
    let _ = reach.say("send c secret");
    got_nothing(&tap);
    let (report, code) = status(&web);
    assert_eq!(code, 4, "{report}");
    let why = report["exits"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("nobody has looked"), "{report}");
}
