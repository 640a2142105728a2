//! Remote stores: S3 and compatible services, Azure, Google, WebDAV.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{self, BoxStream, FuturesOrdered, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, PutPayload};
use reqwest::Url;
use tokio::runtime::{Builder, Runtime};

use super::address::{check_credentials, parse};
use super::credentials::{CancelSignal, Credentials};
use super::failure::{explain, root};
use super::login::HttpLogin;
use super::objects::{Object, Objects, UploadProgress};
use super::webdav::WebDav;
use super::wire::Wire;
use crate::backup::archive;
use crate::backup::manifest::MOST as MANIFEST_SIZE;
use crate::error::{Error, InputError, OperationError, Result, StoreError, guarded};
use crate::files;

/// Bytes of a part of an upload; a failed part is repeated alone.
const PART: u64 = 8 << 20;
/// Maximum number of parts of an object in S3.
const PARTS: u64 = 10_000;
/// Parts in flight; they are all the memory that an upload takes.
const SENDING: usize = 4;
/// Manifests read in parallel.
const READING: usize = 32;
/// Polling interval for signals.
const LOOK: Duration = Duration::from_millis(100);
/// Time for cleanup when the run is to end.
const LAST: Duration = Duration::from_secs(5);
/// Objects of a bucket that are searched for snapshots under other prefixes.
const LOOKED_AT: usize = 5_000;

/// The remote store and its clients.
pub(super) struct Remote {
    objects: Arc<dyn ObjectStore>,
    /// The bucket or container itself, where the store is only a prefix.
    bucket: Option<Arc<dyn ObjectStore>>,
    prefix: Key,
    /// Multipart uploads, where the store supports them.
    parts: Option<Arc<dyn MultipartStore>>,
    dav: Option<WebDav>,
    door: StoreHandle,
    /// Set once the store has listed its content.
    lists: OnceLock<()>,
}

/// The only way to a store: requests can be ended early, and a panic in there does not end the process.
#[derive(Clone)]
struct StoreHandle {
    address: String,
    /// The hint when access is denied.
    credentials: &'static str,
    runtime: Arc<Runtime>,
    cancel: CancelSignal,
}

/// Prepares the store at `address`, which has a scheme; nothing is sent yet.
pub(super) fn open(address: &str, credentials: &Credentials) -> Result<Remote> {
    let parsed = parse(address)
        .map_err(|why| Error::Input(InputError::Address { kind: "store URL", shown: String::new(), why }))?;
    check_credentials(parsed.scheme, credentials)?;
    guarded("the client of stores", || build(address, credentials))
}

fn build(address: &str, credentials: &Credentials) -> Result<Remote> {
    let super::address::StoreAddress { scheme, host, prefix } = parse(address)
        .map_err(|why| Error::Input(InputError::Address { kind: "store URL", shown: String::new(), why }))?;
    let variables = match scheme {
        "s3" => "AWS_",
        "az" => "AZURE_",
        "gs" => "GOOGLE_",
        _ => "WEBDAV_",
    };
    // One provider of cryptography for all of TLS; an existing choice stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let opening = Opening { address, variables, credentials };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| opening.wrong(error.to_string()))?;
    let door = StoreHandle {
        address: address.trim_end_matches('/').to_owned(),
        credentials: match scheme {
            "s3" => "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the permissions of this key",
            "az" => "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            "gs" => "check GOOGLE_APPLICATION_CREDENTIALS",
            _ => "check WEBDAV_USERNAME and WEBDAV_PASSWORD, and the permissions of this user",
        },
        runtime: Arc::new(runtime),
        cancel: credentials.cancel.clone(),
    };
    match scheme {
        "s3" => opening.s3(host, prefix, door),
        "az" => opening.azure(host, prefix, door),
        "gs" => opening.google(host, prefix, door),
        // `http` and `https` are for an archive on any web server.
        _ => opening.webdav(&format!("{}://{host}", scheme.replacen("webdav", "http", 1)), prefix, door),
    }
}

/// A store that is being opened: its address, the prefix of its variables, and these variables.
struct Opening<'a> {
    address: &'a str,
    variables: &'static str,
    credentials: &'a Credentials,
}

