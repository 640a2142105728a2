//! What is written down is what is read again: texts of all syntaxes, and whole configurations of every release.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kumadb::engine::sqlite::SqliteFile;
use kumadb::engine::{Connect, EngineKind, WriteKey};
use kumadb::error::Result;
use kumadb::formats::NoSources;
use kumadb::formats::export::{ExportChoice, Secrets, export};
use kumadb::formats::native::read_fixture;
use kumadb::formats::render::render;
use kumadb::formats::text::{Syntax, no_files, read};
use kumadb::formats::{At, Node};
use kumadb::kuma::init::{self, NewInstance};
use kumadb::kuma::read::read_config;
use kumadb::kuma::write::write_plan;
use kumadb::model::fields::Field;
use kumadb::model::state::ConfigRows;
use kumadb::model::{MonitorType, ValueShape, kinds};
use kumadb::plan::fixture::{ApplyOptions, Entropy, PlanReport, plan_fixture};
use kumadb::schema::{Release, recorded};
use kumadb::value::Secret;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Map, Value as Json, json};

use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;

/// Texts that some syntax, or some reader of it, could take for something else.
pub const ODD: [&str; 39] = [
    "${x}",
    "$${x}",
    "$$${x}",
    "${",
    "$",
    "a: b",
    "a #b",
    "#a",
    "- a",
    "-",
    "?",
    "? a",
    ":",
    "a:",
    "yes",
    "no",
    "on",
    "true",
    "null",
    "~",
    "1e3",
    "012",
    "0x1f",
    ".5",
    "+1",
    "1_000",
    "2026-01-31",
    "12:30",
    " blank before",
    "blank after ",
    "  ",
    "two\nlines",
    "ends with a line\n",
    "\n",
    "tab\tin it",
    "it's \"quoted\" \\ so",
    "{a: [b]}",
    "&anchor *alias !tag %",
    "<<",
];

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        3 => prop::sample::select(&ODD[..]).prop_map(str::to_owned),
        2 => "[a-zäöü€🙂 ]{1,12}",
        1 => "[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]{1,20}",
    ]
    .boxed()
}

/// A name that no other has: the number makes it so. A slash would be a group.
fn name(at: usize, text: &str) -> String {
    let text: String = text.replace('/', "|").chars().take(100).collect();
    // Both the beginning and the end of a text may be odd.
    if at.is_multiple_of(2) { format!("{text}{at}") } else { format!("{at}{text}") }
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        4 => text().prop_map(Json::String),
        1 => any::<i64>().prop_map(Json::from),
        1 => (-1e12..1e12f64).prop_map(|x| json!(x + 0.5)),
        1 => any::<bool>().prop_map(Json::Bool),
        1 => Just(Json::String(String::new())),
        1 => Just(json!([])),
        1 => Just(json!({})),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            prop::collection::vec((text(), inner), 0..5).prop_map(|all| Json::Object(all.into_iter().collect())),
        ]
    })
}

fn node(json: &Json) -> Node {
    Node::from_json(&At::nowhere("test"), json)
}

/// `json` written down and read again.
fn there_and_back(json: &Json, syntax: Syntax) -> Json {
    let text = render(&node(json), syntax).unwrap();
    let documents =
        read("a", &text, syntax, &no_files).unwrap_or_else(|problem| panic!("{syntax:?}: {problem:?}\n{text}"));
    assert_eq!(documents.len(), 1, "{syntax:?}\n{text}");
    documents[0].json()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_syntax_keeps_every_value(all in prop::collection::vec((text(), value()), 0..6)) {
        let json = Json::Object(all.into_iter().collect());
        for syntax in [Syntax::Yaml, Syntax::Json, Syntax::Toml] {
            prop_assert_eq!(&there_and_back(&json, syntax), &json, "{:?}", syntax);
        }
    }
}

#[test]
fn every_odd_text_is_kept_as_key_and_as_value() {
    for text in ODD {
        for json in
            [json!({"a": text}), json!({text: 1}), json!({"a": [text, text]}), json!({"a": {text: [{"b": text}]}})]
        {
            for syntax in [Syntax::Yaml, Syntax::Json, Syntax::Toml] {
                assert_eq!(there_and_back(&json, syntax), json, "{syntax:?} {text:?}");
            }
        }
    }
}

