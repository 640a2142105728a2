//! Names and messages with line breaks and control characters: none begins a line of the output, or reaches a terminal as it is.

use std::fs;

use serde_json::json;

use crate::cli::observe::add_beats;
use crate::support::lab::Lab;

/// What an attacker writes: a command of GitHub Actions on a line of its own, a sequence that clears the screen, a mark that turns
/// text around, a line break of Unicode, characters without a width, a tab, and a NUL.
const EVIL: &str = "\n::error::x\r\n  ::stop-commands::y\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{2028}::z\u{85}\u{200b}\u{feff}\tt\u{0}n\u{7f}";

/// `text` as SQLite reads it.
fn sql(text: &str) -> String {
    let letters: Vec<String> = text.chars().map(|letter| u32::from(letter).to_string()).collect();
    format!("char({})", letters.join(","))
}

/// An instance on which everything that has a name has one of these.
fn furnish(lab: &Lab) {
    lab.ok("monitor add group --name Network");
    lab.ok("monitor add ping --name Router --hostname 10.0.0.1 --parent Network --tag env=prod");
    lab.ok("monitor add http --name Shop --url https://shop.example.com --tag env=test");
    lab.ok("monitor add http --name Down --url https://down.example.com");
    lab.ok("monitor add dns --name Type --hostname example.com");
    lab.ok("backup create");
    lab.sql("UPDATE monitor SET parent = 1 WHERE id = 4");
    add_beats(lab, 2, &[(60, 1, true), (1, 1, false)]);
    add_beats(lab, 3, &[(60, 1, true), (20, 0, true), (1, 0, false)]);
    let evil = sql(EVIL);
    lab.sql(&format!(
        "INSERT INTO notification (name, config, active, user_id, is_default) VALUES ('ops', '{{\"type\":\"webhook\"}}', 1, 1, 0);
         INSERT INTO maintenance (title, description, user_id, active, strategy) VALUES ('Deploy', 'x', 1, 1, 'manual');
         INSERT INTO status_page (slug, title, description, icon, theme, published, show_tags) VALUES ('all', 'All', '', '/icon.svg',
         'auto', 1, 1);
         INSERT INTO api_key (key, name, user_id, active) VALUES ('x', 'key', 1, 1);
         INSERT INTO docker_host (user_id, docker_type, docker_daemon, name) VALUES (1, 'socket', '/var/run/docker.sock', 'local');
         INSERT INTO proxy (user_id, protocol, host, port, auth, active, \"default\") VALUES (1, 'http', '10.0.0.9', 3128, 0, 1, 0);
         INSERT INTO setting (key, value, type) VALUES ('theme' || {evil}, '1' || {evil}, 'general');
         UPDATE monitor SET name = name || {evil}, description = {evil}, url = url || {evil}, hostname = hostname || {evil};
         UPDATE monitor SET type = 'new' || {evil} WHERE id = 5;
         UPDATE tag SET name = name || {evil}, color = {evil};
         UPDATE monitor_tag SET value = value || {evil};
         UPDATE notification SET name = name || {evil};
         UPDATE maintenance SET title = title || {evil};
         UPDATE status_page SET title = title || {evil}, slug = slug || {evil};
         UPDATE api_key SET name = name || {evil};
         UPDATE docker_host SET name = name || {evil};
         UPDATE proxy SET host = host || {evil};
         UPDATE user SET username = username || {evil};
         UPDATE heartbeat SET msg = 'refused' || {evil};
         INSERT INTO monitor_tag (monitor_id, tag_id, value) VALUES (999, 1, {evil});"
    ));
}

/// Fails if `text` has a line that a CI system would execute, or a character that a terminal would.
fn check(line: &str, text: &str) {
    for shown in text.lines() {
        assert!(!shown.trim_start().starts_with("::"), "{line}: {shown:?}\n{text}");
    }
    let is_evil = |letter: char| {
        letter.is_control() && letter != '\n'
            || matches!(letter, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(is_evil), "{line}: {text:?}");
}

#[test]
fn a_name_begins_no_line_and_controls_no_terminal() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let fixture = lab.root.path().join("fixture.json");
    let named = |name: &str| format!("{name}{}", EVIL.replace('\0', ""));
    let monitor =
        |name: &str| json!({"name": named(name), "type": "ping", "hostname": "10.0.0.1", "parent": named("Nobody")});
    let text = json!({"monitors": [
        {"name": named("Another"), "type": "ping", "hostname": "10.0.0.2", "tags": [{"name": named("new"), "value": named("v")}]},
        {"name": "Shop", "type": "http", "url": "https://other.example.com"},
    ], "tags": [{"name": named("label"), "color": "#2563EB"}]});
    fs::write(&fixture, text.to_string()).unwrap();
    let wrong = lab.root.path().join("wrong.json");
    let text = json!({"monitors": [monitor("A"), {"name": named("B"), "type": named("http")}], named("key"): 1});
    fs::write(&wrong, text.to_string()).unwrap();
    let (fixture, wrong) = (fixture.display(), wrong.display());
    let lines = [
        "monitor list".to_owned(),
        "monitor list --format wide".into(),
        "monitor show 3".into(),
        "monitor show 2".into(),
        "monitor show Rooter".into(),
        "monitor list --group Netwrok --type htttp".into(),
        "monitor uptime --since 7d".into(),
        "monitor uptime --by-group".into(),
        "monitor outages".into(),
        "monitor edit --name '*' --interval 30 --dry-run".into(),
        "monitor edit 3 --add-tag nev=x --dry-run".into(),
        "monitor delete 3 --dry-run".into(),
        "monitor clone 3 --name Copy --dry-run".into(),
        "monitor pause 2 3".into(),
        "monitor edit 3 --parent 3 --dry-run".into(),
        "status".into(),
        "doctor".into(),
        "doctor --fix --dry-run".into(),
        format!("plan {fixture}"),
        format!("plan {fixture} --prune"),
        format!("drift {fixture}"),
        format!("plan {wrong}"),
        format!("apply {fixture} --yes --dry-run"),
        "maintenance list".into(),
        "maintenance start 3 --for 5m --dry-run".into(),
        "user list".into(),
        "api-key list".into(),
        "history stats".into(),
        "history prune --keep 0 --dry-run".into(),
        "backup create".into(),
        "backup list".into(),
        "backup show latest --monitors".into(),
        "restore latest --dry-run".into(),
        "undo --dry-run".into(),
        "sql 'UPDATE monitor SET description = name' --dry-run".into(),
        "convert --to sqlite --dry-run".into(),
        format!("export --to autokuma --output {}", lab.root.path().join("autokuma").display()),
        "export --output /dev/null".into(),
        "find".into(),
    ];
    for line in lines {
        let ran = lab.run(&line);
        check(&line, &ran.out);
        check(&line, &ran.err);
    }
    // Each command of the workflow is ours, and says where.
    let ran = lab.run(&format!("drift {fixture} --format github"));
    assert!(ran.out.lines().count() > 2 && ran.out.lines().all(|line| line.starts_with("::error ")), "{}", ran.out);
    assert!(ran.out.contains(r"\n::error::x"), "{}", ran.out);
    // Programs get the names as they are.
    assert_eq!(lab.json("monitor list")["monitors"][2]["name"], format!("Shop{EVIL}"));
}
