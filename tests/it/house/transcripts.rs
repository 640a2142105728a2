//! README and docs/: what their transcripts show is what the program prints, every command in them can be typed, and every
//! link leads somewhere. `SNAPSHOTS=overwrite` writes transcripts that differ into the pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::docked::{Docked, Kind};
use crate::support::dockerd;
use crate::support::lab::Lab;
use crate::support::wait::wait_until;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// README and the pages of docs/, as paths from the root of the project.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if Path::new(ROOT).join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path.display().to_string());
            }
        }
    }
    pages.sort();
    pages
}

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(page)).unwrap()
}

/// A page in pieces: text that is not looked at, and commands with what they print.
enum Piece {
    Text(String),
    Command { line: String, shown: String },
}

/// The pieces of `text`: everything in blocks marked `console` is a transcript.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = vec![Piece::Text(String::new())];
    let mut is_transcript = false;
    for line in text.split_inclusive('\n') {
        let is_fence = line.starts_with("```");
        if is_fence {
            is_transcript = line.trim_end() == "```console";
            if !matches!(pieces.last(), Some(Piece::Text(_))) {
                pieces.push(Piece::Text(String::new()));
            }
        }
        match (pieces.last_mut(), line.strip_prefix("$ ")) {
            (_, Some(command)) if is_transcript && !is_fence => {
                pieces.push(Piece::Command { line: command.trim_end().to_owned(), shown: String::new() });
            }
            (Some(Piece::Text(text)), _) => text.push_str(line),
            (Some(Piece::Command { shown, .. }), _) => shown.push_str(line),
            (None, _) => unreachable!("it begins with one"),
        }
    }
    pieces
}

/// Runs the commands of `page` one after another and compares what they print with what the page shows; `plain` leaves out
/// what differs from run to run.
fn check(page: &str, run: &dyn Fn(&str) -> String, plain: &dyn Fn(&str) -> String) {
    let squeezed = |text: &str| -> String {
        let lines = plain(text).replace(" CEST", " CET");
        lines.lines().map(|line| uncounted(line).join(" ") + "\n").collect()
    };
    let mut now = String::new();
    let mut wrong = Vec::new();
    for piece in pieces(&read(page)) {
        match piece {
            Piece::Text(text) => now.push_str(&text),
            Piece::Command { line, shown } => {
                // Between two commands stands an empty line.
                let tail = if shown.ends_with("\n\n") || shown == "\n" { "\n" } else { "" };
                let printed = run(&line);
                let same = squeezed(&printed).trim_end() == squeezed(&shown).trim_end();
                now.push_str(&format!("$ {line}\n"));
                if same {
                    now.push_str(&shown);
                } else {
                    now.push_str(&format!("{}\n{tail}", printed.trim_end()));
                    wrong.push(format!("$ {line}\n--- the page shows\n{shown}--- it prints\n{printed}"));
                }
            }
        }
    }
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        fs::write(Path::new(ROOT).join(page), now).unwrap();
    } else {
        assert!(wrong.is_empty(), "{page}: run with SNAPSHOTS=overwrite\n{}", wrong.join("\n"));
    }
}

/// The words of `line`, without how many heartbeats it counts: a server writes them all the time.
fn uncounted(line: &str) -> Vec<&str> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    for at in 1..words.len() {
        let counts = words[at].trim_start_matches("heart").starts_with("beat");
        if counts && words[at - 1].bytes().all(|byte| byte.is_ascii_digit()) {
            words[at - 1] = "<n>";
        }
    }
    words
}

/// What a shell prints for `line`, in the order in which it comes.
fn typed(mut shell: Command, line: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_kumadb")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    shell.args(["-c", &format!("exec 2>&1\n{line}")]).env("PATH", path);
    shell.env("TZ", "UTC").env("COLUMNS", "100").stdin(Stdio::null());
    String::from_utf8(shell.output().unwrap().stdout).unwrap()
}

/// `text` without what `names` has, longest first.
fn renamed(text: &str, names: &[(String, &str)]) -> String {
    names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from.as_str(), to))
}

