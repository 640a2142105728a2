//! Texts as documents: what is read, what is refused, and where the fault is said to be.

use std::time::{Duration, Instant};

use kumadb::formats::Node;
use kumadb::formats::text::{Syntax, no_files, read};
use serde_json::{Value as Json, json};

use crate::support::rounds;

/// The only document of `text`.
#[track_caller]
fn document(syntax: Syntax, text: &str) -> Node {
    let documents = read("a", text, syntax, &no_files).unwrap_or_else(|problem| panic!("{problem:?}\n{text}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.into_iter().next().unwrap()
}

#[track_caller]
fn says(syntax: Syntax, text: &str, expected: Json) {
    assert_eq!(document(syntax, text).json(), expected, "{text}");
}

/// `text` must be refused at this place and in these words.
#[track_caller]
fn refuses(syntax: Syntax, text: &str, place: &str, words: &str) {
    let problem = read("a", text, syntax, &no_files).expect_err("it is refused");
    assert_eq!(problem.subject, format!("a:{place}"), "{text}: {}", problem.message);
    assert!(problem.message.contains(words), "{text}: {}", problem.message);
    assert!(!problem.message.ends_with([' ', ':']), "{text}: says no reason: {}", problem.message);
}

/// Every value that is neither list nor map, with its place: `2:9 Router`.
fn places(node: &Node, found: &mut Vec<String>) {
    match node.scalar() {
        Some(text) => found.push(format!("{}:{} {text}", node.at.line, node.at.column)),
        None => {
            node.list().iter().for_each(|item| places(item, found));
            node.entries().iter().for_each(|entry| places(&entry.value, found));
        }
    }
}

#[track_caller]
fn stand(syntax: Syntax, text: &str, expected: &[&str]) {
    let mut found = Vec::new();
    places(&document(syntax, text), &mut found);
    assert_eq!(found, expected, "{text}");
}

#[test]
fn values_know_their_places() {
    stand(
        Syntax::Yaml,
        "monitors:\n  - name: Router\n    port: 22\n  - {name: Bär, type: ping}\n",
        &["2:11 Router", "3:11 22", "4:12 Bär", "4:23 ping"],
    );
    stand(
        Syntax::Json,
        "{\"monitors\": [\n  {\"name\": \"Router\", \"port\": 22},\n  {\"name\": \"Bär\", \"type\": \"ping\"}\n]}",
        &["2:12 Router", "2:30 22", "3:12 Bär", "3:27 ping"],
    );
    stand(
        Syntax::Toml,
        "[[monitors]]\nname = \"Router\"\nport = 22\n\n[[monitors]]\nname = \"Bär\" # Umlaut\ntags = { env = \"prod\" }\n",
        &["2:8 Router", "3:8 22", "6:8 Bär", "7:16 prod"],
    );
    // The column of a table is the number of the field.
    stand(
        Syntax::Csv,
        "name,type,port\nRouter,ping,\nSSH,port,22\n",
        &["2:1 Router", "2:2 ping", "3:1 SSH", "3:2 port", "3:3 22"],
    );
}

#[test]
fn a_place_in_a_long_line_is_the_number_of_characters() {
    let pad = "ä".repeat(10_000);
    let text = format!("{{\"pad\": \"{pad}\", \"after\": 7}}");
    let node = document(Syntax::Json, &text);
    let after = node.find("after").unwrap();
    assert_eq!((after.at.line, after.at.column), (1, 10_022));
}

#[test]
fn problems_are_reported_at_their_positions() {
    refuses(Syntax::Yaml, "monitors:\n  - {name: A\n", "2:5", "is not valid YAML");
    refuses(Syntax::Json, "{\n  \"monitors\": [1,]\n}", "2:17", "Trailing commas");
    refuses(Syntax::Json, "{\"a\": 1} // no comments", "1:10", "is not valid JSON");
    refuses(Syntax::Toml, "[[monitors]]\nname = \n", "2:8", "is not valid TOML");
    refuses(Syntax::Csv, "name,type\nRouter,ping\nSwitch\n", "3:1", "has 1 field, but the first line has 2");
}

#[test]
fn what_stands_twice_is_refused() {
    refuses(Syntax::Yaml, "a: 1\nb: 2\na: 3\n", "3:1", "`a` is specified twice");
    refuses(Syntax::Yaml, "m: [{a: 1, b: 2, a: 3}]\n", "1:18", "`a` is specified twice");
    refuses(Syntax::Json, "{\"a\": 1,\n \"a\": 2}", "2:2", "`a` is specified twice");
    refuses(Syntax::Toml, "a = 1\na = 2\n", "2:1", "is not valid TOML");
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    says(
        Syntax::Yaml,
        "x-base: &base {type: http, interval: 60}\nmonitors:\n- <<: *base\n  name: A\n- {<<: *base, interval: 30}\n",
        json!({
            "x-base": {"type": "http", "interval": 60},
            "monitors": [{"type": "http", "interval": 60, "name": "A"}, {"type": "http", "interval": 30}],
        }),
    );
    // What is said beats what is merged in, whichever comes first; of several, the first one does.
    says(
        Syntax::Yaml,
        "- &a {n: 1, a: 1}\n- &b {n: 2, b: 2}\n- {n: 3, <<: [*a, *b]}\n- {<<: [*b, *a]}\n",
        json!([{"n": 1, "a": 1}, {"n": 2, "b": 2}, {"n": 3, "a": 1, "b": 2}, {"n": 2, "b": 2, "a": 1}]),
    );
    refuses(Syntax::Yaml, "a: &a 1\nb: {<<: *a}\n", "2:5", "`<<` requires a map");
    refuses(Syntax::Yaml, "a: *nothing\n", "1:4", "is not valid YAML");
    refuses(Syntax::Yaml, "a: &a [1, *a]\n", "1:11", "alias of a value that contains it");
    refuses(Syntax::Yaml, "a: !secret x\n", "1:12", "unsupported tag `!secret`");
}

#[test]
fn several_documents_are_several() {
    let all = read("a", "a: 1\n---\nb: 2\n", Syntax::Yaml, &no_files).unwrap();
    assert_eq!(all.iter().map(Node::json).collect::<Vec<_>>(), [json!({"a": 1}), json!({"b": 2})]);
    assert!(read("a", "# nothing but a note\n", Syntax::Yaml, &no_files).unwrap().iter().all(Node::is_null));
}

#[test]
fn other_files_are_included() {
    let files = |path: &str| match path {
        "list.yaml" => Ok("- {name: A}\n- {name: B}\n".to_owned()),
        "list.json" => Ok("[{\"name\": \"C\"}]".to_owned()),
        "empty.yaml" => Ok(String::new()),
        "two.yaml" => Ok("a: 1\n---\nb: 2\n".to_owned()),
        "broken.yaml" => Ok("a: [\n".to_owned()),
        "loop.yaml" => Ok("again: !include loop.yaml\n".to_owned()),
        "there.yaml" => Ok("back: !include main.yaml\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let text = "a: !include list.yaml\nb: !include list.json\nc: !include empty.yaml\nd: !include list.yaml\n";
    let documents = read("main.yaml", text, Syntax::Yaml, &files).unwrap();
    let expected = json!({"a": [{"name": "A"}, {"name": "B"}], "b": [{"name": "C"}], "c": null,
        "d": [{"name": "A"}, {"name": "B"}]});
    assert_eq!(documents[0].json(), expected);
    let inner = &documents[0].find("a").unwrap().list()[1];
    assert_eq!((&*inner.at.file, inner.at.line), ("list.yaml", 2), "a value stands in the file it was written in");
    for (text, place, words) in [
        ("a: !include nowhere.yaml\n", "main.yaml:1:13", "includes `nowhere.yaml`: no such file"),
        ("a: !include loop.yaml\n", "loop.yaml:1:17", "which includes itself"),
        ("a: !include there.yaml\n", "there.yaml:1:16", "which includes itself"),
        ("a: !include main.yaml\n", "main.yaml:1:13", "which includes itself"),
        ("a: !include two.yaml\n", "main.yaml:1:13", "contains several YAML documents"),
        ("a: !include broken.yaml\n", "broken.yaml:1:4", "is not valid YAML"),
    ] {
        let problem = read("main.yaml", text, Syntax::Yaml, &files).expect_err("it is refused");
        assert_eq!(problem.subject, place, "{text}: {}", problem.message);
        assert!(problem.message.contains(words), "{text}: {}", problem.message);
    }
}

#[test]
fn what_repeats_itself_without_end_is_refused_at_once() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", ")));
    }
    let begun = Instant::now();
    let problem = read("a", &text, Syntax::Yaml, &no_files).expect_err("it is refused");
    assert!(problem.message.contains("expands to more than 1000000 values"), "{}", problem.message);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    for levels in [110, 5_000, 100_000] {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        let lists = format!("{open}{close}");
        let dashes: String = "- ".repeat(levels);
        let keys = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        for (syntax, text) in [
            (Syntax::Yaml, lists.clone()),
            (Syntax::Yaml, format!("{dashes}x\n")),
            (Syntax::Json, lists.clone()),
            (Syntax::Json, keys),
            (Syntax::Toml, format!("a = {lists}\n")),
        ] {
            let problem = read("a", &text, syntax, &no_files).err();
            let subject = problem.unwrap_or_else(|| panic!("{syntax:?} reads {levels} levels")).subject;
            assert!(subject.starts_with("a:1:"), "{syntax:?}: {subject}");
        }
    }
    let fine = format!("{}{}", "[".repeat(50), "]".repeat(50));
    for syntax in [Syntax::Yaml, Syntax::Json] {
        document(syntax, &fine);
    }
}

