//! What must end, without a panic, whatever it is given.
#![allow(dead_code, reason = "each target uses one of them")]

use kumadb::formats::native::{Nowhere, read_fixture};
use kumadb::formats::text::{self, Syntax};
use kumadb::salvage::{Frames, Image, Survey};
use kumadb::schema;

/// Surveys `bytes` as a database, and as a database with a WAL: the first two bytes say how much of them is the WAL.
pub fn pages(bytes: &[u8]) {
    let Some((share, bytes)) = bytes.split_at_checked(2) else { return };
    survey(Image::alone(&bytes.to_vec()));
    let (file, wal) = bytes.split_at(bytes.len() * usize::from(share[0]) / 256);
    let (file, wal) = (file.to_vec(), wal.to_vec());
    if let Some(frames) = Frames::read(&wal, Image::alone(&file).page_size()) {
        survey(Image::with(&file, &wal, &frames));
    }
}

fn survey(image: Image<'_>) {
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
        let _ = read_fixture(&documents, &Nowhere);
    }
}
