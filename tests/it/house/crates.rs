//! The record of the crates that parse untrusted input is true.

use std::collections::BTreeSet;
use std::fs;

use super::layers::root;

/// The rows of the table in docs/design/crates.md: name and version.
fn recorded() -> BTreeSet<(String, String)> {
    let page = fs::read_to_string(root().join("docs/design/crates.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| crate |"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 5 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        (cells[0].to_owned(), cells[1].to_owned())
    })
    .collect()
}

fn locked() -> Vec<toml::Table> {
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    lock["package"].as_array().unwrap().iter().map(|one| one.as_table().unwrap().clone()).collect()
}

#[test]
fn the_crates_that_parse_untrusted_input_have_the_recorded_versions() {
    let locked: BTreeSet<(String, String)> = locked()
        .iter()
        .map(|one| (one["name"].as_str().unwrap().to_owned(), one["version"].as_str().unwrap().to_owned()))
        .collect();
    let recorded = recorded();
    assert!(recorded.len() > 20, "{recorded:?}");
    let wrong: Vec<_> = recorded.difference(&locked).collect();
    assert!(wrong.is_empty(), "docs/design/crates.md differs from Cargo.lock: {wrong:?}");
}

#[test]
fn every_crate_is_from_the_registry_and_has_a_hash() {
    for one in locked().iter().filter(|one| one["name"].as_str() != Some("kumadb")) {
        let source = one.get("source").and_then(|source| source.as_str()).unwrap_or_default();
        assert!(source.starts_with("registry+") && one.contains_key("checksum"), "{one:?}");
    }
}

/// Unsafe code is in one module, and nothing else may bring some.
#[test]
fn unsafe_code_is_in_one_module() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
    let allow = ["allow", "(unsafe_code)"].concat();
    let allows = super::layers::rust_files(&root().join("src"));
    let allows: Vec<_> = allows.iter().filter(|path| fs::read_to_string(path).unwrap().contains(&allow)).collect();
    assert_eq!(allows, [&root().join("src/engine/sqlite/syscalls.rs")]);
}