#[test]
fn what_windows_writes_is_read_the_same() {
    for (syntax, text) in [
        (Syntax::Yaml, "name: Router\ntags: [a, b]\nnote: |\n  one\n  two\n"),
        (Syntax::Json, "{\"name\": \"Router\",\n\"tags\": [\"a\", \"b\"],\n\"note\": \"one\\ntwo\\n\"}\n"),
        (Syntax::Toml, "name = \"Router\"\ntags = [\"a\", \"b\"]\nnote = \"one\\ntwo\\n\"\n"),
    ] {
        let expected = json!({"name": "Router", "tags": ["a", "b"], "note": "one\ntwo\n"});
        for text in [text.to_owned(), format!("\u{feff}{text}"), text.replace('\n', "\r\n")] {
            says(syntax, &text, expected.clone());
        }
    }
    let table = "name;type\nRouter;ping\n";
    for text in [table.to_owned(), format!("\u{feff}{table}"), table.replace('\n', "\r\n")] {
        says(Syntax::Csv, &text, json!([{"name": "Router", "type": "ping"}]));
    }
    // The mark at the beginning is no character of the first line.
    refuses(Syntax::Yaml, "\u{feff}a: 1\r\na: 2\r\n", "2:1", "is specified twice");
}

#[test]
fn plain_words_of_yaml_are_what_version_1_2_says() {
    says(
        Syntax::Yaml,
        "[yes, no, on, off, true, null, ~, 012, 0x1F, 0o17, 1e3, 1.5, .5, 1_000, +7, -7, 2026-01-31, 12:30, '1', \"null\"]",
        json!([
            "yes",
            "no",
            "on",
            "off",
            true,
            null,
            null,
            12,
            31,
            15,
            1000.0,
            1.5,
            0.5,
            "1_000",
            7,
            -7,
            "2026-01-31",
            "12:30",
            "1",
            "null"
        ]),
    );
    says(Syntax::Yaml, "a: 99999999999999999999\nb: .inf\nc: .nan\n", {
        json!({"a": 99999999999999999999_f64, "b": ".inf", "c": ".nan"})
    });
}

