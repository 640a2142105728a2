//! Labels of containers, as AutoKuma reads them.

use std::collections::BTreeMap;

use kumadb::formats::NoSources;
use kumadb::formats::foreign::{ForeignFormat, LabelledContainer, of_containers};
use kumadb::formats::import::{Import, ImportOptions, import, import_sources};

fn container(name: &str, labels: &[(&str, &str)]) -> LabelledContainer {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    LabelledContainer {
        name: name.into(),
        id: "f00d".into(),
        image: "nginx:1".into(),
        image_id: "sha256:1".into(),
        labels,
    }
}

fn read(prefix: &str, containers: &[LabelledContainer]) -> Import {
    let options = ImportOptions { label_prefix: Some(prefix.to_owned()), ..ImportOptions::default() };
    import_sources(ForeignFormat::Autokuma, vec![of_containers(prefix, containers)], &options, &NoSources)
}

fn fields(read: &Import, name: &str) -> Vec<Option<String>> {
    let one = read.fixture.things.iter().find(|one| one.name() == name).unwrap_or_else(|| panic!("{read:#?}"));
    ["url", "hostname", "keyword"].iter().map(|field| one.text(field).map(str::to_owned)).collect()
}

#[test]
fn labels_with_the_prefix_are_read_and_variables_of_the_container_replaced() {
    let web = [
        ("lab.kuma.web.http.name", "Web {{ container_name }}"),
        ("lab.kuma.web.http.url", "https://{{container_name}}.example.com"),
        ("kuma.other.http.url", "https://other.example.com"),
        ("traefik.enable", "true"),
    ];
    let read = read("lab.kuma", &[container("shop", &web), container("quiet", &[("a", "b")])]);
    assert!(read.problems.is_empty() && read.remarks.is_empty(), "{read:#?}");
    assert_eq!(read.fixture.things.len(), 1);
    assert_eq!(fields(&read, "Web shop")[0].as_deref(), Some("https://shop.example.com"));
}

#[test]
fn copies_of_a_service_define_one_monitor() {
    let of = |name: &str, url: &str| container(name, &[("kuma.web.http.name", "Web"), ("kuma.web.http.url", url)]);
    let copies = ["a", "b"].map(|name| of(name, "https://web.example.com"));
    let same = read("kuma", &copies);
    assert!(same.problems.is_empty() && same.remarks.is_empty(), "{same:#?}");
    assert_eq!(same.fixture.things.len(), 1);
    let copies = ["a", "b"].map(|name| of(name, &format!("https://{name}.example.com")));
    let problems = read("kuma", &copies).problems;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].subject.starts_with("container b: "), "{problems:#?}");
    assert_eq!(problems[0].message, "`url` is set twice");
}

#[test]
fn what_only_autokuma_knows_is_reported() {
    let labels =
        [("kuma.a.http.url", "https://{{ service.name }}"), ("kuma.__web", "\"x\""), ("kuma.b.ping.hostname", "b")];
    let read = read("kuma", &[container("a", &labels)]);
    assert_eq!(read.problems.len(), 1, "{read:#?}");
    assert!(read.problems[0].message.contains("contains a template"), "{read:#?}");
    assert!(read.remarks.iter().any(|remark| remark.why.contains("it is a snippet")), "{read:#?}");
}

#[test]
fn a_prefix_applies_to_files_too() {
    let text = "services:\n  web:\n    image: nginx\n    labels:\n      ops.web.http.url: https://a\n      kuma.b.http.url: https://b\n";
    let options = ImportOptions { label_prefix: Some("ops".into()), ..ImportOptions::default() };
    let read = import(vec![("compose.yaml".into(), text.into())], &options, &NoSources);
    assert!(read.problems.is_empty(), "{read:#?}");
    assert_eq!(fields(&read, "web")[0].as_deref(), Some("https://a"));
    assert_eq!(read.fixture.things.len(), 1);
}

#[test]
fn a_label_with_too_many_parts_is_refused() {
    let of = |parts: usize| {
        let key = format!("kuma.a.http.{}", vec!["b"; parts].join("."));
        read("kuma", &[container("a", &[("kuma.a.http.url", "https://a"), (&key, "1")])])
    };
    let problems = of(100_000).problems;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].message, "its key has more than 100 parts after the type");
    assert!(!of(100).problems.iter().any(|problem| problem.message.contains("parts after")));
}
