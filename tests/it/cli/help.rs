//! The command line as a whole: each help page, each example, each option that promises to change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use clap::Command;
use kumadb::cli::{Cli, command};
use kumadb::model::kinds;
use kumadb::schema;

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, PASSWORD, Ran, words};

/// So many lines fit a screen.
const SCREEN: usize = 40;

/// Verbs that change neither an instance nor a store, or (`schedule`, `export`, `plan`) do what other verbs can
/// preview.
const READS: &[&str] = &[
    "find",
    "status",
    "monitor list",
    "monitor show",
    "monitor uptime",
    "monitor outages",
    "report",
    "maintenance list",
    "plan",
    "drift",
    "export",
    "probe",
    "user list",
    "api-key list",
    "backup list",
    "backup show",
    "backup verify",
    "backup check",
    "backup schedule",
    "history stats",
    "logs",
    "config check",
    "formats",
    "schema",
    "completions",
    "man",
    "remote-job",
];

/// Every other verb with a run of it that would change something, and the exit code of its dry run.
const WRITES: &[(&str, &str, i32)] = &[
    ("monitor edit", "Shop --interval 30", 0),
    ("monitor clone", "Shop --name Copy", 0),
    ("monitor delete", "Shop", 0),
    ("monitor pause", "Shop", 0),
    ("monitor resume", "Cron", 0),
    ("apply", "kuma.yaml --prune", 0),
    ("init", "new --admin admin", 0),
    ("doctor", "--fix", 0),
    ("push", "Cron", 1),
    ("maintenance start", "Shop --for 45m", 0),
    ("maintenance schedule", "Shop --from '2099-01-31 22:00' --for 45m", 0),
    ("maintenance end", "Deploy", 0),
    ("user add", "maria", 0),
    ("user password", "admin", 0),
    ("user rename", "admin maria", 0),
    ("user disable-2fa", "admin", 0),
    ("user activate", "other", 0),
    ("user adopt", "admin", 0),
    ("user sign-out", "", 0),
    ("api-key add", "prometheus", 0),
    ("api-key disable", "grafana", 0),
    ("api-key enable", "old", 0),
    ("api-key delete", "grafana", 0),
    ("backup create", "", 0),
    ("backup prune", "--keep-last 1", 0),
    ("restore", "latest", 0),
    ("restore", "latest --to ./copy --engine sqlite", 0),
    ("undo", "", 0),
    ("upgrade", "", 0),
    ("salvage", "data/kuma.db --to saved.db", 0),
    ("history prune", "--keep 30 --set-retention 30", 0),
    ("convert", "--to sqlite", 9),
    ("vacuum", "", 0),
    ("sql", "--write 'UPDATE monitor SET maxretries = 7'", 0),
    ("restart", "", 9),
    ("recover", "", 1),
    ("config init", "--config new.toml", 0),
];

/// Examples that need a container, another host, or a clock that is further on.
const PARSED_ONLY: [&str; 9] = [
    "kumadb -H ssh://",
    "kumadb probe",
    "kumadb push",
    "kumadb restart",
    "kumadb logs",
    "kumadb report /var",
    "kumadb restore --before",
    "kumadb backup schedule",
    "kumadb convert",
];

/// Every command below `command` that people type, with what is typed for it.
fn leaves(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
    let mut below = command.get_subcommands().filter(|one| one.get_name() != "help").peekable();
    if below.peek().is_none() {
        found.push((path.to_owned(), command.clone()));
    }
    for one in below {
        leaves(one, format!("{path} {}", one.get_name()).trim_start(), found);
    }
}

/// All commands, with those that have others below them.
fn pages(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
    found.push((path.to_owned(), command.clone()));
    for one in command.get_subcommands().filter(|one| one.get_name() != "help") {
        pages(one, &format!("{path} {}", one.get_name()), found);
    }
}

fn built() -> Command {
    let mut built = command();
    built.build();
    built
}

