//! Debian's nginx: served to clients outside, and asked to go out itself.

use crate::unit::{AIRGAP, airgap, arrived, hooks, is_sealed, said, show, status};
use airgap_tests::drill::check::Checks;
use airgap_tests::drill::place::{HOST4, OUTSIDE4};
use airgap_tests::drill::sink;
use airgap_tests::{cmd, http, netns::Netns};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;

const SITE: &str = "/etc/nginx/sites-enabled/default";
const DROP_IN: &str = "/etc/systemd/system/nginx.service.d/50-airgap.conf";
const ATTACH: &str = "attach -d -p 80 --from 198.51.100.32/28 --unit nginx";
/// Where it goes as a proxy.
const OUT: u16 = 20_080;
const REQUESTS: usize = 1000;

pub(crate) fn write_site() {
    let text = format!(
        "server {{ listen 80 default_server; root /var/www/html;\n\
         location /out {{ proxy_pass http://{OUTSIDE4}:{OUT}; proxy_connect_timeout 1s; }} }}\n"
    );
    fs::remove_file(SITE).unwrap_or_default();
    fs::write(SITE, text).expect("write the site");
    fs::create_dir_all("/var/www/html").expect("a directory");
    fs::write("/var/www/html/index.html", "hello\n").expect("write the page");
}

fn get(path: &str) -> anyhow::Result<Vec<u8>> {
    let address: SocketAddr = format!("{HOST4}:80").parse().expect("an address");
    Netns::named(sink::NAME).run(|| http::get(address, path))
}

/// Asks it to connect outside; how many packets came of that.
fn goes_out() -> usize {
    let before = arrived(OUT);
    // 502: nobody listens there, or it may not.
    let answer = get("/out").expect_err("nobody listens there");
    assert!(format!("{answer:#}").contains("502"), "{answer:#}");
    arrived(OUT) - before
}

pub(crate) fn is_shut(checks: &Checks, what: &str) {
    let answer = get("/");
    let out = goes_out();
    let said = match &answer {
        Ok(body) => format!("{} bytes", body.len()),
        Err(error) => format!("{error:#}"),
    };
    let figure = format!("answer: {said}; {out} packets out");
    checks.that(answer.is_ok() && out == 0, what, &figure);
}

/// Plain, it is refused, and what it lacks is printed.
pub(crate) fn plain(checks: &Checks) {
    cmd::ok("systemctl restart nginx");
    let out = goes_out();
    checks.that(
        out > 0,
        "control: nginx reaches the outside",
        &format!("{out} packets"),
    );
    let refused = airgap(ATTACH);
    let all = [
        "User=www-data",
        "CAP_NET_BIND_SERVICE",
        DROP_IN,
        "/run/nginx.pid",
    ];
    let printed = all.iter().all(|word| refused.stderr.contains(word));
    checks.that(
        refused.code == 1 && printed,
        "plain, it is refused, with the drop-in printed",
        &said(&refused),
    );
    let unchanged = goes_out() > 0 && !fs::exists(DROP_IN).unwrap_or(true);
    checks.that(unchanged, "nothing has changed", "");
}

