//! `kumadb monitor …` as a person meets it, on both engines.

use serde_json::{Value as Json, json};

use crate::support::lab::{Lab, Ran};
use crate::support::rounds;

/// Every type, with what it needs and nothing more.
pub const TYPES: [(&str, &str); 33] = [
    ("http", "--url https://example.com"),
    ("keyword", "--url https://example.com --keyword OK"),
    ("port", "--hostname example.com --port 443"),
    ("ping", "--hostname 192.168.1.1"),
    ("dns", "--hostname example.com"),
    ("docker", "--docker-container nginx --docker-host local"),
    ("system-service", "--system-service-name sshd"),
    ("pm2", "--system-service-name api"),
    ("real-browser", "--url https://example.com"),
    ("group", ""),
    ("push", ""),
    ("manual", ""),
    ("globalping", "--hostname example.com"),
    (
        "grpc-keyword",
        "--grpc-url example.com:50051 --keyword SERVING --grpc-service-name Health --grpc-method check \
         --grpc-protobuf 'syntax = \"proto3\";' --grpc-body '{}'",
    ),
    ("json-query", "--url https://example.com --expected-value ok"),
    (
        "kafka-producer",
        "--kafka-producer-brokers k1:9092,k2:9092 --kafka-producer-topic health --kafka-producer-message ping",
    ),
    ("mqtt", "--hostname mqtt.example.com --port 1883 --mqtt-topic home/status"),
    ("ntp", "--hostname pool.ntp.org"),
    (
        "rabbitmq",
        "--rabbitmq-nodes https://node1:15672 --rabbitmq-username kuma --rabbitmq-password rabbit-secret-word",
    ),
    ("sip-options", "--hostname sip.example.com --port 5060"),
    ("smtp", "--hostname mail.example.com --port 25"),
    ("snmp", "--hostname switch.example.com --snmp-oid 1.3.6.1.2.1.1.3.0 --expected-value 1 --radius-password public"),
    ("tailscale-ping", "--hostname box.tailnet.ts.net"),
    ("websocket-upgrade", "--url wss://example.com/ws"),
    ("sqlserver", "--database-connection-string 'Server=db,1433;Database=app;User Id=kuma;Password=x;Encrypt=true'"),
    ("mongodb", "--database-connection-string mongodb://kuma:x@db:27017/admin"),
    ("mysql", "--database-connection-string mysql://kuma:x@db:3306/app"),
    ("oracledb", "--database-connection-string db:1521/FREEPDB1 --basic-auth-user kuma --basic-auth-pass x"),
    ("postgres", "--database-connection-string postgres://kuma:x@db:5432/app"),
    (
        "radius",
        "--hostname radius.example.com --radius-username kuma --radius-password x --radius-secret y \
         --radius-calling-station-id kuma --radius-called-station-id kuma",
    ),
    ("redis", "--database-connection-string redis://kuma:x@cache:6379"),
    ("gamedig", "--hostname game.example.com --port 27015 --game minecraft"),
    ("steam", "--hostname game.example.com --port 27015"),
];

/// A lab with a docker host, two notifications (one of them default), a default proxy, a group with two monitors and a
/// push monitor beside it.
pub fn furnish(lab: &Lab) {
    lab.sql(
        "INSERT INTO docker_host (user_id, docker_daemon, docker_type, name) \
         VALUES (1, '/var/run/docker.sock', 'socket', 'local')",
    );
    lab.sql(
        "INSERT INTO notification (name, active, user_id, is_default, config) VALUES \
         ('ops', 1, 1, 1, '{\"type\":\"webhook\",\"webhookURL\":\"https://hooks.example.com/hook-secret-word\"}'), \
         ('night', 1, 1, 0, '{\"type\":\"ntfy\"}')",
    );
    lab.sql(
        "INSERT INTO proxy (user_id, protocol, host, port, auth, active, `default`) \
         VALUES (1, 'http', 'proxy.example.com', 3128, 0, 1, 1)",
    );
    lab.ok("monitor add group --name Network");
    lab.ok("monitor add ping --name Router --hostname 192.168.1.1 --parent Network --tag env=prod");
    lab.ok("monitor add port --name Switch --hostname 192.168.1.2 --port 22 --parent Network --tag env=test");
    lab.ok("monitor add push --name Cron");
}

