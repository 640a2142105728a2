//! What goes wrong with MariaDB, and whether the message says so.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kumadb::engine::Connect as _;
use kumadb::engine::mariadb::{Address, Tls};
use kumadb::error::{DatabaseError, Denied, Error, TlsFault};
use kumadb::value::Secret;

use crate::mariadb::engine::writer;
use crate::support::mariadbd::Mariadbd;
use crate::support::need;
use crate::support::wait::wait_until;

const LOOPBACK: [&str; 2] = ["--bind-address=127.0.0.1", "--port={port}"];

fn tcp(server: &Mariadbd, user: &str, password: &str) -> Address {
    Address {
        host: "127.0.0.1".into(),
        port: server.port(),
        user: user.into(),
        password: Secret::new(password),
        database: "kuma".into(),
        ..Address::default()
    }
}

fn refused(address: &Address) -> Error {
    let begun = Instant::now();
    let error = address.reader().err().expect("the connection must fail");
    assert!(begun.elapsed() < Duration::from_secs(12), "{error} took {:?}", begun.elapsed());
    let text = format!("{error} {error:?} {:?}", error.hint());
    assert!(!text.contains("hunter2"), "{text}");
    error
}

#[test]
fn says_why_a_login_fails() {
    let Some(server) = Mariadbd::with(&LOOPBACK) else { return };
    server.create_database("kuma", "utf8mb4");
    server.sql(
        "",
        "CREATE USER kuma@'%' IDENTIFIED BY 'right'; GRANT ALL ON kuma.* TO kuma@'%';
         CREATE USER limited@'%' IDENTIFIED BY 'right'; GRANT SELECT ON kuma.* TO limited@'%';
         CREATE USER nobody@'%' IDENTIFIED BY 'right'; CREATE USER shut@'%' IDENTIFIED BY 'right' ACCOUNT LOCK;
         CREATE TABLE kuma.t (a INT PRIMARY KEY, token VARCHAR(50) UNIQUE);",
    );
    tcp(&server, "kuma", "right").reader().unwrap();
    for (user, password, why) in [
        ("kuma", "hunter2", Denied::WrongPassword),
        ("kuma", "", Denied::NoPassword),
        ("nobody", "right", Denied::Database("kuma".into())),
        ("shut", "right", Denied::Locked),
    ] {
        match refused(&tcp(&server, user, password)) {
            Error::Database(DatabaseError::AccessDenied { why: found, .. }) => assert_eq!(found, why),
            other => panic!("{other:?}"),
        }
    }
    let missing = Address { database: "other".into(), ..server.address("other") };
    assert!(matches!(refused(&missing), Error::Database(DatabaseError::NoSuchDatabase { .. })));

    let mut limited = writer(&tcp(&server, "limited", "right"));
    limited.begin().unwrap();
    let error = limited.execute("DELETE FROM t", &[]).unwrap_err();
    assert!(
        matches!(&error, Error::Database(DatabaseError::AccessDenied { why: Denied::Privilege(why), .. }) if why.contains("DELETE command denied")),
        "{error}"
    );
    limited.rollback().unwrap();

    let mut writer = writer(&tcp(&server, "kuma", "right"));
    writer.execute("INSERT INTO t VALUES (1, ?)", &["hunter2".into()]).unwrap();
    for (sql, word) in [
        ("INSERT INTO t VALUES (2, 'hunter2')", "token"),
        ("INSERT INTO t VALUES ('hunter2', 'b')", "`a`"),
        ("INSERT INTO t VALUES ('hunter2' 'b'", "syntax"),
        ("UPDATE t SET a = 5 WHERE a = 'hunter2' + 1", "DOUBLE"),
    ] {
        let error = writer.execute(sql, &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains(word), "{error}");
    }

    // mariadb-install-db makes these two unless it is told not to.
    server.sql("", "CREATE USER ''@'localhost'; FLUSH PRIVILEGES");
    match refused(&tcp(&server, "kuma", "right")) {
        error @ Error::Database(DatabaseError::AccessDenied { why: Denied::Shadowed, .. }) => {
            assert!(error.hint().unwrap().contains("DROP USER ''@'localhost'"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    server.sql("", "CREATE USER kuma@'localhost' IDENTIFIED BY 'right'");
    assert!(matches!(
        refused(&tcp(&server, "kuma", "hunter2")),
        Error::Database(DatabaseError::AccessDenied { why: Denied::WrongPassword, .. })
    ));

    server.sql("", "DROP USER ''@'localhost'; SET GLOBAL max_connections = 10");
    let open: Vec<_> = (0..30).map_while(|_| tcp(&server, "limited", "right").reader().ok()).collect();
    assert!(open.len() < 30);
    let error = refused(&tcp(&server, "limited", "right")).to_string();
    assert!(error.contains("too many connections"), "{error}");
}

#[test]
fn says_why_there_is_no_connection() {
    let Some(server) = Mariadbd::start() else { return };
    let no_user = tcp(&server, "kuma", "hunter2");
    let error = refused(&no_user).to_string();
    assert!(error.ends_with("connection refused"), "{error}");
    let error = refused(&Address::on_socket("/no/such.sock", "root", "kuma")).to_string();
    assert!(error.contains("no such socket"), "{error}");
    let error = refused(&Address { host: "no-such-host.invalid".into(), ..no_user.clone() }).to_string();
    assert!(error.ends_with("host name not found"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let error = refused(&Address::on_socket(&dead, "root", "kuma")).to_string();
    assert!(error.contains("MariaDB is not running"), "{error}");

    // Something that accepts and says nothing, and something that speaks another language.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = refused(&Address { port: silent.local_addr().unwrap().port(), ..no_user.clone() }).to_string();
    assert!(error.contains("timed out after 8 s"), "{error}");
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    let answer = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = web.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(200));
    });
    let error = refused(&Address { port, ..no_user.clone() });
    assert!(matches!(error, Error::Database(DatabaseError::Unreachable { .. })), "{error}");
    answer.join().unwrap();
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn speaks_tls_as_the_server_does() {
    if need::program(&["openssl"]).is_none() {
        return need::left_out("openssl").unwrap_or_default();
    }
    let folder = tempfile::Builder::new().prefix("kumadb-mariadb-").tempdir().unwrap();
    std::fs::write(folder.path().join("ext"), "subjectAltName=DNS:db.example\n").unwrap();
    for name in ["ca", "other"] {
        openssl(
            folder.path(),
            &format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"),
        );
    }
    openssl(folder.path(), "req -new -newkey rsa:2048 -nodes -subj /CN=db.example -keyout server.key -out server.csr");
    openssl(
        folder.path(),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem",
    );
    let pem = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (ca, other) = (pem("ca.pem"), pem("other.pem"));
    let options = [LOOPBACK[0], LOOPBACK[1], "--ssl-cert={folder}/server.pem", "--ssl-key={folder}/server.key"];
    let Some(server) = Mariadbd::within(folder, &options) else { return };
    server.create_database("kuma", "utf8mb4");
    server.sql("", "CREATE USER kuma@'%' IDENTIFIED BY 'right' REQUIRE SSL; GRANT ALL ON kuma.* TO kuma@'%'");
    let with = |tls: Tls| Address { tls, ..tcp(&server, "kuma", "right") };
    // The certificate names another host than 127.0.0.1, which the server does not mind either.
    for tls in [Tls::On { ca: Some(ca.clone()), verify: true }, Tls::On { ca: None, verify: false }] {
        let mut reader = with(tls).reader().unwrap();
        let cipher = reader.query("SHOW STATUS LIKE 'Ssl_cipher'", &[]).unwrap();
        assert_ne!(cipher[0].at(1), &"".into());
    }
    assert!(matches!(refused(&with(Tls::Off)), Error::Database(DatabaseError::AccessDenied { .. })));
    for (tls, why) in [
        (Tls::On { ca: Some(other), verify: true }, "signed by an unknown authority"),
        (Tls::On { ca: None, verify: true }, "signed by an unknown authority"),
        (
            Tls::On { ca: Some("-----BEGIN CERTIFICATE-----\nrubbish\n".into()), verify: true },
            "cannot use the CA certificate",
        ),
    ] {
        let error = refused(&with(tls));
        assert!(
            matches!(&error, Error::Database(DatabaseError::Tls { .. })) && error.to_string().contains(why),
            "{error:?}"
        );
    }
    let Some(plain) = Mariadbd::with(&LOOPBACK) else { return };
    plain.sql("", "CREATE DATABASE kuma; CREATE USER kuma@'%' IDENTIFIED BY 'right'; GRANT ALL ON kuma.* TO kuma@'%'");
    let error = refused(&Address { tls: Tls::On { ca: Some(ca), verify: true }, ..tcp(&plain, "kuma", "right") });
    assert!(matches!(&error, Error::Database(DatabaseError::Tls { why: TlsFault::NotOffered, .. })), "{error:?}");
}

#[test]
fn says_which_certificates_it_cannot_check() {
    if need::program(&["openssl"]).is_none() {
        return need::left_out("openssl").unwrap_or_default();
    }
    for (make, why) in [
        // One that signed itself, as its own authority.
        (
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=db -keyout server.key -out server.pem",
            "is a CA certificate",
        ),
        // One that names its host the way of before 2017.
        (
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem",
            "subjectAltName",
        ),
    ] {
        let folder = tempfile::Builder::new().prefix("kumadb-mariadb-").tempdir().unwrap();
        std::fs::write(folder.path().join("ext"), "basicConstraints=CA:FALSE\n").unwrap();
        openssl(folder.path(), "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem");
        openssl(folder.path(), "req -new -newkey rsa:2048 -nodes -subj /CN=db -keyout server.key -out server.csr");
        openssl(folder.path(), make);
        let name = if make.starts_with("req") { "server.pem" } else { "ca.pem" };
        let ca = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let options = [LOOPBACK[0], LOOPBACK[1], "--ssl-cert={folder}/server.pem", "--ssl-key={folder}/server.key"];
        let Some(server) = Mariadbd::within(folder, &options) else { return };
        server.create_database("kuma", "utf8mb4");
        server.sql("", "CREATE USER kuma@'%' IDENTIFIED BY 'right' REQUIRE SSL; GRANT ALL ON kuma.* TO kuma@'%'");
        let address = Address { tls: Tls::On { ca: Some(ca), verify: true }, ..tcp(&server, "kuma", "right") };
        let error = refused(&address);
        assert!(
            matches!(&error, Error::Database(DatabaseError::Tls { .. })) && error.to_string().contains(why),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("a certificate of its own"), "{error:?}");
    }
}

#[test]
fn says_what_ended_a_transaction() {
    let Some(server) = Mariadbd::start() else { return };
    let address = server.create_database("kuma", "utf8mb4");
    server.sql("kuma", "CREATE TABLE t (a INT PRIMARY KEY, b INT); INSERT INTO t VALUES (1, 0), (2, 0)");
    let (report, reported) = mpsc::channel();
    let (cross, crossing) = mpsc::channel();
    // Another writer that is no kumadb: it holds row 2 and comes for row 1.
    let rival = {
        let address = address.clone();
        std::thread::spawn(move || {
            let mut rival = writer(&address);
            rival.execute("SET autocommit = 0, innodb_lock_wait_timeout = 50", &[]).unwrap();
            rival.execute("UPDATE t SET b = 1 WHERE a = 2", &[]).unwrap();
            report.send(()).unwrap();
            crossing.recv().unwrap();
            let crossed = rival.execute("UPDATE t SET b = 1 WHERE a = 1", &[]);
            rival.execute("ROLLBACK", &[]).unwrap();
            crossed.map(drop)
        })
    };
    reported.recv().unwrap();
    let mut ours = writer(&address);
    ours.begin().unwrap();
    let begun = Instant::now();
    let busy = ours.execute("UPDATE t SET b = 2 WHERE a = 2", &[]).unwrap_err();
    assert!(matches!(busy, Error::Database(DatabaseError::Busy { .. })), "{busy}");
    assert!((4..30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // Nothing may run after the transaction is gone.
    assert!(matches!(
        ours.execute("UPDATE t SET b = 3 WHERE a = 1", &[]),
        Err(Error::Database(DatabaseError::Sql { .. }))
    ));
    assert!(ours.commit().is_err());
    ours.rollback().unwrap();
    // A deadlock ends one of the two.
    ours.begin().unwrap();
    ours.execute("UPDATE t SET b = 2 WHERE a = 1", &[]).unwrap();
    cross.send(()).unwrap();
    let mine = ours.execute("UPDATE t SET b = 2 WHERE a = 2", &[]).map(drop);
    ours.rollback().unwrap();
    let theirs = rival.join().unwrap();
    assert!(
        matches!(
            (&mine, &theirs),
            (Err(Error::Database(DatabaseError::Busy { .. })), _)
                | (_, Err(Error::Database(DatabaseError::Busy { .. })))
        ),
        "{mine:?} {theirs:?}"
    );

    let id = |writer: &mut dyn kumadb::engine::Writer| {
        writer.query("SELECT CONNECTION_ID()", &[]).unwrap()[0].int("CONNECTION_ID()").unwrap()
    };
    ours.begin().unwrap();
    ours.execute("UPDATE t SET b = 9", &[]).unwrap();
    let number = id(&mut *ours);
    server.sql("", &format!("KILL CONNECTION {number}"));
    assert!(matches!(ours.commit(), Err(Error::Database(DatabaseError::CommitInDoubt { .. }))));
    assert_eq!(server.sql("kuma", "SELECT SUM(b) FROM t").trim(), "0");
    // It keeps the lock of the database until it has gone.
    let shown = format!("SELECT count(*) FROM information_schema.PROCESSLIST WHERE ID = {number}");
    wait_until(60, "the end of a connection", || server.sql("", &shown).trim() == "0");

    let mut ours = writer(&address);
    ours.begin().unwrap();
    ours.execute("UPDATE t SET b = 9", &[]).unwrap();
    let number = id(&mut *ours);
    server.sql("", &format!("KILL CONNECTION {number}"));
    let gone = ours.execute("UPDATE t SET b = 10", &[]).unwrap_err();
    assert!(matches!(gone, Error::Database(DatabaseError::Unreachable { .. })), "{gone}");
    ours.rollback().unwrap();
    assert_eq!(server.sql("kuma", "SELECT SUM(b) FROM t").trim(), "0");
}

#[test]
fn says_when_mariadb_only_reads() {
    let Some(server) = Mariadbd::with(&LOOPBACK) else { return };
    server.create_database("kuma", "utf8mb4");
    server.sql(
        "kuma",
        "CREATE TABLE t (a INT PRIMARY KEY); CREATE USER kuma@'%' IDENTIFIED BY 'right';
                        GRANT ALL ON kuma.* TO kuma@'%'; SET GLOBAL read_only = 1",
    );
    let mut writer = writer(&tcp(&server, "kuma", "right"));
    writer.begin().unwrap();
    let error = writer.execute("INSERT INTO t VALUES (1)", &[]).unwrap_err();
    assert!(
        matches!(&error, Error::Database(DatabaseError::ReadOnly { .. })) && error.to_string().contains("read_only"),
        "{error}"
    );
    drop(writer);
    server.sql("", "SET GLOBAL read_only = 0, max_allowed_packet = 1024 * 1024");
    let mut writer = crate::mariadb::engine::writer(&server.address("kuma"));
    writer.execute("CREATE TABLE big (a INT PRIMARY KEY, b LONGTEXT)", &[]).unwrap();
    writer.begin().unwrap();
    let mut rows = (0..3).map(|n| vec![n.into(), "x".repeat(700_000).into()]);
    assert_eq!(writer.insert("big", &["a", "b"], &mut rows).unwrap(), 3);
    let mut rows = std::iter::once(vec![9.into(), "x".repeat(2_000_000).into()]);
    let error = writer.insert("big", &["a", "b"], &mut rows).unwrap_err().to_string();
    assert!(error.contains("max_allowed_packet"), "{error}");
}
