//! A place for snapshots on the loopback: as much of S3, of Google's way of speaking it, and of WebDAV as an object store
//! needs, with whatever trouble a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Key that requests must be signed with, and the password of WebDAV.
pub const KEY: &str = "KUMATESTKEY";
/// Objects of one page of a listing.
const PAGE: usize = 400;

/// One request.
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// This status, with this code as S3 names it.
    Status(u16, &'static str),
    /// The connection is closed without an answer.
    Hang,
    /// The answer breaks off half-way.
    Half,
}

/// How a server wants to be logged in to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Login {
    #[default]
    Basic,
    Md5,
    Sha256,
}

type Faults = Box<dyn FnMut(&Request) -> Option<Trouble> + Send>;

#[derive(Default)]
pub struct Shelf {
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Uploads in parts that were begun and not ended.
    pub uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    folders: BTreeSet<String>,
    /// How WebDAV wants to be logged in to.
    pub login: Login,
    /// Whether a password came as Basic has it, for everybody to read.
    pub basic: bool,
    faults: Option<Faults>,
    /// How long every answer takes.
    pub delay: Duration,
    /// Method and path of every request.
    pub log: Vec<String>,
    /// Requests under way, and the most of them there were.
    pub busy: (usize, usize),
    begun: usize,
}

/// A running server; it goes with the process.
pub struct Cloud {
    shelf: Arc<Mutex<Shelf>>,
    pub port: u16,
}

impl Cloud {
    pub fn start() -> Cloud {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shelf = Arc::<Mutex<Shelf>>::default();
        let ours = shelf.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shelf = shelf.clone();
                // A client that was killed ends its connection, not the server.
                std::thread::spawn(move || serve(&stream, &shelf));
            }
        });
        Cloud { shelf: ours, port }
    }

    pub fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }

    /// From now on every request is shown to `faults` first.
    pub fn trouble(&self, faults: impl FnMut(&Request) -> Option<Trouble> + Send + 'static) {
        self.shelf().faults = Some(Box::new(faults));
    }

    pub fn no_trouble(&self) {
        self.shelf().faults = None;
    }

    /// Names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.shelf().objects.keys().cloned().collect()
    }

    /// What the environment must say, and the address of a store in here, by its scheme.
    pub fn access(&self, scheme: &str) -> (String, Vec<(&'static str, String)>) {
        let (port, key) = (self.port, KEY.to_owned());
        match scheme {
            "s3" => {
                let environment = vec![
                    ("AWS_ACCESS_KEY_ID", key),
                    ("AWS_SECRET_ACCESS_KEY", "hidden-in-the-lab".into()),
                    ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
                ];
                ("s3://shelf/kuma/off-site".into(), environment)
            }
            "gs" => {
                let environment =
                    vec![("GOOGLE_BASE_URL", format!("http://127.0.0.1:{port}")), ("GOOGLE_BEARER_TOKEN", key)];
                ("gs://open/kuma".into(), environment)
            }
            "webdav" => {
                let environment = vec![("WEBDAV_USERNAME", "kuma".into()), ("WEBDAV_PASSWORD", key)];
                (format!("webdav://127.0.0.1:{port}/dav/kuma"), environment)
            }
            other => panic!("{other}"),
        }
    }
}

fn serve(stream: &TcpStream, shelf: &Mutex<Shelf>) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = read(&mut reader) {
        let (trouble, delay) = {
            let mut shelf = shelf.lock().unwrap();
            shelf.log.push(format!("{} {}", request.method, request.path));
            shelf.busy.0 += 1;
            shelf.busy.1 = shelf.busy.1.max(shelf.busy.0);
            let trouble = shelf.faults.as_mut().and_then(|faults| faults(&request));
            (trouble, shelf.delay)
        };
        std::thread::sleep(delay);
        shelf.lock().unwrap().busy.0 -= 1;
        let head = request.method == "HEAD";
        let mut answer = match trouble {
            Some(Trouble::Hang) => return,
            Some(Trouble::Status(status, code)) => refuse(status, code),
            Some(Trouble::Half) | None => answer(&request, &mut shelf.lock().unwrap()),
        };
        let length = answer.body.len();
        if matches!(trouble, Some(Trouble::Half)) {
            answer.body.truncate(length / 2);
        }
        if write(stream, &answer, length, head).is_err() || answer.body.len() != length {
            return;
        }
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn done(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into() }
}

fn refuse(status: u16, code: &str) -> Answer {
    done(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no: {code}</Message></Error>"))
}

fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    assert!(!headers.contains_key("transfer-encoding"), "{line}: many places refuse what does not say its length");
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(name, value)| (plain(name), plain(value))).collect();
    Ok(Some(Request { method, path: plain(path), query, headers, body }))
}

/// `text` without its `%20`.
fn plain(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(plain).unwrap()
}

fn write(mut stream: &TcpStream, answer: &Answer, length: usize, head: bool) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {} Some Words\r\ncontent-length: {length}\r\n", answer.status);
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    if !head {
        bytes.extend_from_slice(&answer.body);
    }
    // At once: the second of two writes waits until the client has acknowledged the first, which takes it 40 ms.
    stream.write_all(&bytes)
}

