//! What goes wrong, one line each (a table, and as long as one): what was typed, the exit code, the message, and what it
//! says to try next.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::Command as Binary;

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, PASSWORD, Ran, words};
use crate::support::mariadbd::Mariadbd;
use crate::support::wait::wait_until;

/// `line` must end with `exit`, its message must be `message` and its hint `hint` (both without what differs from run to
/// run), and the database must be as before.
#[track_caller]
fn check(lab: &Lab, line: &str, exit: i32, message: &str, hint: &str) {
    reported(lab, &lab.run(line), line, exit, message, hint);
}

#[track_caller]
fn reported(lab: &Lab, ran: &Ran, line: &str, exit: i32, message: &str, hint: &str) {
    let printed = lab.rooted(&ran.err);
    let after = printed.split_once("error: ").map_or("", |(_, after)| after);
    let is_hint = |line: &&str| line.starts_with("  try: ") || line.starts_with("  hint: ");
    let (hints, found): (Vec<&str>, Vec<&str>) = after.trim_end().lines().partition(is_hint);
    let text = |line: &&str| line.split_once(": ").map_or("", |(_, text)| text).to_owned();
    let (found, tried) = (found.join("\n"), hints.iter().map(text).collect::<Vec<_>>().join("\n"));
    assert_eq!((ran.exit, &*found, &*tried), (exit, message, hint), "\n{line}\n{}", ran.err);
    assert_eq!(ran.out, "", "{line}");
}

/// The table: `line => exit, message, hint`.
macro_rules! checks {
    ($lab:expr; $($line:expr => $exit:expr, $message:expr, $hint:expr;)*) => {
        $(check($lab, $line, $exit, $message, $hint);)*
    };
}

#[test]
fn fields_that_are_wrong() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let before = lab.content();
    checks! { &lab;
        "monitor add http --name X" =>
            2, "url: is required by type `http`", "--url https://example.com";
        "monitor add group" =>
            2, "name: is required", "--name Shop";
        "monitor add ping --name X" =>
            2, "hostname: is required by type `ping`", "--hostname example.com";
        "monitor add http --name X --url example.com" =>
            2, "url: invalid value `example.com`; must start with `http://` or `https://`", "--url https://example.com";
        "monitor add ping --name X --hostname https://example.com/x" =>
            2, "hostname: must be a host name or address, not a URL", "--hostname example.com";
        "monitor add port --name X --hostname example.com:443 --port 1" =>
            2, "hostname: `example.com:443` contains a port", "--hostname example.com --port 443";
        "monitor add port --name X --hostname h --port 70000" =>
            2, "port: invalid value 70,000; must be 1 to 65,535", "--port 65535";
        "monitor add http --name X --url https://e.com --interval 1m" =>
            2, "interval: must be an integer, not `1m`", "--interval 60";
        "monitor add http --name X --url https://e.com --interval 0" =>
            2, "interval: invalid value 0 s; must be 1 to 2,147,483 s in release 2.5.3", "--interval 1";
        "monitor add http --name X --url https://e.com --timeout -1" =>
            2, "timeout: invalid value -1; must not be negative", "--timeout 48";
        "monitor add http --name X --url https://e.com --method GTE" =>
            2, "method: invalid value `GTE`; must be one of `GET`, `HEAD`, `OPTIONS`, `POST`, `PUT`, `PATCH`, `DELETE`",
            "--method GET";
        "monitor add http --name X --url https://e.com --accepted-statuscodes 2xx" =>
            2, "accepted_statuscodes_json: `2xx` is not a valid status code; use `204` or `200-299`",
            "--accepted-statuscodes 200-299,301";
        "monitor add http --name X --url https://e.com --headers 'X-Key: y'" =>
            2, "headers: is not valid JSON (line 1, column 1)", "--headers '{\"X-Key\": \"value\"}'";
        "monitor add http --name X --url https://e.com --ignore-tls maybe" =>
            2, "ignore_tls: must be `true` or `false`, not `maybe`", "";
        "monitor add http --name X --url https://e.com --auth-method oauth2-cc --oauth-client-id x --oauth-token-url \
         https://t" =>
            2, "oauth_client_secret: is required by authentication method `oauth2-cc`", "--oauth-client-secret …";
        "monitor add mongodb --name X --database-connection-string mysql://db" =>
            2, "database_connection_string: must start with `mongodb://` or `mongodb+srv://`",
            "--database-connection-string mongodb://kuma:…@db/app";
        "monitor add ping --name X --hostname h --timeout 301" =>
            2, "timeout: invalid value 301 s; must be 1 to 300 s for a ping", "--timeout 10";
        "monitor add system-service --name X --system-service-name 'a b'" =>
            2, "system_service_name: `a b` is not a valid service name; use letters, digits and `._-@`",
            "--system-service-name sshd";
        "monitor add push --name X --push-token 'no good'" =>
            2, "push_token: has characters other than letters, digits, `-` and `_`",
            "omit `push_token` to generate one";
        "monitor edit Router -s interval" =>
            2, "--set: `interval` is not FIELD=VALUE", "--set interval=30";
        "monitor edit Router -s intervall=30" =>
            2, "--set: no field `intervall` (did you mean `interval`?)", "--set interval=30";
        "monitor edit Router -s id=7" =>
            2, "id: is only written by the server", "omit `id`";
        "monitor edit Router -s url=https://e.com" =>
            2, "url: is not a field of type `ping`", "kumadb monitor add ping --help";
        "monitor edit Router -s name=" =>
            2, "name: is required", "--set name=Shop";
        "monitor edit Switch -s hostname=example.com:22" =>
            2, "hostname: `example.com:22` contains a port", "--set hostname=example.com --set port=22";
        "monitor edit Router -s interval=" =>
            2, "interval: cannot be unset", "--set interval=60";
        "monitor clone Network --name Other -s url=https://e.com" =>
            2, "url: is not a field of type `group`", "kumadb monitor add group --help";
    }
    let several = lab.run("monitor add http --url ftp://x --interval 0 --maxretries -1");
    assert_eq!((several.exit, several.err.lines().count()), (2, 6), "all problems at once: {}", several.err);
    assert!(lab.content() == before, "wrong input changed the database");
}