/// The same every time, and quick: what is hashed here protects nothing.
pub struct Counted(pub u64);

impl Entropy for Counted {
    fn token(&mut self, length: usize) -> Result<String> {
        self.0 += 1;
        Ok(format!("{:0>length$}", self.0))
    }

    fn hash(&mut self, clear: &str) -> Result<String> {
        Ok(format!("$2b$10${clear:x>53.53}"))
    }

    fn fits(&mut self, clear: &str, hash: &str) -> bool {
        self.hash(clear).is_ok_and(|made| made == hash)
    }
}

/// A new instance, made by the library.
pub struct Made {
    pub connect: Box<dyn Connect>,
    _folder: Option<tempfile::TempDir>,
}

fn new_instance(release: Release) -> NewInstance {
    NewInstance { release, admin: Some(("admin".into(), Secret::new("Kuma-Lab-2026"))), timezone: None }
}

/// The file of a new database, made once for all cases: the hashes in it would be most of the work.
fn new_database(release: Release) -> Arc<[u8]> {
    static MADE: Mutex<BTreeMap<Release, Arc<[u8]>>> = Mutex::new(BTreeMap::new());
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        init::make_folder(folder.path(), &new_instance(release)).unwrap();
        assert!(!folder.path().join("kuma.db-wal").exists(), "all of it is in one file");
        std::fs::read(folder.path().join("kuma.db")).unwrap().into()
    };
    MADE.lock().unwrap().entry(release).or_insert_with(make).clone()
}

impl Made {
    pub fn sqlite(release: Release) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kuma.db"), new_database(release)).unwrap();
        Made { connect: Box::new(SqliteFile::new(folder.path().join("kuma.db"))), _folder: Some(folder) }
    }

    fn mariadb(server: &Mariadbd, release: Release) -> Self {
        server.sql("", "DROP DATABASE IF EXISTS made");
        let address = server.create_database("made", "utf8mb4");
        init::fill_database(&address, &new_instance(release)).unwrap();
        Made { connect: Box::new(address), _folder: None }
    }

    pub fn config(&self) -> ConfigRows {
        read_config(&mut *self.connect.reader().unwrap(), "test").unwrap()
    }

    pub fn plan(&self, document: &Node, options: &ApplyOptions) -> PlanReport {
        let fixture = read_fixture(std::slice::from_ref(document), &NoSources)
            .unwrap_or_else(|problems| panic!("{problems:#?}\n{:#}", document.json()));
        plan_fixture(&self.config(), &fixture, options, &mut Counted(0))
            .unwrap()
            .unwrap_or_else(|problems| panic!("{problems:#?}\n{:#}", document.json()))
    }

    /// Makes it so, and returns what was left out.
    pub fn apply(&self, document: &Node, options: &ApplyOptions) -> usize {
        let report = self.plan(document, options);
        let schema = self.config().database.schema;
        let mut writer = self.connect.writer(&WriteKey::for_tests()).unwrap();
        writer.begin().unwrap();
        write_plan(&mut *writer, &schema, &report.plan).unwrap();
        writer.commit().unwrap();
        report.left_out.len()
    }

    fn export(&self) -> Node {
        let choice = ExportChoice { secrets: Secrets::Include, ..ExportChoice::default() };
        let exported = export(&self.config(), &choice);
        assert_eq!(exported.warnings, Vec::<String>::new());
        exported.document
    }
}

/// What typed monitors need, by type, out of what was typed into a real server.
fn typed(kind: &str) -> Map<String, Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/2.5.3.json");
    let golden: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let typed = golden["kinds"][kind]["typed"].as_object().unwrap().clone();
    let column = |name: &str| kumadb::model::field(name).unwrap().column.to_owned();
    // Names of things that there are none of here.
    let typed = typed.into_iter().map(|(name, value)| (column(&name), value));
    typed.filter(|(name, _)| name != "docker_host" && name != "remote_browser").collect()
}

