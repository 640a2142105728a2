//! Lists of others on the command line: exports for other tools, and maps.

use std::fs;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::lab::Lab;

#[test]
fn exports_for_other_tools_are_read_again() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name Web");
    lab.ok("monitor add http --name Shop --parent Web --url https://shop.example.com --tag env=prod --method POST --body '{}'");
    let folder = lab.root.path().join("entities");
    let path = folder.display();
    let printed = lab.fails(2, "export --to autokuma").err;
    assert!(printed.contains("`--to autokuma` requires `--output FOLDER`"), "{printed}");
    lab.fails(2, &format!("export --to autokuma -o {path} --secrets-env a.env"));
    let ran = lab.fails(0, &format!("export --to autokuma --secrets -o {path}"));
    assert!(ran.err.contains("1 user: not exported to AutoKuma") && !ran.err.contains("warning"), "{}", ran.err);
    assert!(ran.out.contains("wrote 1 tag, 2 monitors to "), "{}", ran.out);
    // It was asked for.
    let asked = lab.fails(3, "export --to autokuma --kind users -o users");
    assert!(asked.err.contains("warning: 1 user: not exported to AutoKuma"), "{}", asked.err);
    lab.ok(&format!("plan {path} --detailed-exitcode"));
    let printed = lab.fails(2, &format!("export --to autokuma -o {path}")).err;
    assert!(printed.contains("is not an empty folder") && printed.contains("entities.new"), "{printed}");

    let ran = lab.run("export --to terraform --kind tags --kind monitors -o kuma.tf --secrets-env kuma.env");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let text = fs::read_to_string(lab.root.path().join("kuma.tf")).unwrap();
    assert!(text.contains("to = uptimekuma_monitor_http.web_shop") && text.contains("var.web_shop_body"), "{text}");
    let variables = fs::read_to_string(lab.root.path().join("kuma.env")).unwrap();
    assert_eq!(variables, "export TF_VAR_web_shop_body='{}'\n");
    // What Terraform would evaluate is not read.
    assert!(lab.fails(2, "plan kuma.tf").err.contains("terraform show -json"));
}

#[test]
fn a_list_of_any_structure_is_read_by_a_map() {
    let lab = Lab::sqlite("2.5.3");
    let file = |name: &str, text: &str| fs::write(lab.root.path().join(name), text).unwrap();
    file(
        "list.json",
        r#"{"meta": {"n": 2}, "services": [
        {"title": "Shop", "link": "https://shop.example.com", "labels": ["env=prod"], "owner": "ann"},
        {"title": "DB", "link": "db.example.com:5432", "labels": [], "owner": "bob"}]}"#,
    );
    // Without a map, the file is named with the options that read it.
    let printed = lab.fails(2, "plan list.json").err;
    assert!(printed.contains("--each '$.services[*]' --map name=title --map url=link --type auto"), "{printed}");
    let map = "--each '$.services[*]' --map name=title --map url=link --map tags=labels --type auto";
    let ran = lab.fails(3, &format!("apply list.json {map} --save-map mine.toml --yes"));
    assert!(ran.err.contains("`owner`, 2 times: not a known key, or without a counterpart: skipped"), "{}", ran.err);
    assert_eq!(
        lab.sql("SELECT name, type, url, hostname, port FROM monitor ORDER BY name"),
        "DB\tport\thttps://\tdb.example.com\t5432\nShop\thttp\thttps://shop.example.com\t\t\n"
    );
    // The saved map reads the next list; an option on the command line comes before it.
    file("other.yaml", "services:\n- {title: Wiki, link: wiki.example.com, labels: null}\n");
    let planned = lab.ok("plan other.yaml --map-file mine.toml");
    assert!(planned.contains("+ monitor `Wiki`"), "{planned}");
    let planned = lab.ok("plan other.yaml --map-file mine.toml --type http --map url=='https://wiki.example.com' --map description=link -v");
    assert!(planned.contains("+ monitor `Wiki`"), "{planned}");
    // A table needs no path.
    file("hosts.csv", "Server Name,Address\nOne,192.0.2.1\n");
    lab.ok("plan hosts.csv --map 'name=[\"Server Name\"]' --map url=Address --type ping");

    for (line, message, hint) in [
        ("plan list.json --type http", "`--type` requires `--map`", "add `--map`"),
        ("plan list.json --save-map a.toml", "`--save-map` requires `--map`", "add `--map`"),
        (
            "plan list.json --each '$.services[*]' --map title",
            "invalid --map: `title` is not FIELD=PATH",
            "--map name=title",
        ),
        ("plan list.json --each '$.services[*' --map name=title", "`$.services[*` is not a path", "try: --each"),
        (
            "plan list.json --each '$.services[*]' --map nme=title",
            "`nme` is not a field of a monitor (did you mean `name`?)",
            "try: --each",
        ),
        ("plan list.json --each '$.none[*]' --map name=title", "has no monitors at `$.none[*]`", ""),
        (
            "plan list.json --each services --map name=title",
            "has a list at `services`, not a monitor",
            "try: --each '$.services[*]'",
        ),
        ("plan list.json --map name=title --map name=link", "invalid --map: `name` is set twice", "try: --each"),
        (
            "plan list.json --each '$.services[*]' --map name=titel",
            "warning: list.json:2:9: `--map`: no entry has a value at `titel`",
            "",
        ),
        ("plan list.json --map-file list.json", "is not a map: ", ""),
    ] {
        let printed = lab.fails(2, line).err;
        assert!(printed.contains(message) && printed.contains(hint), "{line}: {printed}");
    }
}

