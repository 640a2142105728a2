//! The requests that a proxy in front of the Docker socket must allow, as docs/install.md lists them.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::support::docked::{Docked, Kind, Ran};

/// What a proxy allows: the method, and the path with `ID` for one segment; no version, no query.
type Rules = &'static [&'static str];

const FIND: Rules = &[
    "GET /version",
    "GET /info",
    "GET /_ping",
    "HEAD /_ping",
    "GET /containers/json",
    "GET /containers/ID/json",
    "GET /volumes",
];
const WRITE: Rules = &[
    "POST /containers/ID/stop",
    "POST /containers/ID/start",
    "POST /containers/ID/restart",
    "POST /containers/ID/exec",
    "POST /exec/ID/start",
    "GET /exec/ID/json",
    "HEAD /containers/ID/archive",
    "GET /containers/ID/archive",
];

/// A socket that forwards what `rules` allow, and a list of what it refused.
struct Proxy {
    socket: PathBuf,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(folder: &Path, name: &str, rules: &[Rules]) -> Proxy {
        let engine = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
        let engine = PathBuf::from(engine.strip_prefix("unix://").unwrap());
        let socket = folder.join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let (rules, list): (Vec<&str>, _) = (rules.concat(), Arc::clone(&refused));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, rules, list) = (engine.clone(), rules.clone(), Arc::clone(&list));
                std::thread::spawn(move || forward(client, &engine, &rules, &list));
            }
        });
        Proxy { socket, refused }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

/// One connection, which carries one request.
fn forward(client: UnixStream, engine: &Path, rules: &[&str], refused: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.trim() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let request = plain(&head[0]);
    let mut client = client;
    if !rules.contains(&request.as_str()) {
        refused.lock().unwrap().push(request);
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    if !head.iter().any(|line| line.to_lowercase().starts_with("connection:")) {
        head.push("Connection: close".into());
    }
    let mut server = UnixStream::connect(engine)?;
    server.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes())?;
    let to_engine = server.try_clone()?;
    std::thread::spawn(move || pipe(reader, to_engine));
    pipe(server, client)
}

/// Copies until the end, which it passes on.
fn pipe(mut from: impl Read, mut to: UnixStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write)?;
    copied.map(drop)
}

/// `GET /v1.41/containers/0123/json?size=1 HTTP/1.1` as `GET /containers/ID/json`.
fn plain(line: &str) -> String {
    let (method, rest) = line.split_once(' ').unwrap();
    let path = rest.split([' ', '?']).next().unwrap();
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments[1].starts_with("v1.") {
        segments.remove(1);
    }
    if segments.len() == 4 {
        segments[2] = "ID";
    }
    format!("{method} {}", segments.join("/"))
}

fn through(lab: &Docked, proxy: &Proxy, args: &[&str]) -> Ran {
    lab.kumadb(&[&["-H", &proxy.host()], args].concat())
}

#[test]
fn a_proxy_needs_to_allow_no_more_than_the_docs_say() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let folder = tempfile::tempdir().unwrap();
    let reading = Proxy::start(folder.path(), "reading", &[FIND]);
    for args in [&["status"][..], &["find"], &["monitor", "list"], &["backup", "create"], &["doctor"]] {
        let ran = through(&lab, &reading, args);
        assert!([0, 20].contains(&ran.code), "{args:?}: {ran:?} {:?}", reading.refused.lock().unwrap());
    }
    let edit = |proxy: &Proxy, seconds: u32| {
        let setting = format!("interval={seconds}");
        through(&lab, proxy, &["monitor", "edit", "Shop", "--set", &setting])
    };
    let writing = Proxy::start(folder.path(), "writing", &[FIND, WRITE]);
    edit(&writing, 30).ended(0);
    assert_eq!(writing.refused.lock().unwrap().as_slice(), <[String; 0]>::default());
    lab.is_well();
    // With less, nothing is changed, and the server is not even stopped.
    let (before, started) = (lab.picture(), lab.started());
    for (missing, act) in [("stop", "stop"), ("start", "start")] {
        let request = format!("POST /containers/ID/{missing}");
        let rules: Vec<&str> = [FIND, WRITE].concat().into_iter().filter(|rule| *rule != request).collect();
        let less = Proxy::start(folder.path(), missing, &[rules.leak()]);
        let refused = edit(&less, 40).ended(1);
        let words = format!("cannot {act} container `{}`: the Docker engine, or a proxy", lab.server.name);
        assert!(refused.err.contains(&words) && refused.err.contains("(HTTP 403)"), "{refused:?}");
        assert_eq!((lab.picture(), lab.started()), (before.clone(), started.clone()));
        assert!(!lab.is_unfinished());
    }
    lab.is_well();
}
