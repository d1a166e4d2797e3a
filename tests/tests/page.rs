//! Promise: a page that an auditor can keep. A real browser shows it whole, asks nobody for
//! anything, and runs nothing that a container put into it.

use airgap_tests::airgap::seal;
use airgap_tests::browser::{self, Visit, size_of_png};
use airgap_tests::files::Files;
use airgap_tests::{Container, Outside, airgap_ok, wait};
use std::fs;
use std::path::{Path, PathBuf};

const PORT: &str = "20000";
/// A process name that is markup; the kernel keeps 15 bytes.
const NAME: &str = "<script>a=1";
/// A program whose path is a whole script.
const PROGRAM: &str = "/tmp/<script>document.title=1</script>";
/// What a page without protection would do.
const HOSTILE: &str = "<script>document.title='ran'</script>\
     <img src=\"http://198.51.100.7/pixel.png\"><link rel=\"stylesheet\" href=\"http://198.51.100.7/x.css\">";

/// Pictures are kept for people to look at.
fn picture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_file(&path));
    path
}

/// Attempts of several kinds, some under names that are markup.
fn phone_home(outside: &Outside, container: &Container) {
    let plan = &outside.plan;
    let (v4, v6) = (plan.outside4.to_string(), plan.outside6.to_string());
    let target = ["--v4", &v4, "--v6", &v6, "--port", PORT];
    let copy = |to: &str| {
        let script = "mkdir -p \"${1%/*}\" && cp /bin/airgap-probe \"$1\"";
        container
            .exec(&["sh", "-c", script, "sh", to])
            .expect_code(0);
    };
    let named = format!("/tmp/{NAME}");
    copy(&named);
    copy(PROGRAM);
    for (program, kind) in [
        ("airgap-probe", "dns"),
        (&named, "tcp"),
        ("airgap-probe", "udp6"),
    ] {
        let mut command = vec![program, "phone", kind, "600"];
        command.extend(target);
        container.exec(&command).expect_code(0);
    }
    container.attempt("dns-direct", 20_000, "first");
    // One that still runs when the report is made: its arguments can be read.
    let line = "\"$@\" >/dev/null 2>&1 &";
    let mut command = vec!["sh", "-c", line, "sh", PROGRAM, "phone", "tcp6", "60000"];
    command.extend(target);
    container.exec(&command).expect_code(0);
    // It starts in its own time, and a flood before it may have used up the room for new records.
    wait::until("its attempts are known", wait::SOON, || {
        let report = airgap_ok(&["report", "--json", &container.name]).stdout;
        report.contains("document.title=1").then_some(())
    });
}

#[test]
fn a_browser_shows_the_report_and_runs_and_asks_nothing() {
    let (outside, files) = (Outside::new(), Files::new());
    // The browser does run and fetch what a page tells it to.
    let control = files.write("control.html", &format!("<title>control</title>{HOSTILE}"));
    let Visit { dom, asked } = browser::visit(&control, &[]);
    assert!(dom.contains("<title>ran</title>"), "{dom}");
    let wanted = |end: &str| asked.iter().any(|url| url.ends_with(end));
    assert!(wanted("pixel.png") && wanted("x.css"), "{asked:?}");

    let container = outside.container("paged").run();
    seal(
        &container.name,
        &["-p", "5060", "--from", "198.51.100.0/24"],
    );
    phone_home(&outside, &container);
    let page = files.path("report.html");
    airgap_ok(&["report", &container.name, "--html", &page]);
    shown(&page, &container);
    protected(&files, &page, &container);
    printed(&page);
    assert_eq!(outside.seen(), [], "something got out");
}

/// All parts are there, and what is markup is text.
fn shown(page: &str, container: &Container) {
    let (light, dark, narrow) = (
        picture("light.png"),
        picture("dark.png"),
        picture("narrow.png"),
    );
    let window = "--window-size=1000,2400";
    let shot = format!("--screenshot={}", light.display());
    let Visit { dom, asked } = browser::visit(page, &[window, &shot]);
    assert_eq!(asked, [""; 0]);
    let title = format!("<title>airgap report: {}</title>", container.name);
    for part in [
        title.as_str(),
        "<h2>The seal</h2>",
        "<h2>What stands in each way out</h2>",
        "<h2>Proof</h2>",
        "<h2>Refused attempts</h2>",
        "<h2>Where to</h2>",
        "<h2>Who</h2>",
        "<h2>What limits this report</h2>",
        "<rect ",
        "name first.leak.example",
        "198.51.100.0/24",
        "&lt;script&gt;a=1",
        "&lt;script&gt;document.title=1&lt;/script&gt;",
    ] {
        assert!(dom.contains(part), "{part}\n{dom}");
    }
    for markup in ["<script", "<img", "<link", "src=", "href=", "url("] {
        assert!(!dom.contains(markup), "{markup}\n{dom}");
    }
    assert_eq!(size_of_png(&light), (1000, 2400));
    let shot = format!("--screenshot={}", dark.display());
    let seen = browser::visit(page, &[window, &shot, "--force-dark-mode"]);
    assert_eq!(seen.asked, [""; 0]);
    let shot = format!("--screenshot={}", narrow.display());
    let seen = browser::visit(page, &["--window-size=500,2400", &shot]);
    assert_eq!(seen.asked, [""; 0]);
    let bytes = [&light, &dark, &narrow].map(|path| fs::read(path).expect("a picture"));
    assert!(bytes[0] != bytes[1], "dark is as light");
    // A page without anything on it takes less than a tenth.
    for picture in &bytes {
        assert!(picture.len() > 60_000, "{} bytes", picture.len());
    }
}

/// Even with a hole in its escaping the page would run and fetch nothing.
fn protected(files: &Files, page: &str, container: &Container) {
    let text = fs::read_to_string(page).expect("the page");
    let torn = text.replace("</body>", &format!("{HOSTILE}</body>"));
    let torn = files.write("torn.html", &torn);
    let Visit { dom, asked } = browser::visit(&torn, &[]);
    assert!(dom.contains("<script>"), "{dom}");
    assert_eq!(asked, [""; 0]);
    let title = format!("<title>airgap report: {}</title>", container.name);
    assert!(dom.contains(&title), "{dom}");
}

/// It can be put on paper.
fn printed(page: &str) {
    let paper = picture("report.pdf");
    let print = format!("--print-to-pdf={}", paper.display());
    let seen = browser::visit(page, &[&print]);
    assert_eq!(seen.asked, [""; 0]);
    let bytes = fs::read(&paper).expect("a PDF");
    assert!(bytes.starts_with(b"%PDF-"), "no PDF");
    assert!(bytes.len() > 10_000, "{} bytes", bytes.len());
}