impl Opening<'_> {
    fn wrong(&self, why: String) -> Error {
        let mut names: Vec<&str> = self.credentials.iter().map(|(name, _)| name).collect();
        names.retain(|name| name.starts_with(self.variables));
        Error::Store(StoreError::Open {
            store: self.address.to_owned(),
            variables: if names.is_empty() {
                format!("no {}… variable set", self.variables)
            } else {
                names.join(", ")
            },
            why,
        })
    }

    fn refused(&self, error: object_store::Error) -> Error {
        self.wrong(root(&error))
    }

    fn wire(&self, login: Option<HttpLogin>) -> Result<Wire> {
        Wire::new(self.address, self.variables, self.credentials, login).map_err(|why| self.wrong(why))
    }

    /// The scheme of the address alone decides which protocols are allowed.
    fn options() -> ClientOptions {
        ClientOptions::new().with_allow_http(true)
    }

    fn s3(&self, host: &str, prefix: Key, door: StoreHandle) -> Result<Remote> {
        let builder = AmazonS3Builder::new().with_client_options(Self::options()).with_http_connector(self.wire(None)?);
        let keys = self.credentials.keys("AWS_");
        let builder = keys.fold(builder, |builder, (key, value)| builder.with_config(key, value));
        let built = builder.with_url(format!("s3://{host}")).with_disable_bulk_delete(true).build();
        Ok(Remote::new(built.map_err(|error| self.refused(error))?, prefix, door))
    }

    fn azure(&self, host: &str, prefix: Key, door: StoreHandle) -> Result<Remote> {
        let builder =
            MicrosoftAzureBuilder::new().with_client_options(Self::options()).with_http_connector(self.wire(None)?);
        let keys = self.credentials.keys("AZURE_");
        let builder = keys.fold(builder, |builder, (key, value)| builder.with_config(key, value));
        let built = builder.with_url(format!("az://{host}")).build();
        Ok(Remote::new(built.map_err(|error| self.refused(error))?, prefix, door))
    }

    fn google(&self, host: &str, prefix: Key, door: StoreHandle) -> Result<Remote> {
        let builder =
            GoogleCloudStorageBuilder::new().with_client_options(Self::options()).with_http_connector(self.wire(None)?);
        let keys = self.credentials.keys("GOOGLE_");
        let builder = keys.fold(builder, |builder, (key, value)| builder.with_config(key, value));
        let built = builder.with_url(format!("gs://{host}")).build();
        Ok(Remote::new(built.map_err(|error| self.refused(error))?, prefix, door))
    }

    /// The path is the prefix: `object_store` interprets listed paths relative to the root of the host.
    fn webdav(&self, url: &str, prefix: Key, door: StoreHandle) -> Result<Remote> {
        let host = Url::parse(url).map_err(|error| self.wrong(error.to_string()))?;
        let login = self.credentials.value("WEBDAV_USERNAME").map(|user| {
            let password = self.credentials.value("WEBDAV_PASSWORD").unwrap_or_default();
            HttpLogin::new(user, password, host.scheme() == "https")
        });
        let wire = self.wire(login)?;
        let builder = HttpBuilder::new().with_url(url).with_client_options(Self::options());
        let built = builder.with_http_connector(wire.clone()).build().map_err(|error| self.refused(error))?;
        Ok(Remote {
            objects: Arc::new(PrefixStore::new(built, prefix.clone())),
            bucket: None,
            parts: None,
            dav: Some(WebDav::new(host, prefix.clone(), wire)),
            prefix,
            door,
            lists: OnceLock::new(),
        })
    }
}

impl StoreHandle {
    /// Runs `act` on the store.
    fn enter<T>(&self, act: &'static str, future: impl Future<Output = Result<T>>) -> Result<T> {
        let entered = guarded("the client of stores", || {
            self.runtime.block_on(async {
                match select(std::pin::pin!(future), std::pin::pin!(self.ended())).await {
                    Either::Left((done, _)) => done,
                    Either::Right((signal, _)) => Err(Error::Operation(OperationError::Interrupted { signal })),
                }
            })
        });
        match entered {
            Err(Error::Operation(OperationError::Panic { why, .. })) => Err(Error::Store(StoreError::Action {
                act,
                store: self.address.clone(),
                why: format!("internal error: {why}"),
                hint: "check the URL and the variables with the credentials; then report this with the output above",
            })),
            entered => entered,
        }
    }

