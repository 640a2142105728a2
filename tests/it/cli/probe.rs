//! The server seen from outside: what it answers is told in words, and compared with its database. A listener on loopback
//! answers what real servers were seen to answer (2.0.2 and 2.5.3).

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::docked::{Docked, Kind};
use crate::support::lab::{Lab, PASSWORD, Ran, words};
use crate::support::need;

/// What a listener answers: status line and body, by path without its question.
type Pages = BTreeMap<&'static str, (&'static str, String)>;

/// A listener that wants this login for `/metrics`, and what it was asked.
struct Server {
    address: String,
    asked: Receiver<String>,
}

const ENTRY: &str = r#"{"type":"entryPage","entryPage":"dashboard"}"#;

fn serve(pages: Pages, login: Option<&str>) -> Server {
    serve_with(pages, login, None)
}

fn serve_with(pages: Pages, login: Option<&str>, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
    let desired = login.map(|login| format!("basic {}", BASE64_STANDARD.encode(login)));
    let (send, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            match &tls {
                None => drop(answer(stream, &pages, desired.as_deref()).map(|line| send.send(line))),
                Some(tls) => {
                    let session = rustls::ServerConnection::new(tls.clone()).unwrap();
                    let stream = rustls::StreamOwned::new(session, stream);
                    drop(answer(stream, &pages, desired.as_deref()).map(|line| send.send(line)));
                }
            }
        }
    });
    Server { address, asked }
}

/// Answers one question; a client that does not like the certificate asks none.
fn answer(stream: impl Read + Write, pages: &Pages, desired: Option<&str>) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines.first()?.split([' ', '?']).nth(1)?.to_owned();
    let login = lines.iter().find(|line| line.to_lowercase().starts_with("authorization:"));
    let is_let_in = desired.is_none_or(|desired| {
        login.is_some_and(|line| line["authorization:".len()..].trim().to_lowercase() == desired.to_lowercase())
    });
    let nothing = ("404 Not Found", String::new());
    let (status, body) = match path.as_str() {
        "/metrics" if !is_let_in => ("401 Unauthorized", String::new()),
        path => pages.get(path).unwrap_or(&nothing).clone(),
    };
    let more = if status.starts_with("30") { format!("Location: {body}\r\n") } else { String::new() };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n", body.len());
    reader.get_mut().write_all(format!("{head}{body}").as_bytes()).ok()?;
    reader.get_mut().flush().ok()?;
    Some(lines.remove(0))
}

fn metrics(monitors: &[(i64, &str)]) -> String {
    let lines = monitors.iter().map(|(id, name)| {
        format!("monitor_status{{monitor_id=\"{id}\",monitor_name=\"{name}\",monitor_type=\"http\"}} 1\n")
    });
    format!("# HELP monitor_status Monitor Status\n# TYPE monitor_status gauge\n{}", lines.collect::<String>())
}

fn badge(title: &str) -> (&'static str, String) {
    ("200 OK", format!("<svg><title>{title}</title></svg>"))
}

/// `Shop` (1) on a public status page, `Old` (2) paused, `Cron` (3) a push monitor with a token, `Router` (4).
fn furnish(lab: &Lab) {
    lab.ok("monitor add http --name Shop --url https://shop.example.com");
    lab.ok("monitor add http --name Old --url https://old.example.com");
    lab.ok("monitor add push --name Cron");
    lab.ok("monitor add ping --name Router --hostname 192.168.1.1");
    lab.ok("monitor pause Old");
    lab.sql("UPDATE monitor SET push_token = 'SesameOpen' WHERE id = 3");
    lab.sql("INSERT INTO `group` (id, name, public, active, weight) VALUES (1, 'All', 1, 1, 1)");
    lab.sql("INSERT INTO monitor_group (id, monitor_id, group_id, weight) VALUES (1, 1, 1, 1)");
}

fn probe(lab: &Lab, server: &Server, line: &str, stdin: &str) -> Ran {
    let mut command = lab.bare();
    command.args(["-t", &lab.target, "probe", "--url", &server.address]).args(words(line));
    Ran::of(command.write_stdin(format!("{stdin}\n")))
}

