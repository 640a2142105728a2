//! Which snapshots a policy keeps: as restic does, and as a naive reading of its rules says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike as _, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use kumadb::backup::Manifest;
use kumadb::backup::retention::{Guards, Policy, judge};
use kumadb::engine::{Counts, EngineKind};
use proptest::prelude::*;
use serde::Deserialize;

/// What restic said of times, newest first, and a policy.
#[derive(Deserialize)]
struct Case {
    zone: String,
    times: Vec<i64>,
    counts: BTreeMap<String, i64>,
    within: BTreeMap<String, String>,
    /// The reasons by position in `times`; what is not there is removed.
    keep: BTreeMap<usize, Vec<String>>,
}

impl Case {
    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        for (bucket, count) in &self.counts {
            policy.set(&format!("keep-{bucket}"), &count.to_string()).unwrap();
        }
        for (bucket, span) in &self.within {
            let rule = if bucket == "all" { "keep-within".into() } else { format!("keep-within-{bucket}") };
            policy.set(&rule, span).unwrap();
        }
        policy
    }
}

#[test]
fn the_options_of_a_policy_say_the_policy() {
    let mut policy = Policy::default();
    for (rule, text) in
        [("keep-last", "7"), ("keep-daily", "unlimited"), ("keep-within", "2y5m7d3h"), ("keep-within-weekly", "4m")]
    {
        policy.set(rule, text).unwrap();
    }
    let options = policy.options();
    assert_eq!(
        options,
        ["--keep-last=7", "--keep-daily=unlimited", "--keep-within=2y5m7d3h", "--keep-within-weekly=4m"]
    );
}

fn time(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(seconds, 0).unwrap()
}

/// When restic was asked.
fn asked() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 24, 10, 0, 0).unwrap()
}

#[test]
fn keeps_what_restic_keeps_for_the_same_reasons() {
    let given = std::env::var_os("KUMADB_RETENTION_CASES").map(std::path::PathBuf::from);
    let path = given.unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/retention/cases.jsonl").into());
    let text = std::fs::read_to_string(path).unwrap();
    let mut asked_about = 0;
    for (line, text) in text.lines().enumerate() {
        let case: Case = serde_json::from_str(text).unwrap();
        let zone: Tz = case.zone.parse().unwrap();
        let times: Vec<_> = case.times.iter().map(|seconds| time(*seconds)).collect();
        for (nth, reasons) in case.policy().judge(&times, asked(), &zone).into_iter().enumerate() {
            let expected = case.keep.get(&nth).cloned().unwrap_or_default();
            assert_eq!(reasons, expected, "line {}, snapshot {nth} of {} in {}", line + 1, times[nth], case.zone);
            asked_about += 1;
        }
    }
    println!("{asked_about} snapshots judged");
    assert!(asked_about > 500, "{asked_about}");
}

/// The rules read naively: one at a time, without counting down.
fn naive(rules: &[(String, String)], times: &[DateTime<Utc>], zone: Tz) -> BTreeSet<usize> {
    let mut kept = BTreeSet::new();
    for (rule, text) in rules {
        let part = |nth: usize| {
            let local = times[nth].with_timezone(&zone);
            match rule.rsplit('-').next().unwrap() {
                "hourly" => format!("{} {}", local.date_naive(), local.hour()),
                "daily" => local.date_naive().to_string(),
                "weekly" => format!("{:?}", local.iso_week()),
                "monthly" => format!("{} {}", local.year(), local.month()),
                "yearly" => local.year().to_string(),
                _ => nth.to_string(),
            }
        };
        let days = text.strip_suffix('d').filter(|_| rule.contains("within")).map(|days| days.parse::<i64>().unwrap());
        // Snapshots that the rule is about: for a span, those within.
        let about: Vec<usize> = (0..times.len())
            .filter(|nth| days.is_none_or(|days| times[*nth] > times[0] - chrono::TimeDelta::days(days)))
            .collect();
        let limit = match days {
            Some(_) => usize::MAX,
            None => text.parse().unwrap_or(usize::MAX),
        };
        let newest_of_each: Vec<usize> = about
            .iter()
            .copied()
            .filter(|nth| about.iter().take_while(|other| *other < nth).all(|other| part(*other) != part(*nth)))
            .collect();
        kept.extend(newest_of_each.iter().take(limit));
        if newest_of_each.len() < limit && about.last() == Some(&(times.len() - 1)) {
            kept.insert(times.len() - 1);
        }
    }
    kept
}