/// The examples at the end of the long help, each on one line.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let Some((_, list)) = help.split_once("Examples:\n") else { return Vec::new() };
    let joined = list.replace("\\\n", "");
    let lines = joined.lines().map(str::trim).filter(|line| line.starts_with("kumadb "));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What of `line` is for kumadb itself, and not for the shell.
fn typed(line: &str) -> Vec<String> {
    // A file that a shell would read is one word, too.
    let line = line.replace("\"$(", "'$(").replace(")\"", ")'");
    words(line.split(" > ").next().unwrap().split(" | ").next().unwrap())
}

fn parse(typed: &[String]) -> Result<Cli, clap::Error> {
    Cli::try_read(typed.iter().map(OsString::from))
}

/// A lab with monitors, users, keys, snapshots, a fixture and a config file that calls it `kuma`.
fn prepared() -> Lab {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    lab.ok("monitor add http --name Shop --url https://shop.example.com --tag env=prod");
    lab.ok("monitor pause Cron Switch --yes");
    lab.ok("api-key add grafana --yes");
    lab.ok("api-key add old --yes");
    lab.ok("api-key disable old");
    let mut add = lab.bare();
    add.args(["-t", &lab.target, "user", "add", "other"]).env("KUMADB_ADMIN_PASSWORD", PASSWORD).assert().success();
    lab.sql("UPDATE user SET active = 0 WHERE username = 'other'");
    lab.sql("UPDATE user SET twofa_status = 1 WHERE username = 'admin'");
    lab.sql("UPDATE monitor SET user_id = 77 WHERE name = 'Network'");
    lab.sql(
        "INSERT INTO maintenance (title, description, active, strategy, user_id) VALUES ('Deploy', '', 1, 'manual', 1)",
    );
    lab.sql("INSERT INTO status_page (slug, title, icon, theme) VALUES ('default', 'Status', '/icon.svg', 'auto')");
    lab.ok("backup create --verify full");
    lab.ok("backup create");
    lab.ok("monitor edit Shop --timeout 30");
    let write = |name: &str, text: &str| fs::write(lab.root.path().join(name), text).unwrap();
    write("password.txt", PASSWORD);
    write("kuma.yaml", "version: 1\nmonitors:\n  - {name: Wiki, type: http, url: \"https://wiki.example.com\"}\n");
    write("monitors.csv", "name,url,type\nBlog,https://blog.example.com,http\n");
    let config = format!(
        "[stores.local]\naddress = \"{}\"\n[instances.kuma]\ntarget = \"{}\"\n[jobs.nightly]\ncron = \"0 3 * * *\"\n\
         instances = [\"kuma\"]\n",
        lab.store().display(),
        lab.target
    );
    write("kumadb.toml", &config);
    lab
}

/// `line` in the folder of `lab`, as a person types it who has only this instance.
fn run(lab: &Lab, typed: &[String], more: &[&str]) -> Ran {
    let mut process = lab.bare();
    process.env("KUMADB_CONFIG", lab.root.path().join("kumadb.toml"));
    process.env("KUMADB_TARGET", &lab.target).env("KUMADB_ADMIN_PASSWORD", "Other-Password-2026");
    Ran::of(process.args(&typed[1..]).args(more).write_stdin(""))
}

/// Every file below `folder`, but for locks and what is in memory shared by readers.
fn files(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if entry.file_name() != "lock" {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
}

fn picture(lab: &Lab) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    files(lab.root.path(), &mut found);
    found
}