/// A value for a field, as far as chance finds one.
fn filled(field: &Field, kind: &MonitorType, release: Release, text: &str, number: i64) -> Option<Json> {
    Some(match field.shape {
        ValueShape::Flag => json!(number % 2 == 0),
        ValueShape::Whole(least, most) => json!(least.max(1) + number % (most - least.max(1)).clamp(1, 50)),
        ValueShape::Real => json!(number % 40 + 1),
        ValueShape::Choice(_) => {
            let picks = field.picks(kind.name, release);
            json!(picks.get(number as usize % picks.len().max(1))?)
        }
        ValueShape::Text(_) | ValueShape::LongText if field.column != "push_token" => json!(text),
        _ => return None,
    })
}

#[derive(Clone, Debug)]
struct Drawn {
    kind: usize,
    name: String,
    parent: Option<usize>,
    fields: Vec<(usize, String, i64)>,
    tags: Vec<(usize, String)>,
    notifications: Option<Vec<usize>>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let fields = prop::collection::vec((0..1000usize, text(), 0..1000i64), 0..6);
    let tags = prop::collection::vec((0..3usize, prop_oneof![text(), Just(String::new())]), 0..3);
    let notifications = prop::option::of(prop::collection::vec(0..2usize, 0..3));
    let parent = prop::option::of(0..6usize);
    (0..1000usize, text(), parent, fields, tags, notifications).prop_map(
        |(kind, name, parent, fields, tags, notifications)| Drawn { kind, name, parent, fields, tags, notifications },
    )
}

fn document(release: Release, names: &[String], monitors: &[Drawn]) -> Node {
    let all: Vec<&MonitorType> = kinds(release).filter(|kind| kind.name != "docker").collect();
    // A `${` would be a variable; what is exported is written so too.
    let escaped = |text: &str| text.replace("${", "$${");
    let called: Vec<String> = names.iter().enumerate().map(|(at, text)| escaped(&name(at, text))).collect();
    let mut paths: Vec<String> = Vec::new();
    let mut list: Vec<Json> = Vec::new();
    for (at, drawn) in monitors.iter().enumerate() {
        // The first ones are groups, in which the others can be.
        let kind = if at < 3 { kumadb::model::kind("group").unwrap() } else { all[drawn.kind % all.len()] };
        let named = escaped(&name(at, &drawn.name));
        let parent = drawn.parent.filter(|parent| *parent < at.min(3)).map(|parent| paths[parent].clone());
        paths.push(parent.as_ref().map_or(named.clone(), |parent| format!("{parent}/{named}")));
        let mut monitor: Map<String, Json> =
            typed(kind.name).into_iter().filter(|(column, _)| kind.has(column, release)).collect();
        let fields: Vec<&Field> = kind.fields(release).into_iter().filter(|field| field.is_typed()).collect();
        for (pick, text, number) in &drawn.fields {
            let field = fields[pick % fields.len()];
            if let Some(value) = filled(field, kind, release, &escaped(text), *number) {
                monitor.entry(field.column).or_insert(value);
            }
        }
        monitor.extend([("name".to_owned(), json!(named)), ("type".to_owned(), json!(kind.name))]);
        monitor.extend(parent.map(|parent| ("parent".to_owned(), json!(parent))));
        let tags: BTreeSet<(usize, &String)> = drawn.tags.iter().map(|(at, value)| (*at, value)).collect();
        let tags: Vec<Json> =
            tags.iter().map(|(at, value)| json!({"name": called[*at], "value": escaped(value)})).collect();
        monitor.insert("tags".into(), json!(tags));
        if let Some(notifications) = &drawn.notifications {
            let names: BTreeSet<&String> = notifications.iter().map(|at| &called[*at]).collect();
            monitor.insert("notifications".into(), json!(names));
        }
        list.push(Json::Object(monitor));
    }
    let config = json!({"a": escaped(&names[0]), "b": {"c": [escaped(&names[1]), 1, true]}});
    node(&json!({
        "tags": called.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        "notifications": [
            {"name": called[0], "type": "webhook", "default": true, "config": config},
            {"name": called[1], "type": "ntfy", "active": false},
        ],
        "monitors": list,
        "status_pages": [{"slug": "home", "title": called[0], "description": escaped(&names[1]),
            "groups": [{"name": called[1], "monitors": paths[..3].to_vec()}, {"name": called[2]}]}],
        "maintenance": [{"title": called[2], "description": escaped(&names[0]), "strategy": "manual",
            "monitors": [paths[0]]}],
        "settings": {"primaryBaseURL": escaped(&names[2])},
    }))
}

