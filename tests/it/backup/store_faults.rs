//! Stores that are named wrongly, do only half of what they should, or are away for a while: what is said, and what is not done.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use kumadb::backup::{Credentials, Store, Timeouts};
use kumadb::config::{StoreConfig, open_stores, read_config};
use kumadb::value::Secret;
use serde_json::Value as Json;

use crate::support::cloud::{Cloud, Login, Request, Trouble};
use crate::support::lab::{Lab, Ran, words};
use crate::support::wait::wait_until;

type Named = Vec<(&'static str, String)>;

/// An address, what the environment says, and what is said of that.
type Case = (&'static str, Vec<(&'static str, &'static str)>, &'static str);

/// Runs `line` on the lab with the store at `address` alone.
fn run(lab: &Lab, (address, environment): &(String, Named), line: &str) -> Ran {
    let mut command = lab.bare();
    command.envs(environment.clone()).env("KUMADB_STORE", address).env("XDG_DATA_HOME", lab.root.path().join("home"));
    Ran::of(command.args(["-t", &lab.target]).args(words(line)))
}

fn open((address, environment): &(String, Named), patience: Timeouts) -> Store {
    let named = environment.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value.clone())));
    Store::open(address, &Credentials::new(named).with_patience(patience)).unwrap()
}

#[test]
fn no_address_and_no_key_ends_in_a_panic() {
    let lab = Lab::sqlite("2.5.3");
    let key = ("AWS_ACCESS_KEY_ID", "key");
    let secret = ("AWS_SECRET_ACCESS_KEY", "secret");
    let account = ("AZURE_STORAGE_ACCOUNT_NAME", "account");
    let endpoint = |value: &'static str| vec![key, secret, ("AWS_ENDPOINT_URL", value)];
    let cases: Vec<Case> = vec![
        ("s3://b/p", endpoint("minio:9000"), "`AWS_ENDPOINT_URL`: `minio:9000`: `http://` or `https://` is missing"),
        ("s3://b/p", endpoint("localhost"), "use `http://localhost`"),
        ("s3://b/p", endpoint("http://"), "`AWS_ENDPOINT_URL`: `http://`: empty host"),
        ("s3://b/p", endpoint("http://a b"), "`AWS_ENDPOINT_URL`: `http://a b`"),
        ("s3://b/p", endpoint("http://[::1"), "`AWS_ENDPOINT_URL`: `http://[::1`"),
        ("s3://b/p", endpoint("http://h:99999"), "invalid port number"),
        ("s3://b/p", endpoint("ftp://h"), "it must begin with `http://` or `https://`"),
        ("s3://b/p", endpoint("http://h?x=y"), "remove the part that begins with `?`"),
        ("s3://b/p", endpoint("http://user:hidden-word@h"), "remove user and password from it"),
        ("s3://b/p", vec![("AWS_ACCESS_KEY_ID", "a\nb"), secret], "`AWS_ACCESS_KEY_ID`: it contains a line break"),
        (
            "s3://b/p",
            vec![key, secret, ("AWS_SESSION_TOKEN", "\u{e4}")],
            "`AWS_SESSION_TOKEN`: it contains a non-ASCII character",
        ),
        ("s3://b/p", vec![key, secret, ("AWS_PROXY_URL", "x:1")], "`AWS_PROXY_URL`: `x:1`"),
        ("s3://b/p", vec![key], "`AWS_SECRET_ACCESS_KEY` is not set: `AWS_ACCESS_KEY_ID` is set, and requires it"),
        ("s3://minio:9000/b/p", vec![key, secret], "set AWS_ENDPOINT_URL=http://minio:9000, and write `s3://b/p`"),
        ("s3:b/p", vec![key, secret], "write `s3://b/p`"),
        ("s3://B \u{e4}/p", vec![key, secret], "is not allowed in the name of a bucket"),
        ("az://c/p", vec![account, ("AZURE_STORAGE_ACCOUNT_KEY", "not base64!")], "is not valid base64"),
        ("az://c/p", vec![("AZURE_STORAGE_ACCOUNT_KEY", "YQ==")], "`AZURE_STORAGE_ACCOUNT_NAME` is not set"),
        ("az://c/p", vec![account, ("AZURE_ENDPOINT", "h:1")], "`AZURE_ENDPOINT`: `h:1`"),
        ("gs://b/p", vec![("GOOGLE_BASE_URL", "h:1"), ("GOOGLE_BEARER_TOKEN", "t")], "`GOOGLE_BASE_URL`: `h:1`"),
        ("gs://b/p", vec![("GOOGLE_APPLICATION_CREDENTIALS", "/no/file")], "`GOOGLE_APPLICATION_CREDENTIALS`"),
        ("gs://b/p", vec![("GOOGLE_SERVICE_ACCOUNT_KEY", "{x")], "`GOOGLE_SERVICE_ACCOUNT_KEY`: it is not a JSON key"),
        ("webdav://h:99999/p", vec![], "invalid port number"),
        ("webdav://h/p?x=y", vec![], "a URL cannot contain '?'"),
    ];
    for (address, environment, given) in cases {
        let environment = environment.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let ran = run(&lab, &(address.to_owned(), environment), "backup list");
        assert_eq!(ran.exit, 2, "{given}: {}", ran.err);
        assert!(ran.err.contains(given), "{given}: {}", ran.err);
        assert!(!ran.err.contains("panicked") && !ran.err.contains("hidden-word"), "{}", ran.err);
    }
    let mut command = lab.bare();
    command.env("AWS_REGION", std::ffi::OsString::from_vec(vec![0xff])).env("KUMADB_STORE", "s3://b/p");
    let ran = Ran::of(command.args(["backup", "list"]));
    assert!(ran.exit == 2 && ran.err.contains("`AWS_REGION` is not valid UTF-8"), "{}", ran.err);
}