fn answer(request: &Request, shelf: &mut Shelf) -> Answer {
    let known = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
    if request.path.starts_with("/dav/") {
        shelf.basic |= known.starts_with("Basic ");
        return if is_known(request, known, shelf.login) {
            dav(request, shelf)
        } else {
            let mut answer = done(401, "<html>who are you?</html>");
            // Another nonce after some requests, as servers do.
            let nonce = shelf.log.len() / 4;
            for challenge in match shelf.login {
                Login::Basic => vec!["Basic realm=\"shelf\"".to_owned()],
                Login::Md5 => {
                    vec![format!("Digest realm=\"the \\\"shelf\\\"\", nonce=\"n{nonce}\", qop=\"auth,auth-int\"")]
                }
                Login::Sha256 => vec![
                    format!("Digest realm=\"shelf\", nonce=\"n{nonce}\", algorithm=SHA-512-256, qop=\"auth\""),
                    format!(
                        "Digest realm=\"shelf\", nonce=\"n{nonce}\", algorithm=SHA-256, qop=\"auth\", opaque=\"o\""
                    ),
                ],
            } {
                answer.headers.push(("www-authenticate", challenge));
            }
            answer
        };
    }
    let (bucket, key) = request.path[1..].split_once('/').unwrap_or((&request.path[1..], ""));
    let signed = known.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY}/"))
        && known.split_once("Signature=").is_some_and(|(_, signature)| signature.len() == 64);
    match bucket {
        "open" if known == format!("Bearer {KEY}") => {}
        "shelf" if signed => {}
        "shelf" if known.contains("Credential=") => return refuse(403, "InvalidAccessKeyId"),
        "open" | "shelf" => return refuse(403, "AccessDenied"),
        _ => return refuse(404, "NoSuchBucket"),
    }
    s3(request, bucket, key, shelf)
}

/// Whether the header `authorization` is that of the user.
fn is_known(request: &Request, authorization: &str, login: Login) -> bool {
    use base64::Engine as _;
    use md5::Digest as _;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hash = |text: String| match login {
        Login::Sha256 => hex(&sha2::Sha256::digest(text)),
        _ => hex(&md5::Md5::digest(text)),
    };
    if login == Login::Basic {
        let expected = base64::prelude::BASE64_STANDARD.encode(format!("kuma:{KEY}"));
        return authorization == format!("Basic {expected}");
    }
    let Some(values) = authorization.strip_prefix("Digest ") else { return false };
    let values: BTreeMap<&str, &str> = values
        .split(", ")
        .map(|pair| pair.split_once('=').map(|(name, value)| (name, value.trim_matches('"'))).unwrap())
        .collect();
    let realm = if login == Login::Md5 { "the \"shelf\"" } else { "shelf" };
    let (secret, asked) = (hash(format!("kuma:{realm}:{KEY}")), hash(format!("{}:{}", request.method, values["uri"])));
    let (nonce, count, client) = (values["nonce"], values["nc"], values["cnonce"]);
    // One nonce is good for some requests.
    let is_fresh = u32::from_str_radix(count, 16).unwrap() <= 5;
    is_fresh
        && plain(values["uri"]) == request.path
        && values["response"] == hash(format!("{secret}:{nonce}:{count}:{client}:auth:{asked}"))
}

fn s3(request: &Request, bucket: &str, key: &str, shelf: &mut Shelf) -> Answer {
    let full = format!("{bucket}/{key}");
    let upload = request.query.get("uploadId");
    let tagged = |status: u16, body: &str| {
        let mut answer = done(status, body);
        answer.headers.push(("etag", "\"tag\"".into()));
        answer
    };
    match (request.method.as_str(), upload) {
        ("GET", None) if key.is_empty() => list(bucket, request, shelf),
        ("POST", None) if request.query.contains_key("uploads") => {
            shelf.begun += 1;
            let id = format!("upload-{}", shelf.begun);
            shelf.uploads.insert(id.clone(), BTreeMap::new());
            let xml = "<InitiateMultipartUploadResult><UploadId>ID</UploadId></InitiateMultipartUploadResult>";
            done(200, xml.replace("ID", &id))
        }
        ("PUT", Some(id)) => match shelf.uploads.get_mut(id) {
            Some(parts) => {
                let number = request.query["partNumber"].parse().unwrap();
                parts.insert(number, request.body.clone());
                tagged(200, "")
            }
            None => refuse(404, "NoSuchUpload"),
        },
        ("POST", Some(id)) => match shelf.uploads.remove(id) {
            Some(parts) => {
                let named = String::from_utf8_lossy(&request.body).matches("<PartNumber>").count();
                assert_eq!(named, parts.len(), "all parts are named at the end");
                shelf.objects.insert(full, parts.into_values().flatten().collect());
                let xml = "<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>";
                tagged(200, xml)
            }
            None => refuse(404, "NoSuchUpload"),
        },
        ("DELETE", Some(id)) => match shelf.uploads.remove(id) {
            Some(_) => done(204, ""),
            None => refuse(404, "NoSuchUpload"),
        },
        ("PUT", None) => {
            shelf.objects.insert(full, request.body.clone());
            tagged(200, "")
        }
        ("DELETE", None) => {
            shelf.objects.remove(&full);
            done(204, "")
        }
        ("GET" | "HEAD", None) => give(request, shelf.objects.get(&full)),
        other => panic!("{other:?}"),
    }
}