fn names(list: &Json) -> Vec<&str> {
    list["monitors"].as_array().unwrap().iter().map(|monitor| monitor["path"].as_str().unwrap()).collect()
}

#[test]
fn an_edit_names_what_it_attaches_and_everything_that_is_wrong() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let edit = "monitor edit --group Network --set interval=30 --add-tag env=x --remove-notification ops \
                    --add-notification night";
        let shown = lab.ok(&format!("{edit} --dry-run"));
        for line in [
            "~ monitor `Network/Router`: interval 60 → 30",
            "+ tag `env` of monitor `Network/Router`",
            "- tag `env` of monitor `Network/Router`",
            "+ notification `night` of monitor `Network/Switch`",
            "- notification `ops` of monitor `Network/Switch`",
        ] {
            assert!(shown.contains(line), "{}: {line}\n{shown}", lab.engine());
        }
        lab.ok(&format!("{edit} --yes"));
        assert_eq!(lab.ok(&format!("{edit} --yes")), "nothing to change\n");
        let wrong = lab.fails(2, "monitor edit Cron --set intervall=30 --add-notification nobody --remove-tag nothing");
        for word in ["no field `intervall`", "`nobody`", "`nothing`"] {
            assert!(wrong.err.contains(word), "{word}: {}", wrong.err);
        }
    }
}

#[test]
fn every_type_is_added_shown_edited_and_deleted() {
    for lab in Lab::both("2.5.3") {
        lab.sql(
            "INSERT INTO docker_host (user_id, docker_daemon, docker_type, name) \
             VALUES (1, '/var/run/docker.sock', 'socket', 'local')",
        );
        let types = rounds::some(&TYPES, 15);
        for (at, (kind, fields)) in types.iter().enumerate() {
            let id = at as i64 + 1;
            let added = lab.json(&format!("monitor add {kind} --name 'A {kind}' {fields}"));
            assert_eq!(added["monitor"]["id"], id, "{kind}");
            let shown = lab.json(&format!("monitor show {id}"));
            assert_eq!((&shown["monitor"]["type"], &shown["monitor"]["active"]), (&json!(kind), &json!(1)));
            assert!(lab.ok(&format!("monitor show {id}")).contains(&format!("A {kind}")));
        }
        let listed = lab.json("monitor list");
        assert_eq!(listed["monitors"].as_array().unwrap().len(), types.len());
        let edit = "monitor edit --name '*' -s resend_interval=120 -s weight=1500 --yes";
        let count = types.len();
        assert!(lab.ok(edit).starts_with(&format!("changed {count} of {count}")));
        assert_eq!(lab.ok(edit), "nothing to change\n");
        for (at, (kind, _)) in types.iter().enumerate() {
            let shown = lab.json(&format!("monitor show {}", at + 1));
            assert_eq!(shown["monitor"]["resend_interval"], 120, "{kind}");
        }
        assert!(lab.ok("monitor delete --name '*' --yes").starts_with(&format!("deleted {count} monitors")));
        assert_eq!(lab.ok("monitor list"), "no monitors yet\n");
    }
}

#[test]
fn the_types_of_an_older_release_are_added_there() {
    let newer = ["system-service", "pm2", "globalping", "ntp", "sip-options", "oracledb", "websocket-upgrade"];
    for lab in Lab::both("2.0.2") {
        lab.sql(
            "INSERT INTO docker_host (user_id, docker_daemon, docker_type, name) \
             VALUES (1, '/var/run/docker.sock', 'socket', 'local')",
        );
        let mut added = 0;
        for (kind, fields) in rounds::some(&TYPES, 15) {
            let line = format!("monitor add {kind} --name 'A {kind}' {fields}");
            if newer.contains(kind) {
                assert!(lab.fails(2, &line).err.contains("is available since release"), "{kind}")
            } else {
                lab.ok(&line);
                added += 1;
            }
        }
        assert_eq!(lab.json("monitor list")["monitors"].as_array().unwrap().len(), added);
    }
}

