//! Particularities of WebDAV: folders are created before files, files are sent in one request, and not every server lists.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::stream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path as Key;
use reqwest::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};

use super::wire::{Refusal, Sent, Wire, read_refusal};
use crate::files;

/// Bytes of a file that are read at a time.
const CHUNK: u64 = 64 << 10;

/// A folder on a WebDAV server.
pub(super) struct WebDav {
    wire: Wire,
    host: Url,
    prefix: Key,
    /// Existing folders, with `/` at the end.
    made: Mutex<BTreeSet<String>>,
}

impl WebDav {
    pub(super) fn new(host: Url, prefix: Key, wire: Wire) -> WebDav {
        WebDav { wire, host, prefix, made: Mutex::default() }
    }

    /// Stores the file at `from` as `name`, in one request, streamed.
    pub(super) async fn put(&self, name: &str, from: &Path, size: u64) -> object_store::Result<()> {
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.make_folder(&self.parts(folder)).await?;
        }
        let url = self.url(&self.parts(name), false);
        let answer = self.wire.send(|| upload(url.clone(), from, size)).await.map_err(generic)?;
        if answer.status().is_success() { Ok(()) } else { Err(generic(read_refusal("PUT", answer).await)) }
    }

    /// Creates the folder of the store, if it is missing.
    pub(super) async fn make_root(&self) -> object_store::Result<()> {
        self.make_folder(&self.parts("")).await
    }

    /// Fails unless the server lists the folder of the store.
    pub(super) async fn check_lists(&self) -> object_store::Result<()> {
        let answer = self.ask("PROPFIND", &self.parts(""), Some("1")).await?;
        if answer.status() == StatusCode::MULTI_STATUS {
            Ok(())
        } else {
            Err(generic(read_refusal("PROPFIND", answer).await))
        }
    }

    /// Creates a folder and its parents, where they are missing.
    async fn make_folder(&self, parts: &[String]) -> object_store::Result<()> {
        // From the lowest one up to an existing one, and down again.
        let mut depth = parts.len();
        while depth > 0 {
            match self.make_one(&parts[..depth]).await? {
                None => break,
                Some(refusal) if depth == 1 => return Err(generic(refusal)),
                Some(_) => depth -= 1,
            }
        }
        for depth in depth + 1..=parts.len() {
            if let Some(refusal) = self.make_one(&parts[..depth]).await? {
                return Err(generic(refusal));
            }
        }
        Ok(())
    }

    /// Creates one folder; `None` when it exists, else the server's response where its parent is missing.
    async fn make_one(&self, parts: &[String]) -> object_store::Result<Option<Refusal>> {
        let name = parts.join("/");
        if self.made.lock().is_ok_and(|made| made.contains(&name)) {
            return Ok(None);
        }
        let answer = self.ask("MKCOL", parts, None).await?;
        let status = answer.status();
        let is_there = match status {
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => return Ok(Some(read_refusal("MKCOL", answer).await)),
            // The first is the standard status for an existing folder; servers use various others.
            StatusCode::METHOD_NOT_ALLOWED => true,
            status if status.is_success() => true,
            StatusCode::UNAUTHORIZED => false,
            _ => self.ask("PROPFIND", parts, Some("0")).await?.status() == StatusCode::MULTI_STATUS,
        };
        if !is_there {
            return Err(generic(read_refusal("MKCOL", answer).await));
        }
        if let Ok(mut made) = self.made.lock() {
            made.insert(name);
        }
        Ok(None)
    }

    async fn ask(&self, method: &str, parts: &[String], depth: Option<&'static str>) -> object_store::Result<Response> {
        let url = self.url(parts, true);
        let method = Method::from_bytes(method.as_bytes()).map_err(generic)?;
        let make = || {
            let mut request = Request::new(method.clone(), url.clone());
            if let Some(depth) = depth {
                request.headers_mut().insert(HeaderName::from_static("depth"), HeaderValue::from_static(depth));
            }
            Ok((request, Sent::default()))
        };
        self.wire.send(make).await.map_err(generic)
    }

    /// The names from the root of the server to `name` in the store.
    fn parts(&self, name: &str) -> Vec<String> {
        let prefix = self.prefix.parts().map(|part| part.as_ref().to_owned());
        prefix.chain(name.split('/').filter(|part| !part.is_empty()).map(str::to_owned)).collect()
    }

    /// Folders have a `/` at the end: some servers require it.
    fn url(&self, parts: &[String], is_folder: bool) -> Url {
        let mut url = self.host.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(parts);
            if is_folder {
                path.push("");
            }
        }
        url
    }
}

fn upload(url: Url, from: &Path, size: u64) -> Result<(Request, Sent), HttpError> {
    let file = files::open(from).map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
    let sent = Sent::default();
    let counted = sent.clone();
    let chunks = stream::try_unfold((file, counted), |(mut file, counted)| async {
        let mut chunk = Vec::new();
        (&mut file).take(CHUNK).read_to_end(&mut chunk)?;
        counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        io::Result::Ok((!chunk.is_empty()).then_some((Bytes::from(chunk), (file, counted))))
    });
    let mut request = Request::new(Method::PUT, url);
    request.headers_mut().insert(CONTENT_LENGTH, size.into());
    *request.body_mut() = Some(reqwest::Body::wrap_stream(chunks));
    Ok((request, sent))
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "WebDAV", source: Box::new(error) }
}
