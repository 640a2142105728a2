//! A place of snapshots on somebody else's machine: S3 and what speaks like it, Azure, Google, WebDAV.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream::{self, BoxStream, FuturesOrdered, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, HeaderMap, HeaderValue, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use super::objects::{Object, Objects, Progress};
use crate::error::{Error, Result};
use crate::value::Secret;

/// Bytes of a part of an upload; a part that fails is sent again alone.
const PART: u64 = 8 << 20;
/// Most parts that S3 takes for one object.
const PARTS: u64 = 10_000;
/// Parts under way at once: with those that are sent, all the memory an upload takes.
const SENDING: usize = 4;
/// Manifests read at once.
const READING: usize = 32;
/// How long a request may stay without an answer, a part of an upload over a slow line included.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes a second below which an upload in one piece is given up.
const SLOWEST: u64 = 50_000;

/// What the places want to know of who is asking: names as in the environment (`AWS_ACCESS_KEY_ID`), and their values.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Vec<(String, Secret)>);

impl Credentials {
    /// The prefixes of the names that any place knows.
    pub const PREFIXES: [&'static str; 4] = ["AWS_", "AZURE_", "GOOGLE_", "WEBDAV_"];

    /// Out of these names and values; of a name that is there twice the first value counts.
    pub fn new(named: impl IntoIterator<Item = (String, Secret)>) -> Credentials {
        let mut known: Vec<(String, Secret)> = Vec::new();
        for (name, value) in named {
            if !known.iter().any(|(other, _)| *other == name) {
                known.push((name, value));
            }
        }
        Credentials(known)
    }

    /// These and, for what is not among them, `others`.
    pub fn or(self, others: &Credentials) -> Credentials {
        Credentials::new(self.0.into_iter().chain(others.0.iter().cloned()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.reveal())
    }

    /// The keys of one kind of place, with their values; what it does not know is for others.
    fn keys<K: std::str::FromStr>(&self, prefix: &str) -> impl Iterator<Item = (K, String)> {
        let ours = self.0.iter().filter(move |(name, _)| name.starts_with(prefix));
        ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.reveal().to_owned())))
    }
}

/// What is there, and how it is reached.
pub(super) struct Remote {
    address: String,
    objects: Arc<dyn ObjectStore>,
    /// Uploads in parts, where the place knows them.
    parts: Option<Arc<dyn MultipartStore>>,
    /// Uploads in one piece that need not be held in memory, where the place knows no parts.
    dav: Option<Dav>,
    /// What to look at when it refuses us.
    credentials: &'static str,
    runtime: Arc<Runtime>,
}

/// Reaches the place at `address`, which has a scheme.
pub(super) fn open(address: &str, credentials: &Credentials) -> Result<Remote> {
    let wrong = |why: &str| Error::Usage(format!("`{address}` is no store: {why}"));
    let (scheme, rest) = address.split_once("://").unwrap_or_default();
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return Err(wrong("it names no bucket, container or host"));
    }
    if host.contains('@') {
        return Err(Error::Usage(
            "leave user and password out of the address of a store: it can be read in the list of processes; set \
             WEBDAV_USERNAME and WEBDAV_PASSWORD"
                .into(),
        ));
    }
    let prefix = Key::parse(prefix).map_err(|error| wrong(&error.to_string()))?;
    // One provider of cryptography for all of TLS; where somebody has chosen one already, that stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| wrong(&error.to_string()))?;
    let refused = |error: object_store::Error| wrong(&words(&error));
    let is_http = |names: &[&str]| {
        names.iter().any(|name| credentials.value(name).is_some_and(|endpoint| endpoint.starts_with("http://")))
    };
    let place = Place { address: address.trim_end_matches('/').to_owned(), prefix, runtime: Arc::new(runtime) };
    Ok(match scheme {
        "s3" => {
            let options = options(is_http(&["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"]));
            let builder = AmazonS3Builder::new().with_client_options(options).with_retry(retry());
            let builder =
                credentials.keys("AWS_").fold(builder, |builder, (key, value)| builder.with_config(key, value));
            let built = builder.with_url(format!("s3://{host}")).with_disable_bulk_delete(true).build();
            place.remote(
                built.map_err(refused)?,
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do there",
            )
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::new()
                .with_client_options(options(is_http(&["AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"])))
                .with_retry(retry());
            let builder =
                credentials.keys("AZURE_").fold(builder, |builder, (key, value)| builder.with_config(key, value));
            let built = builder.with_url(format!("az://{host}")).build();
            place.remote(built.map_err(refused)?, "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY")
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::new()
                .with_client_options(options(is_http(&["GOOGLE_BASE_URL"])))
                .with_retry(retry());
            let builder =
                credentials.keys("GOOGLE_").fold(builder, |builder, (key, value)| builder.with_config(key, value));
            let built = builder.with_url(format!("gs://{host}")).build();
            place.remote(built.map_err(refused)?, "check GOOGLE_APPLICATION_CREDENTIALS")
        }
        // The others are for an archive on any web server.
        "webdav" | "webdavs" | "http" | "https" => {
            // The path is the prefix: `object_store` takes what a server lists for paths from the root of the host.
            let url = format!("{}://{host}", scheme.replacen("webdav", "http", 1));
            let dav = Dav::new(&url, place.prefix.clone(), credentials).map_err(|why| wrong(&why))?;
            let options = options(url.starts_with("http://")).with_default_headers(dav.headers.clone());
            let built = HttpBuilder::new().with_url(&url).with_client_options(options).with_retry(retry()).build();
            Remote {
                address: place.address,
                objects: Arc::new(PrefixStore::new(built.map_err(refused)?, place.prefix)),
                parts: None,
                dav: Some(dav),
                credentials: "check WEBDAV_USERNAME and WEBDAV_PASSWORD",
                runtime: place.runtime,
            }
        }
        other => return Err(wrong(&format!("`{other}` is none of s3, az, gs, webdav, webdavs"))),
    })
}