#[test]
fn compares_what_a_server_checks_with_its_database() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let page = |text: String| ("200 OK", text);
        let pages = |monitors: &[(i64, &str)]| {
            Pages::from([
                ("/api/entry-page", page(ENTRY.into())),
                ("/metrics", page(metrics(monitors))),
                ("/api/badge/1/status", badge("Status: Up")),
                ("/api/badge/1/uptime/24", badge("Uptime (24h): 100%")),
                ("/api/badge/1/ping/24", badge("Avg. Ping (24h): 12ms")),
                ("/api/badge/1/cert-exp", badge("No/Bad Cert")),
            ])
        };
        let login = format!("admin:{PASSWORD}");
        let server = serve(pages(&[(1, "Shop"), (3, "Cron"), (4, "Router")]), Some(&login));
        let ran = probe(&lab, &server, "--user admin", PASSWORD);
        assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("user `admin` is accepted") && ran.out.contains("Status: Up"), "{}", ran.out);
        assert!(ran.out.ends_with("the running monitors match the database\n"), "{}", ran.out);

        let server = serve(pages(&[(1, "Shop"), (2, "Old"), (9, "Gone")]), Some(&login));
        let ran = probe(&lab, &server, "--user admin --json", PASSWORD);
        assert_eq!(ran.exit, 3);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(found["monitors"]["unchecked"], serde_json::json!([{"id": 4, "path": "Router"}]));
        assert_eq!(
            found["monitors"]["unexpected"],
            serde_json::json!([{"id": 2, "name": "Old"}, {"id": 9, "name": "Gone"}])
        );
        assert_eq!(found["checks"].as_array().unwrap().len(), 6);
        assert!(!ran.out.contains(PASSWORD) && !ran.err.contains(PASSWORD));
        let ran = probe(&lab, &server, "--user admin", PASSWORD);
        assert!(ran.out.contains("1 active monitor is not being checked by the server: `Router` (4)"), "{}", ran.out);
        assert!(
            ran.out.contains("2 monitors checked by the server, but missing or paused in the database"),
            "{}",
            ran.out
        );
    }
}

#[test]
fn says_why_a_login_is_refused() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let pages = Pages::from([("/api/entry-page", ("200 OK", ENTRY.into())), ("/metrics", ("200 OK", metrics(&[])))]);
    let server = serve(pages, Some("nobody:gets in"));
    let why = |line: &str, secret: &str| {
        let ran = probe(&lab, &server, &format!("{line} --json"), secret);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        (ran.exit, found["checks"][1]["meaning"].as_str().unwrap().to_owned())
    };
    let (exit, means) = why("", "");
    assert_eq!((exit, means.starts_with("login required, as expected")), (3, true), "the badges are not there");
    assert_eq!(why("--user admin", "wrong").1, "wrong password");
    assert!(why("--user adnim", PASSWORD).1.starts_with("user `adnim` not found"));
    assert!(why("--user admin", PASSWORD).1.starts_with("user `admin` is valid in this database"));
    assert!(why("--api-key", "uk1_x").1.starts_with("API keys are disabled"));
    let added = lab.json("api-key add prometheus --yes");
    let key = added["api_keys"][0]["key"].as_str().unwrap().to_owned();
    assert!(why("--user admin", PASSWORD).1.starts_with("API keys are enabled"));
    assert!(why("--api-key", &key).1.starts_with("the API key is valid in this database"));
    assert!(why("--api-key", &format!("{key}x")).1.starts_with("wrong key"));
    assert!(why("--api-key", "uk77_x").1.starts_with("API key 77 not found"));
    assert!(why("--api-key", "hello").1.starts_with("not a valid API key"));
    lab.ok("api-key disable prometheus --yes");
    assert!(why("--api-key", &key).1.starts_with("API key `prometheus` is disabled"));
    lab.sql("UPDATE api_key SET active = 1, expires = '2020-01-01 00:00:00'");
    assert_eq!(why("--api-key", &key).1, "API key `prometheus` has expired");
    let ran = probe(&lab, &server, "--password-file /dev/null", "");
    assert_eq!(ran.exit, 2, "a password needs somebody whose it is");
}

