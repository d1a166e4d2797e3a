//! Plots as SVG 1.1: a bar for each set-up, its median over a line from lowest to highest.

use std::fmt::Write as _;

use super::figure::{Figure, Spread, short};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 150.0;
const ROW: f64 = 26.0;
const HEAD: f64 = 34.0;

/// A whole file.
pub(crate) fn svg(figure: &Figure) -> String {
    let rows: Vec<_> = figure
        .columns
        .iter()
        .filter_map(|(name, runs)| Some((name.as_str(), Spread::of(runs)?)))
        .collect();
    let most = rows
        .iter()
        .map(|(_, s)| s.high)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| (WIDTH - LEFT - RIGHT) * value / most;
    let height = HEAD + ROW * rows.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"20\" font-weight=\"bold\">{} ({}, {} is better)</text>\n",
        escape(&figure.name),
        figure.unit,
        if figure.more { "more" } else { "less" }
    );
    for (index, (name, spread)) in rows.iter().enumerate() {
        let y = HEAD + ROW * index as f64;
        let middle = y + ROW / 2.0;
        let colour = if *name == figure.base() {
            "#9aa5b1"
        } else {
            "#2f6f9f"
        };
        let (low, high) = (LEFT + scale(spread.low), LEFT + scale(spread.high));
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
             <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\" \
             stroke=\"#111\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{}</text>\n",
            LEFT - 8.0,
            middle + 4.0,
            escape(name),
            y + 4.0,
            scale(spread.median),
            ROW - 8.0,
            high + 8.0,
            middle + 4.0,
            short(spread.median)
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_greatest_run() {
        let mut figure = Figure::new("a < b", "ns", false);
        figure.push("one", 50.0);
        figure.push("two", 100.0);
        let svg = svg(&figure);
        assert!(svg.contains("a &lt; b (ns, less is better)"));
        assert!(svg.contains("width=\"380.0\"") && svg.contains("width=\"190.0\""));
    }
}
