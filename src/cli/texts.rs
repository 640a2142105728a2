//! The texts of the files that a user names.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::engine::sqlite;
use crate::error::{DatabaseError, Error, InputError, Result};
use crate::files;
use crate::formats::decode::decode;
use crate::formats::text::Syntax;
use crate::text::quoted;

/// The texts of files, with what the user should know about them.
#[derive(Default)]
pub struct Texts {
    /// The name and the text of each file.
    pub texts: Vec<(String, String)>,
    /// What the user should know.
    pub reported: Vec<String>,
    /// The names of the files that were found in a folder.
    pub in_folders: BTreeSet<String>,
}

impl Texts {
    fn add(&mut self, file: String, bytes: Vec<u8>) -> Result<()> {
        let decoded = decode(bytes)
            .map_err(|why| Error::Input(InputError::FileContent { path: PathBuf::from(&file), why: why.into() }))?;
        if !decoded.is_unicode {
            self.reported.push(format!("{file}: is not UTF-8; read as Windows-1252"));
        }
        self.texts.push((file, decoded.text));
        Ok(())
    }
}

/// The texts of all files, those of a folder and the folders in it in the order of their names.
pub fn read_texts(paths: &[PathBuf]) -> Result<Texts> {
    let mut found = Texts::default();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map_err(Error::file("read", "/dev/stdin"))?;
            found.add("-".to_owned(), bytes)?;
        } else if path.is_dir() {
            let (mut inside, mut others) = (Vec::new(), Vec::new());
            list_folder(path, &mut inside, &mut others)?;
            if inside.is_empty() {
                return Err(Error::Input(InputError::FileContent {
                    path: path.clone(),
                    why: "the folder has no .yaml, .json, .toml or .csv file".into(),
                }));
            }
            if !others.is_empty() {
                found.reported.push(format!("skipped files of other kinds: {}", others.join(", ")));
            }
            inside.iter().try_for_each(|path| read_file(path, &mut found))?;
            found.in_folders.extend(inside.iter().map(|path| path.display().to_string()));
        } else {
            read_file(path, &mut found)?;
        }
    }
    Ok(found)
}

/// The files in a folder and the folders in it, without hidden ones.
fn list_folder(folder: &Path, inside: &mut Vec<PathBuf>, others: &mut Vec<String>) -> Result<()> {
    let paths = files::entries(folder)?;
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match () {
            () if name.starts_with('.') => {}
            // Links to folders may lead in circles.
            () if path.is_dir() && !path.is_symlink() => list_folder(&path, inside, others)?,
            () if Syntax::of(&name).is_some() => inside.push(path),
            () => others.push(path.display().to_string()),
        }
    }
    Ok(())
}

fn read_file(path: &Path, found: &mut Texts) -> Result<()> {
    let size = files::about_target(path)?.size;
    if size > files::LARGE {
        return Err(Error::Input(InputError::FileContent {
            path: path.to_owned(),
            why: format!("{} is too large for a fixture", crate::text::bytes(size)),
        }));
    }
    check_kind(path)?;
    let bytes = files::read_most(&mut files::open(path)?, files::LARGE).map_err(Error::file("read", path))?;
    found.add(path.display().to_string(), bytes)
}

/// Fails where the file at `path` is an archive, a dump or another file that cannot contain a fixture.
fn check_kind(path: &Path) -> Result<()> {
    const THEN: &str = "then apply the database or the data folder in it: kumadb apply --from kuma-db PATH";
    let other = |what: String, command: String, then: &'static str| {
        Err(InputError::NotFixture { path: path.to_owned(), what, command, then }.into())
    };
    if let Some(what) = sqlite::snapshot_format(path) {
        let command = format!("kumadb apply --from snapshot {}", quoted(&path.display().to_string()));
        return other(what.to_owned(), command, "if it is not a snapshot, unpack it first");
    }
    match sqlite::other_format(path) {
        // Backups of 1.x and other formats are JSON.
        Some(Error::Database(DatabaseError::OtherFormat { what, command, .. })) if !what.contains("JSON") => {
            other(what, command, THEN)
        }
        _ => Ok(()),
    }
}
