//! Whole documents: planned, applied, written down again, on both engines.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::lab::{Lab, Ran};
use crate::support::rounds;

fn shipped(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn write(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.root.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn export(lab: &Lab, name: &str) -> String {
    let path = lab.root.path().join(name);
    lab.ok(&format!("export --secrets -o {}", path.display()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read_to_string(path).unwrap()
}

fn unchanged(lab: &Lab, file: &str) {
    let out = lab.ok(&format!("plan {file} --detailed-exitcode"));
    assert!(out.contains(" unchanged") && out.lines().count() == 1, "{}: {out}", lab.engine());
}

#[test]
fn everything_can_be_applied_and_written_down_again() {
    let all = Lab::both("2.5.3");
    let mut texts = Vec::new();
    for lab in &all {
        let ran = lab.fails(20, &format!("plan {} --detailed-exitcode", shipped("everything.yaml")));
        assert!(!ran.out.contains("secret-word") && !ran.err.contains("secret-word"), "{}{}", ran.out, ran.err);
        let out = lab.ok(&format!("apply {} --yes", shipped("everything.yaml")));
        let key = out.split("(shown only once): ").nth(1).unwrap().trim();
        let (id, clear) = key.strip_prefix("uk").unwrap().split_once('_').unwrap();
        let hash = lab.sql(&format!("SELECT `key` FROM api_key WHERE id = {id}"));
        assert!(bcrypt::verify(clear, hash.trim()).unwrap());
        unchanged(lab, &shipped("everything.yaml"));
        let text = export(lab, "a.yaml");
        assert_eq!(text, export(lab, "b.yaml"), "{}", lab.engine());
        unchanged(lab, &lab.root.path().join("a.yaml").display().to_string());
        texts.push(text);
    }
    // Into a fresh instance of each engine, from each.
    for (text, fresh) in texts.iter().flat_map(|text| Lab::both("2.5.3").into_iter().map(move |lab| (text, lab))) {
        let file = write(&fresh, "from.yaml", text);
        fresh.ok(&format!("apply {file} --yes"));
        unchanged(&fresh, &file);
        assert_eq!(*text, export(&fresh, "to.yaml"), "{}", fresh.engine());
    }
}

#[test]
fn a_new_api_key_turns_api_keys_on_unless_the_document_says_otherwise() {
    const SWITCH: &str = "SELECT value FROM setting WHERE `key` = 'apiKeysEnabled'";
    for lab in Lab::both("2.5.3") {
        let file = write(&lab, "key.yaml", "api_keys: [{name: grafana}]\n");
        lab.ok(&format!("apply {file} --yes"));
        assert_eq!(lab.sql(SWITCH).trim(), "true", "{}", lab.engine());
        unchanged(&lab, &file);
        let off = write(&lab, "off.yaml", "api_keys: [{name: other}]\nsettings: {apiKeysEnabled: false}\n");
        lab.ok(&format!("apply {off} --yes"));
        assert_eq!(lab.sql(SWITCH).trim(), "false", "{}", lab.engine());
        let third = write(&lab, "third.yaml", "api_keys: [{name: third}]\n");
        let shown = lab.ok(&format!("plan {third}"));
        assert!(shown.contains("~ setting `apiKeysEnabled`: value false → true"), "{shown}");
    }
}

#[test]
fn a_column_that_must_hold_something_takes_no_null() {
    for lab in Lab::both("2.5.3") {
        let message = "requires a value; it cannot be null";
        for document in
            ["monitors: [{name: A, type: ping, hostname: h, packet_size: null}]\n", "tags: [{name: a, color: null}]\n"]
        {
            let file = write(&lab, "null.yaml", document);
            let refused = lab.fails(2, &format!("plan {file}"));
            assert!(refused.err.contains(message), "{}: {}", lab.engine(), refused.err);
        }
        lab.ok("monitor add ping --name A --hostname h");
        let patch = write(&lab, "patch.yaml", "monitors: [{path: A, packet_size: null}]\n");
        assert!(lab.fails(2, &format!("plan {patch}")).err.contains(message));
    }
}

#[test]
fn every_release_takes_what_it_can_hold_and_says_what_not() {
    for &release in rounds::some(&["1.23.0", "1.23.17", "2.0.2", "2.1.0", "2.1.3", "2.4.0", "2.5.0"], 4) {
        let lab = Lab::sqlite(release);
        let file = shipped("everything.yaml");
        if release < "2.5.0" {
            let before = lab.content();
            let refused = lab.fails(2, &format!("apply {file} --yes"));
            assert!(
                refused.err.contains(&format!("release {release}")) || refused.err.contains("since release"),
                "{}",
                refused.err
            );
            assert!(refused.err.contains("hint: use `--skip-unsupported`"), "{}", refused.err);
            assert_eq!(before, lab.content());
        }
        let ran = lab.run(&format!("apply {file} --yes --skip-unsupported"));
        assert!([0, 3].contains(&ran.exit), "{release}: {}{}", ran.out, ran.err);
        assert_eq!(ran.exit == 3, ran.err.contains("left out"), "{release}: {}", ran.err);
        let again = lab.run(&format!("plan {file} --skip-unsupported"));
        assert!(again.out.trim_end().ends_with(" unchanged"), "{release}: {}{}", again.out, again.err);
        // And up to the newest one.
        let text = export(&lab, "old.yaml");
        let newest = Lab::sqlite("2.5.3");
        let file = write(&newest, "old.yaml", &text);
        newest.ok(&format!("apply {file} --yes"));
        unchanged(&newest, &file);
    }
}

#[test]
fn every_foreign_file_can_be_applied_twice() {
    for entry in fs::read_dir(shipped("foreign")).unwrap() {
        let file = entry.unwrap().path().display().to_string();
        let lab = Lab::sqlite("2.5.3");
        let ran = lab.run(&format!("apply {file} --yes --skip-invalid"));
        assert!([0, 3].contains(&ran.exit), "{file}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(" created"), "{file}: {}{}", ran.out, ran.err);
        let again = lab.run(&format!("plan {file} --skip-invalid --detailed-exitcode"));
        assert_eq!(again.exit, ran.exit, "{file}: {}{}", again.out, again.err);
    }
}

#[test]
fn another_instance_is_a_source() {
    let old = Lab::sqlite("1.23.17");
    old.fails(3, &format!("apply {} --yes --skip-unsupported", shipped("everything.yaml")));
    for lab in Lab::both("2.5.3") {
        lab.ok(&format!("apply {} --yes", old.target));
        unchanged(&lab, &format!("{}/kuma.db", old.target));
        let monitors = |lab: &Lab| lab.json("monitor list")["monitors"].as_array().unwrap().len();
        assert_eq!(monitors(&lab), monitors(&old));
    }
}

#[test]
fn only_what_differs_is_changed_and_secrets_stay_unseen() {
    for lab in Lab::both("2.5.3") {
        let file = write(
            &lab,
            "a.yaml",
            "tags: [{name: env}]\nmonitors:\n- {name: Shop, type: http, url: \"https://a.example.com\", \
             basic_auth_user: u, \
             auth_method: basic, basic_auth_pass: word-one, tags: {env: prod}}\n- {name: Net, type: group}\n",
        );
        lab.ok(&format!("apply {file} --yes"));
        let file = write(
            &lab,
            "b.yaml",
            "monitors:\n- {name: Shop, type: http, url: \"https://b.example.com\", basic_auth_user: u, auth_method: \
             basic, \
             basic_auth_pass: word-two, interval: 30, tags: {env: test}}\n",
        );
        let ran = lab.run(&format!("plan {file}"));
        assert!(ran.out.contains("~ monitor `Shop`: interval 60 → 30\n"), "{}", ran.out);
        assert!(
            ran.out.contains("~ monitor `Shop`: url https://a.example.com → https://b.example.com\n"),
            "{}",
            ran.out
        );
        assert!(ran.out.contains("~ monitor `Shop`: basic_auth_pass (secret, changed)\n"), "{}", ran.out);
        assert!(ran.out.contains("~ tag `env` of monitor `Shop`: value prod → test\n"), "{}", ran.out);
        assert!(ran.out.ends_with("1 to change, 1 unmanaged\n"), "{}", ran.out);
        for out in [&ran.out, &lab.run(&format!("plan {file} --json")).out] {
            assert!(!out.contains("word-one") && !out.contains("word-two"), "{out}");
        }
        lab.ok(&format!("apply {file} --yes"));
        // An entry without a type changes only what it names; what has a type and says no more has the defaults.
        let file = write(&lab, "c.yaml", "monitors: [{name: Shop, maxretries: 3}]\n");
        lab.ok(&format!("apply {file} --yes"));
        assert_eq!(lab.sql("SELECT `interval`, maxretries FROM monitor WHERE name = 'Shop'").trim(), "30\t3");
        let file = write(&lab, "d.yaml", "monitors: [{name: Shop, type: http, url: \"https://b.example.com\"}]\n");
        lab.ok(&format!("apply {file} --yes"));
        assert_eq!(lab.sql("SELECT `interval`, maxretries FROM monitor WHERE name = 'Shop'").trim(), "60\t0");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor_tag").trim(), "0");
        // Into a group, under another name.
        let file = write(
            &lab,
            "e.yaml",
            "monitors: [{path: Net/Store, was: Shop, type: http, url: \"https://b.example.com\"}]\n",
        );
        let id = lab.sql("SELECT id FROM monitor WHERE name = 'Shop'");
        lab.ok(&format!("apply {file} --yes"));
        assert_eq!(lab.sql("SELECT id FROM monitor WHERE name = 'Store'"), id);
        assert_eq!(lab.json("monitor show Store")["monitor"]["path"], "Net/Store");
        unchanged(&lab, &file);
        // Another monitor gets the name that this one had.
        let file = write(
            &lab,
            "g.yaml",
            "monitors:\n- {path: Net/Shop, type: ping, hostname: h}\n- {path: Net/Mall, was: Net/Store, type: http, url: \
             \"https://b.example.com\"}\n- {path: Net/Store, type: ping, hostname: h}\n",
        );
        lab.ok(&format!("apply {file} --yes"));
        assert_eq!(lab.sql("SELECT id FROM monitor WHERE name = 'Mall'"), id);
        assert_eq!(lab.sql("SELECT type FROM monitor WHERE name = 'Store'").trim(), "ping");
        unchanged(&lab, &file);
        // A former name that is misspelt.
        let file = write(&lab, "f.yaml", "monitors: [{path: Net/Market, was: Net/Stroe, type: group}]\n");
        let warned = lab.run(&format!("plan {file}"));
        assert!(
            warned.err.contains("no monitor `Net/Stroe` (did you mean `Net/Store`?), so a new one is created"),
            "{}",
            warned.err
        );
    }
}

#[test]
fn pruning_deletes_only_what_the_document_has_kinds_of() {
    for lab in Lab::both("2.5.3") {
        lab.ok(&format!("apply {} --yes", shipped("everything.yaml")));
        let file = write(&lab, "few.yaml", "monitors:\n- {name: Only, type: ping, hostname: h, notifications: []}\n");
        let tags = lab.sql("SELECT count(*) FROM tag");
        // What something named points to cannot go.
        let torn =
            write(&lab, "torn.yaml", "monitors: [{name: Switch, type: ping, hostname: h, parent: Network/Core}]\n");
        let refused = lab.fails(2, &format!("apply {torn} --yes --prune"));
        assert!(refused.err.contains("`--prune` would delete it"), "{}", refused.err);
        lab.ok(&format!("apply {file} --yes --prune"));
        assert_eq!(lab.sql("SELECT name FROM monitor").trim(), "Only");
        for table in ["monitor_tag", "monitor_notification", "monitor_group", "monitor_maintenance"] {
            assert_eq!(lab.sql(&format!("SELECT count(*) FROM {table}")).trim(), "0", "{table}");
        }
        assert_eq!(lab.sql("SELECT count(*) FROM tag"), tags);
        let file =
            write(&lab, "none.yaml", "tags: []\nnotifications: []\nstatus_pages: []\nmaintenance: []\nusers: []\n");
        lab.ok(&format!("apply {file} --yes --prune"));
        for table in ["tag", "notification", "status_page", "status_page_cname", "`group`", "incident", "maintenance"] {
            assert_eq!(lab.sql(&format!("SELECT count(*) FROM {table}")).trim(), "0", "{table}");
        }
        assert_ne!(lab.sql("SELECT count(*) FROM user").trim(), "0");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor").trim(), "1");
    }
}

#[test]
fn a_saved_plan_is_applied_unless_the_configuration_moved() {
    for lab in Lab::both("2.5.3") {
        let plan = lab.root.path().join("a.plan");
        let make = format!("plan {} -o {}", shipped("homelab.yaml"), plan.display());
        lab.ok(&make);
        assert_eq!(fs::metadata(&plan).unwrap().permissions().mode() & 0o777, 0o600);
        lab.ok("monitor add group --name Later");
        let stale = lab.fails(9, &format!("apply {} --yes", plan.display()));
        assert!(stale.err.contains("the configuration changed after the plan was created"), "{}", stale.err);
        for line in ["plan", "drift"] {
            let ran = lab.fails(2, &format!("{line} {}", plan.display()));
            assert!(ran.err.contains("is a saved plan") && ran.err.contains("try: kumadb apply /"), "{}", ran.err);
        }
        lab.ok(&make);
        // A beat is no change that matters.
        lab.sql("INSERT INTO heartbeat (monitor_id, status, msg, time, important, duration, down_count) VALUES (1, 1, '', '2026-01-01 00:00:00', 0, 0, 0)");
        let elsewhere = Lab::sqlite("2.5.3");
        let refused = elsewhere.fails(9, &format!("apply {} --yes", plan.display()));
        assert!(refused.err.contains("was created for the instance at"), "{}", refused.err);
        lab.ok(&format!("apply {} --yes", plan.display()));
        unchanged(&lab, &shipped("homelab.yaml"));
    }
}

#[test]
fn secrets_that_were_left_out_stay_and_are_missed_elsewhere() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok(&format!("apply {} --yes", shipped("everything.yaml")));
    // A URL with a login is a secret in any field.
    lab.sql(
        "UPDATE monitor SET url = 'https://kuma:url-secret-word@shop.example.com' WHERE name = 'Shop'; \
         UPDATE docker_host SET docker_daemon = 'tcp://kuma:host-secret-word@10.0.0.5:2375' WHERE name = 'build farm'",
    );
    let open = lab.root.path().join("open.yaml").display().to_string();
    let env = lab.root.path().join("secrets.env").display().to_string();
    let named = lab.root.path().join("named.yaml").display().to_string();
    lab.ok(&format!("export -o {open}"));
    let text = fs::read_to_string(&open).unwrap();
    assert!(!text.contains("secret-word") && text.contains("left_out"), "{text}");
    assert!(text.contains("ntfyserverurl: ") && text.contains("config.ntfytopic"), "{text}");
    unchanged(&lab, &open);
    let other = Lab::sqlite("2.5.3");
    let refused = other.fails(2, &format!("apply {open} --yes"));
    assert!(refused.err.contains("is a secret that the export left out"), "{}", refused.err);
    assert!(refused.err.contains("docker_hosts[0].docker_daemon: is a secret"), "{}", refused.err);
    let shop = lab.root.path().join("shop.yaml").display().to_string();
    lab.ok(&format!("export --monitors Web/Shop -o {shop}"));
    assert!(!fs::read_to_string(&shop).unwrap().contains("secret-word"));
    let refused = other.fails(2, &format!("apply {shop} --yes"));
    assert!(refused.err.contains("url: is a secret that the export left out"), "{}", refused.err);
    lab.ok(&format!("export --kind notifications -o {open}"));
    let refused = other.fails(2, &format!("apply {open} --yes"));
    assert!(refused.err.contains("config.webhookURL: is a secret"), "{}", refused.err);

    lab.ok(&format!("export -o {named} --secrets-env {env}"));
    assert!(!fs::read_to_string(&named).unwrap().contains("secret-word"));
    let missing = other.fails(2, &format!("apply {named} --yes"));
    assert!(missing.err.contains("requires the environment variable"), "{}", missing.err);
    let script = format!(". {env} && exec \"$0\" -t {} apply {named} --yes", other.target);
    let mut shell = assert_cmd::Command::new("sh");
    shell
        .args(["-c", &script])
        .arg(env!("CARGO_BIN_EXE_kumadb"))
        .env("KUMADB_STORE", other.store())
        .env("DOCKER_HOST", "unix:///no.sock");
    let ran = Ran::of(&mut shell);
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    assert_eq!(export(&lab, "one.yaml"), export(&other, "two.yaml"));
}

#[test]
fn variables_files_folders_and_standard_input() {
    let lab = Lab::sqlite("2.5.3");
    write(&lab, "body.txt", "a body\n");
    let file = write(
        &lab,
        "v.yaml",
        "monitors:\n- {name: \"${NAME:-Plain}\", type: http, url: \"https://x.example.com/$${y}\", \
         http_body_encoding: xml, body: \"${file:body.txt}\"}\n",
    );
    lab.ok(&format!("apply {file} --yes"));
    assert_eq!(lab.sql("SELECT name, url, body FROM monitor").trim(), "Plain\thttps://x.example.com/${y}\ta body");
    let file = write(&lab, "w.yaml", "monitors: [{name: \"${NOT_SET_HERE}\", type: group}]\n");
    let ran = lab.fails(2, &format!("plan {file}"));
    assert!(
        ran.err.contains("w.yaml:1:19: monitors[0].name: requires the environment variable `NOT_SET_HERE`"),
        "{}",
        ran.err
    );

    let folder = lab.root.path().join("many");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("1.yaml"), "monitors: [{name: A, type: group}]").unwrap();
    fs::write(folder.join("2.toml"), "[[monitors]]\nname = \"B\"\ntype = \"ping\"\nhostname = \"h\"\nparent = \"A\"\n")
        .unwrap();
    fs::write(
        folder.join("3.json"),
        "{\"monitors\": [{\"path\": \"A/C\", \"type\": \"port\", \"hostname\": \"h\", \"port\": 22}]}",
    )
    .unwrap();
    lab.ok(&format!("apply {} --yes", folder.display()));
    let out = lab.ok("monitor list --group A");
    assert!(out.contains("A/B") && out.contains("A/C"), "{out}");

    let mut command = lab.bare();
    command.args(["-t", &lab.target, "apply", "-", "--yes"]).write_stdin("monitors: [{name: Piped, type: group}]");
    assert_eq!(Ran::of(&mut command).exit, 0);
    lab.ok("monitor show Piped");
}

#[test]
fn other_syntaxes_say_the_same() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok(&format!("apply {} --yes", shipped("everything.yaml")));
    for ending in ["json", "toml"] {
        let file = lab.root.path().join(format!("all.{ending}")).display().to_string();
        lab.ok(&format!("export --secrets -o {file}"));
        unchanged(&lab, &file);
    }
    let csv = lab.ok("export --monitors --format csv");
    assert!(csv.starts_with("name,type,parent,url,hostname,port,"), "{csv}");
}

#[test]
fn a_setting_that_no_server_reads_is_named() {
    for lab in Lab::both("2.5.3") {
        let file = write(&lab, "set.yaml", "settings: {keepDatPeriodDays: 40, mine: 1, checkBeta: true}\n");
        let ran = lab.run(&format!("apply {file} --yes"));
        assert_eq!(ran.exit, 0, "{}", ran.err);
        for words in
            ["reads the setting `keepDatPeriodDays` (did you mean `keepDataPeriodDays`?)", "the setting `mine`"]
        {
            assert!(ran.err.contains(words), "{}", ran.err);
        }
        assert!(!ran.err.contains("the setting `checkBeta`"), "{}", ran.err);
        unchanged(&lab, &file);
    }
}

#[test]
fn all_problems_are_reported_at_once_with_their_positions() {
    let lab = Lab::sqlite("2.5.3");
    let before = lab.content();
    let file = write(
        &lab,
        "bad.yaml",
        "monitors:\n- {name: A, type: http, url: \"htp://x\"}\n- {name: B, type: pong}\n\
         - {name: C, type: ping, hostname: h, parent: Nowhere, tags: {nope: 1}, notifications: [x]}\n\
         - {name: P, type: ping, hostname: h}\n- {name: D, type: group, parent: P}\n- {name: E, type: group, parent: E}\n\
         - {name: F, type: push, push_token: abcdefghijklmnopqrstuvwxyz012345}\n\
         - {name: G, type: push, push_token: abcdefghijklmnopqrstuvwxyz012345}\n- {name: A, type: group}\n",
    );
    let ran = lab.fails(2, &format!("apply {file} --yes --no-create-tags"));
    for (place, words) in [
        ("bad.yaml:2:30: monitors[0].url", "must start with"),
        ("bad.yaml:3:19: monitors[1].type", "release 2.5.3 has no type `pong`"),
        ("monitors[2].parent", "no monitor `Nowhere`"),
        ("monitors[2].tags.nope", "no tag `nope`"),
        ("monitors[2].notifications[0]", "no notification `x`"),
        ("monitors[4].parent", "only a group can be a parent"),
        ("monitors[7].push_token", "already belongs to monitor `F`"),
        ("bad.yaml:10:3: monitors[8]", "is defined twice, first at"),
    ] {
        let line = ran.err.lines().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{place}: {}", ran.err));
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(before, lab.content());
    for (text, words) in [
        (
            "monitors: [{name: A, type: http, url: \"https://x\", intervall: 3}]",
            "1:52: monitors[0].intervall: is not a field of a monitor (did you mean `interval`?)",
        ),
        (
            "notifications: [{name: A, type: webhook, webhookURL: \"https://x\"}]",
            "is not a field of a notification; a setting of its provider is written as `config: {webhookURL: …}`",
        ),
        ("monitor: []", "1:1: monitor: unknown key (did you mean `monitors`?)"),
        ("monitors: [{name: A, type: push, push_token: \"********\"}]", "is a masked secret"),
        ("settings: {jwtSecret: x}", "is managed by the server and cannot be set"),
        ("settings: {entryPage: statusPage-none}", "no status page `none`"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c \
             [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e \
             [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: \
             [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
            "expands to more than",
        ),
        ("monitors: [{name: A, name: B}]", "`name` is specified twice"),
        ("monitors: [", "is not valid YAML"),
    ] {
        let file = write(&lab, "one.yaml", text);
        let ran = lab.fails(2, &format!("plan {file}"));
        assert!(ran.err.contains(words), "{text}: {}", ran.err);
    }
    let many: String = (0..1000).map(|n| format!("- {{name: M{n}, type: pong}}\n")).collect();
    let file = write(&lab, "many.yaml", &format!("monitors:\n{many}"));
    let ran = lab.fails(2, &format!("plan {file}"));
    assert!(ran.err.lines().count() < 30 && ran.err.contains("… and 980 more"), "{}", ran.err);
}

#[test]
fn a_password_that_is_the_same_is_no_change() {
    let lab = Lab::sqlite("2.5.3");
    let file = write(&lab, "u.yaml", "users: [{username: admin, password: \"Kuma-Lab-2026\"}]\n");
    unchanged(&lab, &file);
    let file = write(&lab, "u.yaml", "users: [{username: admin, password: \"Kuma-Lab-2027\"}]\n");
    let hash = || lab.sql("SELECT password FROM user").trim().to_owned();
    let before = hash();
    lab.ok(&format!("apply {file} --yes"));
    assert_ne!(before, hash());
    assert!(bcrypt::verify("Kuma-Lab-2027", &hash()).unwrap());
    unchanged(&lab, &file);
}

#[test]
fn the_schema_for_editors_knows_every_field() {
    let lab = Lab::sqlite("2.5.3");
    let schema = lab.json("schema fixture");
    let monitor = &schema["properties"]["monitors"]["items"];
    for field in kumadb::model::fields::FIELDS.iter().filter(|field| field.is_typed()) {
        assert!(monitor["properties"][field.column].is_object(), "{}", field.column);
    }
    assert!(monitor["allOf"].as_array().unwrap().len() >= 33);
    assert!(Path::new(&shipped("everything.yaml")).exists());
}

#[test]
fn groups_in_a_circle_are_refused_at_once() {
    let lab = Lab::sqlite("2.5.3");
    let circle = |n: usize, of: usize| format!("- {{name: G{n}, type: group, parent: G{}}}\n", (n + 1) % of);
    let text: String = (0..200).map(|n| circle(n, 200)).collect();
    let file = write(&lab, "circle.yaml", &format!("monitors:\n{text}"));
    let ran = lab.fails(2, &format!("plan {file}"));
    assert!(ran.err.contains("the groups would form a cycle"), "{}", ran.err);
}

#[test]
fn a_parent_may_be_called_by_its_name_alone() {
    for lab in Lab::both("2.5.3") {
        let text = "monitors:\n- {name: Network, type: group}\n- {name: Core, type: group, parent: Network}\n\
                    - {name: Router, type: ping, hostname: h, parent: Core}\n";
        let file = write(&lab, "short.yaml", text);
        lab.ok(&format!("apply {file} --yes"));
        unchanged(&lab, &file);
        let file = write(&lab, "one.yaml", "monitors: [{name: Router, type: ping, hostname: h, parent: Core}]\n");
        unchanged(&lab, &file);
    }
}

#[test]
fn files_are_looked_for_beside_the_document_that_names_them() {
    let lab = Lab::sqlite("2.5.3");
    let root = lab.root.path();
    std::fs::create_dir_all(root.join("shops/eu")).unwrap();
    write(&lab, "main.yaml", "monitors: !include shops/all.yaml\n");
    write(&lab, "shops/all.yaml", "- !include eu/one.yaml\n");
    write(&lab, "shops/eu/one.yaml", "{name: One, type: http, url: \"https://${file:host.txt}\"}\n");
    write(&lab, "shops/eu/host.txt", "one.example.com\n");
    lab.ok("apply main.yaml --yes");
    assert_eq!(lab.sql("SELECT url FROM monitor").trim(), "https://one.example.com");
}

#[test]
fn a_table_that_only_mentions_a_tag_leaves_its_color() {
    for lab in Lab::both("2.5.3") {
        let file = write(&lab, "tags.yaml", "tags: [{name: env, color: \"#123456\"}]\n");
        lab.ok(&format!("apply {file} --yes"));
        let file = write(&lab, "m.csv", "name,type,hostname,tags\nA,ping,a.example.com,env=prod;new\n");
        let out = lab.ok(&format!("apply {file} --yes"));
        assert!(!out.contains("tag `env`: color"), "{out}");
        assert_eq!(lab.sql("SELECT color FROM tag ORDER BY name").trim(), "#123456\n#4B5563", "{}", lab.engine());
        unchanged(&lab, &file);
        let csv = lab.root.path().join("out.csv").display().to_string();
        lab.ok(&format!("export -o {csv}"));
        unchanged(&lab, &csv);
        let file = write(&lab, "m.yaml", "monitors: [{name: A, tags: {env: test}}]\n");
        let out = lab.ok(&format!("plan {file}"));
        assert!(out.contains("- tag `new` of monitor `A`"), "a removed tag has its name: {out}");
        assert!(out.contains("~ tag `env` of monitor `A`: value prod → test"), "{out}");
    }
}

/// Separators in texts, a list that is empty on purpose, and what looks like a variable.
#[test]
fn a_table_that_was_exported_changes_nothing() {
    let lab = Lab::sqlite("2.5.3");
    let file = write(
        &lab,
        "all.yaml",
        r#"
notifications:
  - {name: "ops; all", type: ntfy, default: true, config: {ntfytopic: t, ntfyserverurl: "https://ntfy.sh"}}
monitors:
  - {name: A, type: ping, hostname: a, notifications: [], tags: {owner: "Smith, John", "a:b": "x", note: ""}}
  - {name: B, type: ping, hostname: b, tags: ["c=d", plain]}
  - {name: C, type: http, url: "https://c", method: POST, body: '{"price": "$${PRICE}"}', notifications: ["ops; all"]}
  - {name: "$${D}", type: http, url: "https://d", basic_auth_user: u, basic_auth_pass: pw, auth_method: basic}
"#,
    );
    lab.ok(&format!("apply {file} --yes"));
    let csv = lab.root.path().join("out.csv").display().to_string();
    lab.ok(&format!("export --secrets -o {csv}"));
    unchanged(&lab, &csv);
    let refused = lab.fails(2, &format!("export --secrets-env s.env -o {csv}"));
    assert!(refused.err.contains("variables are only expanded in fixtures"), "{}", refused.err);
}

#[test]
fn tags_that_only_monitors_mention_are_created_unless_that_is_refused() {
    const COLOR: &str = "SELECT color FROM tag WHERE name = 'team'";
    for lab in Lab::both("2.5.3") {
        let file = write(&lab, "m.yaml", "monitors: [{name: A, type: group, tags: {team: web}}]\n");
        let refused = lab.fails(2, &format!("plan {file} --no-create-tags"));
        assert!(refused.err.contains("monitors[0].tags.team.name: no tag `team`"), "{}", refused.err);
        let planned = lab.ok(&format!("plan {file}"));
        assert!(planned.contains("+ tag `team`\n") && planned.ends_with("2 to create\n"), "{planned}");
        lab.ok(&format!("apply {file} --yes --prune"));
        assert_eq!(lab.sql(COLOR).trim(), "#4B5563", "{}", lab.engine());
        unchanged(&lab, &file);
        // Tags that are pruned must be named: they would be deleted by the next run.
        let file = write(&lab, "t.yaml", "tags: [{name: env}]\nmonitors: [{name: A, tags: {env: x, new: y}}]\n");
        let refused = lab.fails(2, &format!("plan {file} --prune"));
        assert!(refused.err.contains("no tag `new`") && refused.err.contains("define it under `tags`"), "{refused:?}");
        lab.ok(&format!("apply {file} --yes"));
        unchanged(&lab, &file);
    }
}

#[test]
fn problems_are_reported_in_the_order_of_the_text_and_in_its_words() {
    let lab = Lab::sqlite("2.5.3");
    let file = write(
        &lab,
        "bad.yaml",
        "monitors:\n- {name: A, type: ping, hostname: h, tags: [{name: nope}]}\n\
         - {name: B, type: http, url: \"https://b\", accepted_statuscodes: [x]}\n\
         - {name: C, type: globalping, subtype: dns, hostname: c.example.com, location: Europe, protocol: bogus}\n\
         notifications:\n- {name: N, type: webhook, default: true, config: {a: b}, left_out: [config.webhookURL]}\n",
    );
    let ran = lab.fails(2, &format!("plan {file} --no-create-tags"));
    let lines: Vec<&str> = ran.err.lines().collect();
    let place =
        |line: &str| line.split("bad.yaml:").nth(1).and_then(|rest| rest.split(':').next()?.parse::<u32>().ok());
    let places: Vec<u32> = lines.iter().filter_map(|line| place(line)).collect();
    assert!(places.is_sorted() && places.len() >= 4, "{}", ran.err);
    assert!(ran.err.contains("monitors[0].tags[0].name: no tag `nope`"), "{}", ran.err);
    assert_eq!(ran.err.matches(".protocol:").count(), 1, "{}", ran.err);
    let hints: Vec<&&str> = lines.iter().filter(|line| line.contains("try:") || line.contains("hint:")).collect();
    assert!(hints.iter().any(|hint| hint.contains("--no-create-tags")), "{}", ran.err);
    assert!(hints.iter().any(|hint| hint.contains("--secrets")), "{}", ran.err);
}

#[test]
fn thousands_of_groups_in_each_other_are_planned_and_in_a_circle_refused() {
    let lab = Lab::sqlite("2.5.3");
    let group = |at: usize, parent: Option<usize>| {
        let parent = parent.map_or(String::new(), |parent| format!(", parent: G{parent}"));
        format!("- {{name: G{at}, type: group{parent}}}\n")
    };
    let chain: String = (0..5000_usize).rev().map(|at| group(at, at.checked_sub(1))).collect();
    let file = write(&lab, "chain.yaml", &format!("monitors:\n{chain}"));
    let out = lab.ok(&format!("plan {file}"));
    assert!(out.contains("5000 to create"), "{out}");
    let circle: String = (0..5000).map(|at| group(at, Some((at + 1) % 5000))).collect();
    let file = write(&lab, "circle.yaml", &format!("monitors:\n{circle}"));
    let ran = lab.fails(2, &format!("plan {file}"));
    assert!(ran.err.contains("would form a cycle") && ran.err.contains("… and 4980 more"), "{}", ran.err);
}

#[test]
fn what_toml_cannot_say_is_named() {
    let lab = Lab::sqlite("2.5.3");
    let file = write(
        &lab,
        "all.yaml",
        "notifications: [{name: ops, type: webhook, config: {webhookURL: u, a: null, b: [1, null], c: 2}}]\n\
         tags: [{name: env}]\nmonitors: [{name: A, type: ping, hostname: h, tags: {env: null}}]\n\
         settings: {empty: null, full: {x: null, y: 1}}\n",
    );
    lab.ok(&format!("apply {file} --yes"));
    let toml = lab.root.path().join("all.toml").display().to_string();
    let ran = lab.fails(3, &format!("export --secrets -o {toml}"));
    for lost in
        ["notification `ops`: config.a:", "notification `ops`: config.b[1]:", "setting `empty`:", "setting `full`.x:"]
    {
        assert!(ran.err.contains(lost), "{lost} in {}", ran.err);
    }
    let plan = lab.ok(&format!("plan {toml}"));
    assert!(plan.contains("2 to change") && !plan.contains("~ monitor"), "only what was named differs: {plan}");
    for ending in ["yaml", "json"] {
        let file = lab.root.path().join(format!("all.{ending}")).display().to_string();
        lab.ok(&format!("export --secrets -o {file}"));
        unchanged(&lab, &file);
    }
}

#[test]
fn games_and_providers_are_those_of_the_release() {
    let fixture = "notifications: [{name: ops, type: TYPE}]\nmonitors:\n- {name: TF2, type: gamedig, hostname: game.example, \
                   port: 27015, game: GAME, notifications: [ops]}\n";
    let of = |kind: &str, game: &str| fixture.replace("TYPE", kind).replace("GAME", game);
    for (release, game, stored) in
        [("2.5.3", "tf2", "teamfortress2"), ("2.0.2", "teamfortress2", "tf2"), ("1.23.17", "minecraft", "minecraft")]
    {
        let lab = Lab::sqlite(release);
        let file = write(&lab, "games.yaml", &of("webhook", game));
        let ran = lab.run(&format!("apply {file} --yes"));
        assert_eq!(ran.exit, 0, "{}", ran.err);
        assert_eq!(ran.err.contains(&format!("the game `{game}` is `{stored}`")), game != stored, "{}", ran.err);
        assert_eq!(lab.sql("SELECT game FROM monitor"), format!("{stored}\n"));
        unchanged(&lab, &file);
    }
    let lab = Lab::sqlite("2.5.3");
    let given = lab.fails(2, "monitor add gamedig --name TF2 --hostname game.example --port 27015 --game tf2").err;
    assert!(given.contains("`tf2` as `teamfortress2`") && given.contains("--game teamfortress2"), "{given}");
    for (kind, words) in [
        ("LineNotify", "has no notification provider `LineNotify`, which was removed in 2.1.0"),
        ("Telegram", "has no notification provider `Telegram` (did you mean `telegram`?)"),
        ("\"\"", "notifications[0].type: is required"),
    ] {
        let file = write(&lab, "wrong.yaml", &of(kind, "minecraft"));
        let given = lab.fails(2, &format!("plan {file}")).err;
        assert!(given.contains(words), "{kind}: {given}");
    }
    let file = write(&lab, "line.yaml", &of("LineNotify", "minecraft"));
    let ran = lab.fails(3, &format!("apply {file} --yes --skip-unsupported"));
    assert!(ran.err.contains("`ops` is also left out"), "{}", ran.err);
    assert_eq!(lab.sql("SELECT count(*) FROM notification"), "0\n");
    // What is there already stays, whatever its provider.
    lab.sql(
        "INSERT INTO notification (id, name, active, user_id, is_default, config) VALUES (1, 'ops', 1, 1, 0, \
         '{\"name\": \"ops\", \"type\": \"LineNotify\"}')",
    );
    lab.ok(&format!("apply {file} --yes"));
    let older = Lab::sqlite("2.0.2");
    let file = write(&older, "newer.yaml", &of("ClickUp", "minecraft"));
    assert!(older.fails(2, &format!("plan {file}")).err.contains("which is available since 2.5.1"));
}
