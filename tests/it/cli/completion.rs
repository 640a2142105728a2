//! Completion, as the shells ask for it, and in the shells themselves.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::support::lab::{Lab, Ran};
use crate::support::need;

/// `COMP_WORDBREAKS` of bash.
const BREAKS: &str = " \t\n\"'><=;|&(:";

fn furnish(lab: &Lab) {
    lab.ok("monitor add group --name Network");
    lab.ok("monitor add ping --name Router --hostname 192.168.1.1 --parent Network --tag env=prod");
    lab.ok("monitor add ping --name 'Web Server' --hostname 192.168.1.2 --tag env=test");
    // A name that is not text for a shell is never offered.
    lab.sql("INSERT INTO monitor (user_id, name, type, active, `interval`) VALUES (1, 'Bad\nname', 'ping', 1, 60)");
    lab.sql("INSERT INTO notification (name, active, user_id, is_default, config) VALUES ('ops', 1, 1, 0, '{}')");
    lab.sql("INSERT INTO status_page (slug, title, icon, theme, published) VALUES ('public', 'x', '', 'auto', 1)");
}

/// What kumadb answers bash for `line`, one reply for each.
fn replies(lab: &Lab, line: &str) -> Vec<String> {
    let mut process = lab.process();
    process.env("KUMADB_COMPLETE", "bash").env("KUMADB_COMPLETE_LINE", line).env("KUMADB_COMPLETE_BREAKS", BREAKS);
    let ran = Ran::of(&mut assert_cmd::Command::from_std(process));
    assert!(ran.exit == 0 && ran.err.is_empty(), "{line}: {}", ran.err);
    ran.out.lines().map(str::to_owned).collect()
}

#[test]
fn names_of_the_instance_are_completed() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let before = lab.content();
        let snapshot = lab.json("backup create")["manifest"]["id"].as_str().unwrap().to_owned();
        let target = &lab.target;
        for (line, expected) in [
            ("monitor show ", vec!["Network ", "Router ", "Web\\ Server "]),
            ("monitor show Web\\ S", vec!["Web\\ Server "]),
            ("monitor show \"Web S", vec!["Web Server"]),
            ("monitor show Network/", vec!["Network/Router "]),
            ("monitor edit --tag env=p", vec!["prod "]),
            ("monitor edit --tag=en", vec!["env ", "env=prod ", "env=test "]),
            ("monitor edit --remove-tag ", vec!["env "]),
            ("monitor add ping --parent ", vec!["Network "]),
            ("monitor edit Router --add-notification o", vec!["ops "]),
            ("monitor list --type pin", vec!["ping "]),
            ("monitor edit Router --set maxre", vec!["maxredirects=", "maxretries="]),
            ("report x.html --status-page ", vec!["public "]),
            ("user password ", vec!["admin "]),
            ("backup show ", vec!["latest ", &format!("{snapshot} ")]),
            ("monitor list --at l", vec!["latest "]),
            ("monitor list --sta", vec!["--status "]),
            ("mon", vec!["monitor "]),
        ] {
            let found = replies(&lab, &format!("kumadb -t '{target}' {line}"));
            assert_eq!(found, expected, "{}: {line}", lab.engine());
        }
        assert_eq!(lab.content(), before);
    }
}

#[test]
fn names_of_the_config_file_are_completed_and_errors_are_not_shown() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let config = lab.root.path().join("kumadb.toml");
    let text = format!(
        "[instances.cellar]\ntarget = \"{}\"\ngroups = [\"prod\"]\n[instances.attic]\ntarget = \"uptime-kuma\"\n\
         docker_host = \"ssh://root@192.0.2.1\"\n",
        lab.target
    );
    std::fs::write(&config, text).unwrap();
    let config = format!("kumadb --config {}", config.display());
    for (line, expected) in [
        (format!("{config} -t "), vec!["attic ", "cellar "]),
        (format!("{config} status --instance c"), vec!["cellar "]),
        (format!("{config} status --instance-group "), vec!["prod "]),
        (format!("{config} -t cellar monitor show R"), vec!["Router "]),
        // No other machine is asked, and nothing is said about what cannot be read.
        (format!("{config} -t attic monitor show R"), vec![]),
        ("kumadb -H ssh://root@192.0.2.1 monitor show R".to_owned(), vec![]),
        ("kumadb -t mysql://kuma@192.0.2.1/kuma monitor show R".to_owned(), vec![]),
        ("kumadb -t /no/such/folder monitor show R".to_owned(), vec![]),
        ("kumadb --config /no/such/file -t ".to_owned(), vec![]),
    ] {
        assert_eq!(replies(&lab, &line), expected, "{line}");
    }
}

/// A folder in which `kumadb` is the program, to be first on the PATH.
fn programs(lab: &Lab) -> PathBuf {
    let folder = lab.root.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    symlink(env!("CARGO_BIN_EXE_kumadb"), folder.join("kumadb")).unwrap();
    folder
}

/// `program`, which finds kumadb.
fn shell(lab: &Lab, program: &str) -> Command {
    let mut command = lab.program(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", lab.root.path().join("bin").display())).env("TERM", "dumb");
    command.env("HOME", lab.root.path()).env("KUMADB_TARGET", &lab.target);
    command
}

/// What a terminal shows on which `typed` is typed into the shell `line`.
fn on_a_terminal(lab: &Lab, line: &str, typed: &str) -> Option<String> {
    let Some(script) = need::program(&["script"]) else { return need::left_out("script (apt-get install bsdutils)") };
    let mut command = shell(lab, script.to_str().unwrap());
    command.args(["-qec", line, "/dev/null"]);
    Some(Ran::of(assert_cmd::Command::from_std(command).write_stdin(typed)).out)
}

#[test]
fn a_tab_completes_in_a_shell() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    programs(&lab);
    // What was completed is run: the monitor is found under the name that the shell has put there.
    let shown = "\"name\": \"Web Server\"";
    let typed = "source <(kumadb completions bash)\nkumadb monitor show We\t--json\nkumadb monitor show \"Web \t --json\n\
                 kumadb monitor list --tag=env=te\t--json\nexit\n";
    if let Some(out) = on_a_terminal(&lab, "bash --norc --noprofile -i", typed) {
        assert_eq!(out.matches(shown).count(), 3, "{out}");
    }
    if let Some(fish) = need::program(&["fish"]) {
        let line = "source (kumadb completions fish | psub); complete -C 'kumadb monitor show We'; \
                    complete -C 'kumadb monitor show \"Web '; complete -C 'kumadb monitor list --tag=env=te'";
        let mut command = shell(&lab, fish.to_str().unwrap());
        command.args(["--no-config", "-c", line]);
        let ran = Ran::of(&mut assert_cmd::Command::from_std(command));
        let expected = "Web Server\tping\nWeb Server\tping\n--tag=env=test\n";
        assert_eq!(ran.out, expected, "{}", ran.err);
    }
    if need::program(&["zsh"]).is_some() {
        let typed = typed.replace(
            "source <(kumadb completions bash)",
            "autoload -U compinit; compinit -u; source <(kumadb completions zsh)",
        );
        let out = on_a_terminal(&lab, "zsh -f -i", &typed).unwrap_or_default();
        assert_eq!(out.matches(shown).count(), 3, "{out}");
    }
}