/// An object, or the end of it that was asked for.
fn give(request: &Request, object: Option<&Vec<u8>>) -> Answer {
    let Some(object) = object else { return refuse(404, "NoSuchKey") };
    let from = request.headers.get("range").and_then(|range| {
        let (from, _) = range.strip_prefix("bytes=")?.split_once('-')?;
        from.parse::<usize>().ok()
    });
    let mut answer = match from {
        None => done(200, object.clone()),
        Some(from) => {
            let mut answer = done(206, &object[from..]);
            answer.headers.push(("content-range", format!("bytes {from}-{}/{}", object.len() - 1, object.len())));
            answer
        }
    };
    answer.headers.push(("etag", tag(object)));
    answer.headers.push(("last-modified", "Tue, 24 Nov 2026 10:00:00 GMT".into()));
    answer
}

/// The ETag of an object.
fn tag(object: &[u8]) -> String {
    format!("\"{}\"", blake3::hash(object).to_hex())
}

fn list(bucket: &str, request: &Request, shelf: &Shelf) -> Answer {
    let asked = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, after) = (asked("prefix"), asked("continuation-token"));
    let mut xml = String::from("<ListBucketResult>");
    let (mut folders, mut count, mut last) = (BTreeSet::new(), 0, String::new());
    let mut more = false;
    for (name, object) in &shelf.objects {
        let Some(name) = name.strip_prefix(&format!("{bucket}/")) else { continue };
        let Some(rest) = name.strip_prefix(prefix).filter(|_| name > after) else { continue };
        if let (Some((folder, _)), "/") = (rest.split_once('/'), asked("delimiter")) {
            folders.insert(format!("{prefix}{folder}/"));
            continue;
        }
        if count == PAGE {
            more = true;
            break;
        }
        (count, last) = (count + 1, name.to_owned());
        xml.push_str(&format!(
            "<Contents><Key>{name}</Key><LastModified>2026-11-24T10:00:00.000Z</LastModified><ETag>{}</ETag>\
             <Size>{}</Size></Contents>",
            tag(object),
            object.len()
        ));
    }
    for folder in folders {
        xml.push_str(&format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
    }
    if more {
        xml.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
    }
    done(200, format!("{xml}<IsTruncated>{more}</IsTruncated></ListBucketResult>"))
}

fn dav(request: &Request, shelf: &mut Shelf) -> Answer {
    let path = request.path.trim_end_matches('/').to_owned();
    let parent = path.rsplit_once('/').unwrap().0.to_owned();
    let has_parent = parent == "/dav" || shelf.folders.contains(&parent);
    match request.method.as_str() {
        "MKCOL" if shelf.folders.contains(&path) => done(405, ""),
        // As lighttpd 1.4 says it.
        "PUT" if !has_parent && request.body.is_empty() => done(500, ""),
        "MKCOL" | "PUT" if !has_parent => done(409, ""),
        "MKCOL" => {
            shelf.folders.insert(path);
            done(201, "")
        }
        "PUT" => {
            shelf.objects.insert(path, request.body.clone());
            done(201, "")
        }
        "GET" | "HEAD" => give(request, shelf.objects.get(&path)),
        "DELETE" => match shelf.objects.remove(&path) {
            Some(_) => done(204, ""),
            None => done(404, ""),
        },
        "PROPFIND" if request.headers.get("depth").is_none_or(|depth| depth != "1") => done(403, ""),
        "PROPFIND" if !shelf.folders.contains(&path) => done(404, ""),
        "PROPFIND" => {
            let inside = |name: &&String| name.rsplit_once('/').is_some_and(|(above, _)| above == path);
            let entry = |name: &str, kind: &str| {
                format!(
                    "<D:response><D:href>{name}</D:href><D:propstat><D:prop><D:getlastmodified>Tue, 24 Nov 2026 10:00:00 \
                     GMT</D:getlastmodified>{kind}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
                )
            };
            let folder = "<D:resourcetype><D:collection/></D:resourcetype>";
            let mut xml = String::from("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">");
            xml.push_str(&entry(&format!("{path}/"), folder));
            for name in shelf.folders.iter().filter(inside) {
                xml.push_str(&entry(&format!("{name}/"), folder));
            }
            for name in shelf.objects.keys().filter(inside) {
                let size = shelf.objects[name].len();
                let kind = format!("<D:resourcetype/><D:getcontentlength>{size}</D:getcontentlength>");
                xml.push_str(&entry(name, &kind));
            }
            done(207, xml + "</D:multistatus>")
        }
        other => panic!("{other}"),
    }
}
