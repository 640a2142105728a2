//! What `find` sees: running, stopped, stray, and what somebody else keeps running.

use std::process::Command;

use serde_json::Value as Json;

use crate::support::docked::{Docked, Kind, make_folder};
use crate::support::dockerd::{self, Image, cli};

/// What `find` says of `name`, which it must have found.
#[track_caller]
fn find(lab: &Docked, name: &str, more: &[&str]) -> Json {
    let document = lab.run_on(name, &[&["--json", "find"], more].concat()).ended(0).json();
    let found = document["instances"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{document:#}");
    found[0].clone()
}

/// A volume with the data of two monitors; gone when dropped.
struct Volume {
    name: String,
    path: String,
}

impl Volume {
    fn filled(kind: Kind) -> Option<Volume> {
        let folder = make_folder(kind)?;
        let name = cli(&["volume", "create"]);
        let path = cli(&["volume", "inspect", "-f", "{{.Mountpoint}}", &name]);
        let from = format!("{}/.", folder.path().display());
        assert!(Command::new("cp").args(["-a", &from, &path]).status().unwrap().success());
        Some(Volume { name, path })
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["volume", "rm", &self.name]).output();
    }
}

#[test]
fn finds_unused_volumes_and_containers_by_their_content() {
    let labels = ["--label", "com.docker.compose.project=home", "--label", "com.docker.compose.service=kuma"];
    let Some(lab) = Docked::with(Kind::Sqlite, &labels) else { return };
    lab.wait_beat();
    let found = find(&lab, &lab.server.name, &[]);
    assert_eq!(
        (&found["found"], &found["state"], &found["monitors"]),
        (&"container".into(), &"running".into(), &2.into())
    );
    assert_eq!(found["compose"]["project"], "home");
    assert!(found["last_heartbeat"].is_string(), "{found:#}");

    std::fs::write(lab.folder.path().join("kuma.db.bak20240101"), "").unwrap();
    assert!(find(&lab, &lab.server.name, &[])["old_backups"][0].as_str().unwrap().ends_with("kuma.db.bak20240101"));

    let orphan = Volume::filled(Kind::Sqlite).unwrap();
    let found = find(&lab, &orphan.path, &[]);
    assert_eq!((&found["found"], &found["state"], &found["monitors"]), (&"volume".into(), &"unused".into(), &2.into()));
    assert!(!std::path::Path::new(&orphan.path).join("kuma.db-wal").exists(), "looking left something behind");

    // An image that nothing is known of, on the same volume.
    let mount = format!("{}:/app/data", orphan.name);
    let plain = ["-e", "UPTIME_KUMA_IS_CONTAINER=0", "--label", "org.opencontainers.image.source=elsewhere"];
    cli(&["tag", Image::Slim.name(), "kumadb-other:1"]);
    let args = [&["-v", mount.as_str(), "--entrypoint", "sleep"][..], &plain].concat();
    let other = lab.bench.run_as(&["-d"], "kumadb-other:1", &args, &["60"]);
    let found = find(&lab, &other.name, &[]);
    assert_eq!((&found["found"], &found["monitors"]), (&"content".into(), &2.into()), "{found:#}");
    drop(other);
}

#[test]
fn reports_a_mariadb_that_is_down_without_starting_it() {
    let Some(lab) = Docked::up(Kind::MariaDb) else { return };
    cli(&["stop", &lab.server.name]);
    let found = find(&lab, &lab.server.name, &[]);
    assert_eq!((&found["state"], &found["monitors"], &found["error"]), (&"stopped".into(), &Json::Null, &Json::Null));
    let unread = found["unread"].as_str().unwrap();
    assert!(unread.contains("is not running") && unread.contains("find --open"), "{unread}");
    let opened = find(&lab, &lab.server.name, &["--open"]);
    assert_eq!((&opened["state"], &opened["monitors"]), (&"stopped".into(), &2.into()), "{opened:#}");
    let orphan = Volume::filled(Kind::MariaDb).unwrap();
    let found = find(&lab, &orphan.path, &[]);
    assert_eq!(found["found"], "volume");
    assert!(found["unread"].as_str().unwrap().contains("no container uses it"), "{found:#}");
    // As it is told there.
    let mount = format!("{}:/app/data", orphan.name);
    let made = cli(&["create", "-v", &mount, Image::Full.name()]);
    let name = cli(&["inspect", "-f", "{{.Name}}", &made]);
    let opened = find(&lab, name.trim_start_matches('/'), &["--open"]);
    cli(&["rm", "-f", &made]);
    assert_eq!((&opened["found"], &opened["monitors"]), (&"container".into(), &2.into()), "{opened:#}");
}

#[test]
fn reads_what_an_orchestrator_runs_and_refuses_to_stop_it() {
    if dockerd::bench().is_none() {
        return;
    }
    let swarm = ["--label", "com.docker.swarm.service.name=web_kuma"];
    let pod = ["--label", "io.kubernetes.pod.name=kuma-0", "--label", "io.kubernetes.pod.namespace=tools"];
    for (labels, named, hint) in [
        (&swarm[..], "swarm service web_kuma", "docker service scale web_kuma=0"),
        (&pod[..], "pod tools/kuma-0", "kubectl -n tools scale --replicas=0"),
    ] {
        let Some(lab) = Docked::with(Kind::Sqlite, labels) else { return };
        assert_eq!(find(&lab, &lab.server.name, &[])["orchestrator"], named);
        assert_eq!(lab.kumadb(&["--json", "status"]).ended(0).json()["monitors"], 2);
        lab.kumadb(&["backup", "create"]).ended(0);
        let since = lab.starts_and_stops();
        lab.add("New", &[]).ended(9).printed(hint);
        lab.was_restarted(0, since);
        // Scaled down, its container is gone or stopped, and the folder can be written.
        cli(&["stop", &lab.server.name]);
        let folder = lab.folder.path().display().to_string();
        lab.run_on(&folder, &["monitor", "add", "group", "--name", "New"]).ended(0);
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE name = 'New'"), ["1"]);
    }
}
