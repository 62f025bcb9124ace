//! Resident memory and state over event time, as a picture.

use std::fmt::Write;

use crate::sample::Sample;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 320.0;
/// Room for the numbers at the axes.
const MARGIN: f64 = 60.0;
/// Its name, its colour, and its value.
type Line = (&'static str, &'static str, fn(&Sample) -> u64);
const LINES: [Line; 4] = [
    ("resident memory", "#1f4e79", |sample| sample.resident_bytes),
    ("state of the windows", "#c05a00", |sample| sample.state_bytes[1]),
    ("state of the sessions", "#2e7d32", |sample| sample.state_bytes[2]),
    ("state of OVER", "#7b1fa2", |sample| sample.state_bytes[3]),
];

/// A line for each, over one axis of megabytes.
pub(crate) fn svg(samples: &[Sample]) -> String {
    let most = LINES.iter().flat_map(|(_, _, of)| samples.iter().map(of)).max().unwrap_or(0);
    let top = megabytes(most).max(1.0) * 1.1;
    let minutes = f64::from(samples.last().map_or(1, |sample| sample.minute));
    let x = |minute: f64| MARGIN + minute / minutes * (WIDTH - 2.0 * MARGIN);
    let y = |megabytes: f64| HEIGHT - MARGIN - megabytes / top * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         fill=\"white\"/>\n"
    );
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (left, right, line) = (MARGIN, WIDTH - MARGIN, y(part * top));
        let (place, below) = (x(part * minutes), HEIGHT - MARGIN + 18.0);
        put(&mut svg, format_args!("<path d=\"M{left} {line:.1}H{right}\" stroke=\"#ddd\"/>"));
        let text = format_args!("<text x=\"{}\" y=\"{line:.1}\" text-anchor=\"end\">", left - 6.0);
        put(&mut svg, format_args!("{text}{:.0} MB</text>", part * top));
        let text = format_args!("<text x=\"{place:.1}\" y=\"{below}\" text-anchor=\"middle\">");
        put(&mut svg, format_args!("{text}{:.1} h</text>", part * minutes / 60.0));
    }
    for (number, (name, colour, of)) in (0..).zip(LINES) {
        let points = samples.iter().map(|sample| (f64::from(sample.minute), megabytes(of(sample))));
        let points = points.map(|(minute, value)| format!("{:.1},{:.1}", x(minute), y(value)));
        let points = points.collect::<Vec<_>>().join(" ");
        let line = format_args!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"");
        put(&mut svg, format_args!("<polyline {line} points=\"{points}\"/>"));
        let place = MARGIN + f64::from(number) * 200.0;
        put(&mut svg, format_args!("<text x=\"{place}\" y=\"24\" fill=\"{colour}\">{name}</text>"));
    }
    svg + "</svg>\n"
}

fn put(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a string takes all");
}

#[allow(clippy::cast_precision_loss, reason = "a picture has no more digits")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
