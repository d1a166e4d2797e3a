//! When the attempts at each destination were made, as SVG.

use std::{fmt::Write as _, time::SystemTime};

use super::{Destination, clock, markup::escaped};

/// Destinations that are drawn.
pub(super) const ROWS: usize = 30;
/// Longest label, characters.
const LABEL: usize = 38;
const WIDTH: f64 = 960.0;
/// Where the time axis begins and ends.
const LEFT: f64 = 290.0;
const RIGHT: f64 = 890.0;
const ROW: f64 = 22.0;
const TOP: f64 = 28.0;

/// One bar a destination, from its first attempt to its last, the thicker the
/// more there were; `None`: there is nothing to draw.
pub(super) fn svg(destinations: &[Destination]) -> Option<String> {
    let drawn = &destinations[..ROWS.min(destinations.len())];
    let first = drawn.iter().map(|d| d.first).min()?;
    let last = drawn.iter().map(|d| d.last).max()?;
    let span = seconds(first, last).max(1e-6);
    let x = |time| LEFT + (RIGHT - LEFT) * seconds(first, time) / span;
    let height = TOP + ROW * drawn.len() as f64 + 8.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Refused attempts by time</title>\n\
         <text x=\"{LEFT}\" y=\"16\">{}</text>\n\
         <text x=\"{RIGHT}\" y=\"16\" text-anchor=\"end\">{}</text>\n\
         <path class=\"axis\" d=\"M{LEFT} 22H{RIGHT}M{LEFT} 22V{height}M{RIGHT} 22V{height}\"/>\n",
        clock(first),
        clock(last)
    );
    for (at, d) in drawn.iter().enumerate() {
        let middle = TOP + ROW * (at as f64 + 0.5);
        let thick = thickness(d.count);
        let (from, to) = (x(d.first), x(d.last));
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{thick:.1}\"/>\n\
             <text x=\"{}\" y=\"{}\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(&shortened(&d.target.to_string())),
            from - 1.5,
            middle - thick / 2.0,
            to - from + 3.0,
            RIGHT + 8.0,
            middle + 4.0,
            d.count
        );
    }
    out += "</svg>\n";
    Some(out)
}

fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).map_or(0.0, |d| d.as_secs_f64())
}

/// 3 for one attempt, 3 more for each power of ten, at most a row.
fn thickness(count: u64) -> f64 {
    let powers = (count.max(1) as f64).log10();
    (3.0 + 3.0 * powers).min(ROW - 4.0)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LABEL) {
        None => text.to_owned(),
        Some(_) => {
            let start: String = text.chars().take(LABEL - 1).collect();
            start + "…"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        Document,
        collect::tests::{asked, material, tried},
    };

    #[test]
    fn bars_go_from_first_to_last() {
        let denials = vec![tried("a", 1000, 20), asked("a", "x<y", 1)];
        let document = Document::collect(material(denials));
        let svg = svg(&document.destinations).unwrap();
        // Second 10 to 20 of 10 to 30; second 10 to 30.
        assert!(
            svg.contains("<rect x=\"288.5\" y=\"33.0\" width=\"303.0\" height=\"12.0\"/>"),
            "{svg}"
        );
        assert!(svg.contains("width=\"603.0\" height=\"3.0\""), "{svg}");
        assert!(svg.contains(">name x&lt;y<"), "{svg}");
    }

    #[test]
    fn nothing_and_one_instant_can_be_drawn() {
        assert_eq!(svg(&[]), None);
        let document = Document::collect(material(vec![tried("a", 1, 10)]));
        let svg = svg(&document.destinations).unwrap();
        assert!(
            svg.contains("width=\"3.0\"") && !svg.contains("NaN"),
            "{svg}"
        );
    }

    #[test]
    fn long_labels_are_cut_between_characters() {
        let long = "é".repeat(50);
        assert_eq!(shortened(&long).chars().count(), LABEL);
        assert_eq!(shortened("short"), "short");
    }
}
