//! Databases that accept no writes are refused before anything is stopped; clusters are named.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kumadb::engine::Connect as _;
use kumadb::engine::mariadb::Address;
use kumadb::error::{DatabaseError, Denied, Error};
use kumadb::value::Secret;

use crate::support::lab::Lab;
use crate::support::mariadbd::Mariadbd;
use crate::support::wait::wait_until;
use crate::support::{need, rounds};

const LOOPBACK: [&str; 2] = ["--bind-address=127.0.0.1", "--port={port}"];

/// A server with the database `kuma`, and the account `user` with `privileges` on it.
fn account(server: &Mariadbd, user: &str, privileges: &str) -> Address {
    server.sql("", &format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'; GRANT {privileges} ON kuma.* TO {user}@'%'"));
    Address {
        host: "127.0.0.1".into(),
        port: server.port(),
        user: user.into(),
        password: Secret::new("x"),
        database: "kuma".into(),
        ..Address::default()
    }
}

/// The database as the account `kuma` reaches it.
fn target(server: &Mariadbd) -> String {
    format!("mysql://kuma:x@127.0.0.1:{}/kuma", server.port())
}

fn lab(target: String) -> Lab {
    Lab { root: tempfile::tempdir().unwrap(), target, mariadbd: None }
}

/// The exit code of `kumadb init`.
fn init(lab: &Lab) -> i32 {
    let line = ["init", &lab.target, "--admin", "admin"];
    let made = lab.bare().args(line).env("KUMADB_ADMIN_PASSWORD", "Kuma-Lab-2026").output().unwrap();
    made.status.code().unwrap()
}

#[test]
fn what_accepts_no_writes_is_refused_before_the_server_is_stopped() {
    let Some(server) = Mariadbd::with(&LOOPBACK) else { return };
    server.create_database("kuma", "utf8mb4");
    assert_eq!(init(&lab(server.target("kuma"))), 0);
    let all = account(&server, "kuma", "ALL PRIVILEGES");
    all.check_accepts_writes().unwrap();
    assert_eq!(all.cluster_nodes().unwrap(), None);
    let viewer = account(&server, "viewer", "SELECT");
    let problems = |found: Result<(), Error>| match found {
        Err(Error::Database(DatabaseError::AccessDenied { why: Denied::Privilege(what), .. })) => what,
        other => panic!("{other:?}"),
    };
    assert!(problems(viewer.check_accepts_writes()).contains("INSERT"));
    // MariaDB hides foreign keys from it, which are in the definitions.
    let doctor = lab(format!("mysql://viewer:x@127.0.0.1:{}/kuma", server.port())).run("doctor");
    assert_eq!((doctor.exit, doctor.out.trim()), (0, "no findings"), "{}", doctor.err);
    assert!(problems(account(&server, "author", "SELECT, INSERT, UPDATE").check_accepts_writes()).contains("DELETE"));
    server.sql("", "SET GLOBAL read_only = 1");
    assert!(matches!(all.check_accepts_writes(), Err(Error::Database(DatabaseError::ReadOnly { .. }))));
    for line in ["monitor add group --name A", "monitor add group --name A --dry-run"] {
        let ran = lab(target(&server)).run(line);
        assert_eq!(ran.exit, 9, "{line}: {}", ran.err);
        assert!(ran.err.contains("`read_only` is set") && !ran.err.contains("staged copy"), "{line}: {}", ran.err);
    }
}

#[test]
fn mysql_is_read_but_never_written() {
    let Some(server) = Mariadbd::with(&[LOOPBACK[0], LOOPBACK[1], "--version=8.0.36"]) else { return };
    server.create_database("kuma", "utf8mb4");
    let address = account(&server, "kuma", "ALL PRIVILEGES");
    address.reader().unwrap();
    let is_refused = |error: Error| match error {
        Error::Database(DatabaseError::NotMariaDb { version, .. }) => assert_eq!(version, "8.0.36"),
        other => panic!("{other:?}"),
    };
    is_refused(address.check_accepts_writes().unwrap_err());
    assert_eq!(init(&lab(target(&server))), 9);
    assert_eq!(
        server.sql("", "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'kuma'").trim(),
        "0"
    );
}

/// The library with which MariaDB nodes form a cluster; its arbitrator is a member without data.
fn galera() -> Option<PathBuf> {
    let library = PathBuf::from("/usr/lib/galera/libgalera_smm.so");
    if library.exists() && need::program(&["garbd"]).is_some() {
        Some(library)
    } else {
        need::left_out("Galera (apt-get install galera-4 galera-arbitrator-4)")
    }
}

/// The first node of a cluster; others reach it at `port`.
fn first_node(port: u16) -> Option<Mariadbd> {
    let provider = galera()?;
    let options = [
        format!("--wsrep-provider={}", provider.display()),
        format!("--wsrep-provider-options=base_port={port};gmcast.listen_addr=tcp://127.0.0.1:{port}"),
    ];
    let fixed =
        ["--wsrep-on=ON", "--wsrep-cluster-address=gcomm://", "--wsrep-node-address=127.0.0.1", "--binlog-format=ROW"];
    let fixed = LOOPBACK.into_iter().chain(fixed).chain(["--innodb-autoinc-lock-mode=2"]);
    Mariadbd::with(&fixed.chain(options.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// A second member without data, as clusters have one for their quorum.
fn arbitrator(cluster: u16, port: u16, folder: &Path) -> Child {
    Command::new("garbd")
        .args(["--group", "my_wsrep_cluster", "--address", &format!("gcomm://127.0.0.1:{cluster}")])
        .args(["--options", &format!("gmcast.listen_addr=tcp://127.0.0.1:{port}")])
        // It leaves a file where it was started.
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn free_ports<const N: usize>() -> [u16; N] {
    let bound: [_; N] = std::array::from_fn(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    bound.map(|port| port.local_addr().unwrap().port())
}

/// In the long form, because Galera takes its time to notice that a member is gone.
#[test]
fn a_galera_cluster_is_named_and_one_without_a_quorum_too() {
    if !rounds::is_long() {
        return;
    }
    let [port, other] = free_ports();
    let Some(node) = first_node(port) else { return };
    node.create_database("kuma", "utf8mb4");
    account(&node, "kuma", "ALL PRIVILEGES");
    let lab = lab(target(&node));
    assert_eq!(init(&lab), 0);
    assert!(!lab.run("monitor add group --name Alone").err.contains("Galera"));
    let mut arbitrator = arbitrator(port, other, lab.root.path());
    let status = |name: &str| node.sql("", &format!("SHOW STATUS LIKE 'wsrep_{name}'")).trim().to_owned();
    wait_until(60, "the second member has joined", || status("cluster_size").ends_with('2'));
    let ran = lab.run("monitor add group --name A");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(ran.err.contains("Galera cluster of 2 nodes"), "{}", ran.err);
    node.sql(
        "kuma",
        "INSERT INTO heartbeat (important, monitor_id, status, msg, time, ping, duration, down_count)
         SELECT 0, 1, 1, 'ok', NOW() - INTERVAL seq MINUTE, 10, 60, 0 FROM seq_1_to_60000",
    );
    let content = || node.sql("kuma", "CHECKSUM TABLE heartbeat, monitor, setting, user");
    let before = content();
    for line in ["backup create", "history prune --keep 1 --yes", "restore latest --yes", "vacuum --yes", "doctor"] {
        let ran = lab.run(line);
        assert_eq!(ran.exit, 0, "{line}: {}", ran.err);
    }
    assert_eq!(content(), before);
    arbitrator.kill().unwrap();
    arbitrator.wait().unwrap();
    wait_until(60, "the node has lost its quorum", || status("ready").ends_with("OFF"));
    let ran = lab.run("monitor list");
    assert!(ran.exit == 1 && ran.err.contains("has no quorum"), "{}", ran.err);
}