fn any_rules() -> impl Strategy<Value = Vec<(String, String)>> {
    let names: Vec<(String, bool)> = Policy::rules().map(|(name, _, within)| (name, within)).collect();
    let rule = (prop::sample::select(names), 1..40u32, any::<bool>()).prop_map(|((name, within), n, all)| {
        let text = if within {
            format!("{n}d")
        } else if all && n > 35 {
            "unlimited".into()
        } else {
            n.to_string()
        };
        (name, text)
    });
    prop::collection::btree_map(0..100u8, rule, 1..4).prop_map(|rules| {
        let named: BTreeMap<String, String> = rules.into_values().collect();
        named.into_iter().collect()
    })
}

fn policy_of(rules: &[(String, String)]) -> Policy {
    let mut policy = Policy::default();
    rules.iter().for_each(|(rule, text)| policy.set(rule, text).unwrap());
    policy
}

fn any_times() -> impl Strategy<Value = Vec<DateTime<Utc>>> {
    let span = prop::sample::select(vec![40i64, 24 * 40, 24 * 900]);
    (span, prop::collection::btree_set(0..10_000i64, 1..40)).prop_map(|(hours, at)| {
        let begin = asked() - chrono::TimeDelta::hours(hours) - chrono::TimeDelta::days(30);
        at.into_iter().rev().map(|at| begin + chrono::TimeDelta::seconds(at * hours * 3600 / 10_000)).collect()
    })
}

fn manifest(id: &str, created: DateTime<Utc>) -> Manifest {
    let made = serde_json::json!({
        "format": 1, "id": id, "created": created, "made_by": "test", "reason": "test", "instance": "kuma",
        "origin": "/data", "engine": EngineKind::Sqlite, "release": "2.5.3", "migrations": [], "counts": Counts::new(),
        "members": [], "verified": ["hash"],
    });
    serde_json::from_value(made).unwrap()
}

/// Ids of those that stay, with their reasons.
fn stay(all: &[Manifest], policy: &Policy, guards: &mut Guards<'_>) -> BTreeMap<String, Vec<String>> {
    let all: Vec<&Manifest> = all.iter().collect();
    let judged = judge(&all, policy, asked(), &Tz::UTC, guards);
    assert_eq!(judged.len(), all.len());
    let kept = judged.into_iter().filter(|one| !one.reasons.is_empty());
    kept.map(|one| (one.manifest.id.clone(), one.reasons)).collect()
}

