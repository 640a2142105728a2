//! What a file is that should be a SQLite database and is not: each by its name, with the command that helps.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::journal::DATABASE;
use super::raw_file;
use crate::error::{DatabaseError, Error, Result};
use crate::files;
use crate::text::quoted;

/// Bytes that are read to recognise a file.
pub(super) const HEAD: usize = 4096;

/// Pages that are read to distinguish an encrypted file from one whose first page was overwritten.
const SAMPLES: u64 = 64;

/// First bytes, what such a file is, and the command that helps; `{}` is the path.
const KNOWN: [(&[u8], &str, &str); 16] = [
    (b"\x1f\x8b", "a gzip file", "gunzip -c {} > kuma.db.unpacked"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "zstd -d {} -o kuma.db.unpacked"),
    (b"\xfd7zXZ\0", "an xz file", "xz -dc {} > kuma.db.unpacked"),
    (b"BZh", "a bzip2 file", "bzip2 -dc {} > kuma.db.unpacked"),
    (b"PK\x03\x04", "a ZIP archive", "unzip {} -d kuma.unpacked"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x -okuma.unpacked {}"),
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS, not the file itself", "git lfs pull"),
    (b"age-encryption.org/", "encrypted with age", "age -d -i KEY -o kuma.db.decrypted {}"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "encrypted with age", "age -d -i KEY -o kuma.db.decrypted {}"),
    (b"-----BEGIN PGP MESSAGE", "encrypted with OpenPGP", "gpg -o kuma.db.decrypted -d {}"),
    (b"Salted__", "encrypted with openssl", "openssl enc -d -pbkdf2 -aes-256-cbc -in {} -out kuma.db.decrypted"),
    (b"PRAGMA ", "a SQL script, as `sqlite3 .dump` writes it", "sqlite3 kuma.db.new < {}"),
    (b"BEGIN TRANSACTION;", "a SQL script, as `sqlite3 .dump` writes it", "sqlite3 kuma.db.new < {}"),
    (b"-- MariaDB dump", "a dump of MariaDB", "mariadb NEW_EMPTY_DATABASE < {}"),
    (b"-- MySQL dump", "a dump of MySQL", "mariadb NEW_EMPTY_DATABASE < {}"),
    (b"/*M!999999", "a dump of MariaDB", "mariadb NEW_EMPTY_DATABASE < {}"),
];

/// The error for `path`, which is `what`; `{}` in the command is the path.
fn other(path: &Path, what: String, command: &str) -> Error {
    let command = command.replace("{}", &quoted(&path.display().to_string()));
    DatabaseError::OtherFormat { path: path.to_owned(), what, command }.into()
}

/// The reason why `path` is not a SQLite database; `head` are its first bytes, without the header of one.
pub(super) fn refuse(path: &Path, head: &[u8]) -> Error {
    let other = |what: String, command| other(path, what, command);
    let known = KNOWN.iter().find(|(first, ..)| head.starts_with(first));
    if let Some((_, what, command)) = known {
        return other((*what).to_owned(), command);
    }
    if head.get(257..262) == Some(b"ustar") {
        let what = match database_in(path) {
            Some(member) => format!("a tar archive with `{}`", member.escape_debug()),
            None => "a tar archive".to_owned(),
        };
        return other(what, "mkdir kuma.unpacked && tar -xf {} -C kuma.unpacked");
    }
    let text = head.trim_ascii_start();
    if text.first().is_some_and(|byte| b"{[".contains(byte)) && std::str::from_utf8(text).is_ok() {
        return other("a JSON file, such as a backup of 1.x".into(), "kumadb apply {}");
    }
    let is_html = |start: &[u8]| text.len() >= start.len() && text[..start.len()].eq_ignore_ascii_case(start);
    if is_html(b"<!doctype html") || is_html(b"<html") {
        return other("an HTML page: the download failed".into(), "kumadb backup list");
    }
    if head.iter().all(|byte| *byte == 0) {
        return damaged(path, "its first page contains only zeros");
    }
    match is_random(head) {
        true if is_random_everywhere(path) => DatabaseError::Encrypted(path.to_owned()).into(),
        true => damaged(path, "its first page was overwritten"),
        false => DatabaseError::NotSqlite(path.to_owned()).into(),
    }
}

/// Whether the file at `path`, which is not a link, has the header of a SQLite database.
pub fn is_database(path: &Path) -> bool {
    read_head(path, HEAD).is_ok_and(|head| head.starts_with(DATABASE))
}

/// What the file at `path` is, where that is known and it is neither a database nor in the format of a snapshot.
pub fn other_format(path: &Path) -> Option<Error> {
    let head = read_head(path, HEAD).ok()?;
    if of_snapshot(&head).is_some() || head.is_empty() || head.starts_with(DATABASE) {
        return None;
    }
    match refuse(path, &head) {
        error @ Error::Database(DatabaseError::OtherFormat { .. }) => Some(error),
        _ => None,
    }
}

/// What the file at `path` is, where it is in the format of a snapshot.
pub fn snapshot_format(path: &Path) -> Option<&'static str> {
    of_snapshot(&read_head(path, HEAD).ok()?)
}