/// Writes a config file with the stores `stores` and the lab as an instance with a job.
fn configure(lab: &Lab, stores: &[(&str, &str, &str)], job: &str) -> PathBuf {
    let mut text = String::new();
    for (name, address, credentials) in stores {
        let file = lab.root.path().join(format!("{name}.env"));
        std::fs::write(&file, credentials).unwrap();
        text += &format!("[stores.{name}]\naddress = \"{address}\"\ncredentials_file = \"{}\"\n", file.display());
    }
    let names: Vec<String> = stores.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
    text += &format!(
        "[instances.kuma]\ntarget = \"{}\"\n[jobs.job]\ncron = \"0 3 * * *\"\ninstances = [\"kuma\"]\nstores = \
         [{}]\n{job}",
        lab.target,
        names.join(", ")
    );
    let path = lab.root.path().join("kumadb.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_the_config_file_says_of_stores_is_checked_when_it_is_read() {
    let lab = Lab::sqlite("2.5.3");
    let check = |address: &str, credentials: &str| {
        let config = configure(&lab, &[("one", address, credentials)], "");
        Ran::of(lab.bare().args(["config", "check", "--config"]).arg(&config))
    };
    let ran = check("s4://bucket", "");
    assert!(ran.exit == 2 && ran.err.contains("kumadb.toml:2:"), "{}", ran.err);
    assert!(ran.err.contains("`s4` is not a supported scheme (s3, az, gs, webdav, webdavs)"), "{}", ran.err);
    for (credentials, given) in [
        ("AWS_ENDPOINT_URL=minio:9000", "[stores.one] invalid value of `AWS_ENDPOINT_URL`: `minio:9000`"),
        (
            "# key\n\nAWS_ACCES_KEY_ID=x",
            "one.env`, line 3: no store uses `AWS_ACCES_KEY_ID` (did you mean `AWS_ACCESS_KEY_ID`?)",
        ),
        ("AWS_REGION", "one.env`, line 1: use NAME=VALUE"),
    ] {
        let ran = check("s3://bucket/p", credentials);
        assert!(ran.exit == 2 && ran.out.contains(given), "{given}: {}{}", ran.out, ran.err);
    }
    // As a shell and systemd read such a file too.
    let cloud = Cloud::start();
    let (address, environment) = cloud.access("s3");
    let lines: Vec<String> = environment.iter().map(|(name, value)| format!("export {name}=\"{value}\"")).collect();
    let config = configure(&lab, &[("one", &address, &lines.join("\n"))], "");
    lab.ok(&format!("backup schedule --once job --config {}", config.display()));
    assert_eq!(cloud.names().len(), 2);
}

#[test]
fn a_store_that_lists_nothing_is_refused_before_anything_is_put() {
    let lab = Lab::sqlite("2.5.3");
    for (scheme, given) in [("webdav", "MethodNotAllowed"), ("s3", "AccessDenied")] {
        let cloud = Cloud::start();
        cloud.trouble(move |request| match (request.method.as_str(), scheme) {
            ("PROPFIND", _) => Some(Trouble::Status(405, "MethodNotAllowed")),
            ("GET", "s3") if request.query.contains_key("list-type") => Some(Trouble::Status(403, "AccessDenied")),
            _ => None,
        });
        let ran = run(&lab, &cloud.access(scheme), "backup create");
        assert_eq!(ran.exit, 1, "{}", ran.err);
        assert!(ran.err.contains("cannot list the store") && ran.err.contains(given), "{}", ran.err);
        assert_eq!(ran.err.contains("dav_ext_methods"), scheme == "webdav", "{}", ran.err);
        assert_eq!(cloud.names(), Vec::<String>::new());
        assert!(!cloud.shelf().log.iter().any(|line| line.starts_with("PUT")), "{:#?}", cloud.shelf().log);
    }
}

#[test]
fn webdav_wants_digest_and_folders_before_files() {
    let lab = Lab::sqlite("2.5.3");
    for login in [Login::Md5, Login::Sha256] {
        let cloud = Cloud::start();
        cloud.shelf().login = login;
        let mut access = cloud.access("webdav");
        for line in ["backup create", "backup list", "backup verify", "restore latest --yes"] {
            let ran = run(&lab, &access, line);
            assert_eq!(ran.exit, 0, "{line}: {}", ran.err);
        }
        assert_eq!(cloud.names().len(), 2);
        access.1[1].1 = "wrong".into();
        let ran = run(&lab, &access, "backup list");
        assert!(ran.exit == 1 && ran.err.contains("401 Unauthorized"), "{}", ran.err);
        assert!(ran.err.contains("check WEBDAV_USERNAME and WEBDAV_PASSWORD"), "{}", ran.err);
        // Over a plain line, nobody hears a password that the server does not ask for.
        assert!(!cloud.shelf().basic, "the password was sent");
    }
    // As lighttpd answers: neither is a file put, nor is an empty one.
    let cloud = Cloud::start();
    let ran = run(&lab, &cloud.access("webdav"), "backup create");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let log = cloud.shelf().log.clone();
    let first = |method: &str| log.iter().position(|line| line.starts_with(method)).unwrap();
    assert!(first("MKCOL") < first("PUT"), "{log:#?}");
}

#[test]
fn a_store_that_restarts_is_waited_for() {
    assert_eq!(Timeouts::default(), Timeouts { retry: Duration::from_secs(30), silence: Duration::from_secs(60) });
    let lab = Lab::sqlite("2.5.3");
    let create = |scheme: &str| {
        let cloud = Cloud::start();
        let mut down = None;
        cloud.trouble(move |request| {
            let since = *down.get_or_insert_with(Instant::now);
            // Longer than it was waited for once.
            (request.method != "GET" && since.elapsed() < Duration::from_secs(9)).then_some(Trouble::Hang)
        });
        let ran = run(&lab, &cloud.access(scheme), "backup create");
        assert_eq!(ran.exit, 0, "{}", ran.err);
        assert_eq!(cloud.names().len(), 2);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| create("s3"));
        create("webdav");
    });
}

