//! Whatever stands in a foreign file, converting it ends in a document or in words.

use kumadb::formats::foreign::{ForeignFormat, SourceFile, convert};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::Value as Json;

use crate::formats::foreign::source;
use crate::support::rounds;

/// Keys that converters look for, so that chance finds its way into them.
const KEYS: [&str; 28] = [
    "monitors",
    "monitorList",
    "notificationList",
    "proxyList",
    "tags",
    "tables",
    "monitor",
    "columns",
    "rows",
    "status_pages",
    "config",
    "slug",
    "publicGroupList",
    "maintenance",
    "strategy",
    "timeRange",
    "name",
    "type",
    "url",
    "hostname",
    "parent",
    "id",
    "notificationIDList",
    "friendly_name",
    "port",
    "group",
    "omitted_secrets",
    "a",
];

fn any_json() -> impl Strategy<Value = Json> {
    let words =
        prop::sample::select(vec!["http", "ping", "group", "a/b", "x:1", "", "tcp://é:1", "cron", "monitor.id", "[1]"]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-2i64..100_000).prop_map(Json::from),
        Just(Json::from(i64::MAX)),
        words.prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((prop::sample::select(KEYS.to_vec()), inner), 0..8)
                .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: rounds::count(64, 256) as u32,
        rng_seed: RngSeed::Fixed(rounds::seed()),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_can_be_read_makes_a_converter_fall(json in any_json(), more in any_json()) {
        let sources = [source("a.json", &json.to_string()), source("b.json", &more.to_string())];
        for format in ForeignFormat::ALL {
            let _ = ForeignFormat::guess(&sources[0]);
            let _ = convert(format, &sources);
        }
    }

    #[test]
    fn no_text_makes_a_converter_fall(text in "(kuma\\.|ping:|tcp:|http://|[a-z.:/=,\"\\[\\]é \n-]){0,40}") {
        let sources = [SourceFile { file: "a.txt".into(), text, documents: Vec::new(), problems: Vec::new() }];
        for format in ForeignFormat::ALL {
            let _ = ForeignFormat::guess(&sources[0]);
            let _ = convert(format, &sources);
        }
    }
}