#[test]
fn monitors_are_named_by_id_name_and_path() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    for name in ["2", "Router", "Network/Router"] {
        assert_eq!(lab.json(&format!("monitor show {name}"))["monitor"]["id"], 2);
    }
    lab.ok("monitor add ping --name Router --hostname 10.0.0.1");
    let refused = lab.fails(8, "monitor show Router");
    assert!(
        refused.err.contains("2 monitors have the name `Router`: 2 (Network/Router), 5 (/Router)"),
        "{}",
        refused.err
    );
    assert_eq!(lab.json("monitor show Network/Router")["monitor"]["id"], 2);
    assert_eq!(lab.json("monitor show /Router")["monitor"]["id"], 5);
    assert_eq!(lab.fails(8, "monitor show 99").out, "");
    assert_eq!(lab.fails(8, "monitor show /Switch").out, "");
}

#[test]
fn filters_pick_monitors() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.ok("monitor pause Cron");
        for (filter, expected) in [
            ("", vec!["Network", "Network/Router", "Network/Switch", "Cron"]),
            ("--tag env", vec!["Network/Router", "Network/Switch"]),
            ("--tag env=prod", vec!["Network/Router"]),
            ("--type ping,push", vec!["Network/Router", "Cron"]),
            ("--group Network", vec!["Network/Router", "Network/Switch"]),
            ("--name '*r*'", vec!["Network", "Network/Router", "Cron"]),
            ("--name 'Network/*'", vec!["Network/Router", "Network/Switch"]),
            ("--group Network --name 'S*'", vec!["Network/Switch"]),
            ("--paused", vec!["Cron"]),
            ("Router Cron", vec!["Network/Router", "Cron"]),
        ] {
            let listed = lab.json(&format!("monitor list {filter}"));
            let mut found = names(&listed);
            // SQLite and MariaDB agree on ids, and the list is in their order.
            found.sort_by_key(|name| expected.iter().position(|other| other == name));
            assert_eq!(found, expected, "{filter}");
        }
        assert_eq!(lab.fails(8, "monitor list --tag nowhere").out, "");
        let forgotten = lab.fails(2, "monitor pause");
        assert!(forgotten.err.contains("specify monitors, or filter them"), "{}", forgotten.err);
    }
}

#[test]
fn asks_before_it_touches_several_or_deletes() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let before = lab.content();
    for line in [
        "monitor pause --group Network",
        "monitor edit --group Network -s interval=30",
        "monitor delete Cron",
        "restore latest",
    ] {
        let refused = lab.fails(9, line);
        assert!(refused.err.contains("confirmation required, but this is not a terminal"), "{}", refused.err);
        assert!(refused.err.contains("hint: add `--yes`"), "{}", refused.err);
        assert_eq!(lab.content(), before, "{line}");
    }
    assert_eq!(lab.ok("monitor pause --group Network --yes"), "paused 2 `Network/Router`, 3 `Network/Switch`\n");
    assert_eq!(lab.ok("monitor pause --group Network --yes"), "nothing to change\n");
    assert_eq!(lab.ok("monitor resume --group Network --yes"), "resumed 2 `Network/Router`, 3 `Network/Switch`\n");
    assert_eq!(lab.ok("monitor resume Router"), "nothing to change\n");
}