    /// The same with the library's result.
    fn ask<T>(&self, act: &'static str, future: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        self.enter(act, async { future.await.map_err(self.failed(act)) })
    }

    /// Ends with a signal number when one was received; cleanup that begins after that has a little time.
    async fn ended(&self) -> i32 {
        let before = (self.cancel.0)();
        if before != 0 {
            tokio::time::sleep(LAST).await;
            return before;
        }
        loop {
            match (self.cancel.0)() {
                0 => tokio::time::sleep(LOOK).await,
                signal => return signal,
            }
        }
    }

    fn failed(&self, act: &'static str) -> impl Fn(object_store::Error) -> Error + Send + use<> {
        let (store, credentials) = (self.address.clone(), self.credentials);
        move |error| {
            let (why, hint) = explain(&error, credentials);
            Error::Store(StoreError::Action { act, store: store.clone(), why, hint })
        }
    }
}

impl Remote {
    fn new<T: ObjectStore + MultipartStore + Clone>(bucket: T, prefix: Key, door: StoreHandle) -> Remote {
        let store = Arc::new(PrefixStore::new(bucket.clone(), prefix.clone()));
        let (objects, parts) = (store.clone(), Some(store as Arc<dyn MultipartStore>));
        Remote { objects, bucket: Some(Arc::new(bucket)), prefix, parts, dav: None, door, lists: OnceLock::new() }
    }

    /// Fails unless the store lists its content: files in a store without listings could not be found again.
    fn require_list(&self) -> Result<()> {
        if self.lists.get().is_some() {
            return Ok(());
        }
        match &self.dav {
            Some(dav) => {
                self.door.ask("write to", dav.make_root())?;
                self.door.ask("list", dav.check_lists())?;
            }
            None => self.door.ask("list", self.objects.list_with_delimiter(None)).map(drop)?,
        }
        let _ = self.lists.set(());
        Ok(())
    }

