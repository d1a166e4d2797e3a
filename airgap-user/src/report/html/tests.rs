use super::*;
use crate::{
    coverage::{SealState, Vector, When},
    events::Process,
    report::collect::tests::{asked, material, tried},
    seal::ExitRow,
    technique::vector::{RAW_FRAMES, TCP},
};

const NASTY: &str = "</td><script>alert('1')</script><img src=\"x\" onerror=y>\u{202e}\n&amp;";

/// All that a container, its image or a saved file can choose.
fn hostile() -> String {
    let mut unix = tried(NASTY, 1, 20);
    unix.unix_peer = Some(NASTY.into());
    unix.process = Some(Process {
        command_line: Some(NASTY.into()),
        executable: Some(NASTY.into()),
        ..Process::example(NASTY, 1)
    });
    let mut material = material(vec![asked(NASTY, NASTY, 3), unix]);
    material.identity.name = NASTY.into();
    material.identity.image = Some(NASTY.into());
    material.identity.compose = Some((NASTY.into(), NASTY.into()));
    material.status.problems.push(NASTY.into());
    let quoted = serde_json::to_string(NASTY).unwrap();
    let proof = format!(
        "{{\"schema\":1,\"id\":\"x\",\"verdict\":{quoted},\"notes\":[{quoted}],\
         \"techniques\":[{{\"technique\":{quoted},\"verdict\":{quoted},\"detail\":{quoted}}}],\
         \"vectors\":[{{\"vector\":{quoted},\"verdict\":{quoted},\"tried\":1,\"proven\":0}}]}}"
    );
    material.verify = Some(Verified::parse(&proof, "x", None).unwrap());
    html(&Document::collect(material))
}

#[test]
fn no_string_of_the_container_is_markup() {
    let page = hostile();
    for bad in ["<script", "<img", "</td><s", "alert('", "\u{202e}", "src="] {
        let unescaped = page.replace("src=&quot;", "");
        assert!(!unescaped.contains(bad), "{bad}: {page}");
    }
    // Name twice, image, Compose twice, problem, proof, plot, tables.
    let shown = page.matches("&lt;script&gt;").count();
    assert!(shown >= 17, "{shown}: {page}");
    // The only tags are the page's own.
    for tag in page.split('<').skip(1) {
        let name: String = tag
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        let own = "html head meta title style body h1 h2 p table thead tbody tr th td strong figure \
                   figcaption svg text path rect ul li div b i";
        let closes = tag.starts_with(['/', '!']);
        assert!(
            closes || own.split_whitespace().any(|o| o == name),
            "<{name}: {page}"
        );
    }
}

#[test]
fn nothing_comes_from_elsewhere() {
    let page = html(&Document::collect(material(vec![tried("curl", 3, 20)])));
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for bad in [
        "http:", "https:", "url(", "@import", "href", "<script", "<link",
    ] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(
        page.contains("<td>tcp 198.51.100.7:443</td><td class=\"n\">3</td>"),
        "{page}"
    );
    assert!(page.contains("<p>None was given"), "{page}");
}

#[test]
fn what_has_no_room_is_said() {
    let denials = (0..1003)
        .map(|n| asked("a", &format!("n{n}.example"), 2))
        .collect();
    let page = html(&Document::collect(material(denials)));
    assert!(page.contains("And 3 more with 6 attempts"));
    assert!(page.contains("the first 30 of 1003 destinations"));
}

#[test]
fn quotes_cannot_end_an_attribute() {
    assert_eq!(escaped("a\"'<b>&\x1b"), "a&quot;&#39;&lt;b&gt;&amp;\\x1b");
}

#[test]
fn the_state_is_in_the_page_as_everywhere() {
    let mut material = material(vec![]);
    let by = "nothing guards eth0";
    material.status.coverage = vec![
        Vector::open(RAW_FRAMES, When::Now, by, Some("airgap attach web".into())),
        Vector::open(TCP, When::Later, "<b>", None),
    ];
    material.status.denials.by_reason = vec![("egress", 5), ("inbound", 3)];
    material.status.set_state(SealState::Opened);
    let page = html(&Document::collect(material));
    for part in [
        "<td class=\"bad\">SEALED, OPENED: can leave now: hand-made frames; run: airgap attach web</td>",
        "<b>OPEN NOW</b></td><td>a root process inside can send hand-made frames to the local network: nothing guards eth0; do: airgap attach web</td>",
        "<b>until later</b>",
        ": &lt;b&gt;</td>",
        "<td>egress</td><td class=\"n\">5</td>",
        "<p>Clients refused (inbound): 3, in no sum above.</p>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn what_was_opened_is_there_with_its_use() {
    let none = html(&Document::collect(material(vec![])));
    assert!(none.contains("<h2>Exceptions</h2>\n<p>None.</p>"), "{none}");
    let mut material = material(vec![]);
    material.status.exits = vec![
        ExitRow {
            reason: Some(NASTY.into()),
            ..ExitRow::example()
        },
        ExitRow {
            state: "closed",
            last_used: None,
            ..ExitRow::example()
        },
    ];
    let page = html(&Document::collect(material));
    for part in [
        "<tr><td>198.51.100.10:443/tcp (&lt;/td&gt;",
        "<td>in force</td><td class=\"n\">2</td><td>12 packets, 345 bytes</td><td>10 packets, 6789 bytes</td><td class=\"n\">3</td><td class=\"t\">1970-01-01 00:01:00</td></tr>",
        "<td class=\"bad\">CLOSED</td>",
        "<td class=\"t\">never</td>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script"), "{page}");
}
