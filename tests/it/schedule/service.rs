//! The schedule as a service: the real binary with a real clock, listeners on loopback, signals and kills.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::backup::encrypted::{identity, recipient};
use crate::support::cloud::{Cloud, Trouble};
use crate::support::lab::{Lab, Ran};
use crate::support::rounds;
use crate::support::wait::wait_until;

/// What somebody sent: the request line, and the body.
type Request = (String, String);

/// Listens on loopback and answers every request with `status` and `body`.
fn listen(status: &'static str, body: &'static str) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (send, requests) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            if send.send(answer(connection.unwrap(), status, body)).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn answer(connection: TcpStream, status: &str, body: &str) -> Request {
    let mut reader = BufReader::new(connection);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut content).unwrap();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    reader.get_mut().write_all(answer.as_bytes()).unwrap();
    (head[0].clone(), String::from_utf8(content).unwrap())
}

/// Writes a config with the lab as `kuma` and the job `job`, whose further lines are `more`.
fn configure(lab: &Lab, cron: &str, more: &str) -> PathBuf {
    let path = lab.root.path().join("kumadb.toml");
    let text = format!(
        "[stores.local]\naddress = \"{}\"\n[instances.kuma]\ntarget = \"{}\"\n[policies.few]\nkeep_last = \
         3\n[jobs.job]\n\
         cron = \"{cron}\"\ninstances = [\"kuma\"]\nstores = [\"local\"]\n{more}",
        lab.store().display(),
        lab.target
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn ids(lab: &Lab) -> Vec<String> {
    let listed = lab.json("backup list");
    listed["snapshots"].as_array().unwrap().iter().map(|one| one["manifest"]["id"].as_str().unwrap().into()).collect()
}

#[test]
fn a_run_that_went_well_is_reported_to_every_receiver() {
    for lab in Lab::both("2.5.3") {
        let (kuma, pushed) = listen("200 OK", "{\"ok\":true}");
        let (hook, posted) = listen("204 No Content", "");
        let (checks, pinged) = listen("200 OK", "OK");
        let (ntfy, published) = listen("200 OK", "{}");
        let root = lab.root.path().to_owned();
        let push_url = root.join("push-url");
        std::fs::write(&push_url, format!("{kuma}/api/push/Sesame?status=up&msg=OK&ping=\n")).unwrap();
        let seen = root.join("seen");
        let config = configure(
            &lab,
            "0 3 * * *",
            &format!(
                "push_url_file = \"{}\"\nwebhook = \"{hook}/hook\"\nmetrics = \"{}\"\nverify = true\nretention = \
                 \"few\"\n\
                 healthchecks_url = \"{checks}/ping/key/nightly?create=1\"\nntfy_url = \"{ntfy}/kuma\"\n\
                 before = [\"touch\", \"{}\"]\nafter = [\"sh\", \"-c\", \"echo $KUMADB_JOB $KUMADB_STATUS $KUMADB_SNAPSHOTS > {}\"]\n\
                 on_failure = [\"false\"]\n",
                push_url.display(),
                root.join("kumadb.prom").display(),
                root.join("before").display(),
                seen.display()
            ),
        );
        let ran = lab.json(&format!("backup schedule --once job --config {}", config.display()));
        let id = ids(&lab).remove(0);
        assert_eq!((&ran["ok"], &ran["snapshots"][0]["id"]), (&Json::Bool(true), &Json::String(id.clone())));
        let (line, _) = pushed.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(line.starts_with("GET /api/push/Sesame?status=up&msg=1%20snapshot"), "{line}");
        assert!(line.contains("&ping=") && line.matches("status=").count() == 1, "{line}");
        let begun: Json = serde_json::from_str(&posted.recv_timeout(Duration::from_secs(5)).unwrap().1).unwrap();
        assert_eq!((&begun["job"], &begun["event"]), (&"job".into(), &"started".into()));
        let done: Json = serde_json::from_str(&posted.recv_timeout(Duration::from_secs(5)).unwrap().1).unwrap();
        assert_eq!((&done["event"], &done["snapshots"][0]["id"]), (&"succeeded".into(), &id.as_str().into()));
        let began = pinged.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(began, ("POST /ping/key/nightly/start?create=1 HTTP/1.1".into(), String::new()));
        let (line, body) = pinged.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(line, "POST /ping/key/nightly?create=1 HTTP/1.1");
        assert!(body.starts_with("1 snapshot, "), "{body}");
        assert!(published.try_recv().is_err(), "ntfy is only told about failures");
        assert!(root.join("before").exists());
        assert_eq!(std::fs::read_to_string(&seen).unwrap(), format!("job ok {id}\n"));
        let metrics = std::fs::read_to_string(root.join("kumadb.prom")).unwrap();
        assert!(metrics.contains("kumadb_backup_job_last_run_success{job=\"job\"} 1\n"), "{metrics}");
        let labels = "{job=\"job\",instance=\"kuma\",store=\"local\"}";
        for line in ["last_run_success{} 1\n", "last_success_timestamp_seconds{} 1", "last_run_size_bytes{} "] {
            let line = format!("kumadb_backup_{}", line.replace("{}", labels));
            assert!(metrics.contains(&line), "{line}: {metrics}");
        }
        let ours = metrics.lines().filter(|line| line.starts_with("# TYPE kumadb_backup_")).count();
        assert_eq!((ours, metrics.lines().filter(|line| line.starts_with("# HELP kumadb_backup_")).count()), (10, 10));
        // A name of the config file is a target like any other.
        let named = Ran::of(lab.bare().args(["-t", "kuma", "monitor", "list", "--config"]).arg(&config));
        assert_eq!((named.exit, named.out.as_str()), (0, "no monitors yet\n"), "{}", named.err);
    }
}

#[test]
fn a_run_that_fails_says_so_to_everybody_and_by_its_exit_code() {
    let lab = Lab::sqlite("2.5.3");
    let (kuma, pushed) = listen("200 OK", "{\"ok\":true}");
    let (hook, posted) = listen("500 Internal Server Error", "");
    let (checks, pinged) = listen("200 OK", "OK");
    let (ntfy, published) = listen("200 OK", "{}");
    let seen = lab.root.path().join("seen");
    let config = configure(
        &lab,
        "0 3 * * *",
        &format!(
            "push_url = \"{kuma}/api/push/Sesame\"\nwebhook = \"{hook}/secret-path\"\nafter = [\"false\"]\n\
             healthchecks_url = \"{checks}/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278\"\nntfy_url = \"{ntfy}/kuma\"\n\
             on_failure = [\"sh\", \"-c\", \"echo $KUMADB_STATUS: $KUMADB_MESSAGE > {}\"]\n",
            seen.display()
        ),
    );
    std::fs::write(lab.folder().join("kuma.db"), "damaged").unwrap();
    let ran = lab.run(&format!("backup schedule --once job --config {}", config.display()));
    assert_eq!(ran.exit, 7, "{}", ran.err);
    let (line, _) = pushed.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(line.contains("status=down&msg=%60kuma%60") && line.contains("not%20a%20SQLite%20database"), "{line}");
    posted.recv_timeout(Duration::from_secs(5)).unwrap();
    let failed: Json = serde_json::from_str(&posted.recv_timeout(Duration::from_secs(5)).unwrap().1).unwrap();
    assert_eq!(failed["event"], "failed");
    let pings = [(); 2].map(|()| pinged.recv_timeout(Duration::from_secs(5)).unwrap());
    assert_eq!(pings[0].0, "POST /5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278/start HTTP/1.1");
    assert_eq!(pings[1].0, "POST /5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278/fail HTTP/1.1");
    assert!(pings[1].1.contains("not a SQLite database"), "{}", pings[1].1);
    let (line, body) = published.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(line, "POST /kuma?title=Backup%20job%20job%20failed&priority=high&tags=warning HTTP/1.1");
    assert!(body.contains("not a SQLite database"), "{body}");
    assert!(std::fs::read_to_string(&seen).unwrap().starts_with("failed: `kuma`"));
    assert!(
        ran.err.contains("cannot send the webhook: the server answered with HTTP status 500")
            && !ran.err.contains("secret-path"),
        "{}",
        ran.err
    );
    assert!(ids(&lab).is_empty());
}

#[test]
fn a_receiver_that_cannot_be_reached_is_a_warning() {
    let lab = Lab::sqlite("2.5.3");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = configure(
        &lab,
        "0 3 * * *",
        &format!("push_url = \"http://{free}/api/push/Sesame\"\nafter = [\"sleep\", \"30\"]\nhook_timeout = \"1s\"\n"),
    );
    let ran = lab.fails(3, &format!("backup schedule --once job --config {}", config.display()));
    assert!(ran.err.contains("cannot send the push") && !ran.err.contains("Sesame"), "{}", ran.err);
    assert!(ran.err.contains("command `sleep` failed: not finished within 1 s"), "{}", ran.err);
    assert_eq!(ids(&lab).len(), 1);
    let (kuma, _) = listen("404 Not Found", "{\"ok\":false,\"msg\":\"Monitor not found or not active.\"}");
    let config = configure(&lab, "0 3 * * *", &format!("push_url = \"{kuma}/api/push/Wrong\"\n"));
    let ran = lab.fails(3, &format!("backup schedule --once job --config {}", config.display()));
    assert!(ran.err.contains("cannot send the push: the server answered with HTTP status 404"), "{}", ran.err);
    let refused = lab.fails(2, &format!("backup schedule --once other --config {}", config.display()));
    assert!(refused.err.contains("unknown job `other`"), "{}", refused.err);
    let missing = lab.fails(2, "backup schedule --config /no/such.toml");
    assert!(missing.err.contains("no config file found: looked for `/no/such.toml`"), "{}", missing.err);
    let checked = lab.ok(&format!("config check --config {}", config.display()));
    assert!(checked.starts_with("no problems found: 1 store, 1 instance, 1 job"), "{checked}");
}

/// The schedule on the lab, running.
fn start(lab: &Lab, config: &PathBuf, notify: Option<&PathBuf>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
    command.args(["backup", "schedule", "--config"]).arg(config);
    command.env("DOCKER_HOST", "unix:///no-docker-here.sock").env("XDG_STATE_HOME", lab.root.path().join("state"));
    if let Some(notify) = notify {
        command.env("NOTIFY_SOCKET", notify);
    }
    command.current_dir(lab.root.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// How the process ended; killed by us if it does not within 20 s.
fn end(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it did not end");
}

/// Waits until it has its job, and with that listens to signals.
fn listens(lab: &Lab, service: &Child) {
    let (lock, pid) = (lab.root.path().join("state/kumadb/jobs/job.lock"), format!("pid {}", service.id()));
    wait_until(20, &pid, || std::fs::read_to_string(&lock).is_ok_and(|holder| holder.ends_with(&pid)));
}

/// What a service tells the socket of systemd at `path`. It is taken as it comes: with ten unread a service waits.
fn hear(path: &PathBuf) -> Receiver<String> {
    let socket = UnixDatagram::bind(path).unwrap();
    let (report, reported) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = socket.recv(&mut buffer)
            && report.send(String::from_utf8_lossy(&buffer[..n]).into_owned()).is_ok()
        {}
    });
    reported
}

/// Archives in the store, whatever they are worth.
fn archives(lab: &Lab) -> usize {
    let files = std::fs::read_dir(lab.store().join("kuma")).into_iter().flatten().flatten();
    files.filter(|entry| entry.file_name().to_string_lossy().ends_with(".zst")).count()
}

#[test]
fn a_service_reports_to_systemd_and_ends_cleanly_when_it_is_asked_to() {
    let lab = Lab::sqlite("2.5.3");
    let config = configure(&lab, "* * * * * *", "retention = \"few\"\n");
    let socket = lab.root.path().join("notify");
    let reported = hear(&socket);
    let mut service = start(&lab, &config, Some(&socket));
    let patience = Duration::from_secs(20);
    let ready = reported.recv_timeout(patience).unwrap();
    assert!(ready.contains("READY=1") && ready.contains("STATUS=next run: `job` at"), "{ready}");
    wait_until(20, "three snapshots", || archives(&lab) >= 3);
    // A second one finds all jobs taken.
    let mut second = start(&lab, &config, None);
    assert_eq!(end(&mut second), Some(6));
    signal(&service, "-TERM");
    assert_eq!(end(&mut service), Some(0));
    let mut watched = false;
    while let one = reported.recv_timeout(patience).unwrap()
        && !one.contains("STOPPING=1")
    {
        watched |= one.contains("WATCHDOG=1");
    }
    assert!(watched && reported.recv_timeout(Duration::from_millis(200)).is_err());
    lab.ok("backup verify");
    assert!(ids(&lab).len() <= 4, "retention: {:?}", ids(&lab));
    let mut interrupted = start(&lab, &config, None);
    listens(&lab, &interrupted);
    signal(&interrupted, "-INT");
    assert_eq!(end(&mut interrupted), Some(0));
}

#[test]
fn killed_at_any_time_it_leaves_whole_snapshots_and_continues() {
    for lab in Lab::both("2.5.3") {
        let config = configure(&lab, "* * * * * *", "retention = \"few\"\n");
        let mut ended = 0;
        let rounds = rounds::draw(10, 4);
        for (n, round) in rounds.iter().enumerate() {
            let mut service = start(&lab, &config, None);
            listens(&lab, &service);
            // Runs begin with each second.
            std::thread::sleep(Duration::from_millis(900 + *round as u64 * 97));
            let how = if n % 2 == 0 { "-KILL" } else { "-TERM" };
            signal(&service, how);
            let exit = end(&mut service);
            ended += u32::from(exit.is_none());
            assert!(exit.is_none() || exit == Some(0), "{how}: {exit:?}");
            // The first run may be killed before its snapshot is stored.
            if !ids(&lab).is_empty() {
                lab.ok("backup verify");
            }
        }
        assert_eq!(ended as usize, rounds.len() / 2);
        // The next run clears away what was left.
        lab.ok(&format!("backup schedule --once job --config {}", config.display()));
        lab.ok("monitor list");
        assert!(ids(&lab).len() <= 4, "{:?}", ids(&lab));
        let left = std::fs::read_dir(lab.store()).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_store_that_is_down_costs_only_its_own_copy() {
    let lab = Lab::sqlite("2.5.3");
    let cloud = Cloud::start();
    let (address, environment) = cloud.access("s3");
    let (kuma, pushed) = listen("200 OK", "{\"ok\":true}");
    let keys = lab.root.path().join("keys.env");
    let (secret, others): (Vec<_>, Vec<_>) = environment.iter().partition(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY");
    let lines: Vec<String> = others.iter().map(|(name, value)| format!("{name}={value}")).collect();
    std::fs::write(&keys, format!("# what opens the store\n{}\n", lines.join("\n"))).unwrap();
    let config = configure(&lab, "0 3 * * *", &format!("push_url = \"{kuma}/api/push/Sesame\"\nverify = true\n"));
    let text = std::fs::read_to_string(&config).unwrap().replace("[\"local\"]", "[\"local\", \"away\"]");
    let away = format!("[stores.away]\naddress = \"{address}\"\ncredentials_file = \"{}\"\n", keys.display());
    std::fs::write(&config, text + &away).unwrap();
    let run = format!("backup schedule --once job --config {}", config.display());
    // What the file does not name comes from the environment, which may name a file in turn.
    let file = lab.root.path().join("secret");
    std::fs::write(&file, format!("{}\n", secret[0].1)).unwrap();
    let mut command = lab.bare();
    command.env("AWS_SECRET_ACCESS_KEY_FILE", &file).args(run.split(' ')).assert().success();
    assert!(pushed.recv_timeout(Duration::from_secs(5)).unwrap().0.contains("status=up"));
    assert_eq!(cloud.names().len(), 2);
    let text = std::fs::read_to_string(&keys).unwrap();
    std::fs::write(&keys, format!("{text}AWS_SECRET_ACCESS_KEY={}\n", secret[0].1)).unwrap();
    cloud.trouble(|_| Some(Trouble::Status(403, "AccessDenied")));
    let ran = lab.fails(3, &run);
    let down = pushed.recv_timeout(Duration::from_secs(5)).unwrap().0;
    assert!(down.contains("status=down") && down.contains("the%20store"), "{down}");
    assert!(ran.err.contains("cannot"), "{}", ran.err);
    assert_eq!((ids(&lab).len(), cloud.names().len()), (2, 2));
    cloud.no_trouble();
    lab.ok(&run);
    assert_eq!((ids(&lab).len(), cloud.names().len()), (3, 4));
}

#[test]
fn a_config_that_names_a_missing_instance_is_refused_by_name() {
    let lab = Lab::sqlite("2.5.3");
    let configured = |more: &str| configure(&lab, "0 3 * * *", more).display().to_string();
    let wrong = configured(&format!(
        "encrypt_to = [\"{}\"]\nrestore_test_every = 2\npush_url_file = \"/nowhere/url\"\nwebhook = \"nonsense\"\n\
         before = [\"no-such-program\", \"now\"]\nafter = [\"true\"]\nmetrics = \"/nowhere/kuma.prom\"\n\
         [stores.far]\naddress = \"s3://bucket\"\ncredentials_file = \"/nowhere/far\"\n[stores.near]\naddress = \"/tmp\"\ncredentials_file = \"/nowhere/keys\"\n\
         [instances.other]\ntarget = \"x\"\nencrypt_to = [\"garbage\"]\n",
        recipient()
    ));
    let given = lab.fails(1, &format!("config check --config {wrong}")).out;
    for words in [
        "[stores.far] ",
        "[stores.near] ",
        "[instances.other] `garbage` is not a valid age recipient",
        "[jobs.job] the restore test must decrypt snapshots, but no `identity_file` is set",
        "[jobs.job] cannot read `/nowhere/url`: no such file or directory",
        "[jobs.job] cannot send the webhook: invalid URL",
        "[jobs.job] program `no-such-program` not found",
        "[jobs.job] the folder `/nowhere` for the metrics does not exist",
        "8 problems found",
    ] {
        assert!(given.contains(words), "{words}: {given}");
    }
    assert!(lab.ok(&format!("config check --config {}", configured(""))).contains("no problems found"));
}

#[test]
fn nothing_goes_for_a_snapshot_that_did_not_pass() {
    let lab = Lab::sqlite("2.5.3");
    let (recipient, key) = (recipient(), identity(&lab));
    let more =
        |key: &str| format!("encrypt_to = [\"{recipient}\"]\nrestore_test_every = 1\nretention = \"few\"\n{key}");
    let run = |config: PathBuf| format!("backup schedule --once job --config {}", config.display());
    let opens = format!("identity_file = \"{}\"\n", key.display());
    for _ in 0..3 {
        lab.ok(&run(configure(&lab, "0 3 * * *", &more(&opens))));
    }
    // Its drills cannot open what it takes.
    lab.fails(3, &run(configure(&lab, "0 3 * * *", &more(""))));
    assert_eq!(ids(&lab).len(), 4);
}

#[test]
fn encrypted_snapshots_are_verified_tested_and_kept_by_policy() {
    for lab in Lab::both("2.5.3") {
        let (recipient, key) = (recipient(), identity(&lab));
        let config = configure(
            &lab,
            "0 3 * * *",
            &format!(
                "encrypt_to = [\"{recipient}\"]\nidentity_file = \"{}\"\nverify = true\nrestore_test_every = \
                 1\nretention = \"few\"\n",
                key.display()
            ),
        );
        for _ in 0..4 {
            lab.ok(&format!("backup schedule --once job --config {}", config.display()));
        }
        let listed = lab.json("backup list");
        let all = listed["snapshots"].as_array().unwrap();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|one| one["encrypted"] == true), "{listed:#}");
    }
}