/// What a page about a folder expects to find.
fn furnish(page: &str, lab: &Lab) {
    let write = |name: &str, text: &str| fs::write(lab.root.path().join(name), text).unwrap();
    write("homelab.yaml", &read("fixtures/tour.yaml"));
    match page {
        "docs/fixtures.md" => {
            let shop = "{name: Shop, type: http, url: \"https://shop.example.com\", intervl: 30}";
            write("bad.yaml", &format!("monitors:\n- {shop}\n- {{name: Router, type: pong, hostname: 192.168.1.1}}\n"));
        }
        "docs/bulk-import.md" => write(
            "services.csv",
            "name,type,hostname,port,url,tags\nShop,http,,,https://shop.example.com,env=prod\n\
             Router,ping,192.168.1.1,,,env=prod;network\nSSH,port,192.168.1.10,22,,\n",
        ),
        "docs/repair.md" | "docs/doctor.md" => {
            lab.ok("monitor add group --name Network");
            lab.ok("monitor add http --name Shop --url https://shop.example.com");
            lab.sql("UPDATE monitor SET parent = id WHERE name = 'Network'");
        }
        "docs/backups.md" => {
            lab.ok("monitor add group --name Network");
            lab.ok("monitor add ping --name Router --hostname 192.168.1.1 --parent Network");
            lab.ok("monitor add port --name SSH --hostname 192.168.1.10 --port 22 --parent Network");
            fs::remove_dir_all(lab.store()).unwrap();
        }
        "docs/restore.md" => {
            lab.ok("monitor add http --name Shop --url https://shop.example.com");
            fs::remove_dir_all(lab.store()).unwrap();
            lab.ok("backup create");
            lab.ok("monitor delete Shop --yes");
        }
        "docs/reset-password.md" => {
            write("new-password.txt", "Correct-Horse-2026\n");
            lab.ok("monitor add http --name Shop --url https://shop.example.com");
            lab.sql("UPDATE user SET twofa_status = 1, twofa_secret = 'JBSWY3DPEHPK3PXP'");
        }
        "docs/shrink-history.md" => {
            lab.ok("monitor add http --name Shop --url https://shop.example.com");
            lab.ok("monitor add ping --name Router --hostname 192.168.1.1");
            add_heartbeats(lab, 40_000);
        }
        "docs/status.md" => {
            lab.ok("monitor add group --name Network");
            lab.ok("monitor add ping --name Router --hostname 192.168.1.1 --parent Network --tag env=prod");
            lab.ok("monitor add http --name Shop --url https://shop.example.com");
            lab.ok("monitor add http --name Blog --url https://blog.example.com");
            lab.ok("monitor pause Blog");
            add_status(lab);
        }
        "docs/maintenance.md" => {
            lab.ok("monitor add group --name Network");
            lab.ok("monitor add ping --name Router --hostname 192.168.1.1 --parent Network --tag env=prod");
            lab.ok("monitor add http --name Shop --url https://shop.example.com --tag env=prod");
        }
        "docs/damaged-database.md" => {
            lab.ok("monitor add http --name Shop --url https://shop.example.com");
            add_heartbeats(lab, 5000);
            // A page in the middle of the heartbeats is lost.
            let mut file = fs::read(lab.folder().join("kuma.db")).unwrap();
            let page = file.len() / 4096 / 2;
            file[page * 4096..][..4096].fill(0);
            fs::write(lab.root.path().join("kuma.db"), file).unwrap();
        }
        "docs/schedule.md" => {
            let config = read("packaging/kumadb.toml");
            fs::create_dir_all(lab.store()).unwrap();
            write("kumadb.toml", &config.replace("/var/lib/kumadb/snapshots", &lab.store().display().to_string()));
        }
        _ => {}
    }
}

