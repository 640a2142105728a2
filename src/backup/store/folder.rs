//! A local folder as a store.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::objects::{Object, Objects, UploadProgress};
use super::scratch::Scratch;
use crate::backup::manifest::MOST as MANIFEST_SIZE;
use crate::error::{Error, Result, SnapshotError};
use crate::files;

pub(super) struct FolderStore {
    pub(super) path: PathBuf,
}

impl FolderStore {
    fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Objects for FolderStore {
    fn address(&self) -> String {
        self.path.display().to_string()
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn list(&self) -> Result<Vec<Object>> {
        let mut found = Vec::new();
        for folder in files::entries(&self.path)?.into_iter().filter(|path| files::is_folder(path) && !is_hidden(path))
        {
            for path in files::entries(&folder)? {
                let about = files::about_target(&path)?;
                let name = path.strip_prefix(&self.path).unwrap_or(&path).to_string_lossy().into_owned();
                if about.is_regular() {
                    found.push(Object { name, size: about.size, version: None });
                }
            }
        }
        Ok(found)
    }

    fn elsewhere(&self) -> Vec<String> {
        Vec::new()
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        let place = self.place(name);
        match files::about_target(&place) {
            Err(error) if error.is_missing() => Ok(None),
            found => found.map(|found| Some(found.size)),
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(files::open_uncached(&self.place(name))?))
    }

    fn read_all(&self, names: &[String]) -> Result<Vec<Result<Vec<u8>>>> {
        let read = |name: &String| {
            let path = self.place(name);
            files::read_most(&mut files::open_stored(&path)?, MANIFEST_SIZE).map_err(Error::file("read", &path))
        };
        Ok(names.iter().map(read).collect())
    }

    /// A file that is already in this folder, in its scratch folder, is only renamed; any other is copied there first,
    /// and read back.
    fn put(&self, name: &str, from: &Path, progress: &mut dyn UploadProgress) -> Result<()> {
        let place = self.place(name);
        files::make_folder(place.parent().unwrap_or(&self.path))?;
        if from.parent().and_then(Path::parent) == Some(&self.path) {
            return files::rename(from, &place);
        }
        let size = files::about_target(from)?.size;
        files::require_space(&self.path, size)?;
        let scratch = Scratch::make(&self.path)?;
        let copy = scratch.path().join("copy");
        files::copy_exact(from, &copy)?;
        if files::hash(&copy)? != files::hash(from)? {
            return Err(Error::Snapshot(SnapshotError::ReadBack { path: place.clone() }));
        }
        files::rename(&copy, &place)?;
        progress.done(size);
        Ok(())
    }

    fn give_up(&self, _name: &str, _upload: &str) -> Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        files::remove(&self.place(name))
    }

    fn probe(&self, name: &str, content: &Path) -> Result<()> {
        let is_new = !files::exists(&self.path);
        let place = self.place(name);
        files::make_folder(&self.path)?;
        let written = files::copy_exact(content, &place).and_then(|()| {
            if files::hash(&place)? == files::hash(content)? && files::entries(&self.path)?.contains(&place) {
                Ok(())
            } else {
                Err(Error::Snapshot(SnapshotError::ReadBack { path: place.clone() }))
            }
        });
        let removed = files::remove(&place);
        if is_new {
            files::remove_empty_folder(&self.path)?;
        }
        written.and(removed)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
