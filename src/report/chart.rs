//! Response times over time, as text and as SVG.

use std::fmt::Write as _;

use super::uptime::UptimeBucket;

/// Eighths of a line of text.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The shortest, the average and the longest response time, in milliseconds; `None` without one.
pub fn extremes(buckets: &[UptimeBucket]) -> Option<[f64; 3]> {
    let up = || buckets.iter().filter(|bucket| bucket.up > 0.0);
    let checks: f64 = up().map(|bucket| bucket.up).sum();
    let sum: f64 = up().map(|bucket| bucket.ping * bucket.up).sum();
    let min = up().map(|bucket| bucket.min).min_by(f64::total_cmp)?;
    let max = up().map(|bucket| bucket.max).max_by(f64::total_cmp)?;
    Some([min, sum / checks, max])
}

/// The average response time in each of `columns` equal parts of the time from `first` to `end`, in seconds since 1970.
pub fn averages(buckets: &[UptimeBucket], first: i64, end: i64, columns: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0.0); columns];
    let span = (end - first).max(1);
    for bucket in buckets.iter().filter(|bucket| bucket.up > 0.0) {
        let at = (bucket.at - first) * columns as i64 / span;
        if let Some((sum, checks)) = usize::try_from(at).ok().and_then(|at| sums.get_mut(at)) {
            *sum += bucket.ping * bucket.up;
            *checks += bucket.up;
        }
    }
    sums.iter().map(|(sum, checks)| (*checks > 0.0).then(|| sum / checks)).collect()
}

/// A chart of `rows` lines of text, from 0 to the largest value, with that value at the left of the first line.
pub fn text(values: &[Option<f64>], rows: usize) -> String {
    let top = values.iter().flatten().copied().max_by(f64::total_cmp).unwrap_or(0.0).max(1.0);
    let labels = [format!("{top:.0} ms"), "0 ms".to_owned()];
    let width = labels.iter().map(String::len).max().unwrap_or_default();
    let mut lines = Vec::new();
    for row in 0..rows {
        let floor = ((rows - 1 - row) * 8) as f64;
        let bar = |value: &Option<f64>| {
            let eighths = value.map_or(0.0, |value| (value / top * (rows * 8) as f64).ceil().max(1.0));
            EIGHTHS[(eighths - floor).clamp(0.0, 8.0) as usize]
        };
        let label = match row {
            0 => labels[0].as_str(),
            row if row + 1 == rows => labels[1].as_str(),
            _ => "",
        };
        let line: String = values.iter().map(bar).collect();
        lines.push(format!("{label:>width$} {}", line.trim_end()));
    }
    lines.join("\n")
}

/// A line chart as SVG, 200 wide and 40 high; a gap where there is no value.
pub fn svg(values: &[Option<f64>], label: &str) -> String {
    let top = values.iter().flatten().copied().max_by(f64::total_cmp).unwrap_or(0.0).max(1.0);
    let step = 200.0 / values.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    let mut is_down = false;
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            // A single value between gaps is a dot.
            let is_alone = !is_down && values.get(at + 1).copied().flatten().is_none();
            let (x, y) = (at as f64 * step, 38.0 - value / top * 36.0);
            let _ = write!(path, "{}{x:.0} {y:.0}", if is_down { 'L' } else { 'M' });
            path.push_str(if is_alone { "h1" } else { "" });
        }
        is_down = value.is_some();
    }
    format!(
        "<svg class=chart role=img preserveAspectRatio=none viewBox=\"0 0 200 40\" aria-label=\"{label}\"><path d=\"{path}\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_averages_from_zero() {
        let bucket = |at, up, ping| UptimeBucket { at, up, ping, min: ping / 2.0, max: ping * 2.0 };
        let buckets = [bucket(0, 1.0, 100.0), bucket(60, 3.0, 20.0), bucket(180, 0.0, 0.0)];
        assert_eq!(extremes(&buckets), Some([10.0, 40.0, 200.0]));
        let values = averages(&buckets, 0, 240, 4);
        assert_eq!(values, [Some(100.0), Some(20.0), None, None]);
        assert_eq!(text(&values, 2), "100 ms █\n  0 ms █▄");
        assert_eq!(averages(&buckets, 0, 240, 2)[0], Some(40.0));
        assert_eq!(extremes(&[]), None);
        assert!(svg(&values, "x").contains("d=\"M0 2L67 31\""), "{}", svg(&values, "x"));
    }
}
