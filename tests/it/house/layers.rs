//! ARCHITECTURE.md lists the dependencies of all modules: every `use` of another module of the crate is in its table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table "Module dependencies". A name may be in backticks.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let page = page.replace('`', "");
    let table = page.split("| module | may use |").nth(1).unwrap();
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let uses = cells[1].split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
            (cells[0].to_owned(), uses)
        })
        .collect()
}

pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Module, path and text of every source file of the library; the tests at the end of a file do not count.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = root().join("src");
    rust_files(&src)
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap();
            let module =
                inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            (module, path, text)
        })
        .filter(|(module, ..)| module != "lib" && module != "main")
        .collect()
}

#[test]
fn every_edge_is_on_the_map() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let Some(uses) = allowed.get(&module) else {
            wrong.push(format!("{module} ({}) is not on the map", path.display()));
            continue;
        };
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for found in line.split("crate::").skip(1) {
                let name: String = found.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let other = if allowed.contains_key(&name) { name } else { "error".into() };
                if other != module && !uses.contains(&other) {
                    wrong.push(format!("{}: {module} uses {other}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_stay_where_they_belong() {
    // What may stand in no file but those named.
    let rules: &[(&str, &[&str])] = &[
        ("std::env::var", &["cli"]),
        ("println!", &["cli"]),
        ("eprint!", &["cli"]),
        ("clap::", &["cli"]),
        ("WriteKey::new", &["backup", "kuma", "engine"]),
        ("WriteKey::for_tests", &[]),
        ("fs::rename", &["files"]),
        (".persist(", &["files"]),
        ("bollard::", &["docker"]),
        ("mysql_async::", &["engine"]),
        ("rusqlite::", &["engine"]),
        ("object_store::", &["backup"]),
        ("reqwest::", &["backup"]),
        ("pub async fn", &[]),
    ];
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        for (word, places) in rules {
            if text.contains(word) && !places.contains(&module.as_str()) {
                wrong.push(format!("{}: `{word}` belongs to {places:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files in a data folder are opened in `files`, which follows no link there: its owner may be an attacker.
#[test]
fn files_of_a_data_folder_are_opened_in_one_module() {
    let words = [
        "File::open(",
        "File::create(",
        "OpenOptions",
        "fs::read(",
        "fs::read_to_string(",
        "fs::write(",
        "fs::copy(",
        "fs::create_dir",
        "fs::remove_",
        "fs::set_permissions",
        "fs::hard_link",
        "Connection::open(",
    ];
    // What is not in the data folder of a server: a new one that is being built, stores and snapshots that the user names, certificates, /proc.
    let others = [
        "src/backup/store/",
        "src/backup/mod.rs",
        "src/engine/mariadb/address.rs",
        "src/engine/mariadb/scratch.rs",
        "src/run/rebuild/",
    ];
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        let is_other = others.iter().any(|other| path.starts_with(other));
        if is_other || !["run", "backup", "instance", "engine", "kuma"].contains(&module.as_str()) {
            continue;
        }
        wrong.extend(words.iter().filter(|word| text.contains(**word)).map(|word| format!("{path}: `{word}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for path in rust_files(&root().join("tests/it")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name} is not in tests/it/main.rs");
    }
}

#[test]
fn long_files_say_why() {
    for (_, path, text) in sources() {
        let whole = fs::read_to_string(&path).unwrap();
        let says = text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains("table"));
        assert!(whole.lines().count() <= 500 || says, "{} has over 500 lines and does not say why", path.display());
    }
}