#[test]
fn says_who_it_is_that_answers() {
    let lab = Lab::sqlite("2.5.3");
    for (pages, answer, means) in [
        (
            vec![("/api/entry-page", "200 OK", r#"{"type":"setup-database"}"#)],
            "setup-database",
            "the server found no database",
        ),
        (vec![("/", "200 OK", "<title>Uptime Kuma Migration</title>")], "404", "the server is migrating"),
        (vec![("/", "200 OK", "<title>nginx</title>")], "404", "not Uptime Kuma"),
        (vec![("/api/entry-page", "200 OK", "<html>")], "200", "not Uptime Kuma"),
        (vec![("/api/entry-page", "502 Bad Gateway", "")], "502", "a reverse proxy responds"),
        (vec![("/api/entry-page", "403 Forbidden", "")], "403", "a reverse proxy requires"),
        (vec![("/api/entry-page", "301 Moved", "https://kuma.example.com/")], "301", "redirects to https://kuma"),
    ] {
        let pages = pages.into_iter().map(|(path, status, body)| (path, (status, body.to_owned()))).collect();
        let ran = probe(&lab, &serve(pages, None), "--json", "");
        assert_eq!(ran.exit, 1, "{}", ran.out);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(found["checks"].as_array().unwrap().len(), 1, "nothing more is asked");
        let check = &found["checks"][0];
        assert_eq!(check["answer"], answer, "{check}");
        assert!(check["meaning"].as_str().unwrap().starts_with(means), "{check}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = lab.run(&format!("probe --url http://{} --timeout 1s", silent.local_addr().unwrap()));
    assert_eq!((ran.exit, ran.err.contains("timed out")), (1, true), "{}", ran.err);
    let ran = lab.run("probe --url http://127.0.0.1:1");
    assert_eq!((ran.exit, ran.err.contains("connection refused")), (1, true), "{}", ran.err);
    lab.fails(2, "probe --url kuma.example.com");
    let ran = lab.fails(1, "probe");
    assert!(ran.err.contains("no container found, so its URL is unknown") && ran.err.contains("--url"), "{}", ran.err);
}

#[test]
fn believes_only_authorities_that_it_knows() {
    if need::program(&["openssl"]).is_none() {
        return need::left_out("openssl").unwrap_or_default();
    }
    let lab = Lab::sqlite("2.5.3");
    let folder = lab.root.path();
    let openssl = |args: &str| {
        assert!(Command::new("openssl").args(args.split(' ')).current_dir(folder).output().unwrap().status.success());
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=Home -keyout ca.key -out ca.pem");
    openssl("req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile names -out server.pem");
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let pages = Pages::from([("/api/entry-page", ("200 OK", ENTRY.into())), ("/metrics", ("401 No", String::new()))]);
    let server = serve_with(pages, None, Some(config));
    let ran = probe(&lab, &server, "", "");
    assert_eq!(
        (ran.exit, ran.err.contains("the certificate is signed by an unknown authority")),
        (1, true),
        "{}",
        ran.err
    );
    for option in ["--insecure", "--ca ca.pem"] {
        let ran = probe(&lab, &server, option, "");
        assert_eq!(ran.exit, 0, "{option}: {}{}", ran.out, ran.err);
    }
    let other = Server { address: server.address.replace("localhost", "127.0.0.1"), asked: channel().1 };
    let ran = probe(&lab, &other, "--ca ca.pem", "");
    assert_eq!((ran.exit, ran.err.contains("is for another host: localhost")), (1, true), "{}", ran.err);
    let ran = probe(&lab, &server, "--ca ca.key", "");
    assert_eq!((ran.exit, ran.err.contains("does not contain a certificate")), (2, true), "{}", ran.err);
}

#[test]
fn pushes_a_beat_and_sees_it() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let pages = || {
            Pages::from([
                ("/api/entry-page", ("200 OK", ENTRY.into())),
                ("/api/push/SesameOpen", ("200 OK", r#"{"ok":true}"#.to_owned())),
            ])
        };
        let server = serve(pages(), None);
        let line = |more: &str| format!("push Cron --url {} {more}", server.address);
        let ran = lab.run(&line("--status down --msg 'disk is full' --ping 12.5 --json"));
        assert_eq!(ran.exit, 0, "{}", ran.err);
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((found["monitor"]["id"].as_i64(), found["status"].as_str()), (Some(3), Some("down")));
        let asked: Vec<String> = (0..2).map(|_| server.asked.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
        assert!(asked[0].starts_with("GET /api/entry-page "), "the token goes to a real server only: {asked:?}");
        assert!(
            asked[1].starts_with("GET /api/push/SesameOpen?status=down&msg=disk%20is%20full&ping=12.5 "),
            "{asked:?}"
        );
        assert!(!ran.out.contains("Sesame") && !ran.err.contains("Sesame"), "the token is secret");
        // Taken, and not in this database.
        assert_eq!(lab.run(&line("--wait-beats 1s")).exit, 3);
        let lab = Arc::new(Mutex::new(lab));
        let late = lab.clone();
        let line = line("--wait-beats 20s");
        let command = {
            let lab = lab.lock().unwrap();
            let mut command = lab.bare();
            command.args(["-t", &lab.target]).args(words(&line));
            command
        };
        while server.asked.try_recv().is_ok() {}
        let writer = std::thread::spawn(move || {
            while !server.asked.recv().unwrap().starts_with("GET /api/push") {}
            late.lock().unwrap().sql(
                "INSERT INTO heartbeat (monitor_id, status, time, msg) VALUES (3, 1, '2026-01-01 00:00:00', 'seen')",
            );
        });
        let mut command = command;
        let ran = Ran::of(&mut command);
        writer.join().unwrap();
        assert!(ran.out.contains("heartbeat: up: seen"), "{}{}", ran.out, ran.err);
    }
}

#[test]
fn pushes_only_what_the_server_would_take() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let refuses = Pages::from([
        ("/api/entry-page", ("200 OK", ENTRY.into())),
        ("/api/push/SesameOpen", ("404 Not Found", r#"{"ok":false,"msg":"Monitor not found or not active."}"#.into())),
    ]);
    let server = serve(refuses, None);
    let fails = |exit: i32, rest: &str| lab.fails(exit, &format!("push {rest} --url {}", server.address));
    let ran = fails(1, "Cron");
    assert!(
        ran.err.contains("did not accept the heartbeat of `Cron`: Monitor not found") && !ran.err.contains("Sesame"),
        "{}",
        ran.err
    );
    assert!(fails(2, "Shop").err.contains("not a push monitor"));
    assert!(fails(8, "Corn").err.contains("Cron"));
    fails(2, "Cron --ping fast");
    lab.ok("monitor pause Cron");
    assert!(fails(9, "Cron").err.contains("is paused"));
    let stranger = serve(Pages::from([("/api/push/SesameOpen", ("200 OK", r#"{"ok":true}"#.to_owned()))]), None);
    lab.ok("monitor resume Cron");
    let ran = lab.fails(1, &format!("push Cron --url {}", stranger.address));
    assert!(ran.err.contains("not Uptime Kuma"), "{}", ran.err);
    let asked: Vec<String> = stranger.asked.try_iter().collect();
    assert!(asked.iter().all(|line| !line.contains("Sesame")), "{asked:?}");
}

#[test]
fn finds_where_a_container_answers() {
    for (args, how) in [(&["--network", "bridge"][..], "container's own address"), (&[], "the host's network")] {
        let Some(lab) = Docked::with(Kind::Sqlite, args) else { return };
        let ran = lab.kumadb(&["--json", "probe"]);
        let found = ran.json();
        assert_eq!((found["how"].as_str(), found["checks"][0]["ok"].as_bool()), (Some(how), Some(true)));
        // The stand-in has no metrics.
        assert_eq!((ran.code, found["checks"][1]["answer"].as_str()), (3, Some("404")));
        crate::support::dockerd::cli(&["stop", &lab.server.name]);
        lab.kumadb(&["probe"]).ended(1).printed("it is stopped");
    }
}