fn copy(from: &Path, to: &Path) {
    let copied = Process::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn every_verb_that_writes_has_a_dry_run_that_changes_nothing() {
    let mut all = Vec::new();
    leaves(&built(), "", &mut all);
    for (path, leaf) in &all {
        let dry_run = leaf.get_arguments().find(|arg| arg.get_long() == Some("dry-run"));
        let listed = WRITES.iter().any(|(verb, ..)| verb == path) || path.starts_with("monitor add ");
        match dry_run {
            Some(arg) => assert!(arg.get_short() == Some('n') && listed, "{path}"),
            None => assert!(READS.contains(&path.as_str()) && !listed, "{path} has no --dry-run"),
        }
        let others =
            leaf.get_arguments().filter(|arg| arg.get_short() == Some('n') && arg.get_long() != Some("dry-run"));
        assert_eq!(others.count(), 0, "{path}: -n is --dry-run and nothing else");
    }
    let lab = prepared();
    let before = picture(&lab);
    let adds = [("monitor add http", "--name New --url https://new.example.com", 0)];
    for (verb, args, exit) in WRITES.iter().chain(&adds) {
        for flag in ["-n", "--dry-run"] {
            let typed = words(&format!("kumadb {verb} {args}"));
            let ran = run(&lab, &typed, &["--yes", flag]);
            assert_eq!(ran.exit, *exit, "{verb} {args} {flag}\n{}{}", ran.out, ran.err);
            let after = picture(&lab);
            let changed: Vec<&String> = after
                .iter()
                .filter(|(path, bytes)| before.get(*path) != Some(bytes))
                .map(|(path, _)| path)
                .chain(before.keys().filter(|path| !after.contains_key(*path)))
                .collect();
            assert!(changed.is_empty(), "{verb} {args} {flag} has changed {changed:?}");
        }
    }
}

#[test]
fn a_dry_run_of_recover_names_what_would_be_done_and_leaves_the_journal() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    let journal = lab.folder().join(".kumadb/journal.json");
    for (phase, words) in [
        ("noted", "dry run: `monitor add` would be rolled back; nothing changed\n"),
        ("put_back", "dry run: `monitor add` would be rolled back; nothing changed\n"),
        (
            "committed",
            "dry run: `monitor add` would be finished, or rolled back if the server is not running; nothing changed\n",
        ),
        ("seen", "dry run: `monitor add` would be finished: only its snapshot is not stored yet; nothing changed\n"),
    ] {
        let record = interrupted(&lab, phase);
        fs::write(&journal, &record).unwrap();
        assert_eq!(lab.ok("recover -n"), words);
        assert_eq!(fs::read_to_string(&journal).unwrap(), record);
    }
}

/// The journal of a write to `lab` that was cut off in `phase`.
fn interrupted(lab: &Lab, phase: &str) -> String {
    let origin = lab.folder().canonicalize().unwrap();
    format!(
        r#"{{"format": 1, "verb": "monitor add", "started": "2026-01-31T08:00:00Z", "pid": 4711, "origin": "{}",
        "phase": "{phase}", "container": null, "life": null, "mode": "stopped", "loads": false, "before": null,
        "after": null, "last_beat": 0}}"#,
        origin.display()
    )
}