struct Place {
    address: String,
    prefix: Key,
    runtime: Arc<Runtime>,
}

impl Place {
    fn remote<T: ObjectStore + MultipartStore>(self, store: T, credentials: &'static str) -> Remote {
        let store = Arc::new(PrefixStore::new(store, self.prefix));
        let (objects, parts) = (store.clone(), Some(store as Arc<dyn MultipartStore>));
        Remote { address: self.address, objects, parts, dav: None, credentials, runtime: self.runtime }
    }
}

fn options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(Duration::from_secs(10))
        // That of a whole request would be one of the size of what is sent.
        .with_timeout_disabled()
        .with_read_timeout(PATIENCE)
}

/// About ten seconds for a place that does not answer at all.
fn retry() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(120) }
}

impl Remote {
    fn failed(&self, act: &'static str) -> impl Fn(object_store::Error) -> Error + Send + use<> {
        let (store, credentials) = (self.address.clone(), self.credentials);
        move |error| {
            use object_store::Error::*;
            let (why, whole) = (words(&error), error.to_string());
            let hint = match error {
                Unauthenticated { .. } | PermissionDenied { .. } => credentials,
                // A listing that is refused is no error of its own to the library.
                _ if ["401 Unauthorized", "403 Forbidden"].iter().any(|status| whole.contains(status)) => credentials,
                _ if ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| why.contains(code)) => {
                    "make the bucket or container first, or check its name"
                }
                _ if why.contains("certificate") => "name the authority that signed it, as PEM, in SSL_CERT_FILE",
                _ => "is the address right, and can it be reached from here?",
            };
            Error::Store { act, store: store.clone(), why, hint }
        }
    }

    fn put_parts(
        &self,
        parts: &dyn MultipartStore,
        key: &Key,
        from: &Path,
        size: u64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let failed = self.failed("write to");
        let upload = self.runtime.block_on(parts.create_multipart(key)).map_err(&failed)?;
        progress.begun(&upload)?;
        let mut file = File::open(from).map_err(Error::file("read", from))?;
        let length = PART.max(size.div_ceil(PARTS));
        self.runtime.block_on(async {
            let (mut sending, mut sent) = (FuturesOrdered::new(), Vec::new());
            let mut at = 0;
            loop {
                let mut part = Vec::new();
                (&mut file).take(length).read_to_end(&mut part).map_err(Error::file("read", from))?;
                let ended = part.is_empty();
                if !ended {
                    sending.push_back(parts.put_part(key, &upload, at, part.into()));
                    at += 1;
                }
                if !ended && sending.len() < SENDING {
                    continue;
                }
                let Some(part) = sending.next().await else { break };
                sent.push(part.map_err(&failed)?);
                progress.done((sent.len() as u64 * length).min(size));
            }
            drop(sending);
            parts.complete_multipart(key, &upload, sent).await.map(drop).map_err(&failed)
        })
    }
}

impl Objects for Remote {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn list(&self) -> Result<Vec<Object>> {
        let listed: Result<Vec<_>, _> = self.runtime.block_on(async {
            // Folder by folder, because many WebDAV servers list no more than that.
            let folders = self.objects.list_with_delimiter(None).await?.common_prefixes;
            let list = |folder: Key| async move { self.objects.list_with_delimiter(Some(&folder)).await };
            stream::iter(folders).map(list).buffered(READING).try_collect().await
        });
        let listed = listed.map_err(self.failed("list"))?;
        let objects = listed.into_iter().flat_map(|folder| folder.objects);
        let mut found: Vec<Object> =
            objects.map(|object| Object { name: object.location.to_string(), size: object.size }).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        match self.runtime.block_on(self.objects.head(&Key::from(name))) {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            found => found.map(|found| Some(found.size)).map_err(self.failed("read from")),
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let key = Key::from(name);
        let got = self.runtime.block_on(self.objects.get(&key)).map_err(self.failed("read from"))?;
        let failed = Box::new(self.failed("read from"));
        Ok(Box::new(Download {
            runtime: self.runtime.clone(),
            stream: got.into_stream(),
            chunk: Box::new(io::empty()),
            failed,
        }))
    }

