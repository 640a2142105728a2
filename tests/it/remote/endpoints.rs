//! Engines elsewhere: over ssh, over TLS, by a context of the docker CLI, and what is said when they cannot be reached.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::remote::whole_verbs::sender;
use crate::support::docked::{self, Docked, Kind, Ran};
use crate::support::dockerd;
use crate::support::need;
use crate::support::sshd::Sshd;
use crate::support::wait::wait_until;

/// A place with nothing of this machine in it.
struct Laptop {
    home: TempDir,
}

impl Laptop {
    fn new() -> Laptop {
        Laptop { home: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn kumadb(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(sender());
        command.args(args).current_dir(self.home.path()).env("HOME", self.home.path());
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        let output = command.envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What is said of the engine at `host`, which does not answer.
    #[track_caller]
    fn refused(&self, host: &str, env: &[(&str, &str)]) -> String {
        self.kumadb(&["-H", host, "-t", "kuma", "status"], env).ended(1).err
    }

    /// Makes a context as the docker CLI does.
    fn context(&self, name: &str, host: &str, tls: Option<&Path>) {
        let meta = self.at(".docker/contexts/meta").join(format!("hash-of-{name}"));
        fs::create_dir_all(&meta).unwrap();
        let text = serde_json::json!({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}}});
        fs::write(meta.join("meta.json"), text.to_string()).unwrap();
        if let Some(files) = tls {
            let folder = self.at(".docker/contexts/tls").join(format!("hash-of-{name}")).join("docker");
            fs::create_dir_all(&folder).unwrap();
            for file in ["ca.pem", "cert.pem", "key.pem"] {
                fs::copy(files.join(file), folder.join(file)).unwrap();
            }
        }
    }
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn a_socket_of_others_says_who_may_use_it() {
    let laptop = Laptop::new();
    let socket = laptop.at("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = docked::without_privileges();
    command.args([env!("CARGO_BIN_EXE_kumadb"), "-t", "kuma", "-H", &format!("unix://{}", socket.display()), "status"]);
    let output = command.current_dir(laptop.home.path()).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    says(&printed, &["permission denied", "add your user to the group `docker`"]);
    assert_eq!(output.status.code(), Some(1), "{printed}");
}

#[test]
fn ssh_says_why_it_is_not_let_in() {
    let Some(sshd) = Sshd::start() else { return };
    let laptop = Laptop::new();
    let path = sshd.path();
    let env = [("PATH", path.to_str().unwrap())];
    let address = sshd.address();

    sshd.know("nothing");
    says(&laptop.refused(&address, &env), &["its host key is unknown", "ssh -p"]);
    sshd.know("other_host_key");
    says(&laptop.refused(&address, &env), &["its host key does not match known_hosts", "ssh-keygen -R '[127.0.0.1]:"]);
    sshd.know("host_key");
    sshd.log_in_with("other_user_key");
    says(&laptop.refused(&address, &env), &["ssh login failed: permission denied (publickey)", "ssh-copy-id -p"]);
    sshd.log_in_with("user_key");

    says(&laptop.refused("ssh://127.0.0.1:1", &env), &["connection refused"]);
    says(&laptop.refused("ssh://no-such-host.invalid", &env), &["host name `no-such-host.invalid` not found"]);
    says(&laptop.refused(&address, &[("PATH", "/nonexistent")]), &["`ssh`"]);
    // The far side's own words, by way of its docker.
    if need::program(&["docker"]).is_some() {
        let none = format!("{address}/nowhere/docker.sock");
        says(&laptop.refused(&none, &env), &["Docker is not running on the remote host", "systemctl start docker"]);
    }
}

#[test]
fn ssh_says_that_docker_is_missing_over_there() {
    let Some(sshd) = Sshd::with("SetEnv PATH=/nonexistent") else { return };
    let path = sshd.path();
    let printed = Laptop::new().refused(&sshd.address(), &[("PATH", path.to_str().unwrap())]);
    says(&printed, &["`docker` not found on the remote host", "docker version"]);
}

#[test]
fn works_over_ssh_with_one_login_and_leaves_no_process() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let Some(sshd) = Sshd::start() else { return };
    let run = |args: &[&str]| {
        let mut command = lab.command(&lab.server.name);
        command.env("PATH", sshd.path()).args(["-H", &sshd.address()]).args(args).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    };
    assert_eq!(run(&["--json", "status"]).ended(0).json()["monitors"], 2);
    assert_eq!(sshd.logins(), 1, "{}", sshd.log());
    // A whole write, with execs through the connection.
    run(&["--json", "monitor", "add", "group", "--name", "Far"]).ended(0);
    assert_eq!(sshd.logins(), 2, "{}", sshd.log());
    assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE name = 'Far'"), ["1"]);
    let port = format!("-p {}", sshd.port);
    wait_until(20, "the end of ssh", || running_ssh(&port).is_empty());
    assert!(sshd.calls().iter().any(|call| call.ends_with("docker system dial-stdio")), "{:?}", sshd.calls());
}

#[test]
fn a_killed_run_leaves_no_ssh_behind() {
    let Some(_) = dockerd::bench() else { return };
    let Some(sshd) = Sshd::start() else { return };
    let home = tempfile::tempdir().unwrap();
    let port = format!("-p {}", sshd.port);
    let mut found = 0;
    for _ in 0..20 {
        let mut find = Command::new(env!("CARGO_BIN_EXE_kumadb"))
            .args(["-H", &sshd.address(), "find"])
            .env("PATH", sshd.path())
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while running_ssh(&port).is_empty() && find.try_wait().unwrap().is_none() {}
        let _ = find.kill();
        find.wait().unwrap();
        found += usize::from(!running_ssh(&port).is_empty());
        if found == 2 {
            break;
        }
    }
    assert_eq!(found, 2, "no run was killed while ssh ran");
    wait_until(20, "the end of ssh", || running_ssh(&port).is_empty());
}

/// The command lines of processes that are an ssh with `words` in it.
fn running_ssh(words: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains("ssh") && !line.contains("sshd") && line.contains(words)).collect()
}

/// An engine with TLS in front of it: certificates of an authority of our own, and a relay to the real engine.
pub struct Tls {
    folder: TempDir,
    port: u16,
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// `ca.pem`, and `cert.pem` and `key.pem` that it signed, for 127.0.0.1.
fn make_certificates(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let name = folder.file_name().unwrap().display();
    openssl(folder, &format!("req -x509 {key} -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=authority-of-{name}"));
    openssl(folder, &format!("req {key} -keyout key.pem -out csr.pem -subj /CN=kumadb"));
    fs::write(folder.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        folder,
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -days 2 -extfile ext",
    );
}

impl Tls {
    /// Relays to `socket`.
    pub fn before(socket: &Path) -> Option<Tls> {
        if need::program(&["openssl"]).is_none() {
            return need::left_out("openssl");
        }
        let folder = tempfile::tempdir().unwrap();
        let certs = folder.path().join("certs");
        make_certificates(&certs);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(certs.join("cert.pem")).unwrap()],
                PrivateKeyDer::from_pem_file(certs.join("key.pem")).unwrap(),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = socket.to_owned();
        let relay = async move {
            while let Ok((stream, _)) = listener.accept().await {
                // As an engine does: otherwise, the second part of each answer waits 40 ms for the first to be acknowledged.
                stream.set_nodelay(true).unwrap();
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                tokio::spawn(async move {
                    if let Ok(mut near) = acceptor.accept(stream).await {
                        let mut far = tokio::net::UnixStream::connect(socket).await?;
                        tokio::io::copy_bidirectional(&mut near, &mut far).await?;
                    }
                    std::io::Result::Ok(())
                });
            }
        };
        std::thread::spawn(move || runtime.block_on(relay));
        Some(Tls { folder, port })
    }