#[test]
fn tables_are_parted_by_what_their_country_uses() {
    let expected = json!([{"name": "Router, the old one", "type": "ping"}, {"name": "SSH", "type": "port"}]);
    says(Syntax::Csv, "name,type\n\"Router, the old one\",ping\nSSH,port\n", expected.clone());
    says(Syntax::Csv, "name;type\nRouter, the old one;ping\nSSH;port\n", expected.clone());
    says(Syntax::Csv, "name\ttype\nRouter, the old one\tping\nSSH\tport\n", expected);
}

#[test]
fn a_syntax_is_known_by_its_name_or_guessed() {
    for (file, syntax) in [
        ("a.yaml", Some(Syntax::Yaml)),
        ("a.b.YML", Some(Syntax::Yaml)),
        ("a.json", Some(Syntax::Json)),
        ("a.toml", Some(Syntax::Toml)),
        ("a.csv", Some(Syntax::Csv)),
        ("a.tsv", Some(Syntax::Csv)),
        ("a.txt", None),
        ("yaml", None),
    ] {
        assert_eq!(Syntax::of(file), syntax, "{file}");
    }
    assert_eq!(Syntax::guess("\u{feff} {\"a\": 1}"), Syntax::Json);
    assert_eq!(Syntax::guess("{a: 1}"), Syntax::Yaml);
    assert_eq!(Syntax::guess("a: 1"), Syntax::Yaml);
}