proptest! {
    #[test]
    fn keeps_what_the_rules_say(rules in any_rules(), times in any_times(), zone in 0..3usize) {
        // In zones without summer time a day has 24 hours, as the naive reading takes it.
        let zone = [Tz::UTC, Tz::Asia__Kolkata, Tz::America__Phoenix][zone];
        let policy = policy_of(&rules);
        let judged = policy.judge(&times, asked(), &zone);
        let kept: BTreeSet<usize> = (0..times.len()).filter(|nth| !judged[*nth].is_empty()).collect();
        prop_assert_eq!(kept, naive(&rules, &times, zone), "{:?} {:?}", rules, times);
    }

    #[test]
    fn what_is_removed_once_would_be_removed_again_and_what_stays_stays(rules in any_rules(), times in any_times()) {
        let policy = policy_of(&rules);
        let keeps = |times: &[DateTime<Utc>]| -> Vec<DateTime<Utc>> {
            let judged = policy.judge(times, asked(), &Tz::Europe__Berlin);
            times.iter().zip(judged).filter(|(_, reasons)| !reasons.is_empty()).map(|(time, _)| *time).collect()
        };
        let once = keeps(&times);
        prop_assert_eq!(&keeps(&once), &once);
    }

    #[test]
    fn never_takes_the_newest_that_verifies(rules in any_rules(), times in any_times(), broken in prop::collection::vec(any::<bool>(), 40)) {
        let all: Vec<Manifest> = times.iter().enumerate().map(|(n, time)| manifest(&n.to_string(), *time)).collect();
        let whole = |one: &Manifest| !broken[one.id.parse::<usize>().unwrap()];
        let kept = stay(&all, &policy_of(&rules), &mut Guards {
            raw: false,
            unfinished: &|_| false,
            verifies: &mut |one| whole(one),
        });
        if let Some(newest) = all.iter().find(|one| whole(one)) {
            prop_assert!(kept.contains_key(&newest.id));
        }
    }
}

#[test]
fn keeps_what_must_not_go_and_says_why() {
    let day = |n: i64| asked() - chrono::TimeDelta::days(n);
    let mut all: Vec<Manifest> = (0..6).map(|n| manifest(&n.to_string(), day(n))).collect();
    all[0].created = asked() + chrono::TimeDelta::days(400);
    all[3].raw = true;
    all.push(Manifest { origin: "/other".into(), ..manifest("other", day(700)) });
    all.push(Manifest { origin: "/busy".into(), ..manifest("busy-new", day(1)) });
    all.push(Manifest { origin: "/busy".into(), ..manifest("busy-old", day(2)) });
    let mut read = Vec::new();
    let policy = policy_of(&[("keep-last".into(), "1".into())]);
    let kept = stay(
        &all,
        &policy,
        &mut Guards {
            raw: false,
            unfinished: &|one| one.origin == "/busy",
            verifies: &mut |one| {
                read.push(one.id.clone());
                one.id != "1"
            },
        },
    );
    let expected = [
        ("0", vec!["last snapshot", "in the future"]),
        ("2", vec!["newest verified"]),
        ("3", vec!["files of an unreadable database"]),
        ("busy-new", vec!["last snapshot", "interrupted operation on its instance", "newest verified"]),
        ("other", vec!["last snapshot"]),
    ];
    let expected: BTreeMap<String, Vec<String>> = expected
        .into_iter()
        .map(|(id, reasons)| (id.to_owned(), reasons.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(kept, expected);
    // Only where something is to go, and no further than needed.
    assert_eq!(read, ["busy-new", "1", "2"]);
    let kept = stay(&all, &policy, &mut Guards { raw: true, unfinished: &|_| false, verifies: &mut |_| true });
    assert!(!kept.contains_key("3") && !kept.contains_key("busy-old") && kept.contains_key("1"), "{kept:?}");
}

#[test]
fn reads_rules_as_restic_writes_them() {
    let mut policy = Policy::default();
    assert!(policy.is_empty());
    for (rule, text) in [("keep-last", "0"), ("keep-daily", "0")] {
        policy.set(rule, text).unwrap();
    }
    assert!(policy.is_empty(), "nothing of nothing is nothing");
    for (rule, text) in [
        ("keep-weekly", "7d"),
        ("keep-weekly", "-2"),
        ("keep-within", "7"),
        ("keep-within", "1w"),
        ("keep-within", "0d"),
        ("keep-within", "d"),
        ("keep-within", "7ü"),
        ("keep-within-last", "7d"),
        ("keep-forever", "1"),
    ] {
        assert!(policy.set(rule, text).is_err(), "{rule} {text}");
    }
    for (rule, text) in [("keep-weekly", "-1"), ("keep-yearly", "unlimited"), ("keep-within", "2y5m7d3h")] {
        policy.set(rule, text).unwrap();
    }
    assert!(!policy.is_empty());
}