#[test]
fn limits_are_those_of_the_release() {
    let line =
        |interval: &str| format!("monitor add http --name 'I {interval}' --url https://e.com --interval {interval}");
    let (old, new) = (Lab::sqlite("2.0.2"), Lab::sqlite("2.5.3"));
    checks! { &old;
        &line("19") =>
            2, "interval: invalid value 19 s; must be 20 to 2,073,600 s in release 2.0.2", "--interval 20";
        &line("2073601") =>
            2, "interval: invalid value 2,073,601 s; must be 20 to 2,073,600 s in release 2.0.2", "--interval 2073600";
        "monitor add ntp --name X --hostname h" =>
            2, "type: `ntp` is available since release 2.5.0; this instance is 2.0.2", "upgrade the server to 2.5.0 first";
        "monitor add http --name X --url https://e.com --save-response" =>
            2, "save_response: is available since release 2.1.0; this instance is 2.0.2", "omit `save_response`";
        "monitor add dns --name X --hostname e.com --dns-resolve-server 1.1.1.1,8.8.8.8" =>
            2, "dns_resolve_server: invalid value `1.1.1.1,8.8.8.8`; release 2.0.2 accepts only one IP address",
            "--dns-resolve-server 1.1.1.1";
        "monitor add snmp --name X --hostname h --port 161 --snmp-oid 1 --expected-value 1 --snmp-version 3" =>
            2, "snmp_version: `3` is available since release 2.1.0; this instance is 2.0.2", "--snmp-version 1";
    }
    for interval in ["19", "2073601"] {
        new.ok(&line(interval));
    }
}