#[test]
fn an_edit_leaves_out_types_for_which_a_field_means_something_else() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.ok("monitor add push --name Job --parent Network");
    let ran = lab.run("monitor edit --group Network --interval 30 --dry-run");
    assert!(
        !ran.out.contains("Job") && ran.out.contains("~ monitor `Network/Router`: interval 60 → 30"),
        "{}",
        ran.out
    );
    let why = "left out 1 push monitor: for type push, `interval` is how long the server waits for a push";
    assert!(ran.err.contains(why) && ran.err.contains("to change it: --type push"), "{}", ran.err);

    let edited = lab.json("monitor edit --group Network --interval 30 --yes");
    assert_eq!(edited["monitors"], json!([2, 3]));
    assert_eq!(edited["left_out"][0]["type"], "push");
    assert_eq!(edited["left_out"][0]["monitors"], json!([5]));
    // A type that is named, a monitor that is named, and a selection of one type are what was meant.
    for line in ["--group Network --type push", "Network/Job", "--group Network --not-type ping --not-type port"] {
        let shown = lab.run(&format!("monitor edit {line} --interval 300 --dry-run"));
        assert!(shown.out.contains("~ monitor `Network/Job`: interval 60 → 300"), "{line}: {}", shown.out);
        assert!(!shown.err.contains("left out"), "{line}: {}", shown.err);
    }
    // A field that only some types have.
    let ran = lab.run("monitor edit --group Network --port 2222 --dry-run");
    assert!(ran.out.contains("~ monitor `Network/Switch`: port 22 → 2222"), "{}", ran.out);
    assert!(ran.err.contains("left out 1 ping monitor: type ping has no field `port`"), "{}", ran.err);
    let none = lab.fails(2, "monitor edit --name Job --name Cron --name Network --interval 30 --dry-run");
    assert!(none.err.contains("interval: has another meaning for each of the selected types"), "{}", none.err);
    let none = lab.fails(2, "monitor edit --group Network --not-type port --port 22 --dry-run");
    assert!(none.err.contains("port"), "{}", none.err);
    for line in ["monitor list --not-type pussh", "monitor outages --type port,pussh", "monitor pause --type pussh"] {
        let unknown = lab.fails(2, line);
        assert!(unknown.err.contains("type: unknown type `pussh` (did you mean `push`?)"), "{}", unknown.err);
    }
}

#[test]
fn a_second_monitor_of_the_same_path_is_added_only_if_that_is_meant() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let before = lab.content();
    let again = "monitor add ping --name Router --hostname 192.168.1.9";
    let inside = format!("{again} --parent Network");
    for line in [inside.as_str(), "monitor clone Switch --name Router"] {
        let refused = lab.fails(9, line);
        assert!(
            refused.err.contains("monitor 2 has the same path `Network/Router`; nothing was changed"),
            "{}",
            refused.err
        );
        assert!(refused.err.contains("`--allow-duplicate`"), "{}", refused.err);
    }
    let ran = lab.run(&format!("{inside} --dry-run"));
    assert!(ran.exit == 0 && ran.err.contains("warning: monitor 2 has the same path"), "{}", ran.err);
    if let Some(ran) = on_a_terminal(&lab, &inside, "n") {
        assert!(ran.exit == 1 && ran.out.contains("`Network/Router`: add another one? [y/N]"), "{}", ran.out);
    }
    assert_eq!(lab.content(), before);
    lab.ok(&format!("{inside} --allow-duplicate"));
    // Another group, or none, is another path.
    lab.ok(again);
}

/// Runs `line` on a terminal where a person types `answer`.
fn on_a_terminal(lab: &Lab, line: &str, answer: &str) -> Option<Ran> {
    let Some(script) = crate::support::need::program(&["script"]) else {
        return crate::support::need::left_out("script (apt-get install bsdutils)");
    };
    let typed = format!("'{}' -t '{}' {line}", env!("CARGO_BIN_EXE_kumadb"), lab.target);
    let mut command = assert_cmd::Command::new(script);
    command.args(["-qec", &typed, "/dev/null"]).env("KUMADB_STORE", lab.store()).env("TERM", "xterm");
    command.env("DOCKER_HOST", "unix:///no-docker-here.sock").write_stdin(format!("{answer}\n"));
    Some(Ran::of(&mut command))
}