/// Sealed and confined in one step.
pub(crate) fn hardened(checks: &Checks) {
    let shown = airgap(&format!("{ATTACH} --harden --dry-run"));
    checks.that(
        shown.code == 0 && shown.stdout.starts_with("# Written by airgap") && goes_out() > 0,
        "--harden --dry-run shows it and changes nothing",
        &said(&shown),
    );
    let sealed = airgap(&format!("{ATTACH} --harden"));
    let active = show("nginx", "ActiveState");
    checks.that(
        is_sealed(&sealed) && active == "active",
        "attach --harden",
        &format!("{} nginx is {active}", said(&sealed)),
    );
    let text = fs::read_to_string(DROP_IN).unwrap_or_default();
    checks.that(text == shown.stdout, "the drop-in is what was shown", "");
    let before = arrived(OUT);
    let good = (0..REQUESTS).filter(|_| get("/").is_ok()).count();
    checks.that(
        good == REQUESTS && arrived(OUT) == before,
        "requests answered, nothing leaves",
        &format!("{good} of {REQUESTS}"),
    );
    is_shut(checks, "sealed, it does not reach the outside");
    let told = status("unit:nginx.service");
    let name = told["container"]["name"].as_str().unwrap_or_default();
    checks.that(
        name == "unit:nginx.service" && told["problems"] == serde_json::json!([]),
        "airgap status",
        &format!("{} {} {}", told["state"], told["summary"], told["problems"]),
    );
    let tail = airgap("tail --no-follow --json unit:nginx");
    let named = tail
        .stdout
        .contains(r#""systemd":{"unit":"nginx.service"}"#);
    checks.that(named, "the event names the unit", "");
    for line in [
        "systemctl daemon-reload",
        "systemctl daemon-reexec",
        "systemctl reload nginx",
        "systemctl restart nginx",
    ] {
        let done = cmd::attempt(line);
        checks.that(done.code == 0, line, &said(&done));
        is_shut(checks, &format!("after it: as sealed ({line})"));
    }
    let again = airgap(&format!("{ATTACH} --harden"));
    checks.that(
        is_sealed(&again) && again.stderr.contains("lacks nothing"),
        "a second attach --harden changes nothing",
        &said(&again),
    );
}

/// Exceptions come and go alone, and what holds is proven from inside.
pub(crate) fn changed(checks: &Checks) {
    let to = format!("{OUTSIDE4}:{OUT}");
    let allowed = airgap(&format!("allow unit:nginx --to {to} --for 15m"));
    let out = goes_out();
    checks.that(
        is_sealed(&allowed) && out > 0,
        "airgap allow --for 15m: it reaches that",
        &format!("{}, {out} packets", said(&allowed)),
    );
    let withdrawn = airgap(&format!("disallow unit:nginx --to {to}"));
    let out = goes_out();
    checks.that(
        is_sealed(&withdrawn) && out == 0,
        "airgap disallow: it does not any more",
        &format!("{}, {out} packets", said(&withdrawn)),
    );
    let total = || status("unit:nginx.service")["denials"]["total"].as_u64();
    let before = total();
    let proof = cmd::run(AIRGAP, &["verify", "--json", "unit:nginx"]);
    let told: Value = serde_json::from_str(&proof.stdout).unwrap_or_default();
    let tried = told["techniques"].as_array().map_or(0, Vec::len);
    let open: Vec<_> = told["techniques"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let open = open.iter().filter(|one| one["verdict"] != "PROVEN");
    let open: Vec<_> = open.map(|one| one.to_string()).collect();
    // A join is announced by the kernel: only security hooks refuse the call.
    let joins = open.iter().all(|one| one.contains("multicast joins"));
    let expected = match hooks() {
        true => proof.code == 0 && open.is_empty(),
        false => proof.code == 3 && joins,
    };
    checks.that(
        expected && tried >= 70,
        "airgap verify",
        &format!(
            "{} of {tried} PROVEN; {}",
            tried - open.len(),
            open.join(" ")
        ),
    );
    checks.that(
        before == total(),
        "what verify tried is not the unit's",
        &format!("{before:?}"),
    );
    is_shut(checks, "after verify: as sealed");
}

/// Lifted: the drop-in stays, and is told of.
pub(crate) fn detached(checks: &Checks) {
    let lifted = cmd::run(AIRGAP, &["detach", "unit:nginx"]);
    let bound = "/etc/systemd/system/nginx.service.d/airgap.conf";
    let told = lifted
        .stderr
        .contains(&format!("{DROP_IN} and {bound} stay"));
    checks.that(
        lifted.code == 0 && told,
        "detach says that the drop-in stays",
        &said(&lifted),
    );
    let out = goes_out();
    checks.that(
        out > 0,
        "control: detached, it reaches the outside",
        &format!("{out} packets"),
    );
}