#[test]
fn names_that_mean_nothing_here() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let add = "monitor add http --name X --url https://e.com";
    let page = "in the web UI: Settings >";
    checks! { &lab;
        &format!("{add} --tag evn=prod --no-create-tags") =>
            2, "--tag: no tag `evn` (did you mean `env`?)", "remove `--no-create-tags` to create it";
        &format!("{add} --notification opps") =>
            2, "--notification: no notification `opps` (did you mean `ops`?)",
            &format!("add notifications {page} Notifications");
        &format!("{add} --proxy elsewhere") =>
            2, "--proxy: no proxy `elsewhere`", &format!("add proxies {page} Proxies");
        "monitor add docker --name X --docker-container nginx --docker-host locl" =>
            2, "--docker-host: no docker host `locl` (did you mean `local`?)",
            &format!("add Docker hosts {page} Docker Hosts");
        "monitor add real-browser --name X --url https://e.com --remote-browser chrome" =>
            2, "--remote-browser: no remote browser `chrome`",
            &format!("add remote browsers {page} Remote Browsers");
        &format!("{add} --parent Netwrok") =>
            2, "--parent: group `Netwrok` not found (did you mean `Network`?)", "--parent Network";
        &format!("{add} --parent Elsewhere") =>
            2, "--parent: group `Elsewhere` not found", "kumadb monitor add group --name Elsewhere";
        &format!("{add} --parent Router") =>
            2, "--parent: `Router` has type ping; only a group can be a parent", "";
        "monitor edit Network -s parent=Network" =>
            2, "--parent: `Network` cannot be its own parent", "";
        &format!("{add} --tag =x") =>
            2, "--tag: the name of the tag is missing", "use NAME or NAME=VALUE";
        "monitor edit Router --add-tag evn=x --no-create-tags" =>
            2, "--add-tag: no tag `evn` (did you mean `env`?)", "remove `--no-create-tags` to create it";
        "monitor edit Router --remove-tag evn" =>
            2, "--remove-tag: no tag `evn` (did you mean `env`?)", "";
        "monitor edit Router --remove-notification opps" =>
            2, "--remove-notification: no notification `opps` (did you mean `ops`?)",
            &format!("add notifications {page} Notifications");
        "monitor list --name '['" =>
            2, "--name: `[` is not a valid pattern: unclosed character class; missing ']'", "";
        "monitor show Rooter" =>
            8, "no monitor matches `Rooter` (did you mean `Router`?)", "kumadb monitor list";
        "monitor list --tag nothing" =>
            8, "no monitor matches --tag nothing", "kumadb monitor list";
        "monitor list --group Router" =>
            2, "--group: `Router` has type ping; only a group can be a parent", "kumadb monitor list --type group";
        "monitor pause" =>
            2, "no monitor given", "specify monitors, or filter them: --tag, --type, --group, --name '*'";
    }
    lab.ok("monitor add group --name Inner --parent Network");
    check(
        &lab,
        "monitor edit Network -s parent=Inner",
        2,
        "--parent: `Network/Inner` is inside `Network`: the groups would form a cycle",
        "",
    );
    lab.ok("monitor add push --name Mine --push-token mytoken");
    check(
        &lab,
        "monitor add push --name Other --push-token mytoken",
        2,
        "--push-token: this push token belongs to `Mine` already",
        "omit `--push-token` to generate a new one",
    );
}

/// Makes the database of a fresh lab something else.
fn spoilt(spoil: impl FnOnce(&Path)) -> Lab {
    let lab = Lab::sqlite("2.5.3");
    spoil(&lab.folder());
    lab
}

#[test]
fn files_that_are_no_database() {
    let fix = "kumadb backup list, then `kumadb restore ID`";
    let random = |n: u32| -> Vec<u8> {
        (0..n)
            .scan(7u32, |seed, _| {
                *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some((*seed >> 24) as u8)
            })
            .collect()
    };
    let lines = ["monitor list", "status", "monitor add group --name A", "backup create"];
    for line in lines {
        let at = |lab: Lab, exit, message: &str, hint: &str| check(&lab, line, exit, message, hint);
        at(spoilt(|f| fs::write(f.join("kuma.db"), "").unwrap()), 7, "`<root>/data/kuma.db` is empty (0 bytes)", fix);
        at(
            spoilt(|f| fs::write(f.join("kuma.db"), "<html>not found</html>").unwrap()),
            7,
            "`<root>/data/kuma.db` is not a SQLite database but an HTML page: the download failed",
            "kumadb backup list",
        );
        at(
            spoilt(|f| fs::write(f.join("kuma.db"), random(40_960)).unwrap()),
            7,
            "`<root>/data/kuma.db` is encrypted, and Uptime Kuma does not encrypt its database",
            "decrypt it with the program that encrypted it, for example SQLCipher",
        );
        at(
            spoilt(|f| fs::File::options().write(true).open(f.join("kuma.db")).unwrap().set_len(50_000).unwrap()),
            7,
            "`<root>/data/kuma.db` is damaged: database disk image is malformed",
            fix,
        );
        at(
            spoilt(|f| fs::rename(f.join("kuma.db"), f.join("kuma.db-wal")).unwrap()),
            7,
            "`<root>/data/kuma.db-wal` exists, but its database `kuma.db` is missing",
            fix,
        );
        at(spoilt(|f| fs::remove_file(f.join("kuma.db")).unwrap()), 7, "`<root>/data/kuma.db` does not exist", fix);
        at(
            spoilt(|f| {
                fs::remove_file(f.join("kuma.db")).unwrap();
                fs::remove_file(f.join("db-config.json")).unwrap();
            }),
            8,
            "`<root>/data` is not a data folder of Uptime Kuma: neither kuma.db nor db-config.json is there",
            "kumadb init <root>/data",
        );
        at(
            spoilt(|f| {
                fs::remove_file(f.join("kuma.db")).unwrap();
                fs::write(f.join("db-config.json"), "{\"type\": \"oracle\"}").unwrap();
            }),
            1,
            "invalid `<root>/data/db-config.json`: `oracle` is not a database type that the server knows",
            "correct the file; `type` must be `sqlite`, `embedded-mariadb` or `mariadb`",
        );
    }
    let other = spoilt(|f| fs::remove_file(f.join("kuma.db")).unwrap());
    other.sql("CREATE TABLE notes (id INTEGER)");
    check(
        &other,
        "monitor list",
        9,
        "`data` is not a database of Uptime Kuma: it has 1 table, but no `monitor`, `user`, `setting`, `heartbeat`",
        "kumadb find",
    );
    let lab = Lab::sqlite("2.5.3");
    lab.sql("INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('2099-01-01-0000-new.js', 9, 0)");
    check(
        &lab,
        "monitor add group --name A",
        9,
        "the database of `data` has 1 migration that kumadb does not know (`2099-01-01-0000-new.js`): it is of a newer \
         release, a beta, a nightly build or a fork of Uptime Kuma, and kumadb only reads it",
        "a newer kumadb may know this release; `kumadb backup create` and `kumadb export` work\nto go back to an older \
         release: `kumadb backup list`, then `kumadb restore ID`",
    );
    lab.ok("monitor list");
    lab.ok("monitor add group --name A --allow-unknown-release");
    let lab = Lab::sqlite("2.5.3");
    lab.sql("UPDATE knex_migrations_lock SET is_locked = 1");
    check(
        &lab,
        "monitor add group --name A",
        9,
        "a migration of the database of `data` is running or was interrupted: `knex_migrations_lock` is set",
        "if a server is migrating the database now, wait; otherwise start the server once with its own image",
    );
}