#[test]
fn a_person_at_a_terminal_is_asked() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let before = lab.content();
    for answer in ["n", "", "yess"] {
        let Some(ran) = on_a_terminal(&lab, "monitor delete Cron", answer) else { return };
        assert_eq!(ran.exit, 1, "{}", ran.out);
        assert!(ran.out.contains("delete monitor `Cron` and 0 heartbeats? [y/N]"), "{}", ran.out);
        assert!(ran.out.contains("cancelled; nothing was changed"), "{}", ran.out);
        assert_eq!(lab.content(), before);
    }
    let Some(ran) = on_a_terminal(&lab, "monitor delete Cron", "y") else { return };
    assert!(ran.exit == 0 && ran.out.contains("deleted monitor `Cron`"), "{}", ran.out);
    assert!(!names(&lab.json("monitor list")).contains(&"Cron"));
}

#[test]
fn a_dry_run_changes_nothing() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.content();
        let snapshots = lab.json("backup list")["snapshots"].as_array().unwrap().len();
        for line in [
            "monitor add http --name Shop --url https://shop.example.com --tag new",
            "monitor edit Router -s interval=30 --add-tag env=stage --remove-notification ops",
            "monitor clone Router --name Other",
            "monitor delete Network --with-children",
            "monitor pause --name '*'",
            "restore latest",
        ] {
            let given = lab.ok(&format!("{line} --dry-run"));
            assert!(given.contains("nothing was changed"), "{line}: {given}");
            assert_eq!(lab.json(&format!("{line} -n"))["dry_run"], true);
            assert!(lab.content() == before, "{}: {line} --dry-run changed the database", lab.engine());
        }
        assert_eq!(lab.json("backup list")["snapshots"].as_array().unwrap().len(), snapshots);
    }
}

#[test]
fn deleting_a_group_lets_its_monitors_out_or_takes_them_along() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.sql(
            "INSERT INTO heartbeat (important, monitor_id, status, msg, time, duration) \
             VALUES (1, 2, 1, 'ok', '2026-01-31 08:00:00', 0)",
        );
        lab.ok("monitor delete Network --yes");
        assert_eq!(names(&lab.json("monitor list")), ["Router", "Switch", "Cron"]);
        lab.ok("restore latest --yes");
        assert_eq!(names(&lab.json("monitor list")), ["Network", "Network/Router", "Network/Switch", "Cron"]);
        let deleted = lab.json("monitor delete Network --with-children --yes");
        assert_eq!((&deleted["deleted"], &deleted["deleted_heartbeats"]), (&json!([1, 2, 3]), &json!(1)));
        assert_eq!(names(&lab.json("monitor list")), ["Cron"]);
        for table in ["heartbeat", "monitor_tag"] {
            assert_eq!(lab.sql(&format!("SELECT count(*) FROM {table}")).trim(), "0", "{table}");
        }
        assert_eq!(lab.sql("SELECT count(*) FROM monitor_notification").trim(), "1");
    }
}

#[test]
fn a_clone_has_the_same_fields_and_links_and_a_token_of_its_own() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.ok("monitor edit Router -s interval=30 --add-notification night --remove-notification ops");
        lab.ok("monitor clone Router --name Backup -s hostname=192.168.1.9");
        let [model, copy] =
            ["Router", "Network/Backup"].map(|name| lab.json(&format!("monitor show {name} --secrets")));
        for same in ["type", "interval", "parent", "tags", "notifications", "user_id", "accepted_statuscodes_json"] {
            assert_eq!(model["monitor"][same], copy["monitor"][same], "{same}");
        }
        assert_eq!(copy["monitor"]["hostname"], "192.168.1.9");
        assert_eq!(copy["monitor"]["notifications"], json!(["night"]));
        lab.ok("monitor clone Cron --name 'Other cron'");
        let [a, b] = ["Cron", "'Other cron'"].map(|name| lab.json(&format!("monitor show {name} --secrets")));
        let token = |shown: &Json| shown["monitor"]["push_token"].as_str().unwrap().to_owned();
        assert_eq!((token(&a).len(), token(&b).len()), (32, 32));
        assert_ne!(token(&a), token(&b));
    }
}