#[test]
fn every_example_in_help_works() {
    let mut all = Vec::new();
    leaves(&built(), "", &mut all);
    let lab = prepared();
    lab.sql("DELETE FROM user WHERE username = 'other'");
    let pristine = tempfile::tempdir().unwrap();
    copy(lab.root.path(), pristine.path());
    let (mut ran, mut wrong) = (0, Vec::new());
    all.push((String::new(), built()));
    for (path, leaf) in all.iter().filter(|(path, _)| path != "remote-job") {
        let examples = examples(leaf);
        let enough = if path == "schema" { 1..=3 } else { 2..=3 };
        assert!(enough.contains(&examples.len()), "kumadb {path}: {examples:?}");
        for line in examples {
            assert!(line.starts_with(format!("kumadb {path}").trim_end()) || line.contains(path.as_str()), "{line}");
            let typed = typed(&line);
            if let Err(error) = parse(&typed) {
                wrong.push(format!("{line}\n{error}"));
            }
            // Types are added by other tests, each with all that it needs.
            if PARSED_ONLY.iter().any(|start| line.starts_with(start)) || path.starts_with("monitor add ") {
                continue;
            }
            for entry in fs::read_dir(lab.root.path()).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
            }
            copy(pristine.path(), lab.root.path());
            if path == "recover" {
                fs::write(lab.folder().join(".kumadb/journal.json"), interrupted(&lab, "noted")).unwrap();
            }
            let found = run(&lab, &typed, &["--yes"]);
            ran += 1;
            // The one warns of what it cannot see here, the other of the monitor without a user.
            let fine = found.exit == 0
                || found.exit == 20 && path == "drift"
                || found.exit == 3 && ["doctor", "salvage"].contains(&path.as_str());
            if !fine {
                wrong.push(format!("{line}: exit {}\n{}{}", found.exit, found.out, found.err));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 70, "{ran}");
}

#[test]
fn short_help_fits_a_screen_and_all_help_fits_its_width() {
    let mut all = Vec::new();
    pages(&built().term_width(80), "kumadb", &mut all);
    let too_wide = |text: &str| text.lines().find(|line| line.chars().count() > 80).map(str::to_owned);
    for (path, page) in &mut all {
        if path == "kumadb remote-job" {
            continue;
        }
        // The list of topics is made for the help that is asked for.
        let short = match path.as_str() {
            "kumadb" => Ran::of(Lab::bare_without_lab().env("COLUMNS", "80").arg("-h")).out,
            _ => page.clone().term_width(80).render_help().to_string(),
        };
        let lines = short.trim_end().lines().count();
        // The list of types grows with the server.
        let most = match path.as_str() {
            "kumadb monitor add" => SCREEN + 8,
            // Of all commands.
            "kumadb" => SCREEN + 5,
            _ => SCREEN,
        };
        assert!(lines <= most, "{path} -h: {lines} lines\n{short}");
        assert!(short.contains("Global options: kumadb --help"), "{path} -h\n{short}");
        assert_eq!(too_wide(&short), None, "{path} -h");
        let long = page.clone().term_width(80).render_long_help().to_string();
        assert_eq!(too_wide(&long), None, "{path} --help");
        assert!(long.contains("Global options:") && long.contains("--remote-binary"), "{path} --help\n{long}");
        let about = page.get_about().unwrap().to_string();
        assert!(!about.contains('\n') && !about.ends_with('.') && about.len() <= 70, "{path}: {about}");
    }
    assert!(all.len() > 80, "{}", all.len());
}

#[test]
fn an_unknown_width_is_80_columns() {
    let lab = Lab::sqlite("2.5.3");
    let widest = |columns: Option<&str>| {
        let mut command = lab.bare();
        if let Some(columns) = columns {
            command.env("COLUMNS", columns);
        }
        let ran = Ran::of(command.args(["restore", "--help"]));
        ran.out.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!((60..=80).contains(&widest(None)));
    assert_eq!(widest(Some("0")), widest(None));
    assert_eq!(widest(Some("wide")), widest(None));
    assert!(widest(Some("50")) <= 50);
    assert!((81..=120).contains(&widest(Some("200"))));
}

#[test]
fn a_command_alone_prints_its_help_and_exits_0() {
    let lab = Lab::sqlite("2.5.3");
    for (line, shown) in [("", "Back up and restore:"), ("monitor", "Commands:"), ("backup", "Commands:")] {
        let ran = Ran::of(lab.bare().args(words(line)));
        assert_eq!((ran.exit, ran.err.as_str()), (0, ""), "kumadb {line}");
        assert!(ran.out.contains("Usage: kumadb") && ran.out.contains(shown), "{}", ran.out);
        assert!(!ran.out.contains("error: "), "{}", ran.out);
    }
    let unknown = Ran::of(lab.bare().arg("statsu"));
    assert_eq!(unknown.exit, 2);
    assert!(unknown.err.contains("similar subcommand exists: 'status'"), "{}", unknown.err);
}

#[test]
fn every_topic_names_verbs_that_exist_and_every_verb_has_a_topic() {
    let lab = Lab::sqlite("2.5.3");
    let help = lab.ok("--help");
    for verb in command().get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help") {
        let line = format!("\n  {:<13}{}\n", verb.get_name(), verb.get_about().unwrap());
        assert!(help.contains(&line), "{line}");
    }
}

#[test]
fn hidden_verbs_stay_hidden() {
    let lab = Lab::sqlite("2.5.3");
    let mut texts = vec![lab.ok("--help"), lab.ok("-h"), lab.ok("help"), lab.ok("man")];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        texts.push(lab.ok(&format!("completions {shell}")));
    }
    lab.ok("man --output pages");
    for page in fs::read_dir(lab.root.path().join("pages")).unwrap().flatten() {
        texts.push(page.file_name().to_string_lossy().into_owned());
        texts.push(fs::read_to_string(page.path()).unwrap());
    }
    for text in texts {
        for hidden in
            ["remote-job", "remote\\-job", "asked-by-parent", "asked\\-by\\-parent", "for-parent", "for\\-parent"]
        {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let lab = Lab::sqlite("2.5.3");
    let written = lab.json("man --output pages")["written"].as_array().unwrap().len();
    let mut all = Vec::new();
    pages(&built(), "kumadb", &mut all);
    let all: Vec<String> = all.into_iter().map(|(path, _)| path).filter(|path| path != "kumadb remote-job").collect();
    assert_eq!(written, all.len());
    for path in &all {
        let page = fs::read_to_string(lab.root.path().join(format!("pages/{}.1", path.replace(' ', "-")))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{path}: {page}");
        let alone = lab.ok(&format!("man {}", path.trim_start_matches("kumadb")));
        assert_eq!(alone.trim(), page.trim(), "{path}");
    }
    let unknown = lab.fails(2, "man backup crate");
    assert!(unknown.err.contains("`crate`") && unknown.err.contains("create"), "{}", unknown.err);
}

#[test]
fn no_option_of_a_field_is_another_option() {
    let mut all = Vec::new();
    leaves(&built(), "", &mut all);
    for (path, leaf) in &all {
        let mut longs = BTreeMap::new();
        let mut ids = BTreeMap::new();
        for arg in leaf.get_arguments() {
            let names = arg.get_long_and_visible_aliases().unwrap_or_default();
            for long in names {
                assert_eq!(longs.insert(long.to_owned(), arg.get_id().clone()), None, "{path}: --{long} twice");
            }
            assert_eq!(ids.insert(arg.get_id().to_string(), ()), None, "{path}: id {} twice", arg.get_id());
        }
    }
}

#[test]
fn every_field_of_every_type_can_be_given_to_monitor_add() {
    for kind in kinds(schema::newest()) {
        let mut line = words(&format!("kumadb monitor add {}", kind.name));
        let fields = kind.fields(schema::newest());
        // Words that nothing else on the line has.
        line.extend(
            fields.iter().flat_map(|field| [format!("--{}", field.option()), format!("word-of-{}", field.column)]),
        );
        let cli = parse(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let shown = format!("{cli:?}");
        for field in fields {
            let typed = format!("\"{0}\": \"word-of-{0}\"", field.column);
            assert_eq!(shown.matches(&typed).count(), 1, "{line:?}: {typed}: {shown}");
        }
        assert_eq!(shown.matches("word-of-").count(), kind.fields(schema::newest()).len(), "{line:?}: {shown}");
    }
}

#[test]
fn a_docker_monitor_names_its_docker_host() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.ok("monitor add docker --name Web --docker-container web --docker-host local");
        assert_eq!(lab.sql("SELECT docker_host FROM monitor WHERE name = 'Web'"), "1\n");
        lab.ok("monitor edit Web --docker-container other --docker-host local");
        assert_eq!(lab.sql("SELECT docker_container FROM monitor WHERE name = 'Web'"), "other\n");
        let unknown = lab.fails(2, "monitor edit Web --docker-host nowhere");
        assert!(unknown.err.contains("nowhere"), "{}", unknown.err);
    }
}

#[test]
fn fields_are_edited_and_cloned_by_their_options() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.ok("monitor edit Router --interval 30 --upside-down --new-name Gateway");
        let row = lab.sql("SELECT name, `interval`, upside_down FROM monitor WHERE id = 2");
        assert_eq!(row.replace('\t', "|"), "Gateway|30|1\n");
        lab.ok("monitor clone Gateway --name Backup --hostname 192.168.1.9");
        assert_eq!(lab.sql("SELECT hostname FROM monitor WHERE name = 'Backup'"), "192.168.1.9\n");
        let wrong = lab.fails(2, "monitor edit Gateway --interval 0");
        assert!(wrong.err.contains("interval") && wrong.err.contains("--interval"), "{}", wrong.err);
        let twice = lab.fails(2, "monitor edit Gateway --interval 30 --set interval=40");
        assert!(twice.err.contains("is also set by another option"), "{}", twice.err);
        let other = lab.fails(2, "monitor edit Gateway --url https://example.com");
        assert!(other.err.contains("url"), "{}", other.err);
    }
}