#[test]
fn other_processes_in_the_way() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    let before = lab.content();
    let file = lab.folder().join("kuma.db");
    let stop = |mut child: Child| {
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let wait = |child: &Child| {
        let fd = format!("/proc/{}/fd", child.id());
        let holds = || {
            fs::read_dir(&fd)
                .is_ok_and(|all| all.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == file)))
        };
        wait_until(60, "an open file", holds);
    };
    let mut holders = vec![("tail", Command::new("tail"))];
    holders[0].1.arg("-f").arg(&file);
    holders.push(("sqlite3", Command::new("sqlite3")));
    holders[1].1.arg(&file);
    for (name, mut command) in holders {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        if let (Some(stdin), "sqlite3") = (child.stdin.as_mut(), name) {
            use std::io::Write as _;
            stdin.write_all(b"BEGIN IMMEDIATE;\nSELECT count(*) FROM monitor;\n").unwrap();
        }
        wait(&child);
        let message = format!("`<root>/data/kuma.db` is open in another process: {name} (pid {})", child.id());
        let hint = "stop that process, then run the same command again";
        check(&lab, "monitor add group --name B", 9, &message, hint);
        check(&lab, "restore latest --yes", 9, &message, hint);
        lab.ok("monitor list");
        lab.ok("backup create");
        stop(child);
    }
    assert!(lab.content() == before);

    let lock = fs::File::options().write(true).open(lab.folder().join(".kumadb/lock")).unwrap();
    lock.lock().unwrap();
    fs::write(lab.folder().join(".kumadb/lock"), "`restore`, pid 1").unwrap();
    let (message, hint) =
        ("another kumadb process is using this instance (`restore`, pid 1)", "wait until it has finished, or stop it");
    check(&lab, "monitor add group --name B", 6, message, hint);
    check(&lab, "recover", 6, message, hint);
    lab.ok("monitor list");
    drop(lock);
    lab.ok("monitor add group --name B");
}

