//! The image: made without downloading anything, it has nothing but kumadb in it, and needs no rights that it is not given.

use std::process::Command;

use crate::house::layers::root;
use crate::house::packaging::{release, run};
use crate::remote::endpoints::engine_socket;
use crate::support::docked::{Docked, Kind};
use crate::support::dockerd::cli;

#[test]
fn the_image_works_with_the_socket_alone() {
    // Packing takes most of a minute.
    if std::env::var_os("KUMADB_TEST_LONG").is_none() {
        return;
    }
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let Some(files) = release() else { return };
    let tag = format!("kumadb:{}", lab.server.name);
    run(root().join("packaging/image"), &["--files", files.path().to_str().unwrap(), "--tag", &tag]);
    let about = r#"{{.Config.User}} {{json .Config.Healthcheck.Test}} {{index .Config.Labels "org.opencontainers.image.version"}}"#;
    let expected = concat!("1000:1000 [\"CMD\",\"kumadb\",\"backup\",\"check\"] ", env!("CARGO_PKG_VERSION"));
    assert_eq!(cli(&["image", "inspect", "-f", about, &tag]), expected);
    let socket = engine_socket().display().to_string();
    let mount = format!("{socket}:/var/run/docker.sock");
    // As strict as a container can be: no file system to write to, no capability.
    let strict =
        ["run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let kumadb = |more: &[&str], words: &[&str]| {
        let target = ["-t", lab.server.name.as_str(), "--remote-socket", &socket];
        let output =
            Command::new("docker").args(strict).args(more).arg(&tag).args(target).args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    // Its user has no access to the socket.
    let (code, _, given) = kumadb(&["-v", &mount], &["status"]);
    assert!(code == Some(1) && given.contains("permission denied"), "{code:?} {given}");
    let (code, shown, given) = kumadb(&["-v", &mount, "--user", "0"], &["--json", "status"]);
    assert!(code == Some(0) && shown.contains("\"monitors\": 2"), "{code:?} {shown}{given}");
    // With the data at its own path, it reads it directly, and stores where it is told to.
    let data = format!("{0}:{0}", lab.folder.path().display());
    let store = format!("{}:/store", lab.root().display());
    let direct = ["-v", &mount, "-v", &data, "-v", &store, "--user", "0"];
    let (code, shown, given) = kumadb(&direct, &["--store", "/store/from-image", "--json", "backup", "create"]);
    assert!(code == Some(0) && shown.contains("\"reason\": \"backup create\""), "{code:?} {shown}{given}");
    assert!(lab.root().join("from-image").join(&lab.server.name).is_dir());
    // There is no shell to break into.
    let shell = Command::new("docker").args(["run", "--rm", "--entrypoint", "/bin/sh", &tag]).output().unwrap();
    assert_eq!(shell.status.code(), Some(127));
    cli(&["rmi", "-f", &tag]);
}