#[test]
fn notifications_and_proxies_are_attached_as_the_page_does() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let attached = |line: &str| {
            let id = lab.json(&format!("monitor add http --url https://example.com {line}"))["monitor"]["id"].clone();
            let shown = lab.json(&format!("monitor show {id}"));
            (shown["monitor"]["notifications"].clone(), shown["monitor"]["proxy_id"].clone())
        };
        assert_eq!(attached("--name A"), (json!(["ops"]), json!(1)));
        assert_eq!(attached("--name B --notification night"), (json!(["night"]), json!(1)));
        assert_eq!(attached("--name C --notification ops --notification 2").0, json!(["ops", "night"]));
        assert_eq!(attached("--name D --no-notifications --proxy ''"), (json!([]), json!(null)));
        assert_eq!(attached("--name E --proxy http://proxy.example.com:3128").1, json!(1));
        lab.ok("monitor edit A --add-notification night --remove-notification ops");
        assert_eq!(lab.json("monitor show A")["monitor"]["notifications"], json!(["night"]));
        assert_eq!(lab.ok("monitor edit A --add-notification night --remove-notification ops"), "nothing to change\n");
    }
}

#[test]
fn tags_that_do_not_exist_are_created_unless_that_is_refused() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let refused = lab.fails(2, "monitor edit Cron --add-tag team=web --no-create-tags");
        assert!(refused.err.contains("no tag `team`") && refused.err.contains("--no-create-tags"), "{}", refused.err);
        let refused = lab.fails(2, "monitor add group --name G --tag team=web --no-create-tags");
        assert!(refused.err.contains("no tag `team`"), "{}", refused.err);
        assert_eq!(lab.sql("SELECT count(*) FROM tag WHERE name = 'team'").trim(), "0");
        let tried = lab.ok("monitor edit Cron --add-tag team=web --dry-run");
        assert!(tried.contains("+ tag `team`\n"), "{tried}");
        let out = lab.ok("monitor edit Cron --add-tag team=web");
        assert!(out.contains("\ncreated tag `team`\n"), "{out}");
        assert_eq!(lab.sql("SELECT color FROM tag WHERE name = 'team'").trim(), "#4B5563", "{}", lab.engine());
        let added = lab.run("monitor add group --name G --tag teem --json");
        assert!(added.err.contains("warning: tag `teem` does not exist and will be created (did you mean `team`?)"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&added.out).unwrap()["created_tags"], json!(["teem"]));
        lab.ok("monitor delete G --yes");
        assert_eq!(lab.ok("monitor edit Cron --add-tag team=web"), "nothing to change\n");
        lab.ok("monitor edit Cron --add-tag team=db");
        assert_eq!(lab.json("monitor show Cron")["monitor"]["tags"], json!([{"name": "team", "value": "db"}]));
        lab.ok("monitor edit --name '*' --add-tag team=all --yes");
        assert_eq!(lab.json("monitor list --tag team=all")["monitors"].as_array().unwrap().len(), 4);
        lab.ok("monitor add group --name Twice --tag team=a --tag team=b --tag team=a");
        let tags = json!([{"name": "team", "value": "a"}, {"name": "team", "value": "b"}]);
        assert_eq!(lab.json("monitor show Twice")["monitor"]["tags"], tags);
        lab.ok("monitor edit Cron --remove-tag team");
        assert_eq!(lab.ok("monitor edit Cron --remove-tag team"), "nothing to change\n");
    }
}

#[test]
fn a_push_monitor_says_where_to_push() {
    let lab = Lab::sqlite("2.5.3");
    let given = lab.ok("monitor add push --name Cron");
    assert!(given.contains("/api/push/") && given.contains("?status=up&msg=OK&ping="), "{given}");
    let document = lab.json("monitor add push --name Other");
    let token = lab.json("monitor show Other --secrets")["monitor"]["push_token"].as_str().unwrap().to_owned();
    assert!(document["monitor"]["push_url"].as_str().unwrap().contains(&token));
}