/// So many heartbeats of all monitors in turn, one every two minutes, from 120 days ago on.
fn add_heartbeats(lab: &Lab, many: u32) {
    lab.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {many} - 1) \
         INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration) \
         SELECT i < 2, 1 + i % (SELECT count(*) FROM monitor), 1, '200 - OK', \
         strftime('%Y-%m-%d %H:%M:%S.000', 'now', '-120 days', '+' || (i * 120) || ' seconds'), 60 FROM n"
    ));
}

/// Two hours of heartbeats with their statistics: Shop was down for 12 minutes, and went down 35 minutes ago.
fn add_status(lab: &Lab) {
    lab.sql(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 120), \
         beat AS (SELECT m.id AS monitor_id, n.i, m.name = 'Shop' AND (n.i < 36 OR n.i BETWEEN 80 AND 91) AS down \
         FROM n, monitor m WHERE m.active) \
         INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration) \
         SELECT i = 120 OR monitor_id = 3 AND i IN (35, 79, 91), monitor_id, NOT down, \
         CASE WHEN down THEN 'Request failed with status code 503' ELSE '200 - OK' END, \
         strftime('%Y-%m-%d %H:%M:%S.000', 'now', '-' || i || ' minutes', '-2 seconds'), \
         CASE WHEN NOT down AND monitor_id > 1 THEN 20 + 7 * monitor_id + i / 4 % 11 END, 60 FROM beat ORDER BY i DESC",
    );
    for (table, unit) in [("stat_minutely", 60), ("stat_hourly", 3600), ("stat_daily", 86_400)] {
        lab.sql(&format!(
            "INSERT INTO {table} (monitor_id, timestamp, up, down, ping, ping_min, ping_max) \
             SELECT monitor_id, strftime('%s', time) / {unit} * {unit} AS at, sum(status = 1), sum(status = 0), \
             coalesce(avg(ping), 0), coalesce(min(ping), 0), coalesce(max(ping), 0) FROM heartbeat GROUP BY monitor_id, at"
        ));
    }
}

#[test]
fn the_transcripts_of_the_pages_are_true() {
    for page in pages().iter().filter(|page| *page != "README.md" && read(page).contains("```console\n")) {
        let lab = Lab::sqlite_in("uptime-kuma", "2.5.3");
        furnish(page, &lab);
        let root = lab.root.path().display().to_string();
        let names = [
            (lab.target.clone(), "/srv/uptime-kuma"),
            (lab.store().display().to_string(), "/var/backups/kuma"),
            (root, "/root"),
        ];
        let run = |line: &str| {
            let mut shell = lab.program("sh");
            if page == "docs/schedule.md" {
                shell.env("KUMADB_CONFIG", lab.root.path().join("kumadb.toml"));
            } else {
                shell.env("KUMADB_TARGET", &lab.target);
            }
            renamed(&typed(shell, line), &names)
        };
        check(page, &run, &|text| lab.plain(text));
    }
}

#[test]
fn the_transcripts_of_the_readme_are_true() {
    let Some(docked) = Docked::up(Kind::Sqlite) else { return };
    // One would be written otherwise than the several on the page.
    wait_until(60, "beats", || docked.sql("SELECT count(*) > 1 FROM heartbeat") == ["1"]);
    // For its shapes alone.
    let lab = Lab::sqlite("2.5.3");
    let store = docked.root().join("store");
    fs::copy(Path::new(ROOT).join("fixtures/tour.yaml"), docked.root().join("homelab.yaml")).unwrap();
    let names = [
        (docked.server.name.clone(), "uptime-kuma"),
        (dockerd::Image::Slim.name().to_owned(), "louislam/uptime-kuma:2.5.3"),
        (docked.folder.path().display().to_string(), "/var/lib/docker/volumes/uptime-kuma/_data"),
        (store.display().to_string(), "/var/lib/kumadb/snapshots"),
        (docked.root().display().to_string(), "/root"),
    ];
    let run = |line: &str| {
        let mut shell = Command::new("sh");
        shell.current_dir(docked.root()).env("XDG_STATE_HOME", docked.root()).env("HOME", docked.root());
        shell.env("KUMADB_TARGET", &docked.server.name).env("KUMADB_STORE", &store);
        renamed(&typed(shell, line), &names)
    };
    check("README.md", &run, &|text| lab.plain(text));
}

