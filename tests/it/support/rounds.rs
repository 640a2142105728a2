//! How many rounds a test makes of what could be tried at many points: the short form draws some, the long form tries all.
//!
//! `tests/run --long` sets `KUMADB_TEST_LONG`. `KUMADB_TEST_SEED` repeats what a short run drew; without it each run draws
//! others, and says which seed that was.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::chance::Chance;

/// Whether all points are tried.
pub fn is_long() -> bool {
    std::env::var_os("KUMADB_TEST_LONG").is_some()
}

/// `short` or, where everything is tried, `long`.
pub fn count(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// All of `0..total`, or `few` of them in ascending order: one drawn from each of as many equal parts.
pub fn draw(total: usize, few: usize) -> Vec<usize> {
    if is_long() || few >= total {
        return (0..total).collect();
    }
    let mut chance = Chance::new(seed());
    let part = |n: usize| n * total / few;
    (0..few).map(|n| part(n) + chance.below(part(n + 1) - part(n))).collect()
}

/// All of `all`, or `few` of them in the same order, drawn as [`draw`] does.
pub fn some<T>(all: &[T], few: usize) -> Vec<&T> {
    draw(all.len(), few).into_iter().map(|at| &all[at]).collect()
}

/// Points from 1 on, without an end: all, or one drawn from each `stride`.
pub fn points(stride: usize) -> impl Iterator<Item = usize> {
    let (mut chance, stride) = (Chance::new(seed()), count(stride, 1));
    (0..).map(move |n| 1 + n * stride + chance.below(stride))
}

/// What the rounds of this run are drawn by.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let given = std::env::var("KUMADB_TEST_SEED").ok().filter(|text| !text.is_empty());
        let seed = match given {
            Some(text) => text.parse().expect("KUMADB_TEST_SEED is a number"),
            None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
        };
        println!("rounds drawn with KUMADB_TEST_SEED={seed}");
        seed
    })
}

#[test]
fn what_is_drawn_is_spread_over_all() {
    for (total, few) in [(100, 7), (7, 7), (3, 9), (1, 1), (0, 4)] {
        let drawn = draw(total, few);
        assert_eq!(drawn.len(), if is_long() { total } else { few.min(total) });
        assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.iter().all(|n| *n < total), "{drawn:?}");
    }
    assert_eq!(some(&[1, 2], 2), [&1, &2]);
    let drawn: Vec<usize> = points(5).take(20).collect();
    let stride = count(5, 1);
    assert!(drawn.iter().enumerate().all(|(n, point)| (point - 1) / stride == n), "{drawn:?}");
}
