//! How times grow with the work, as a picture.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The times of one operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Curve {
    /// The operation.
    pub job: String,
    /// What there is more of: heartbeats or monitors.
    pub unit: String,
    pub points: Vec<Point>,
}

/// One size of the work.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    pub count: usize,
    /// The median.
    pub seconds: f64,
}

/// Dark enough on white, and different for the colour-blind too.
const COLORS: [&str; 5] = ["#0072b2", "#d55e00", "#00805a", "#a0508c", "#806000"];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// The area of the lines: left, top, right, bottom.
const AREA: [f64; 4] = [70.0, 50.0, 470.0, 390.0];
/// Pixels between the middles of two labels.
const LABEL: f64 = 34.0;
/// How many times as much work there is at the right end.
const MOST: f64 = 100.0;

/// An SVG with logarithmic axes: the work from 1 to 100, and seconds. A dashed line shows ten times the time for ten times the work.
pub fn draw(curves: &[Curve]) -> String {
    let seconds: Vec<f64> = curves.iter().flat_map(|curve| &curve.points).map(|point| point.seconds).collect();
    let lowest = seconds.iter().copied().fold(f64::INFINITY, f64::min).log10().floor();
    let highest = seconds.iter().copied().fold(0.0, f64::max).log10().ceil();
    let [left, top, right, bottom] = AREA;
    let x = |work: f64| left + work.log10() / MOST.log10() * (right - left);
    let y = |seconds: f64| bottom - (seconds.log10() - lowest) / (highest - lowest) * (bottom - top);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"26\" font-size=\"15\" font-weight=\"bold\">Time for 1, 10 and 100 times the work\
         <tspan font-size=\"12\" font-weight=\"normal\" fill=\"#555\">, dashed: as many times the time</tspan></text>\n"
    );
    for exponent in lowest as i32..=highest as i32 {
        let (at, name) = (y(10f64.powi(exponent)), shown(10f64.powi(exponent)));
        let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{name}</text>",
            left - 8.0,
            at + 4.0
        );
    }
    for work in [1.0, 10.0, MOST] {
        let at = x(work);
        let _ = writeln!(svg, "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/>");
        let below = bottom + 20.0;
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#555\">{work} ×</text>");
    }
    // From the lower left corner, two decades higher at the right.
    let steep = y(10f64.powf(lowest + MOST.log10()));
    let _ = writeln!(svg, "<path d=\"M{left} {bottom}L{right} {steep:.1}\" stroke=\"#999\" stroke-dasharray=\"5 4\"/>");

    let mut labels: Vec<(f64, usize)> = Vec::new();
    for (at, curve) in curves.iter().enumerate() {
        let Some(first) = curve.points.first() else { continue };
        let places: Vec<(f64, f64)> =
            curve.points.iter().map(|point| (x(point.count as f64 / first.count as f64), y(point.seconds))).collect();
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let color = COLORS[at % COLORS.len()];
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for (x, y) in &places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{color}\"/>");
        }
        labels.extend(places.last().map(|(_, y)| (*y, at)));
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = top;
    for (place, at) in labels {
        let (curve, color) = (&curves[at], COLORS[at % COLORS.len()]);
        let place = place.max(free);
        free = place + LABEL;
        let at = right + 14.0;
        let times: Vec<String> = curve.points.iter().map(|point| shown(point.seconds)).collect();
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{place:.1}\" fill=\"{color}\">{}: {}</text>",
            curve.job,
            times.join(", ")
        );
        let counts: Vec<String> = curve.points.iter().map(|point| grouped(point.count)).collect();
        let below = place + 14.0;
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{below:.1}\" fill=\"#555\" font-size=\"11\">{} {}</text>",
            counts.join(", "),
            curve.unit
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// A time in seconds or milliseconds, with two digits.
fn shown(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.0995 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds => format!("{seconds:.0} s"),
    }
}

/// A number with commas.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}