/// The blocks of `text` that are marked `language`.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn every_command_of_the_pages_can_be_typed() {
    let bench = tempfile::tempdir().unwrap();
    let file = |name: &str| bench.path().join(name);
    // Only its arguments are looked at; all other programs are not there.
    let program = format!(
        "#!/bin/sh\necho \"$*\" >> {0}/ran\n{1} \"$@\" --help > /dev/null 2> {0}/why || \
         {{ echo \"kumadb $*\"; /bin/cat {0}/why; }} >> {0}/wrong\n",
        bench.path().display(),
        env!("CARGO_BIN_EXE_kumadb")
    );
    fs::create_dir(file("bin")).unwrap();
    fs::write(file("bin/kumadb"), program).unwrap();
    Command::new("chmod").arg("+x").arg(file("bin/kumadb")).status().unwrap();
    let bash = crate::support::need::program(&["bash"]).expect("bash");
    for page in
        pages().iter().chain([&"packaging/README.md".to_owned()]).filter(|page| Path::new(ROOT).join(page).exists())
    {
        for block in blocks(&read(page), "sh") {
            let script = format!("command_not_found_handle() {{ return 0; }}\n{block}\n");
            let mut shell = Command::new(&bash);
            shell.args(["-c", &script]).env_clear().env("PATH", file("bin")).current_dir(bench.path());
            let output = shell.stdin(Stdio::null()).output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(!complaint.contains("syntax error"), "{page}: {complaint}\n{block}");
        }
        let wrong = fs::read_to_string(file("wrong")).unwrap_or_default();
        assert!(wrong.is_empty(), "{page}:\n{wrong}");
    }
    let ran = fs::read_to_string(file("ran")).unwrap();
    assert!(ran.lines().count() > 60, "{ran}");
}

#[test]
fn the_recording_is_true() {
    let lab = Lab::sqlite("2.5.3");
    let (page, drawn) = (Path::new(ROOT).join("docs/demo.svg"), lab.root.path().join("demo.svg"));
    let mut record = Command::new(Path::new(ROOT).join("docs/record"));
    record.arg(&drawn).env("KUMADB", env!("CARGO_BIN_EXE_kumadb"));
    assert!(record.status().unwrap().success());
    let text = |path: &Path| {
        let svg = fs::read_to_string(path).unwrap_or_default();
        let lines = svg.lines().filter_map(|line| line.strip_prefix("<text ")?.split_once('>'));
        lines.map(|(_, line)| lab.plain(line) + "\n").collect::<String>()
    };
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        if text(&drawn) != text(&page) {
            fs::copy(&drawn, &page).unwrap();
        }
    } else {
        assert_eq!(text(&drawn), text(&page), "docs/demo.svg: run docs/record");
    }
}

/// The anchor that a heading gets: small letters, digits, and `-` for blanks.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if !is_code && heading.len() < line.len() && heading.starts_with(' ') {
            let name = anchor(&heading.replace('`', ""));
            let times = found.entry(name.clone()).or_default();
            anchors.push(if *times == 0 { name } else { format!("{name}-{times}") });
            *times += 1;
        }
    }
    anchors
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut pages = pages();
    pages.extend(["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned));
    for page in pages {
        let text = read(&page);
        let prose: String = text.split("```").step_by(2).collect();
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.is_empty()) {
            let (path, place) = link.split_once('#').map_or((link, None), |(path, place)| (path, Some(place)));
            let target = match path {
                "" => PathBuf::from(&page),
                path => Path::new(&page).parent().unwrap().join(path),
            };
            let whole = Path::new(ROOT).join(&target);
            let exists = whole.exists();
            let has_place = place.is_none_or(|place| {
                exists && anchors(&read(&target.display().to_string())).contains(&place.to_owned())
            });
            if !exists || !has_place {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
