//! What must end, without a panic, whatever it is given.
#![allow(dead_code, reason = "each target uses one of them")]

use std::fs;
use std::path::Path;

use kumadb::backup::Store;
use kumadb::formats::NoSources;
use kumadb::formats::foreign::{ForeignFormat, SourceFile, convert};
use kumadb::formats::native::read_fixture;
use kumadb::formats::text::{self, Syntax};
use kumadb::salvage::{DatabaseImage, Frames, Survey};
use kumadb::schema;

/// Surveys `bytes` as a database, and as a database with a WAL: the first two bytes say how much of them is the WAL.
pub fn pages(bytes: &[u8]) {
    let Some((share, bytes)) = bytes.split_at_checked(2) else { return };
    survey(DatabaseImage::alone(&bytes.to_vec()));
    let (file, wal) = bytes.split_at(bytes.len() * usize::from(share[0]) / 256);
    let (file, wal) = (file.to_vec(), wal.to_vec());
    if let Some(frames) = Frames::read(&wal, DatabaseImage::alone(&file).page_size()) {
        survey(DatabaseImage::with(&file, &wal, &frames));
    }
}

fn survey(image: DatabaseImage<'_>) {
    let Some(survey) = Survey::take(image, Some(schema::newest())) else { return };
    for table in &survey.tables {
        let Ok(_) = survey.visit::<std::convert::Infallible>(table, &mut |row| {
            assert!(row.cells.len() <= table.shape.columns.len() || !row.certain);
            Ok(())
        });
        survey.newest(table);
    }
    for (page, _) in &survey.unplaced {
        survey.unplaced_rows(*page);
    }
}

/// Reads `bytes` as a document: the first byte says in which syntax.
pub fn documents(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let syntax = [Syntax::Yaml, Syntax::Json, Syntax::Toml, Syntax::Csv][usize::from(first % 4)];
    let text = String::from_utf8_lossy(bytes);
    if let Ok(documents) = text::read("document", &text, syntax, &text::no_files) {
        let _ = read_fixture(&documents, &NoSources);
    }
}

/// Reads `bytes` as the file of another tool: the first byte says which, the second in which syntax.
pub fn foreign(bytes: &[u8]) {
    let Some(([format, syntax], bytes)) = bytes.split_first_chunk() else { return };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (name, syntax) = match syntax % 5 {
        0 => ("a.yaml", Some(Syntax::Yaml)),
        1 => ("a.json", Some(Syntax::Json)),
        2 => ("a.toml", Some(Syntax::Toml)),
        3 => ("a.csv", Some(Syntax::Csv)),
        _ => ("a.txt", None),
    };
    let read = |syntax| text::read(name, &text, syntax, &text::no_files);
    let Ok(documents) = syntax.map_or(Ok(Vec::new()), read) else { return };
    let source = SourceFile { file: name.to_owned(), text, documents, problems: Vec::new() };
    let _ = ForeignFormat::guess(&source);
    let _ = convert(ForeignFormat::ALL[usize::from(*format) % ForeignFormat::ALL.len()], &[source]);
}

/// Verifies and unpacks `bytes` as the archive of a snapshot: where the first byte is 0, as the tar in it.
pub fn archives(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("a.kuma.tar.zst"), folder.path().join("out/held"));
    fs::create_dir(folder.path().join("out")).unwrap();
    match first {
        0 => fs::write(&file, zstd::encode_all(bytes, 1).unwrap()).unwrap(),
        _ => fs::write(&file, bytes).unwrap(),
    }
    let before = fs::read(&file).unwrap();
    if let Ok(snapshot) = Store::read(&file) {
        let _ = snapshot.verify();
        let _ = snapshot.unpack(&out);
    }
    // Nothing outside of its place, and nothing in it but files and folders of its own.
    assert!(fs::read(&file).unwrap() == before);
    assert!(
        fs::read_dir(folder.path()).unwrap().count() == 2
            && fs::read_dir(folder.path().join("out")).unwrap().count() < 2
    );
    is_plain(&out);
}

fn is_plain(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        assert!(kind.is_file() || kind.is_dir(), "{}", entry.path().display());
        if kind.is_dir() {
            is_plain(&entry.path());
        }
    }
}