#[test]
fn lists_have_four_formats() {
    let lab = prepared();
    for (line, header) in [
        ("monitor list", "id,name,type,"),
        ("user list", "id,name,active,"),
        ("api-key list", "id,name,active,"),
        ("backup list", "id,"),
        ("find", "name,state,engine,"),
        ("sql 'SELECT id, name FROM monitor'", "id,name"),
    ] {
        let csv = lab.ok(&format!("{line} --format csv"));
        assert!(csv.starts_with(header), "{line}: {csv}");
        let json = lab.ok(&format!("{line} --format json"));
        assert_eq!(json, lab.ok(&format!("{line} --json")), "{line}");
        // A wide list of monitors has more columns.
        let is_same = lab.ok(&format!("{line} --format wide")) == lab.ok(&format!("{line} --format table"));
        assert_eq!(is_same, line != "monitor list", "{line}");
    }
    lab.ok("monitor edit Shop --new-name 'a \"quoted\", name'");
    let csv = lab.ok("monitor list --type http --format csv");
    assert!(csv.contains(",\"a \"\"quoted\"\", name\",http,"), "{csv}");
}

/// The rest of a help page must not depend on the name that the program was started by.
#[test]
fn help_names_the_program_as_it_is_called() {
    let mut process = Process::new(env!("CARGO_BIN_EXE_kumadb"));
    process.arg0("k").arg("-h").stdin(Stdio::null());
    let out = String::from_utf8(process.output().unwrap().stdout).unwrap();
    assert!(out.contains("Global options: kumadb --help"), "{out}");
}