    pub fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    pub fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }
}

/// The socket of the tests' engine.
pub fn engine_socket() -> PathBuf {
    dockerd::endpoint().address().trim_start_matches("unix://").into()
}

#[test]
fn works_over_tls_by_environment_and_by_context() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    let Some(tls) = Tls::before(&engine_socket()) else { return };
    let laptop = Laptop::new();
    let certs = tls.certs();
    let env = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", certs.to_str().unwrap())];
    let name = lab.server.name.as_str();
    let monitors = |args: &[&str], env: &[(&str, &str)]| {
        let ran = laptop.kumadb(&[&["--json", "-t", name, "status"], args].concat(), env).ended(0);
        assert_eq!(ran.json()["monitors"], 2, "{ran:?}");
    };
    monitors(&["-H", &tls.address()], &env);
    let address = tls.address();
    monitors(&[], &[env[0], env[1], ("DOCKER_HOST", &address)]);

    // Contexts have their own TLS files. The option wins over DOCKER_HOST, DOCKER_HOST over DOCKER_CONTEXT, that over the
    // current one.
    laptop.context("cellar", &tls.address(), Some(&certs));
    laptop.context("attic", "tcp://127.0.0.1:1", None);
    monitors(&["--context", "cellar"], &[("DOCKER_HOST", "tcp://127.0.0.1:1")]);
    monitors(&[], &[("DOCKER_CONTEXT", "cellar")]);
    fs::write(laptop.at(".docker/config.json"), r#"{"auths": {}, "currentContext": "cellar"}"#).unwrap();
    monitors(&[], &[]);
    let printed = laptop.kumadb(&["-t", name, "status"], &[("DOCKER_CONTEXT", "attic")]).ended(1);
    printed.printed("connection refused");
    let printed =
        laptop.kumadb(&["-t", name, "status"], &[("DOCKER_HOST", "tcp://127.0.0.1:1"), ("DOCKER_CONTEXT", "cellar")]);
    printed.ended(1).printed("connection refused");
    let printed = laptop.kumadb(&["-t", name, "--context", "celler", "status"], &[]).ended(1);
    printed.printed("no such context (did you mean `cellar`?)").printed("docker context ls");
    laptop.kumadb(&["--context", "cellar", "-H", "tcp://x", "find"], &[]).ended(2);

    // The config file names one for an instance.
    let config = format!("[instances.home]\ntarget = \"{name}\"\ncontext = \"cellar\"\n");
    fs::write(laptop.at("kumadb.toml"), config).unwrap();
    fs::write(laptop.at(".docker/config.json"), "{}").unwrap();
    let ran = laptop.kumadb(&["--config", "kumadb.toml", "-t", "home", "--json", "status"], &[]).ended(0);
    assert_eq!(ran.json()["monitors"], 2);
}

