//! What differs between fixtures and an instance, as CI shows it; and long plans in few lines.

use std::process::Command;

use serde_json::Value as Json;

use crate::support::lab::Lab;

/// An instance of `kuma.yaml`, from which people have departed in the web UI.
fn departed(lab: &Lab) -> String {
    let file = lab.root.path().join("kuma.yaml");
    let text = "monitors:\n- {name: Shop, type: http, url: \"https://shop.example.com\"}\n\
                - {name: Wiki, type: http, url: \"https://wiki.example.com\"}\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    lab.ok(&format!("apply {file} --yes"));
    assert_eq!(lab.ok(&format!("drift {file}")), "no drift: 2 unchanged\n", "{}", lab.engine());
    lab.ok("monitor add ping --name Extra --hostname 192.0.2.1");
    lab.ok("monitor edit Wiki --interval 90 --add-tag env=prod");
    lab.ok("monitor delete Shop --yes");
    file
}

#[test]
fn drift_names_what_is_missing_changed_and_unmanaged() {
    for lab in Lab::both("2.5.3") {
        let file = departed(&lab);
        let found = lab.run(&format!("drift {file}"));
        assert_eq!(found.exit, 20, "{found:?}");
        let expected = "+ monitor `Shop`\n~ monitor `Wiki`: interval 90 → 60\n\
                        - tag `env` of monitor `Wiki`\n? monitor `Extra` (unmanaged)\n\n\
                        drift: 1 to create, 1 to change, 1 unmanaged\n";
        assert_eq!(found.out, expected, "{}", lab.engine());
        // A plan only counts them, and changes nothing of them.
        let planned = lab.ok(&format!("plan {file}"));
        assert!(planned.ends_with("\n1 to create, 1 to change, 1 unmanaged\n"), "{planned}");
        lab.ok(&format!("apply {file} --yes"));
        let left = lab.run(&format!("drift {file} --json"));
        let document: Json = serde_json::from_str(&left.out).unwrap();
        assert_eq!((left.exit, &document["unmanaged"]), (20, &serde_json::json!(["monitor `Extra`"])), "{left:?}");
        assert_eq!(document["changes"], serde_json::json!([]));
        lab.ok(&format!("apply {file} --prune --yes"));
        assert_eq!(lab.ok(&format!("drift {file}")), "no drift: 2 unchanged\n");
    }
}

#[test]
fn drift_is_shown_beside_the_lines_of_the_files() {
    let lab = Lab::sqlite("2.5.3");
    let file = departed(&lab);
    let github = lab.run(&format!("drift {file} --format github"));
    let expected = format!(
        "::error file={file},line=2,col=3,title=Drift::monitor `Shop`: does not exist on the instance\n\
         ::error file={file},line=3,col=3,title=Drift::monitor `Wiki`: interval 90 → 60; - tag `env`\n\
         ::error title=Drift::monitor `Extra`: is on the instance, but not in the files\n"
    );
    assert_eq!((github.exit, github.out), (20, expected));
    let gitlab = lab.run(&format!("drift {file} --format gitlab"));
    let report: Json = serde_json::from_str(&gitlab.out).unwrap();
    let report = report.as_array().unwrap();
    assert_eq!((gitlab.exit, report.len()), (20, 3), "{gitlab:?}");
    assert_eq!(report[1]["location"], serde_json::json!({"path": file, "lines": {"begin": 3}}));
    assert_eq!(report[2]["description"], "monitor `Extra`: is on the instance, but not in the files");
    // Without drift, there is nothing to annotate.
    lab.ok(&format!("apply {file} --prune --yes"));
    assert_eq!(lab.ok(&format!("drift {file} --format github")).trim(), "");
    assert_eq!(lab.ok(&format!("drift {file} --format gitlab")).trim(), "[]");
}

/// What a person on a terminal sees.
fn on_a_terminal(lab: &Lab, words: &str) -> String {
    let line = format!("{} -t {} {words}", env!("CARGO_BIN_EXE_kumadb"), lab.target);
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("KUMADB_STORE", lab.store()).env("DOCKER_HOST", "unix:///no.sock");
    let output = script.output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn a_long_plan_is_summarised_on_a_terminal() {
    let lab = Lab::sqlite("2.5.3");
    let file = lab.root.path().join("many.yaml");
    let write = |interval: u32| {
        let monitors: String = (0..30)
            .map(|n| match n % 3 {
                0 => format!("- {{name: M{n}, type: ping, hostname: 192.0.2.1, interval: {interval}}}\n"),
                _ => format!("- {{name: M{n}, type: http, url: \"https://example.com\", interval: {interval}}}\n"),
            })
            .collect();
        std::fs::write(&file, format!("monitors:\n{monitors}")).unwrap();
    };
    write(60);
    let plan = format!("plan {}", file.display());
    assert_eq!(on_a_terminal(&lab, &plan), "+ 30 monitors (http 20, ping 10)\n\n30 to create\n");
    assert_eq!(on_a_terminal(&lab, &format!("-v {plan}")).matches("+ monitor `M").count(), 30);
    assert_eq!(lab.ok(&plan).matches("+ monitor `M").count(), 30);
    lab.ok(&format!("apply {} --yes", file.display()));
    write(30);
    let shown = on_a_terminal(&lab, &plan);
    assert!(shown.ends_with("\n\n30 to change\n") && shown.lines().count() <= 22 + 20, "{shown}");
    // What is deleted has a line each.
    std::fs::write(&file, "monitors: []\n").unwrap();
    let shown = on_a_terminal(&lab, &format!("{plan} --prune"));
    assert_eq!(shown.matches("\n- monitor `M").count() + usize::from(shown.starts_with("- monitor")), 30, "{shown}");
}
