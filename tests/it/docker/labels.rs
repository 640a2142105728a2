//! Labels of containers on a real Docker engine, as the input of `plan`, `apply` and `drift`.

use std::process::Command;

use crate::support::dockerd::{self, Image};

#[test]
fn labels_of_containers_are_planned_applied_and_compared() {
    let Some(bench) = dockerd::bench() else { return };
    let root = tempfile::tempdir().unwrap();
    let prefix = root.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_lowercase();
    let kumadb = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kumadb"));
        command.arg("-t").arg(root.path().join("data")).arg("--store").arg(root.path().join("store")).args(words);
        let output = command.env("XDG_STATE_HOME", root.path()).current_dir(root.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let password = root.path().join("password");
    std::fs::write(&password, "Kuma-Lab-2026\n").unwrap();
    let mut init = Command::new(env!("CARGO_BIN_EXE_kumadb"));
    init.arg("init").arg(root.path().join("data")).args(["--admin", "admin", "--password-file"]).arg(password);
    let init = init.output().unwrap();
    assert!(init.status.success(), "{init:?}");
    let read = ["--from", "docker-labels", "--label-prefix", &prefix];
    let (exit, _, reported) = kumadb(&[&["plan"], &read[..]].concat());
    assert_eq!(exit, 2, "{reported}");
    assert!(reported.contains(&format!("has a label that begins with `{prefix}.`")), "{reported}");

    let group = format!("--label={prefix}.lab.group.name=Lab");
    let web = [
        format!("--label={prefix}.web.http.name=Web"),
        format!("--label={prefix}.web.http.url=https://web.example.com/{{{{container_name}}}}"),
        format!("--label={prefix}.web.http.parent_name=lab"),
    ];
    let web: Vec<&str> = web.iter().map(String::as_str).chain(["--entrypoint", "true"]).collect();
    let lab = bench.run_as(&[], Image::Slim.name(), &[&group, "--entrypoint", "true"], &[]);
    let server = bench.run_as(&[], Image::Slim.name(), &web, &[]);
    let (exit, out, reported) = kumadb(&[&["apply", "--yes", "--json"], &read[..]].concat());
    assert_eq!(exit, 0, "{reported}");
    assert!(reported.contains("reading the labels of 2 containers"), "{reported}");
    let (_, list, _) = kumadb(&["monitor", "list", "--json"]);
    assert!(list.contains(&format!("https://web.example.com/{}", server.name)), "{list}\n{out}");
    let (exit, ..) = kumadb(&[&["drift"], &read[..]].concat());
    assert_eq!(exit, 0);
    // A container that is removed takes its monitor out of the list.
    drop(server);
    let (exit, out, _) = kumadb(&[&["drift"], &read[..]].concat());
    assert_eq!(exit, 20);
    assert!(out.contains("? monitor `Lab/Web` (unmanaged)"), "{out}");
    drop(lab);
}