#[test]
fn waiting_for_stores_is_reported_once_each_and_done_in_parallel() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("backup create");
    // Nothing listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begin = |line: &str| {
        let mut command = lab.process();
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret").env("AWS_REGION", "local");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
        let stores = format!("s3://one/kuma,{},s3://two/kuma", lab.store().display());
        command.env_remove("KUMADB_STORE").args(["-t", &lab.target, "--store", &stores]).args(words(line));
        command
    };
    let run = |line: &str| Ran::of(&mut assert_cmd::Command::from_std(begin(line)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            let listed = run("--json backup list");
            assert_eq!(listed.exit, 3, "{}", listed.err);
            // Both are asked again for 30 s, but not one after the other.
            assert!(began.elapsed() < Duration::from_secs(55), "{:?}", began.elapsed());
            let document: Json = serde_json::from_str(&listed.out).unwrap();
            assert_eq!(document["snapshots"].as_array().unwrap().len(), 1);
            for store in ["s3://one/kuma", "s3://two/kuma"] {
                let line = format!("store {store}: connection refused, retrying for up to 30 s\n");
                assert_eq!(listed.err.matches(&line).count(), 1, "{}", listed.err);
            }
        });
        scope.spawn(|| assert!(!run("-q backup list").err.contains("retrying")));
        // The state of the instance is shown all the same, and the check says which store.
        let status = run("--json status");
        let document: Json = serde_json::from_str(&status.out).unwrap();
        assert_eq!((status.exit, &document["backup"]["state"]), (0, &"ok".into()), "{}", status.err);
        assert!(status.err.contains("cannot list the store `s3://one/kuma`"), "{}", status.err);
        let began = Instant::now();
        let check = run("backup check");
        assert!(check.exit == 1 && began.elapsed() < Duration::from_secs(20), "{:?} {}", began.elapsed(), check.out);
        assert!(check.out.contains("unreachable: cannot list the store `s3://two/kuma`"), "{}", check.out);
    });
}