#[test]
fn a_document_of_many_mb_is_read() {
    let mut text = "monitors:\n".to_owned();
    let mut count = 0;
    while text.len() < rounds::count(5, 20) << 20 {
        text.push_str(&format!(
            "  - {{name: Monitor {count}, type: http, url: \"https://host{count}.example.com/health\", interval: 60, \
             tags: {{env: prod}}, description: nothing special about it}}\n"
        ));
        count += 1;
    }
    let begun = Instant::now();
    let node = document(Syntax::Yaml, &text);
    assert_eq!(node.find("monitors").unwrap().list().len(), count);
    // A fraction of that on a machine with nothing else to do.
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

#[test]
fn an_included_file_includes_what_lies_beside_it() {
    let files = |path: &str| match path {
        "shops/all.yaml" => Ok("- !include eu/one.yaml\n- !include ../base.yaml\n".to_owned()),
        "shops/eu/one.yaml" => Ok("name: ${file:one.txt}\n".to_owned()),
        "shops/../base.yaml" => Ok("name: Base\n".to_owned()),
        "up.yaml" => Ok("!include sub/../up.yaml\n".to_owned()),
        other => {
            if other.ends_with("up.yaml") {
                Ok("!include sub/../up.yaml\n".to_owned())
            } else {
                Err("no such file".to_owned())
            }
        }
    };
    let documents = read("main.yaml", "a: !include shops/all.yaml\n", Syntax::Yaml, &files).unwrap();
    assert_eq!(documents[0].json(), json!({"a": [{"name": "${file:one.txt}"}, {"name": "Base"}]}));
    let one = documents[0].find("a").unwrap().list()[0].find("name").unwrap();
    assert_eq!(&*one.at.file, "shops/eu/one.yaml", "`${{file:…}}` is looked for beside it");
    let problem = read("main.yaml", "a: !include up.yaml\n", Syntax::Yaml, &files).unwrap_err();
    assert!(problem.message.contains("with more than 20 nested includes"), "{}", problem.message);
}

#[test]
fn files_that_include_others_many_times_have_an_end() {
    let files = |path: &str| {
        let level: usize = path.parse().unwrap();
        Ok(match level {
            15 => "[x, x, x]\n".to_owned(),
            level => format!("[{}]\n", vec![format!("!include '{}'", level + 1); 8].join(", ")),
        })
    };
    let problem = read("0", "a: !include '1'\n", Syntax::Yaml, &files).unwrap_err();
    assert!(problem.message.contains("expands to more than"), "{}", problem.message);
}

#[test]
fn rows_of_a_table_stand_where_they_begin() {
    let text = "name,type\n\nA,ping\n\r\n\n\"B\nand more\",ping\nC,ping\r\n\r\nD,ping\n";
    stand(
        Syntax::Csv,
        text,
        &["3:1 A", "3:2 ping", "6:1 B\nand more", "6:2 ping", "8:1 C", "8:2 ping", "10:1 D", "10:2 ping"],
    );
    refuses(Syntax::Csv, "\nname;type\n\n\"A\n\n\";ping\n\nB\n", "8:1", "has 1 field,");
}