#[test]
fn lines_of_a_table_with_a_wrong_number_of_fields_can_be_skipped() {
    let lab = Lab::sqlite("2.5.3");
    fs::write(lab.root.path().join("a.csv"), "name,url\nA,https://a.example\nB,https://b.example,more\nC\n").unwrap();
    let printed = lab.fails(2, "plan a.csv").err;
    assert!(printed.contains("a.csv:3:1: has 3 fields") && printed.contains("a.csv:4:1: has 1 field,"), "{printed}");
    let ran = lab.fails(3, "plan a.csv --skip-invalid");
    assert!(
        ran.out.contains("+ monitor `A`")
            && ran.err.contains("a.csv:3:1: has 3 fields, but the first line has 2: skipped"),
        "{}{}",
        ran.out,
        ran.err
    );
    lab.fails(2, "plan a.csv --skip-invalid --strict");
}

#[test]
fn the_advised_commands_for_files_that_are_not_read_work() {
    let lab = Lab::sqlite("2.5.3");
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/foreign/cases");
    for name in ["seed.sql", "heartbeat.yml", "playbook.yml"] {
        fs::copy(cases.join(name), lab.root.path().join(name)).unwrap();
    }
    let printed = lab.fails(2, "plan seed.sql").err;
    assert!(
        printed.contains("try: kumadb init new && sqlite3 new/kuma.db < seed.sql, then kumadb apply new"),
        "{printed}"
    );
    let init =
        Command::new(env!("CARGO_BIN_EXE_kumadb")).arg("init").arg(lab.root.path().join("new")).output().unwrap();
    assert!(init.status.success(), "{init:?}");
    let mut sqlite3 = Command::new("sqlite3");
    let script = fs::File::open(lab.root.path().join("seed.sql")).unwrap();
    let filled = sqlite3.arg(lab.root.path().join("new/kuma.db")).stdin(Stdio::from(script)).status().unwrap();
    assert!(filled.success());
    let planned = lab.run("plan new").out;
    assert!(planned.contains("+ monitor `http: vault`") && planned.contains("+ monitor `docker: cloud`"), "{planned}");

    let printed = lab.fails(2, "plan heartbeat.yml").err;
    let (_, options) = printed.trim().rsplit_once("try: ").unwrap();
    let planned = lab.fails(3, &format!("plan heartbeat.yml {options}")).out;
    assert!(planned.contains("+ monitor `TCP Echo`"), "{planned}");
    assert!(lab.fails(2, "plan playbook.yml").err.contains("copy the arguments of each task"));
}

#[test]
fn an_output_that_is_not_a_file_is_written_to_and_stays() {
    let lab = Lab::sqlite("2.5.3");
    let pipe = lab.root.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    for line in ["export -o", "report"] {
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
        };
        lab.ok(&format!("{line} {}", pipe.display()));
        assert!(reader.join().unwrap().len() > 100, "{line}");
        let found = fs::symlink_metadata(&pipe).unwrap();
        assert!(!found.is_file(), "{line}: it was replaced");
    }
    let out = lab.ok("export -o /dev/stdout");
    assert!(out.starts_with("version: 1") || out.contains("\nversion: 1"), "{out}");
}

#[test]
fn nothing_is_deleted_because_it_was_skipped() {
    let lab = Lab::sqlite("2.5.3");
    let file = |text: &str| fs::write(lab.root.path().join("a.yaml"), text).unwrap();
    let right = "monitors: [{name: A, type: push}, {name: B, type: push}]\n";
    file(right);
    lab.ok("apply a.yaml --yes");
    let before = lab.content();
    // The first is found in the fixture alone, the second when it is planned.
    for wrong in ["push, interval: soon", "push, parent: Nowhere"] {
        file(&right.replace("B, type: push", &format!("B, type: {wrong}")));
        for verb in ["plan a.yaml", "apply a.yaml --yes"] {
            let printed = lab.fails(9, &format!("{verb} --skip-invalid --prune")).err;
            assert!(
                printed.contains("skipped 1 resource, so `--prune` would delete what is only invalid"),
                "{printed}"
            );
            assert!(printed.contains("B`"), "{printed}");
        }
        assert_eq!(before, lab.content());
    }
    file("monitors: [{name: A, type: push}]\n");
    let planned = lab.ok("plan a.yaml --skip-invalid --prune");
    assert!(planned.contains("- monitor `B`"), "{planned}");
}

#[test]
fn an_unknown_type_of_an_existing_monitor_is_a_problem() {
    let lab = Lab::sqlite("2.0.2");
    lab.ok("monitor add group --name A");
    lab.sql("UPDATE monitor SET type = 'own' WHERE name = 'A'");
    let plan = |kind: &str| {
        let file = lab.root.path().join("a.yaml");
        fs::write(&file, format!("version: 1\nmonitors: [{{name: A, type: {kind}}}]\n")).unwrap();
        lab.run("plan a.yaml")
    };
    assert_eq!(plan("own").exit, 0);
    for kind in ["pong", "globalping"] {
        let ran = plan(kind);
        assert!(ran.exit == 2 && ran.err.contains(kind), "{}{}", ran.out, ran.err);
    }
}