#[test]
fn waiting_for_a_store_ends_with_the_first_signal() {
    let lab = Lab::sqlite("2.5.3");
    let cloud = Cloud::start();
    cloud.trouble(|_| Some(Trouble::Status(503, "SlowDown")));
    let (address, environment) = cloud.access("s3");
    for (line, exit) in [("backup create", 130), ("backup list", 130)] {
        cloud.shelf().log.clear();
        let mut command = lab.process();
        command.envs(environment.clone()).env("KUMADB_STORE", &address).args(["-t", &lab.target]).args(words(line));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(30, "it is at it", || cloud.shelf().log.len() > 2);
        let began = Instant::now();
        let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(exit));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}

/// Answers each connection with `answer`, and reads no more than `reads`.
fn listen(answer: impl Fn(&TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream)));
    address
}

#[test]
fn silence_is_given_up_and_a_slow_line_is_not() {
    let patience = Timeouts { retry: Duration::ZERO, silence: Duration::from_secs(1) };
    let open_at = |server: &str| {
        let named = [
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{server}")),
        ];
        open(&("s3://b/p".into(), named.to_vec()), patience)
    };
    // One that takes connections and says nothing.
    let (keep, kept) = channel();
    let silent = listen(move |stream| keep.send(stream.try_clone().unwrap()).unwrap());
    let began = Instant::now();
    let error = open_at(&silent).list().unwrap_err();
    assert!(error.to_string().contains("no response within 1 s"), "{error}");
    assert!(error.hint().unwrap().contains("does not respond"), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(kept);
    // One whose answer takes longer in all, but comes piece by piece.
    let slow = listen(|mut stream| {
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        for piece in body.as_bytes().chunks(10) {
            std::thread::sleep(Duration::from_millis(250));
            stream.write_all(piece).unwrap();
        }
    });
    let began = Instant::now();
    assert!(open_at(&slow).list().unwrap().snapshots.is_empty());
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn an_upload_over_a_slow_line_is_not_given_up() {
    let (done, sizes) = channel();
    let server = listen(move |stream| {
        let mut reader = BufReader::new(stream);
        let done = done.clone();
        let mut stream = stream;
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                match line.trim() {
                    "" => break,
                    line => head.push(line.to_lowercase()),
                }
            }
            let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut left: u64 = length.unwrap_or(0);
            let is_large = left > 1 << 20;
            while left > 0 {
                let read = (&mut reader).take(left.min(512 << 10));
                left -= std::io::copy(&mut { read }, &mut std::io::sink()).unwrap();
                if is_large {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            if is_large {
                done.send(length.unwrap()).unwrap();
            }
            let (status, body) = match head[0].split(' ').next() {
                Some("propfind") => ("207 Multi-Status", "<D:multistatus xmlns:D=\"DAV:\"></D:multistatus>"),
                _ => ("201 Created", ""),
            };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    let patience = Timeouts { retry: Duration::ZERO, silence: Duration::from_secs(1) };
    let store = open(&(format!("webdav://{server}/p"), Vec::new()), patience);
    let lab = Lab::sqlite("2.5.3");
    lab.sql(
        "INSERT INTO monitor (id, name) VALUES (1, 'a');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
         INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration)
         SELECT 0, 1, 1, hex(randomblob(2000)), '2026-01-01 00:00:00', 1 FROM n",
    );
    lab.ok("backup create");
    let local = Store::new(lab.store()).list().unwrap().snapshots.remove(0);
    let scratch = store.scratch().unwrap();
    let file = PathBuf::from(local.location());
    let name = file.strip_prefix(lab.store()).unwrap().to_owned();
    let began = Instant::now();
    // What is read back is not what was sent, as this server keeps nothing.
    store.adopt(&name, &file, &scratch).unwrap_err();
    assert_eq!(sizes.try_recv().unwrap(), local.size);
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn what_a_store_says_comes_with_what_to_do() {
    let cloud = Cloud::start();
    let patience = Timeouts { retry: Duration::ZERO, silence: Duration::from_secs(10) };
    let access = cloud.access("s3");
    let hint = |access: &(String, Named)| {
        let error = open(access, patience).list().unwrap_err();
        (error.to_string(), error.hint().unwrap())
    };
    for (status, code, desired) in [
        (403, "RequestTimeTooSkewed", "timedatectl set-ntp true"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY does not match"),
        (400, "AuthorizationHeaderMalformed", "set AWS_REGION"),
        (404, "NoSuchBucket", "create the bucket or container first"),
        (413, "EntityTooLarge", "client_max_body_size"),
        (423, "Locked", "another client has locked the file"),
        (507, "XMinioStorageFull", "kumadb backup prune"),
        (502, "BadGateway", "the server behind the proxy is not running"),
        (403, "AccessDenied", "check AWS_ACCESS_KEY_ID"),
    ] {
        cloud.trouble(move |_| Some(Trouble::Status(status, code)));
        let (error, hint) = hint(&access);
        assert!(error.contains(code) && hint.contains(desired), "{status}: {error}: {hint}");
    }
    cloud.no_trouble();
    let at = |endpoint: String| {
        let mut access = access.clone();
        access.1[2].1 = endpoint;
        hint(&access)
    };
    let (error, desired) = at("http://127.0.0.1:1".into());
    assert!(
        error.contains("127.0.0.1:1: connection refused") && desired.contains("no service listens"),
        "{error}: {desired}"
    );
    let (error, desired) = at(format!("https://127.0.0.1:{}", cloud.port));
    assert!(desired.contains("this port does not use TLS: use `http://`"), "{error}: {desired}");
    let ssh = listen(|mut stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap());
    let (error, desired) = at(format!("http://{ssh}"));
    assert!(desired.contains("does not speak HTTP"), "{error}: {desired}");
    let page = listen(|mut stream| {
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 12\r\n\r\n<html>\n<br>\n").unwrap();
    });
    let (error, desired) = at(format!("http://{page}"));
    assert!(desired.contains("the endpoint is not an S3 API"), "{error}: {desired}");
    let (error, desired) = at("http://no-such-host.invalid".into());
    assert!(desired.contains("spelling of the host name"), "{error}: {desired}");
}

#[test]
fn a_mistyped_prefix_is_named_with_those_that_have_snapshots() {
    let lab = Lab::sqlite("2.5.3");
    let cloud = Cloud::start();
    let mut access = cloud.access("s3");
    assert_eq!(run(&lab, &access, "backup create").exit, 0);
    access.0 = "s3://shelf/kuma/offsite".into();
    let listed = run(&lab, &access, "backup list");
    assert!(listed.exit == 0 && listed.out.contains("no snapshots of `data` in"), "{}{}", listed.out, listed.err);
    let restored = run(&lab, &access, "restore latest --yes");
    assert_eq!(restored.exit, 8, "{}", restored.err);
    for ran in [listed, restored] {
        assert!(ran.err.contains("none found under this prefix, but in s3://shelf/kuma/off-site"), "{}", ran.err);
    }
}

#[test]
fn config_check_tries_every_store_and_every_receiver_of_alerts() {
    let lab = Lab::sqlite("2.5.3");
    let cloud = Cloud::start();
    let (address, environment) = cloud.access("s3");
    let lines: Vec<String> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines = lines.join("\n");
    let local = lab.root.path().join("snapshots").display().to_string();
    let (send, asked) = channel();
    let server = listen(move |mut stream| {
        let lines: Vec<String> =
            BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        let login = lines.iter().find(|line| line.to_lowercase().starts_with("authorization:"));
        let line = format!("{} {}", lines[0], login.map_or("", |line| line.split_once(": ").unwrap().1));
        let body =
            if line.starts_with("GET") { "{\"ok\":false,\"msg\":\"Monitor not found or not active.\"}" } else { "" };
        let status = if line.starts_with("GET") { "404 Not Found" } else { "405 Method Not Allowed" };
        write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .unwrap();
        send.send(line.trim().to_owned()).unwrap();
    });
    let reported = format!(
        "push_url = \"http://{server}/api/push/Sesame?status=up\"\nwebhook = \"http://{server}/hook/Sesame\"\n\
         healthchecks_url = \"http://{server}/ping/Sesame\"\nntfy_url = \"http://us%65r:Sesame@{server}/kuma\"\n"
    );
    let check = |stores: &[(&str, &str, &str)], exit: i32| {
        let config = configure(&lab, stores, &reported);
        let ran = Ran::of(lab.bare().args(["config", "check", "--connect", "--json", "--config"]).arg(&config));
        assert_eq!(ran.exit, exit, "{}{}", ran.out, ran.err);
        let document: Json = serde_json::from_str(&ran.out).unwrap();
        document["checks"].as_array().unwrap().clone()
    };
    let reached = check(&[("far", &address, &lines), ("near", &local, "")], 0);
    let seen: Vec<_> =
        reached.iter().map(|one| (one["kind"].as_str().unwrap(), one["name"].as_str().unwrap())).collect();
    let alerts = ["push", "healthchecks", "ntfy", "webhook"].map(|kind| (kind, "job"));
    assert_eq!(seen[..3], [("instance", "kuma"), ("store", "far"), ("store", "near")]);
    assert_eq!(seen[3..], alerts);
    assert!(reached.iter().all(|one| one["ok"] == true), "{reached:#?}");
    // Nothing is left behind, nothing was pushed, and no token was said.
    assert_eq!(cloud.names(), Vec::<String>::new());
    assert!(!PathBuf::from(&local).exists());
    let mut asked: Vec<String> = asked.try_iter().collect();
    asked.sort();
    let expected = [
        "GET /api/push/kumadb-config-check HTTP/1.1",
        "GET /ping/00000000-0000-0000-0000-000000000000 HTTP/1.1",
        "OPTIONS /hook/Sesame HTTP/1.1",
        // user:Sesame
        "OPTIONS /kuma HTTP/1.1 Basic dXNlcjpTZXNhbWU=",
    ];
    assert_eq!(asked, expected);
    assert!(!json_text(&reached).contains("Sesame"));
    let log = cloud.shelf().log.clone();
    for method in ["PUT", "GET", "DELETE"] {
        assert!(log.iter().any(|line| line.starts_with(method)), "{method}: {log:#?}");
    }
    // A store that may be listed and not written to, one that is down, one that cannot be.
    cloud.trouble(|request: &Request| (request.method == "PUT").then_some(Trouble::Status(403, "AccessDenied")));
    let down = lines.replace(&format!(":{}", cloud.port), ":1");
    let reached = check(&[("far", &address, &lines), ("down", &address, &down), ("near", "/proc/kumadb/x", "")], 1);
    let failed = reached.iter().filter(|one| one["kind"] == "store").map(|one| one["ok"] == false).collect::<Vec<_>>();
    assert_eq!(failed, [true, true, true], "{reached:#?}");
    assert!(json_text(&reached).contains("connection refused"), "{reached:#?}");
    // As a table.
    let config = configure(&lab, &[("down", &address, &down)], "");
    let ran = Ran::of(lab.bare().args(["config", "check", "--connect", "--config"]).arg(&config));
    assert!(ran.exit == 1 && ran.out.contains("store     down"), "{}", ran.out);
    assert!(ran.err.contains("store `down`: cannot list the store"), "{}", ran.err);
}

fn json_text(reached: &[Json]) -> String {
    serde_json::to_string(reached).unwrap()
}

/// The blocks of the language `kind` on the page.
fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    let begins = format!("\n```{kind}\n");
    page.split(begins.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_docs_are_understood() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stores.md")).unwrap();
    let (configs, credentials) = (blocks(&page, "toml"), blocks(&page, "ini"));
    assert!(configs.len() == credentials.len() && configs.len() >= 7, "{}", configs.len());
    let folder = tempfile::tempdir().unwrap();
    for (config, lines) in configs.into_iter().zip(credentials) {
        let config = read_config("docs/stores.md", config).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (name, place) = config.stores.iter().next().unwrap();
        let file = folder.path().join(format!("{name}.env"));
        assert_eq!(place.credentials_file.as_ref().unwrap().file_name(), file.file_name(), "{name}");
        std::fs::write(&file, lines).unwrap();
        let place = StoreConfig { credentials_file: Some(file), ..place.clone() };
        open_stores(&[&place], &Credentials::default(), &Store::new(folder.path())).unwrap();
    }
}
