//! What is printed for machines is what the documentation says, and every command and exit code is documented.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kumadb::error::Exit;
use serde_json::Value as Json;

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, Ran, words};

#[path = "../../../benches/ratios/curve.rs"]
mod curve;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_picture_of_growth_shows_its_figures() {
    let curves: Vec<curve::Curve> = serde_json::from_str(&read("docs/growth.json")).unwrap();
    assert_eq!(curves.len(), 5);
    for curve in &curves {
        let counts: Vec<usize> = curve.points.iter().map(|point| point.count / curve.points[0].count).collect();
        assert_eq!(counts, [1, 10, 100], "{}", curve.job);
    }
    let drawn = curve::draw(&curves);
    if std::env::var("SNAPSHOTS").is_ok_and(|value| value == "overwrite") {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/growth.svg"), &drawn).unwrap();
    }
    assert!(read("docs/growth.svg") == drawn, "docs/growth.svg: run this with SNAPSHOTS=overwrite");
}

/// The keys that `docs/json.md` lists under the heading that names `command`, and those of all commands that write.
fn documented(command: &str) -> BTreeSet<String> {
    let text = read("docs/json.md");
    let keys = |desired: &dyn Fn(&str) -> bool| -> Vec<String> {
        let sections = text.split("\n## ").filter(|section| desired(section.lines().next().unwrap_or_default()));
        let lines = sections.flat_map(|section| section.lines().filter_map(|line| line.strip_prefix("| `")));
        lines.filter_map(|line| line.split_once('`')).map(|(key, _)| key.to_owned()).collect()
    };
    let own = keys(&|heading| heading.split(", ").any(|named| named == format!("`{command}`")));
    assert!(!own.is_empty(), "docs/json.md has no section `{command}`");
    own.into_iter().chain(keys(&|heading| heading.starts_with("Every command") || heading == "Errors")).collect()
}

/// The keys of `document` as the documentation writes them. A map whose keys are data has `*` for them in `known`.
fn keys(document: &Json, path: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    match document {
        Json::Object(map) if !map.is_empty() => {
            let inside = format!("{path}.*");
            let is_map = known.iter().any(|key| key.starts_with(&inside)) && path != "monitor" && !path.ends_with(']');
            for (key, value) in map {
                let is_data =
                    is_map || path == "monitor" && kumadb::model::field(key).is_some_and(|field| field.column == key);
                let key = if is_data { "*" } else { key };
                keys(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, known, found);
            }
        }
        Json::Array(list) if list.iter().any(Json::is_object) => {
            list.iter().for_each(|one| keys(one, &format!("{path}[]"), known, found));
        }
        Json::Object(_) => {}
        _ => drop(found.insert(path.to_owned())),
    }
}

fn check(command: &str, ran: &Ran) {
    let document: Json =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{command}: {error}: {}", ran.out));
    let known = documented(command);
    let mut found = BTreeSet::new();
    match (command, &document["snapshots"]) {
        // A list of what `backup create` prints one of.
        ("backup list", Json::Array(list)) => {
            keys(&document["store"], "store", &known, &mut found);
            list.iter().for_each(|one| keys(one, "", &known, &mut found));
        }
        _ => keys(&document, "", &known, &mut found),
    }
    // A null stands for a whole map, an empty list for one of things.
    let covers = |key: &String| {
        known.contains(key)
            || known.iter().any(|known| known.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', '['])))
            || key == "monitor.*"
    };
    let unknown: Vec<&String> = found.iter().filter(|key| !covers(key)).collect();
    assert!(unknown.is_empty(), "{command} prints keys that docs/json.md does not have: {unknown:?}");
}

#[test]
fn every_key_that_is_printed_is_documented() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let file = |name: &str, text: &str| fs::write(lab.root.path().join(name), text).unwrap();
        file("everything.yaml", &read("fixtures/everything.yaml"));
        file("patch.yaml", "monitors: [{path: Web/Shop, interval: 30, basic_auth_pass: another}]\n");
        file("wrong.yaml", "monitors: [{name: X, type: pong}, {name: Y, type: group}]\n");
        for (command, rest) in [
            ("monitor list", ""),
            ("monitor show", "Router"),
            ("monitor uptime", ""),
            ("monitor uptime", "--since 7d"),
            ("monitor uptime", "--by-group"),
            ("monitor uptime", "--by-group --since 7d"),
            ("monitor outages", ""),
            ("report", "page.html"),
            ("maintenance list", ""),
            ("maintenance start", "Router --for 45m --title Deploy --yes"),
            ("maintenance list", ""),
            ("maintenance schedule", "Router --from '2099-01-01 10:00' --for 45m --yes"),
            ("maintenance end", "Deploy --yes"),
            ("monitor add", "push --name A"),
            ("monitor add", "ping --name B --hostname h --tag t --dry-run"),
            ("monitor edit", "A -s interval=30"),
            ("monitor edit", "A -s interval=30"),
            ("monitor edit", "A -s interval=60 --add-tag env=x --dry-run"),
            ("monitor clone", "A --name C"),
            ("monitor pause", "A"),
            ("monitor resume", "A"),
            ("monitor delete", "C --yes --dry-run"),
            ("monitor delete", "C --yes"),
            ("status", ""),
            ("find", ""),
            ("backup create", ""),
            ("backup list", ""),
            ("backup verify", ""),
            ("backup check", ""),
            ("backup check", "--max-age 0s"),
            ("restore", "latest --dry-run"),
            ("restore", "latest --to ./copy --engine sqlite --dry-run"),
            ("restore", "latest --to ./copy --engine sqlite --owner 0:0"),
            ("restore", "latest --yes"),
            ("undo", "--dry-run"),
            ("undo", "--yes"),
            ("backup list", "--undo"),
            ("completions", "bash"),
            ("man", ""),
            ("monitor show", "nothing"),
            ("recover", ""),
            ("logs", ""),
            ("restart", ""),
            ("plan", "everything.yaml"),
            ("plan", "everything.yaml -o plan.json"),
            ("apply", "everything.yaml --dry-run"),
            ("apply", "everything.yaml --yes"),
            ("apply", "everything.yaml --yes"),
            ("plan", "patch.yaml"),
            ("drift", "patch.yaml"),
            ("plan", "wrong.yaml"),
            ("plan", "wrong.yaml --skip-invalid"),
            ("apply", "wrong.yaml --skip-invalid --yes"),
            ("apply", "patch.yaml --prune --yes --dry-run"),
            ("doctor", ""),
            ("doctor", "--explain"),
            ("user list", ""),
            ("user rename", "admin chief"),
            ("api-key list", ""),
            ("backup show", "latest"),
            ("backup prune", "--keep-last 1 --dry-run"),
            ("backup prune", "--keep-last 1 --yes"),
            ("history stats", ""),
            ("history prune", "--keep 30 --set-retention 90 --yes --dry-run"),
            ("history prune", "--keep 30 --set-retention 90 --yes"),
            ("vacuum", "--yes"),
            ("sql", "'SELECT id, name FROM monitor'"),
            ("sql", "--write 'UPDATE monitor SET description = 1' --yes --dry-run"),
            ("sql", "--write 'UPDATE monitor SET description = 2' --yes"),
            ("export", "-o out.yaml"),
            ("export", "--secrets -o out.json"),
        ] {
            check(command, &lab.run(&format!("{command} {rest} --json")));
        }
        let made = Ran::of(lab.bare().args(words("init new --json")));
        check("init", &made);
    }
}

