//! The bar of the last heartbeats, as the page of the server draws it: newest at the right.

use std::fmt::Write as _;

use super::status::BeatStatus;

/// One heartbeat as a character. They differ without colours too.
pub fn mark(status: Option<BeatStatus>) -> char {
    match status {
        Some(BeatStatus::Up) => '▇',
        Some(BeatStatus::Pending) => '▅',
        Some(BeatStatus::Maintenance) => '▃',
        Some(BeatStatus::Down) => '▁',
        None => '·',
    }
}

/// The heartbeats of `beats`, oldest first, as text.
pub fn text(beats: &[Option<BeatStatus>]) -> String {
    beats.iter().map(|status| mark(*status)).collect()
}

/// Runs of the same status: each with its first position and length.
pub fn runs(beats: &[Option<BeatStatus>]) -> Vec<(Option<BeatStatus>, usize, usize)> {
    let mut runs: Vec<(Option<BeatStatus>, usize, usize)> = Vec::new();
    for (at, status) in beats.iter().enumerate() {
        match runs.last_mut() {
            Some((last, _, length)) if last == status => *length += 1,
            _ => runs.push((*status, at, 1)),
        }
    }
    runs
}

/// The bar in words, for screen readers.
pub fn label(beats: &[Option<BeatStatus>]) -> String {
    let mut label = format!("last {} heartbeats", beats.len());
    for status in [BeatStatus::Up, BeatStatus::Down, BeatStatus::Pending, BeatStatus::Maintenance] {
        let n = beats.iter().filter(|beat| **beat == Some(status)).count();
        if n > 0 {
            let _ = write!(label, ", {n} {}", status.word());
        }
    }
    label
}

/// The bar as SVG of a fixed number of places. A run of one status is one dashed line, so that thousands of bars stay small.
pub fn svg(beats: &[Option<BeatStatus>], places: usize) -> String {
    let shown = &beats[beats.len().saturating_sub(places)..];
    let empty = places - shown.len();
    let mut paths = String::new();
    let statuses =
        [Some(BeatStatus::Up), Some(BeatStatus::Down), Some(BeatStatus::Pending), Some(BeatStatus::Maintenance)];
    for (status, class) in statuses.into_iter().chain([None]).zip(["u", "d", "p", "m", "n"]) {
        let mut path = String::new();
        for (_, at, length) in runs(shown).iter().filter(|(of, ..)| *of == status) {
            let _ = write!(path, "M{} 9h{}", (empty + at) * 4, length * 4);
        }
        if class == "n" && empty > 0 {
            let _ = write!(path, "M0 9h{}", empty * 4);
        }
        if !path.is_empty() {
            let _ = write!(paths, "<path class={class} d=\"{path}\"/>");
        }
    }
    let label = label(shown);
    format!(
        "<svg class=strip role=img preserveAspectRatio=xMinYMid viewBox=\"0 0 {} 18\" aria-label=\"{label}\">{paths}</svg>",
        places * 4
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_runs() {
        use BeatStatus::{Down, Pending, Up};
        let beats = [Some(Up), Some(Up), Some(Down), Some(Pending), Some(Up)];
        assert_eq!(text(&beats), "▇▇▁▅▇");
        assert_eq!(label(&beats), "last 5 heartbeats, 3 up, 1 down, 1 pending");
        let drawn = svg(&beats, 6);
        for path in ["class=u d=\"M4 9h8M20 9h4\"", "class=d d=\"M12 9h4\"", "class=n d=\"M0 9h4\""] {
            assert!(drawn.contains(path), "{drawn}");
        }
        assert!(svg(&beats, 2).contains("last 2 heartbeats, 1 up, 1 pending"));
    }
}