    fn read_all(&self, names: &[String]) -> Vec<Result<Vec<u8>>> {
        let failed = &self.failed("read from");
        let read = |name: &String| {
            let key = Key::from(name.as_str());
            async move {
                let got = self.objects.get(&key).await.map_err(failed)?;
                Ok(got.bytes().await.map_err(failed)?.to_vec())
            }
        };
        self.runtime.block_on(stream::iter(names).map(read).buffered(READING).collect())
    }

    fn put(&self, name: &str, from: &Path, progress: &mut dyn Progress) -> Result<()> {
        let key = Key::from(name);
        let size = std::fs::metadata(from).map_err(Error::file("look at", from))?.len();
        if let (Some(parts), true) = (&self.parts, size > PART) {
            return self.put_parts(&**parts, &key, from, size, progress);
        }
        let whole = match size > PART {
            // An empty one first: it makes the folder, and a place that refuses us says so before all is sent.
            true => PutPayload::new(),
            false => std::fs::read(from).map_err(Error::file("read", from))?.into(),
        };
        self.runtime.block_on(self.objects.put(&key, whole)).map_err(self.failed("write to"))?;
        if let (Some(dav), true) = (&self.dav, size > PART) {
            let sent = self.runtime.block_on(dav.put(name, from, size));
            sent.map_err(|why| Error::Store {
                act: "write to",
                store: self.address.clone(),
                why,
                hint: "does it take files of that size?",
            })?;
        }
        progress.done(size);
        Ok(())
    }

    fn give_up(&self, name: &str, upload: &str) -> Result<()> {
        let Some(parts) = &self.parts else { return Ok(()) };
        match self.runtime.block_on(parts.abort_multipart(&Key::from(name), &upload.to_owned())) {
            // Finished or given up already.
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            given_up => given_up.map_err(self.failed("write to")),
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        match self.runtime.block_on(self.objects.delete(&Key::from(name))) {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(self.failed("remove from")),
        }
    }
}

/// The bytes of an object as they arrive; a connection that breaks is taken up again where it was.
struct Download {
    runtime: Arc<Runtime>,
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    chunk: Box<dyn Read + Send>,
    failed: Box<dyn Fn(object_store::Error) -> Error + Send>,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.chunk.read(buffer)? {
                0 if !buffer.is_empty() => {}
                n => return Ok(n),
            }
            match self.runtime.block_on(self.stream.next()) {
                Some(Ok(chunk)) => self.chunk = Box::new(io::Cursor::new(chunk)),
                Some(Err(error)) => return Err(io::Error::other((self.failed)(error))),
                None => return Ok(0),
            }
        }
    }
}

/// A WebDAV server, for what `object_store` would hold in memory as a whole.
struct Dav {
    host: reqwest::Url,
    prefix: Key,
    headers: HeaderMap,
}

impl Dav {
    fn new(url: &str, prefix: Key, credentials: &Credentials) -> Result<Dav, String> {
        let host = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        if let Some(user) = credentials.value("WEBDAV_USERNAME") {
            let password = credentials.value("WEBDAV_PASSWORD").unwrap_or_default();
            let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
            let mut value = HeaderValue::try_from(format!("Basic {encoded}")).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        Ok(Dav { host, prefix, headers })
    }

    async fn put(&self, name: &str, from: &Path, size: u64) -> Result<(), String> {
        let mut failed = String::new();
        for attempt in 0..4 {
            tokio::time::sleep(Duration::from_secs(attempt)).await;
            let file = File::open(from).map_err(|error| error.to_string())?;
            failed = match self.put_once(name, file, size).await {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(status) if status.is_client_error() => return Err(status.to_string()),
                Ok(status) => status.to_string(),
                Err(error) => root(&error.without_url()),
            };
        }
        Err(failed)
    }

    async fn put_once(&self, name: &str, file: File, size: u64) -> reqwest::Result<reqwest::StatusCode> {
        let chunks = stream::try_unfold(file, |mut file| async {
            let mut chunk = Vec::new();
            (&mut file).take(1 << 18).read_to_end(&mut chunk)?;
            io::Result::Ok((!chunk.is_empty()).then_some((chunk, file)))
        });
        let client = reqwest::Client::builder()
            .default_headers(self.headers.clone())
            .connect_timeout(Duration::from_secs(10))
            .timeout(PATIENCE + Duration::from_secs(size / SLOWEST))
            .build()?;
        let mut url = self.host.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(self.prefix.parts()).extend(name.split('/'));
        }
        let request = client.put(url).header("content-length", size);
        Ok(request.body(reqwest::Body::wrap_stream(chunks)).send().await?.status())
    }
}

/// What a place says, in few words: S3, Azure and Google answer in XML, others with pages.
fn words(error: &object_store::Error) -> String {
    let all = error.to_string();
    let tagged = |tag: &str| {
        let after = all.split_once(&format!("<{tag}>"))?.1;
        after.split_once(&format!("</{tag}>")).map(|(text, _)| text.trim())
    };
    match (tagged("Code"), tagged("Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ => root(error),
    }
}

/// The innermost cause, on one line.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.split(": <").next().unwrap_or_default().lines().next().unwrap_or_default();
    let text = text.trim_start_matches("Server returned non-2xx status code: ").trim_end_matches([':', ' ']);
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
