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

/// Files are opened, and paths are looked at, in `files`, which follows no link in a data folder: its owner may be an attacker.
#[test]
fn files_are_opened_in_one_module() {
    let words = [
        "File::open(",
        "File::create(",
        "OpenOptions",
        "Connection::open(",
        "canonicalize(",
        "symlink_metadata(",
        "read_link(",
        ".metadata()",
        ".exists()",
        ".try_exists()",
        ".is_dir()",
        ".is_file()",
        ".is_symlink()",
        "tempdir_in(",
        "rustix::fs::open",
        "rustix::fs::stat",
    ];
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        if module == "files" || ELSEWHERE.iter().any(|(other, _)| path.starts_with(other)) {
            continue;
        }
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // A type, and the traits of an open file.
            let harmless = ["use std::fs::File", "use std::os::unix::fs::FileExt", "rustix::fs::"];
            let is_std = line.contains("fs::") && !harmless.iter().any(|harmless| line.contains(harmless));
            // Of a file that is open already.
            let is_open =
                ["file.metadata()", "tar.metadata()", "as_file().metadata()"].iter().any(|open| line.contains(open));
            if is_std || !is_open && words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What reads no file of a data folder, and why it needs its own way.
const ELSEWHERE: &[(&str, &str)] = &[
    ("src/cli/", "fixtures, certificates and programs that the user names on the command line"),
    ("src/config/", "the configuration of the user"),
    (
        "src/docker/",
        "sockets and certificates of the Docker client, answers of ssh, a folder that is compared with a container's",
    ),
    ("src/remote/", "kumadb itself and its libraries; what the user sends to a remote host"),
    ("src/engine/mariadb/scratch.rs", "/proc"),
];

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

/// Files and items that ARCHITECTURE and the design pages name exist.
#[test]
fn the_design_names_what_exists() {
    let files: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    let source: String = sources().into_iter().map(|(.., text)| text).collect();
    let words: BTreeSet<&str> = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let pages = fs::read_dir(root().join("docs/design")).unwrap().map(|entry| entry.unwrap().path());
    let mut wrong = Vec::new();
    for page in pages.chain(["ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name))) {
        let text = fs::read_to_string(&page).unwrap();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_:/.".contains(c);
        for word in text.split(|c: char| !is_part(c)).map(|word| word.trim_end_matches(['.', ':', '/'])) {
            let exists = match word.strip_suffix(".rs") {
                Some(_) => root().join(word).is_file() || files.iter().any(|file| file.ends_with(&format!("/{word}"))),
                None if word.contains("::") => word.split("::").all(|part| words.contains(part)),
                None => true,
            };
            if !exists {
                wrong.push(format!("{}: {word}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