/// Service files and scripts pass on variables that were never set.
#[test]
fn an_empty_environment_variable_counts_as_not_set() {
    fn variables(command: &Command, found: &mut BTreeSet<OsString>) {
        found.extend(command.get_arguments().filter_map(|arg| arg.get_env().map(OsString::from)));
        command.get_subcommands().for_each(|inner| variables(inner, found));
    }
    let mut found = BTreeSet::new();
    variables(&command(), &mut found);
    assert!(found.len() >= 10, "{found:?}");
    let lab = Lab::sqlite("2.5.3");
    let run = |line: &str| {
        let mut process = lab.bare();
        process.envs(found.iter().map(|name| (name, ""))).envs([("KUMADB_ADMIN_PASSWORD", ""), ("NO_COLOR", "")]);
        process.env("XDG_DATA_HOME", lab.root.path()).current_dir(lab.folder());
        Ran::of(process.args(words(line)).write_stdin(format!("{PASSWORD}\n")))
    };
    // The folder it is run in is the target, and the store is the default one.
    for line in ["backup create", "backup verify", "user add other", "monitor list"] {
        let ran = run(line);
        assert_eq!(ran.exit, 0, "{line}: {}", ran.err);
    }
    assert!(lab.root.path().join("kumadb/snapshots").is_dir());
    let missing = run("convert");
    assert!(missing.exit == 2 && missing.err.contains("--to <DATABASE>"), "{}", missing.err);
}