#[test]
fn every_key_that_is_documented_exists() {
    let sources: String = crate::house::layers::rust_files(&crate::house::layers::root().join("src"))
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let page = read("docs/json.md");
    let keys = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(key, _)| key);
    // In a literal, or as a field that is written under its own name.
    let exists = |name: &str| {
        let forms = [format!("\"{name}\""), format!("\\\"{name}\\\""), format!("pub {name}: ")];
        name == "*" || forms.iter().any(|form| sources.contains(form))
    };
    let missing: Vec<&str> = keys.filter(|key| !key.replace("[]", "").split('.').all(exists)).collect();
    assert!(missing.is_empty(), "docs/json.md has keys that nothing prints: {missing:?}");
}

#[test]
fn an_error_is_a_document_too() {
    let lab = Lab::sqlite("2.5.3");
    let ran = lab.fails(8, "monitor show nothing --json");
    let document: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["error"]["exit"], 8);
    assert_eq!(document["error"]["message"], "no monitor matches `nothing`");
    assert_eq!(document["error"]["hint"], "kumadb monitor list");
    assert!(ran.err.starts_with("error: no monitor matches `nothing`\n"), "{}", ran.err);
}

#[test]
fn every_exit_code_is_documented() {
    const ALL: [Exit; 13] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Partial,
        Exit::RolledBack,
        Exit::RollbackFailed,
        Exit::Locked,
        Exit::Verification,
        Exit::NotFound,
        Exit::Refused,
        Exit::Changes,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    let text = read("docs/exit-codes.md");
    for exit in ALL {
        let code = exit as u8;
        assert!(text.contains(&format!("\n| {code} | ")), "docs/exit-codes.md has no {code}");
    }
    assert_eq!(text.matches("\n| ").count(), ALL.len() + 1, "one line for each, and the heading");
    let help = Lab::sqlite("2.5.3").ok("--help").replace('\n', " ");
    for code in ALL.iter().map(|exit| *exit as u8).filter(|code| *code < 20) {
        assert!(help.contains(&format!(" {code} ")), "--help does not say what {code} means");
    }
}

#[test]
fn every_command_is_documented() {
    let text = ["README.md", "docs/json.md", "docs/monitor-types.md", "docs/restore-by-hand.md"].map(read).concat();
    let shown = |command: &clap::Command| -> Vec<clap::Command> {
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help");
        shown.cloned().collect()
    };
    let mut all = Vec::new();
    for verb in shown(&kumadb::cli::command()) {
        let below = shown(&verb);
        all.extend(below.iter().map(|one| format!("{} {}", verb.get_name(), one.get_name())));
        if below.is_empty() {
            all.push(verb.get_name().to_owned());
        }
    }
    assert!(all.len() > 15, "{all:?}");
    let missing: Vec<&String> = all
        .iter()
        .filter(|command| !text.contains(&format!("`{command}`")) && !text.contains(&format!("kumadb {command}")))
        .collect();
    assert!(missing.is_empty(), "documented nowhere: {missing:?}");
}