/// Applied, written down, applied to each of `others` in turn and written down again: the same.
fn check(release: Release, names: &[String], monitors: &[Drawn], others: &[Made]) -> usize {
    let first = Made::sqlite(release);
    let chance = ApplyOptions { skip_invalid: true, skip_unsupported: true, ..ApplyOptions::default() };
    let document = document(release, names, monitors);
    first.apply(&document, &chance);
    let again = first.plan(&document, &chance);
    assert_eq!(again.plan.steps, [], "applied again: {:#}", document.json());
    let exported = first.export();
    for syntax in [Syntax::Yaml, Syntax::Json, Syntax::Toml] {
        let text = render(&exported, syntax).unwrap();
        let read = &read("a", &text, syntax, &no_files).unwrap()[0];
        if syntax != Syntax::Toml {
            assert_eq!(read.json(), exported.json(), "{release} {syntax:?}");
        }
        let plan = first.plan(read, &ApplyOptions::default()).plan;
        assert_eq!(plan.steps, [], "{release} {syntax:?}\n{text}");
    }
    let mut last = exported.clone();
    for other in others {
        other.apply(&last, &ApplyOptions::default());
        last = other.export();
        assert_eq!(last.json(), exported.json(), "{release}, on {:?}", other.connect.kind());
    }
    exported.find("monitors").map_or(0, |monitors| monitors.list().len())
}

fn releases() -> Vec<Release> {
    recorded(EngineKind::Sqlite).iter().map(|recording| recording.release).collect()
}

#[test]
fn a_configuration_is_written_down_and_made_again() {
    let releases = releases();
    let made = Cell::new(0);
    let cases = rounds::count(16, 48);
    run(cases, 3..12, |at, names, monitors| {
        let release = releases[at % releases.len()];
        made.set(made.get() + check(release, &names, &monitors, &[Made::sqlite(release)]));
    });
    // Chance may make all monitors of one configuration invalid, but not of most.
    assert!(made.get() >= cases, "{} monitors", made.get());
}

/// Runs `test` on `cases` configurations drawn by chance.
fn run(cases: usize, count: Range<usize>, test: impl Fn(usize, Vec<String>, Vec<Drawn>)) {
    let config = ProptestConfig {
        cases: cases as u32,
        rng_seed: RngSeed::Fixed(rounds::seed()),
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    };
    let drawn = (0..1000usize, prop::collection::vec(text(), 3), prop::collection::vec(drawn(), count));
    let ran = TestRunner::new(config).run(&drawn, |(at, names, monitors)| {
        test(at, names, monitors);
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn a_configuration_goes_to_mariadb_and_back() {
    let Some(server) = Mariadbd::start() else { return };
    let releases: Vec<Release> = recorded(EngineKind::MariaDb).iter().map(|recording| recording.release).collect();
    run(rounds::count(6, 16), 3..10, |at, names, monitors| {
        let release = releases[at % releases.len()];
        let others = [Made::mariadb(&server, release), Made::sqlite(release)];
        check(release, &names, &monitors, &others);
    });
}

#[test]
fn every_type_of_every_release_is_written_down_and_made_again() {
    let names = ["env", "team", "${x}"].map(str::to_owned);
    for &release in rounds::some(&releases(), 5) {
        let group =
            Drawn { kind: 0, name: "G".into(), parent: None, fields: vec![], tags: vec![], notifications: None };
        let count = kinds(release).filter(|kind| kind.name != "docker").count();
        let of_kind = |kind| Drawn {
            kind,
            name: "M".into(),
            parent: Some(kind % 3),
            tags: vec![(2, "v".into())],
            ..group.clone()
        };
        // The numbers of kinds begin where those of groups end.
        let monitors: Vec<Drawn> = (0..3).map(|_| group.clone()).chain((0..count).map(of_kind)).collect();
        assert_eq!(check(release, &names, &monitors, &[Made::sqlite(release)]), count + 3, "{release}");
    }
}