    fn put_parts(
        &self,
        parts: &dyn MultipartStore,
        key: &Key,
        (from, size): (&Path, u64),
        progress: &mut dyn UploadProgress,
    ) -> Result<()> {
        let failed = self.door.failed("write to");
        let upload = self.door.ask("write to", parts.create_multipart(key))?;
        progress.begun(&upload)?;
        let mut file = files::open(from)?;
        let length = PART.max(size.div_ceil(PARTS));
        self.door.enter("write to", async {
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
        self.door.address.clone()
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn list(&self) -> Result<Vec<Object>> {
        let listed: Vec<_> = self.door.ask("list", async {
            // Folder by folder, because many WebDAV servers list no more than that.
            let folders = self.objects.list_with_delimiter(None).await?.common_prefixes;
            let list = |folder: Key| async move { self.objects.list_with_delimiter(Some(&folder)).await };
            stream::iter(folders).map(list).buffered(READING).try_collect().await
        })?;
        let objects = listed.into_iter().flat_map(|folder| folder.objects);
        let mut found: Vec<Object> = objects
            .map(|object| Object {
                name: object.location.to_string(),
                size: object.size,
                version: object.e_tag.map(|tag| format!("{tag} {} {}", object.last_modified, object.size)),
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn elsewhere(&self) -> Vec<String> {
        let Some(bucket) = &self.bucket else { return Vec::new() };
        let found = self.door.ask("list", async {
            let mut found = BTreeSet::new();
            let mut objects = bucket.list(None).take(LOOKED_AT);
            while let Some(object) = objects.try_next().await? {
                let mut above: Vec<String> = object.location.parts().map(|part| part.as_ref().to_owned()).collect();
                let file = above.pop().unwrap_or_default();
                // The folder of the instance.
                if archive::is_archive(&file) && above.pop().is_some() {
                    found.insert(above.join("/"));
                }
            }
            Ok(found)
        });
        // Without permission to list the bucket there is no hint.
        let mut found = found.unwrap_or_default();
        found.remove(self.prefix.as_ref());
        let root = self.door.address.strip_suffix(self.prefix.as_ref()).unwrap_or(&self.door.address);
        let root = root.trim_end_matches('/');
        found.iter().map(|prefix| format!("{root}/{prefix}").trim_end_matches('/').to_owned()).collect()
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        self.door.ask("read from", async {
            match self.objects.head(&Key::from(name)).await {
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                found => found.map(|found| Some(found.size)),
            }
        })
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let key = Key::from(name);
        let got = self.door.ask("read from", self.objects.get(&key))?;
        Ok(Box::new(Download { door: self.door.clone(), stream: got.into_stream(), chunk: Box::new(io::empty()) }))
    }

    fn read_all(&self, names: &[String]) -> Result<Vec<Result<Vec<u8>>>> {
        let failed = &self.door.failed("read from");
        let read = |name: &String| {
            let (key, name) = (Key::from(name.as_str()), name.clone());
            async move {
                let mut pieces = self.objects.get(&key).await.map_err(failed)?.into_stream();
                let mut whole = Vec::new();
                while let Some(piece) = pieces.next().await {
                    whole.extend_from_slice(&piece.map_err(failed)?);
                    if whole.len() as u64 > MANIFEST_SIZE {
                        return Err(Error::file("read", name)(io::ErrorKind::FileTooLarge.into()));
                    }
                }
                Ok(whole)
            }
        };
        self.door.enter("read from", async { Ok(stream::iter(names).map(read).buffered(READING).collect().await) })
    }

    fn put(&self, name: &str, from: &Path, progress: &mut dyn UploadProgress) -> Result<()> {
        self.require_list()?;
        let key = Key::from(name);
        let size = files::about_target(from)?.size;
        match (&self.dav, &self.parts) {
            (Some(dav), _) => self.door.ask("write to", dav.put(name, from, size))?,
            (None, Some(parts)) if size > PART => return self.put_parts(&**parts, &key, (from, size), progress),
            _ => {
                let whole: PutPayload =
                    files::read_most(&mut files::open(from)?, PART).map_err(Error::file("read", from))?.into();
                self.door.ask("write to", self.objects.put(&key, whole)).map(drop)?;
            }
        }
        progress.done(size);
        Ok(())
    }

    fn give_up(&self, name: &str, upload: &str) -> Result<()> {
        let Some(parts) = &self.parts else { return Ok(()) };
        self.door.ask("write to", async {
            match parts.abort_multipart(&Key::from(name), &upload.to_owned()).await {
                // Finished or aborted already.
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                given_up => given_up,
            }
        })
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.door.ask("remove from", async {
            match self.objects.delete(&Key::from(name)).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                removed => removed,
            }
        })
    }

    fn probe(&self, name: &str, content: &Path) -> Result<()> {
        let store = || self.door.address.clone();
        let wrong =
            |act, why: &str| Error::Store(StoreError::Action { act, store: store(), why: why.into(), hint: PROBED });
        self.put(name, content, &mut Unwatched)?;
        let expected = files::read_whole(content)?.into_bytes();
        let read = self.read_all(&[name.to_owned()])?.pop();
        let listed = self.door.ask("list", self.objects.list_with_delimiter(None));
        // Whatever the result, nothing is left behind.
        let removed = self.remove(name);
        if read.transpose()?.as_ref() != Some(&expected) {
            return Err(wrong("read from", "the data read back from a file differ from the data written"));
        }
        if !listed?.objects.iter().any(|object| object.location == Key::from(name)) {
            return Err(wrong("list", "a file that was written is not listed"));
        }
        removed?;
        match self.size(name)? {
            None => Ok(()),
            Some(_) => Err(wrong("remove from", &format!("`{name}` still exists after it was deleted"))),
        }
    }
}

/// The hint for a store that accepts requests but does not execute them correctly.
const PROBED: &str = "check the log of the server, and proxies between it and this machine";

/// Ignores the progress.
struct Unwatched;

impl UploadProgress for Unwatched {
    fn begun(&mut self, _upload: &str) -> Result<()> {
        Ok(())
    }

    fn done(&mut self, _bytes: u64) {}
}

/// The bytes of an object as they arrive; a broken connection is resumed at its position.
struct Download {
    door: StoreHandle,
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    chunk: Box<dyn Read + Send>,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.chunk.read(buffer)? {
                0 if !buffer.is_empty() => {}
                n => return Ok(n),
            }
            let next = self.door.ask("read from", async { self.stream.next().await.transpose() });
            match next.map_err(io::Error::other)? {
                Some(chunk) => self.chunk = Box::new(io::Cursor::new(chunk)),
                None => return Ok(0),
            }
        }
    }
}