#[test]
fn tls_says_what_is_wrong_with_the_certificates() {
    let Some(tls) = Tls::before(Path::new("/nonexistent")) else { return };
    let laptop = Laptop::new();
    let refused = |folder: &Path| {
        laptop.refused(&tls.address(), &[("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", folder.to_str().unwrap())])
    };
    let other = laptop.at("other");
    make_certificates(&other);
    says(&refused(&other), &["signed by an unknown authority", "ca.pem"]);
    let without = laptop.at("without");
    fs::create_dir(&without).unwrap();
    fs::copy(tls.certs().join("ca.pem"), without.join("ca.pem")).unwrap();
    says(&refused(&without), &["the engine requires a client certificate", "cert.pem and key.pem into"]);
    for file in ["cert.pem", "key.pem"] {
        fs::copy(other.join(file), without.join(file)).unwrap();
    }
    says(&refused(&without), &["the engine rejects our certificate", "must be signed by the CA"]);
    fs::remove_file(without.join("key.pem")).unwrap();
    says(&refused(&without), &["is missing; both are required"]);
    // By its name, which is not in the certificate.
    let name = format!("tcp://localhost:{}", tls.port);
    let env = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", without.to_str().unwrap())];
    fs::remove_file(without.join("cert.pem")).unwrap();
    says(&laptop.refused(&name, &env), &["the certificate is for another host", "127.0.0.1"]);
    // TLS to a port without it.
    let plain = answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    says(&laptop.refused(&plain, &env), &["the port does not use TLS", "DOCKER_TLS_VERIFY"]);
}

/// The address of something that gives every request the answer `text`.
fn answer(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    address
}

#[test]
fn says_what_an_engine_is_that_is_none_or_too_old() {
    let laptop = Laptop::new();
    let old = answer("HTTP/1.1 200 OK\r\nApi-Version: 1.24\r\nContent-Length: 2\r\n\r\nOK");
    says(
        &laptop.refused(&old, &[]),
        &["it supports Docker API version 1.24, but kumadb requires 1.40", "Docker 19.03"],
    );
    let web = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    says(&laptop.refused(&web, &[]), &["the service is not a Docker engine"]);
    let tls = answer(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 48\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    );
    says(&laptop.refused(&tls, &[]), &["the port requires TLS", "DOCKER_TLS_VERIFY=1"]);
    says(
        &laptop.refused("tcp://no-such-host.invalid:1", &[]),
        &["host name `no-such-host.invalid` not found", "getent hosts"],
    );
    says(&laptop.refused("ssh://me:hunter2@host", &[]), &["it must not contain a password"]);
    assert!(!laptop.refused("ssh://me:hunter2@host", &[]).contains("hunter2"));
}

#[test]
fn takes_podmans_socket_where_docker_has_none() {
    if Path::new("/var/run/docker.sock").exists() {
        return need::left_out("a machine without /var/run/docker.sock").unwrap_or_default();
    }
    let laptop = Laptop::new();
    let runtime = laptop.at("run");
    fs::create_dir_all(runtime.join("podman")).unwrap();
    let env = [("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];
    // Nobody answers, so the error says which one was asked.
    let asked = |env: &[(&str, &str)]| laptop.kumadb(&["-t", "kuma", "status"], env).ended(1).err;
    drop(UnixListener::bind(runtime.join("podman/podman.sock")).unwrap());
    says(&asked(&env), &["run/podman/podman.sock`: connection refused"]);
    says(&asked(&[env[0], ("CONTAINER_HOST", "tcp://127.0.0.1:1")]), &["tcp://127.0.0.1:1"]);
    drop(UnixListener::bind(runtime.join("docker.sock")).unwrap());
    says(&asked(&env), &["run/docker.sock`: connection refused"]);
}
