//! A config file is written for what is here, works at once, and is told of what is not safe in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::lab::{Lab, Ran, words};

/// Runs `line` on the instance of `lab` with the config file `new.toml`, in a folder of its own.
fn run(lab: &Lab, line: &str) -> Ran {
    let target = ["-t", &lab.target, "--config"];
    Ran::of(lab.bare().env_remove("KUMADB_STORE").args(target).arg(file(lab, "new.toml")).args(words(line)))
}

fn file(lab: &Lab, name: &str) -> PathBuf {
    lab.root.path().join("conf").join(name)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_config_file_backs_up_at_once() {
    for lab in Lab::both("2.5.3") {
        let store = lab.store();
        let push = lab.root.path().join("push");
        fs::write(&push, "https://other.example.com/api/push/Sesame\n").unwrap();
        fs::set_permissions(&push, fs::Permissions::from_mode(0o600)).unwrap();
        let line =
            format!("--store {} config init --timezone Europe/Berlin --encrypt --push-url-file push", store.display());
        let made = run(&lab, &line);
        assert_eq!(made.exit, 0, "{made:?}");
        assert!(made.err.contains("keep a copy of `") && made.err.contains("next: kumadb config check"), "{made:?}");
        for name in ["new.toml", "identity.txt"] {
            assert_eq!(mode(&file(&lab, name)), 0o600, "{name}");
        }
        let text = fs::read_to_string(file(&lab, "new.toml")).unwrap();
        assert!(text.contains("timezone = \"Europe/Berlin\"") && text.contains("encrypt_to = [\"age1"), "{text}");
        // A restore test of MariaDB needs a server on this machine.
        assert_eq!(text.contains("restore_test_every"), lab.mariadbd.is_none(), "{text}");
        let checked = run(&lab, "config check");
        assert_eq!(checked.exit, 0, "{checked:?}");
        assert!(checked.out.contains("no problems found: 1 store, 1 instance, 2 jobs"), "{checked:?}");
        let text = text.replace("push_url_file", "# push_url_file");
        fs::write(file(&lab, "new.toml"), text).unwrap();
        for job in ["configuration", "full"] {
            let ran = run(&lab, &format!("backup schedule --once {job}"));
            assert_eq!(ran.exit, 0, "{job}: {ran:?}");
        }
        let listed = run(&lab, "backup list --json");
        assert_eq!(listed.out.matches("\"encrypted\": true").count(), 2, "{listed:?}");
        // Nothing is overwritten.
        let again = run(&lab, "config init");
        assert_eq!(again.exit, 2, "{again:?}");
        assert!(again.err.contains("new.toml` already exists"), "{again:?}");
    }
}

#[test]
fn a_key_is_not_overwritten_by_a_new_config_file() {
    let lab = Lab::sqlite("2.5.3");
    fs::create_dir(lab.root.path().join("conf")).unwrap();
    fs::write(file(&lab, "identity.txt"), "precious").unwrap();
    let refused = run(&lab, "config init --encrypt");
    assert_eq!(refused.exit, 2, "{refused:?}");
    assert!(refused.err.contains("identity.txt` already exists"), "{refused:?}");
    assert_eq!(fs::read_to_string(file(&lab, "identity.txt")).unwrap(), "precious");
    assert!(!file(&lab, "new.toml").exists());
}

#[test]
fn what_runs_the_jobs_is_written_beside_the_config_file() {
    let lab = Lab::sqlite("2.5.3");
    let made = run(&lab, "config init --service systemd");
    assert_eq!(made.exit, 0, "{made:?}");
    let unit = fs::read_to_string(file(&lab, "kumadb.service")).unwrap();
    for line in [
        format!("ExecStart={} backup schedule", env!("CARGO_BIN_EXE_kumadb")),
        format!("Environment=KUMADB_CONFIG={}", file(&lab, "new.toml").display()),
        format!("ReadWritePaths={}", lab.target),
    ] {
        assert!(unit.lines().any(|other| other == line), "{line}\n{unit}");
    }
    fs::remove_file(file(&lab, "new.toml")).unwrap();
    let made = run(&lab, "config init --service compose");
    assert_eq!(made.exit, 0, "{made:?}");
    let compose = fs::read_to_string(file(&lab, "kumadb.compose.yaml")).unwrap();
    assert!(compose.contains(&format!("      - {0}:{0}\n", lab.target)), "{compose}");
    assert!(compose.contains(&format!("      KUMADB_CONFIG: {}\n", file(&lab, "new.toml").display())), "{compose}");
}

#[test]
fn each_alert_of_a_new_config_file_has_its_key() {
    let lab = Lab::sqlite("2.5.3");
    for (option, url) in [
        ("push", "https://other.example.com/api/push/Sesame"),
        ("healthchecks", "https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"),
        ("ntfy", "https://:tk_secret@ntfy.example.com/kuma"),
    ] {
        fs::write(lab.root.path().join(option), format!("{url}\n")).unwrap();
    }
    let made = run(&lab, "config init --push-url-file push --healthchecks-url-file healthchecks --ntfy-url-file ntfy");
    assert_eq!(made.exit, 0, "{made:?}");
    let text = fs::read_to_string(file(&lab, "new.toml")).unwrap();
    for key in ["push", "healthchecks", "ntfy"] {
        let line = format!("{key}_url_file = \"{}\"\n", lab.root.path().join(key).display());
        assert_eq!(text.matches(&line).count(), 2, "{line}{text}");
    }
    fs::remove_file(file(&lab, "new.toml")).unwrap();
    let missing = run(&lab, "config init --ntfy-url-file no-such-file");
    assert_eq!(missing.exit, 2, "{missing:?}");
    assert!(missing.err.contains("no-such-file") && !file(&lab, "new.toml").exists(), "{missing:?}");
}

#[test]
fn what_is_not_safe_in_a_config_file_is_named() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add push --name Backup --push-token 0123456789abcdef0123456789abcdef");
    fs::create_dir(lab.root.path().join("conf")).unwrap();
    let keys = file(&lab, "keys.env");
    fs::write(&keys, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_REGION=c\n").unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let config = format!(
        "[stores.local]\naddress = \"{0}\"\n[stores.away]\naddress = \"s3://bucket\"\ncredentials_file = \"{1}\"\n\
         [instances.kuma]\ntarget = \"{2}\"\nstores = [\"local\"]\n\
         [jobs.silent]\ncron = \"0 3 * * *\"\ninstances = [\"kuma\"]\nstores = [\"away\"]\n\
         [jobs.circular]\ncron = \"0 3 * * *\"\ninstances = [\"kuma\"]\nstores = [\"local\"]\n\
         push_url = \"http://kuma.example.com/api/push/0123456789abcdef0123456789abcdef?status=up\"\n",
        lab.store().display(),
        keys.display(),
        lab.target
    );
    fs::write(file(&lab, "new.toml"), config).unwrap();
    fs::set_permissions(file(&lab, "new.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let checked = run(&lab, "config check");
    assert_eq!(checked.exit, 0, "{checked:?}");
    for words in [
        "can read the secret in `",
        "new.toml`, with `push_url` of [jobs.circular]",
        "[jobs.silent] the snapshots of `kuma` in the remote store `away` are not encrypted",
        "[jobs] no alert for `silent`: ",
        "[jobs.circular] the push monitor belongs to `kuma`, the server that is backed up",
        "[instances.kuma] all snapshots are on the same disk as the database",
    ] {
        assert!(checked.err.contains(words), "{words}: {checked:?}");
    }
    assert_eq!(checked.err.matches("warning:").count(), 6, "{checked:?}");
    for name in ["new.toml", "keys.env"] {
        fs::set_permissions(file(&lab, name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let checked = run(&lab, "config check --json");
    let document: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(document["warnings"].as_array().unwrap().len(), 4, "{document:#}");
}