#[test]
fn journals_that_were_left_behind() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    let journal = lab.folder().join(".kumadb/journal.json");
    let hint = "check the database and the server, then: mv <root>/data/.kumadb/journal.json \
                <root>/data/.kumadb/journal.json.old";
    for (text, why) in [
        ("{\"format\": 1,", "EOF while parsing a value at line 1 column 13"),
        ("{\"format\": 2}", "format 2 is not supported; this kumadb supports format 1"),
    ] {
        fs::write(&journal, text).unwrap();
        let message = format!("cannot read the journal `<root>/data/.kumadb/journal.json`: {why}");
        check(&lab, "monitor add group --name B", 6, &message, hint);
        check(&lab, "recover", 6, &message, hint);
        let listed = lab.run("monitor list");
        assert_eq!(lab.rooted(&listed.err), format!("warning: {message}\n"));
    }
    let record = r#"{"format": 1, "verb": "monitor add", "started": "2026-01-31T08:00:00Z", "pid": 4711,
        "origin": "ORIGIN", "phase": "noted", "container": null, "life": null, "mode": "stopped", "loads": false,
        "before": null, "after": null, "last_beat": 0}"#;
    // A journal may be planted: no SQL in it is executed.
    let (planted, file) =
        (record.replace(r#""last_beat": 0"#, r#""last_beat": 0, "watched": "VACUUM INTO 'FILE'""#), "planted.db");
    fs::write(&journal, planted.replace("FILE", &lab.root.path().join(file).display().to_string())).unwrap();
    let refused = lab.fails(6, "recover");
    assert!(refused.err.contains("unknown variant `VACUUM INTO"), "{}", refused.err);
    assert!(!lab.root.path().join(file).exists());
    let folder = lab.folder().canonicalize().unwrap();
    fs::write(&journal, record.replace("ORIGIN", "/somewhere/else")).unwrap();
    let message = "the interrupted `monitor add` worked on the database at /somewhere/else, but this instance uses the database at <root>/data";
    check(&lab, "recover", 9, message, "configure the server to use that database again, then run `kumadb recover`");
    fs::write(&journal, record.replace("ORIGIN", &folder.display().to_string())).unwrap();
    let message =
        "an earlier `monitor add`, started <time> +00:00, was interrupted (interrupted before anything was written)";
    check(&lab, "monitor add group --name B", 6, message, "kumadb recover");
    let warned = lab.rooted(&lab.run("monitor list").err);
    assert_eq!(warned, format!("warning: {message}; run: kumadb recover\n"));
    assert_eq!(lab.ok("recover"), "rolled back `monitor add`: nothing was changed\n");
    check(&lab, "recover", 1, "no interrupted operation on this instance", "");
    lab.ok("monitor add group --name B");
}

/// The binary as `nobody`; `None` where that cannot be.
fn as_unprivileged(lab: &Lab, line: &str) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() || crate::support::need::program(&["setpriv"]).is_none() {
        return crate::support::need::left_out("root and setpriv");
    }
    fs::set_permissions(lab.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Binary::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_kumadb")])
        .args(words(line))
        .env_clear()
        .env("KUMADB_TARGET", &lab.target)
        .env("HOME", "/nonexistent")
        .env("DOCKER_HOST", "unix:///no-docker-here.sock")
        .current_dir("/");
    Some(Ran::of(&mut command))
}

#[test]
fn files_of_somebody_else() {
    let lab = Lab::sqlite("2.5.3");
    let hint = "run the same command as root, or as the user that the server runs as";
    let line = "monitor list";
    let Some(ran) = as_unprivileged(&lab, line) else { return };
    reported(&lab, &ran, line, 1, "cannot access `<root>/data/kuma.db`: permission denied", hint);
    fs::set_permissions(lab.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(lab.folder().join("db-config.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let Some(ran) = as_unprivileged(&lab, line) else { return };
    reported(&lab, &ran, line, 1, "cannot open `<root>/data/kuma.db`: permission denied", hint);
    fs::set_permissions(lab.folder().join("kuma.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let Some(ran) = as_unprivileged(&lab, line) else { return };
    assert_eq!((ran.exit, ran.out.as_str()), (0, "no monitors yet\n"), "{}", ran.err);
    let line = "monitor add group --name A";
    let Some(ran) = as_unprivileged(&lab, line) else { return };
    reported(
        &lab,
        &ran,
        line,
        9,
        "`<root>/data` is owned by root, but kumadb runs as uid 65534",
        "run the same command as root",
    );
}

#[test]
fn a_docker_that_is_not_for_everybody() {
    let lab = Lab::sqlite("2.5.3");
    let socket = lab.root.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let Some(ran) = as_unprivileged(&lab, &format!("-t uptime-kuma -H unix://{} status", socket.display())) else {
        return;
    };
    let message = "cannot connect to Docker at `unix://<root>/docker.sock`: permission denied; there is also no folder \
                   `uptime-kuma`";
    reported(&lab, &ran, "status", 1, message, "add your user to the group `docker`, or run kumadb as root");
}

#[test]
fn folders_that_cannot_be_written_to() {
    let lab = Lab::sqlite("2.5.3");
    let folder = lab.folder();
    let mount = |arguments: &[&str]| Command::new("mount").args(arguments).arg(&folder).status().unwrap().success();
    if !mount(&["--bind", folder.to_str().unwrap()]) || !mount(&["-o", "remount,ro,bind"]) {
        return crate::support::need::left_out("the right to mount").unwrap_or_default();
    }
    let [listed, added, saved] =
        ["monitor list", "monitor add group --name A", "backup create"].map(|line| lab.run(line));
    assert!(Command::new("umount").arg(&folder).status().unwrap().success());
    assert_eq!((listed.exit, saved.exit), (0, 0), "{}{}", listed.err, saved.err);
    let message = "cannot make the folder `<root>/data/.kumadb`: read-only file system";
    reported(&lab, &added, "monitor add", 1, message, "mount it read-write");
}

#[test]
fn instances_that_cannot_be_made() {
    let lab = Lab::sqlite("2.5.3");
    let init = |arguments: &str, password: &str| {
        Ran::of(lab.bare().arg("init").args(words(arguments)).write_stdin(format!("{password}\n")))
    };
    let fails = |arguments: &str, password: &str, exit: i32, message: &str, hint: &str| {
        reported(&lab, &init(arguments, password), arguments, exit, message, hint);
    };
    fails(
        "data --admin admin",
        PASSWORD,
        9,
        "cannot create a new instance in `data`: it already contains `kuma.db`",
        "use another folder",
    );
    fails(
        "new --admin admin",
        "",
        2,
        "password: is empty",
        "enter it, pipe it in, or use --password-file or KUMADB_ADMIN_PASSWORD",
    );
    fails("new --admin admin", "abc", 2, "password: has 3 characters, but the server requires 6 or more", "");
    fails(
        "new --admin admin",
        "abcdefgh",
        2,
        "password: is too weak for the server: it requires two of lower case, upper case, digits and ASCII symbols",
        "",
    );
    fails("new --admin ' '", PASSWORD, 2, "user name: is empty", "");
    fails(
        "new --release 9.9.9",
        "",
        2,
        "release: kumadb does not know the schema of release 9.9.9 on SQLite",
        "use one of 1.23.0, 1.23.17, 2.0.0, 2.0.2, 2.1.0, 2.1.3, 2.2.1, 2.3.2, 2.4.0, 2.5.0, 2.5.1, 2.5.3",
    );
    fails(
        "new --timezone 'Berlin Mitte'",
        "",
        2,
        "time zone: `Berlin Mitte` is not a valid name; examples: Europe/Berlin, UTC",
        "",
    );
    fails(
        "new --admin admin --password-file nowhere",
        "",
        2,
        "cannot read `nowhere`: no such file or directory",
        "check the path",
    );
    fails("mysql://admin@/kuma", "", 2, "invalid database URL: host or socket is missing", "");
    assert!(!lab.root.path().join("new").exists());
    fs::write(lab.root.path().join("word"), format!("{PASSWORD}\nignored\n")).unwrap();
    let made = init("new --admin admin --password-file word", "");
    assert_eq!(made.out, "created `new`: SQLite, release 2.5.3, user `admin`\n", "{}", made.err);
    let piped = init("piped --admin admin", PASSWORD);
    assert_eq!(piped.exit, 0, "{}", piped.err);
}

#[test]
fn targets_that_are_not_there() {
    let lab = Lab::sqlite("2.5.3");
    let docker = "`unix:///no-docker-here.sock`: no such socket";
    let run = |line: &str| Ran::of(lab.bare().args(words(line)));
    let fails =
        |line: &str, exit: i32, message: &str, hint: &str| reported(&lab, &run(line), line, exit, message, hint);
    fails(
        "-t nowhere status",
        1,
        &format!("cannot connect to Docker at {docker}; there is also no folder `nowhere`"),
        "is Docker running? `docker ps` must work for the same user",
    );
    fails(
        "-t ./nowhere status",
        8,
        "instance `./nowhere` not found: no such folder, container or `mysql://` URL",
        "kumadb find",
    );
    fails("-t data logs", 9, "no container found for `data`", "stop and start its server manually");
    fails("-t data restart", 9, "no container found for `data`", "stop and start its server manually");
    fails("-t data restore abc --yes", 8, "no snapshot matches `abc`", "kumadb backup list");
    fails("-t data restore latest --yes", 8, "no snapshot matches `latest`", "kumadb backup list");
    for path in ["/backups/kuma.db", "kuma.db.bak0", "./x"] {
        fails(
            &format!("-t data restore {path} --yes"),
            8,
            &format!("snapshot `{path}` not found: no such file"),
            "kumadb backup list",
        );
    }
    // The only one in sight needs no name.
    assert_eq!(run("monitor list").out, "no monitors yet\n");
    let empty = Ran::of(lab.bare().current_dir(lab.root.path().parent().unwrap()).arg("status"));
    reported(
        &lab,
        &empty,
        "status",
        8,
        "no Uptime Kuma instance found: no container on this Docker host, no data folder here",
        "select a folder, a container or a `mysql://` URL with `-t`",
    );
}

#[test]
fn databases_that_refuse_every_login() {
    let Some(server) = Mariadbd::with(&["--bind-address=127.0.0.1", "--port={port}"]) else { return };
    let lab = Lab::sqlite("2.5.3");
    server.create_database("kuma", "utf8mb4");
    server.create_database("old", "latin1");
    server.sql("", "CREATE USER 'kuma'@'%' IDENTIFIED BY 'right'; GRANT ALL ON *.* TO 'kuma'@'%'");
    let port = server.port();
    let at = |login: &str, database: &str| format!("mysql://{login}@127.0.0.1:{port}/{database}");
    let run = |target: &str, line: &str| Ran::of(lab.bare().args(["-t", target]).args(words(line)));
    let fails = |target: &str, line: &str, exit: i32, message: &str, hint: &str| {
        let ran = run(target, line);
        assert!(!ran.err.contains("wrong-word") && !ran.err.contains("right"), "{}", ran.err);
        reported(&lab, &ran, line, exit, &message.replace("PORT", &port.to_string()), hint);
    };
    let init = |target: &str| {
        Ran::of(lab.bare().args(["init", target, "--admin", "admin"]).env("KUMADB_ADMIN_PASSWORD", PASSWORD))
    };
    fails(
        &at("kuma:wrong-word", "kuma"),
        "status",
        1,
        "access denied for user `kuma` on MariaDB at 127.0.0.1:PORT: wrong user or password",
        "check user and password in db-config.json or in the URL; if the account requires TLS, add `?ssl=true`",
    );
    fails(
        &at("kuma", "kuma"),
        "status",
        1,
        "access denied for user `kuma` on MariaDB at 127.0.0.1:PORT: no password given",
        "give a password: mysql://kuma:PASSWORD@HOST:3306/DATABASE, or `password` in db-config.json",
    );
    fails(
        &at("kuma:right", "nothing"),
        "status",
        8,
        "database `nothing` not found on MariaDB at 127.0.0.1:PORT",
        "CREATE DATABASE `nothing` CHARACTER SET utf8mb4",
    );
    fails(
        &at("kuma:right", "kuma"),
        "monitor list",
        9,
        "`127.0.0.1-kuma` is not a database of Uptime Kuma: it has no tables",
        "kumadb find",
    );
    let latin = init(&at("kuma:right", "old"));
    reported(
        &lab,
        &latin,
        "init",
        9,
        "database `old` has the character set latin1, but the server requires utf8mb4",
        "ALTER DATABASE `old` CHARACTER SET utf8mb4",
    );
    let made = init(&at("kuma:right", "kuma"));
    assert_eq!(made.exit, 0, "{}", made.err);
    let again = init(&at("kuma:right", "kuma"));
    assert_eq!(again.exit, 9, "{}", again.err);
    assert!(again.err.contains("database `kuma` is not empty: it already contains"), "{}", again.err);

    let mut other = Command::new("mariadb")
        .args(["--no-defaults", "-h127.0.0.1", &format!("-P{port}"), "-ukuma", "-pright", "kuma"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let others = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE DB = 'kuma'";
    wait_until(60, "a connection", || server.sql("", others).trim() != "0");
    fails(
        &at("kuma:right", "kuma"),
        "monitor add group --name A",
        9,
        "the database of `127.0.0.1-kuma` has 1 other connection: a server that kumadb did not find may be using it",
        "stop that server first, or add `--no-restart` and restart it afterwards",
    );
    drop(other.stdin.take());
    other.wait().unwrap();

    server.sql("", "DROP USER IF EXISTS ''@'localhost'; CREATE USER ''@'localhost'");
    let shadowed = format!("mysql://kuma:right@localhost/kuma?socket={}", server.socket().display());
    let ran = run(&shadowed, "status");
    assert_eq!(ran.exit, 1, "{}", ran.err);
    assert!(ran.err.contains("the anonymous user `''@'localhost'` takes precedence over `kuma`@`%`"), "{}", ran.err);
    let refused = run("mysql://kuma:right@127.0.0.1:1/kuma", "status");
    reported(
        &lab,
        &refused,
        "status",
        1,
        "cannot connect to MariaDB at 127.0.0.1:1: connection refused",
        "check host and port, and that MariaDB is running: systemctl status mariadb",
    );
}

#[test]
fn a_signal_ends_what_waits_for_an_answer() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let before = lab.content();
    for (signal, exit) in [("-INT", 130), ("-TERM", 143), ("-HUP", 130)] {
        let mut asking = lab.begin("monitor delete Cron --asked-by-parent");
        asking.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut asking = asking.spawn().unwrap();
        let mut question = String::new();
        BufReader::new(asking.stdout.as_mut().unwrap()).read_line(&mut question).unwrap();
        assert!(question.contains("delete monitor `Cron`"), "{question}");
        Command::new("kill").args([signal, &asking.id().to_string()]).status().unwrap();
        // Its stdin stays open: nobody has answered.
        let staged = asking.stdin.take();
        assert_eq!(asking.wait().unwrap().code(), Some(exit), "{signal}");
        drop(staged);
        assert_eq!(lab.content(), before, "{signal}");
    }
}

/// What the server would store and then never serve, never end, or fail on at each beat.
#[test]
fn values_that_the_server_would_misunderstand_are_refused() {
    let lab = Lab::sqlite("2.5.3");
    let window = |fields: &str| format!("maintenance: [{{title: m, {fields}}}]");
    let times = "start_time: '01:00', end_time: '02:00'";
    for (fixture, expected) in [
        (window("timezone: Mars/X, strategy: manual"), "no time zone `Mars/X`; example: Europe/Berlin"),
        (window("strategy: cron, cron: 61 25 * * *, duration: 60"), "`61 25 * * *` is not a valid cron expression"),
        (
            window(&format!("strategy: recurring-weekday, weekdays: [1, monday], {times}")),
            "invalid value `monday`; must be 0",
        ),
        (
            window(&format!("strategy: recurring-day-of-month, days_of_month: [0], {times}")),
            "invalid value `0`; must be 1 to 31",
        ),
        (window("start_date: 2027-01-02 10:00:00, end_date: 2027-01-01 10:00:00"), "must be after the start"),
        ("api_keys: [{name: k, expires: 31.12.2027}]".into(), "invalid value `31.12.2027`; must be a date"),
        ("status_pages: [{slug: Big, title: t}]".into(), "invalid value `Big`; must consist of a-z, 0-9"),
        ("monitors: [{type: ping, hostname: a}]".into(), "name: is required"),
        ("monitors: [{name: ' ', type: ping, hostname: a}]".into(), "name: is required"),
    ] {
        fs::write(lab.root.path().join("wrong.yaml"), &fixture).unwrap();
        let ran = lab.fails(2, "apply wrong.yaml --yes");
        assert!(ran.err.contains(expected) && ran.err.contains("wrong.yaml:1"), "{fixture}: {}", ran.err);
    }
    let ran = lab.fails(2, "api-key add k --expires yesterday --yes");
    assert!(ran.err.contains("invalid value `yesterday`; must be a date"), "{}", ran.err);
    let right = "api_keys: [{name: k, expires: ''}]\nstatus_pages: [{slug: my-page-2, title: t}]";
    fs::write(lab.root.path().join("right.yaml"), right).unwrap();
    lab.ok("apply right.yaml --yes");
    assert_eq!(lab.ok("sql 'SELECT expires IS NULL AS never FROM api_key' --format csv"), "never\n1\n");
}

/// A login in an address is a password, with a scheme or without.
#[test]
fn no_error_shows_a_login() {
    let lab = Lab::sqlite("2.5.3");
    fs::write(lab.root.path().join("lines.txt"), "htp://u:S3CR3T@h\nu:S3CR3T@h:22:33\nhttps://ok\n").unwrap();
    for line in [
        "monitor add mqtt --name N --hostname mqtt://u:S3CR3T@h --port 1883 --mqtt-topic a",
        "monitor add mqtt --name N --hostname u:S3CR3T@h:1883 --port 1883 --mqtt-topic a",
        "monitor add mqtt --name N --hostname foo://u:S3CR3T@h --port 1883 --mqtt-topic a",
        "monitor add ping --name N --hostname u:S3CR3T@h",
        "monitor add ping --name N --hostname u:S3CR3T@h:80",
        "monitor add grpc-keyword --name N --grpc-url https://u:S3CR3T@h:1 --keyword k --grpc-service-name s --grpc-method m",
        "plan lines.txt",
    ] {
        let ran = lab.fails(2, line);
        assert!(!ran.err.contains("S3CR3T"), "{line}: {}", ran.err);
    }
}