fn of_snapshot(head: &[u8]) -> Option<&'static str> {
    let formats = [(&b"\x28\xb5\x2f\xfd"[..], "a zstd file"), (b"age-encryption.org/", "encrypted with age")];
    formats.iter().find(|(first, _)| head.starts_with(first)).map(|(_, what)| *what)
}

/// The first `kuma.db` in the tar archive at `path`.
fn database_in(path: &Path) -> Option<String> {
    const BLOCK: u64 = 512;
    let file = files::open_regular(path).ok()?;
    let (mut header, mut at) = ([0; BLOCK as usize], 0);
    while file.read_exact_at(&mut header, at).is_ok() && header[0] != 0 {
        let name = String::from_utf8_lossy(&header[..100]).trim_end_matches('\0').to_owned();
        if name.rsplit('/').next() == Some("kuma.db") {
            return Some(name);
        }
        let size = std::str::from_utf8(&header[124..135]).ok()?.trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&size, 8).ok()?;
        at = at.checked_add(BLOCK)?.checked_add(size.checked_next_multiple_of(BLOCK)?)?;
    }
    None
}

/// Fails for a folder, which Docker creates for a mounted file that does not exist.
pub(super) fn refuse_folder(path: &Path) -> Result<()> {
    if files::is_folder(path) {
        Err(other(path, "a folder: Docker creates one for a mounted file that does not exist".into(), "rmdir {}"))
    } else {
        Ok(())
    }
}

/// The first `length` bytes of the file at `path`, which may be a database; less, if it is shorter.
pub(super) fn read_head(path: &Path, length: usize) -> Result<Vec<u8>> {
    raw_file::with_file(path, |file| head_of(file, path, length))
}

/// The first `length` bytes of `file`; less, if it is shorter.
pub(super) fn head_of(file: &File, path: &Path, length: usize) -> Result<Vec<u8>> {
    let mut head = vec![0; length];
    let count = files::read_block(file, 0, &mut head).map_err(Error::file("read", path))?;
    head.truncate(count);
    Ok(head)
}

fn damaged(path: &Path, why: &str) -> Error {
    DatabaseError::Damaged { database: format!("`{}`", path.display()), problems: vec![why.into()] }.into()
}

/// Whether nearly all pages look random: the file is encrypted. A page that is overwritten leaves the others.
fn is_random_everywhere(path: &Path) -> bool {
    let Ok(file) = files::open_regular(path) else { return true };
    let pages = file.metadata().map_or(0, |found| found.len()) / HEAD as u64;
    let step = (pages / SAMPLES).max(1);
    let mut page = vec![0; HEAD];
    let (mut random, mut seen) = (0u64, 0u64);
    for at in (0..pages).step_by(step as usize) {
        if file.read_exact_at(&mut page, at * HEAD as u64).is_ok() {
            seen += 1;
            random += u64::from(is_random(&page));
        }
    }
    random * 10 >= seen * 9
}

/// Encrypted pages use every byte about equally often; text, zeroes and other formats do not.
fn is_random(page: &[u8]) -> bool {
    let mut seen = [0u32; 256];
    page.iter().for_each(|byte| seen[usize::from(*byte)] += 1);
    let entropy: f64 = seen
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / page.len() as f64)
        .map(|share| -share * share.log2())
        .sum();
    page.len() >= 1024 && entropy > 7.5
}