#[test]
fn secrets_are_printed_nowhere() {
    const SECRETS: [&str; 5] = ["hunter2", "rabbit-secret-word", "hook-secret-word", "x-secret-header", "$2a$10$"];
    let hidden = |ran: &Ran, line: &str| {
        for secret in SECRETS {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{line}: {}{}", ran.out, ran.err);
        }
    };
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        for line in [
            "monitor add http --name A --url https://example.com --auth-method basic --basic-auth-user u \
             --basic-auth-pass hunter2 --headers '{\"X-Key\": \"x-secret-header\"}' --body '{\"p\":\"hunter2\"}'",
            "monitor add rabbitmq --name B --rabbitmq-nodes https://n:15672 --rabbitmq-username u \
             --rabbitmq-password rabbit-secret-word",
            "monitor add mysql --name C --database-connection-string mysql://u:hunter2@db/app",
            "monitor add mysql --name D --database-connection-string postgres://u:hunter2@db/app",
            "monitor add http --name E --url ftp://u:hunter2@example.com",
            "monitor add http --name F --url https://example.com --headers '{x-secret-header'",
            "monitor add kafka-producer --name G --kafka-producer-brokers k:9092 --kafka-producer-topic t \
             --kafka-producer-message m --kafka-producer-sasl-options '{\"mechanism\":\"hunter2'",
            "monitor edit A -s basic_auth_pass=hunter2-new",
            "monitor edit C -s database_connection_string=mysql://u:hunter2@db/other",
            "monitor edit C -s database_connection_string=hunter2",
            "monitor edit A -s headers=hunter2",
            "monitor clone A --name A2",
            "monitor show A --all",
            "monitor show B",
            "monitor show C",
            "monitor list",
            "status",
            "backup create",
            "backup list",
            "monitor delete A --yes",
        ] {
            for more in ["--dry-run", "--dry-run --json", "-v --json", "-v"] {
                let reads = ["show", "list", "status", "backup"].iter().any(|verb| line.contains(verb));
                let line = format!("{line} {}", if reads { more.trim_start_matches("--dry-run") } else { more });
                hidden(&lab.run(line.trim_end()), &line);
            }
        }
    }
}

#[test]
fn quiet_is_only_the_result_and_verbose_is_every_step() {
    let lab = Lab::sqlite("2.5.3");
    let given = |line: &str| lab.run(line).err.lines().count();
    let quiet = lab.run("-q monitor add group --name A");
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("added monitor 1 `A` (group)\n", ""));
    let plain = given("monitor add group --name B");
    let verbose = given("-v monitor add group --name C");
    assert!(0 < plain && plain < verbose, "{plain} {verbose}");
}

#[test]
fn a_restart_that_kumadb_cannot_make_is_reported_as_due() {
    let due = "Uptime Kuma uses the change only after a restart";
    for lab in Lab::both("2.5.3") {
        let ran = lab.fails(9, "monitor add group --name A --wait-beats");
        assert!(ran.err.contains("kumadb does not know the container of"), "{}", ran.err);
        assert_eq!(lab.json("monitor list")["monitors"], json!([]));
        // A SQLite file that nobody has open has no server that runs.
        for (n, (option, is_due)) in
            [("", false), ("--live", lab.mariadbd.is_some()), ("--no-restart", lab.mariadbd.is_some())]
                .iter()
                .enumerate()
        {
            let ran = lab.run(&format!("monitor add group --name G{n} {option} --json"));
            assert_eq!((ran.exit, ran.err.contains(due)), (0, *is_due), "{option}: {}", ran.err);
            assert_eq!(serde_json::from_str::<Json>(&ran.out).unwrap()["restart_due"], json!(is_due));
        }
        // The server has not read what this changes.
        let ran = lab.run("vacuum --no-restart");
        assert!(ran.exit == 0 && !ran.err.contains(due), "{}", ran.err);
    }
}
