//! Every error that there is, and what people see of it; and the reasons that real sockets and files give. It is long, because
//! it is a table.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use kumadb::engine::Connect as _;
use kumadb::engine::mariadb::{Address, Tls};
use kumadb::error::{
    ConvertError, DatabaseError, Denied, DockerError, Error, Exit, FileError, Hint, InputError, JobError,
    OperationError, Problem, RemoteError, ServerError, SnapshotError, StoreError, TargetError, TlsFault, io_reason,
    reason,
};

use crate::house::layers::root;
use crate::house::plain::wrong_words;

fn t(text: &str) -> String {
    text.to_owned()
}

fn p() -> PathBuf {
    "/srv/kuma/file".into()
}

fn hint() -> Hint {
    Hint::command("kumadb find")
}

fn full() -> Box<Error> {
    Box::new(FileError::Io { act: "write", path: p(), source: ErrorKind::StorageFull.into() }.into())
}

#[rustfmt::skip]
fn all() -> Vec<Error> {
    let mut all: Vec<Error> = Vec::new();
    macro_rules! add { ($($error:expr),* $(,)?) => { $(all.push($error.into());)* } }
    { use InputError::*; add![
        Problems(vec![Problem::new("name", "is required").command("--name Shop")]),
        Option { option: t("`--set x`"), why: t("it is not FIELD=VALUE"), hint: None },
        Conflict { option: t("`-H`"), other: t("`--context`") },
        NotFor { option: t("`--tables`"), subject: t("SQLite"), why: t("the full file is rewritten") },
        Requires { option: t("`--password-file`"), needs: t("`--admin`") },
        Missing { what: t("retention rule"), hint: hint() },
        Unknown { kind: "job", name: t("nigthly"), known: vec![t("nightly")] },
        Ambiguous { kind: "snapshot", prefix: t("ab"), count: 2 },
        Exists { kind: "API key", name: t("ci") },
        Variable { name: t("AWS_REGION"), why: t("it contains a line break") },
        VariableMissing { name: t("AWS_SECRET_ACCESS_KEY"), because: t("`AWS_ACCESS_KEY_ID` is set") },
        Time { why: t("`soon` is not a valid date or time: use yesterday") },
        Address { kind: "URL", shown: t("kuma"), why: t("`https://` is missing") },
        NoDatabaseName, FileNotFound { path: p() }, EmptyFirstLine { path: p() },
        FileContent { path: p(), why: t("the folder has no .yaml file") },
        NoLabels { prefix: t("kuma"), engine: t("unix:///var/run/docker.sock") },
        NotFixture { path: p(), what: t("a gzip file"), command: t("gunzip -c x > y"), then: "then apply it" },
        Line { path: p(), line: 3, why: t("use NAME=VALUE") },
        Authorities { why: t("no certificate found") },
        NoConfig { looked: vec![t("`kumadb.toml`")] }, FileExists { path: p() }, NoSection { section: "[jobs.NAME]" },
        NotUtf8 { what: t("`AWS_REGION`") }, PasswordsDiffer, CannotPrompt { secret: t("password of admin") },
        Render { why: t("CSV has monitors only") }, NotAPushMonitor { monitor: t("A"), kind: t("ping") },
        NoMonitor { what: t("`A`") }, NotConfigured { kind: "instance", name: t("a"), known: vec![t("b")] },
        SeveralMonitors { what: t("`A`"), count: 2 },
        PruneSkipped { count: 2, first: t("a.yaml:2:3: monitor `A`: `interval`: must be a number") }, SamePath { id: 4, path: t("A/B") }, ConfirmationRequired, Cancelled,
    ]; }
    { use TargetError::*; add![
        NoneFound, NotFound(t("./x")), SeveralFound(vec![t("a"), t("b")]),
        NotDataFolder { path: p(), why: t("kuma.db is missing") }, DbConfig { path: p(), why: t("invalid JSON") },
        Socket { config: p(), socket: p(), database: t("kuma") },
        Environment { name: "UPTIME_KUMA_DB_PORT", value: t("x"), why: "is not a valid port" },
        TwoContainers { folder: t("/srv"), containers: vec![t("a"), t("b")] },
        NotCreatedYet { cause: Box::new(NoneFound.into()), hint: hint() },
        NoPlace { place: t("new"), why: t("none at unix:///var/run/docker.sock") },
        NoDataFolder { container: t("kuma"), why: t("permission denied") },
        NotOnAVolume { container: t("kuma"), folder: p() }, NoContainer { instance: t("kuma") },
        NoContainerForMariaDb { instance: t("kuma") }, NoUser,
    ]; }
    { use FileError::*; add![
        Io { act: "open", path: p(), source: ErrorKind::NotFound.into() }, NoSpace { path: p(), needed: 2, free: 1 },
        WrongUser { path: p(), owner: t("root"), user: t("uid 1000"), hint: hint() },
        NeedsRoot { folder: p(), uid: 1000 }, NoLocks { path: p(), kind: t("NFS") },
        HeldOpen { path: p(), holders: vec![t("node (pid 7)")] }, HardLink { path: p() }, Link { path: p() },
        NotOurFolder { path: p() }, Exists { path: p() }, Decode { path: p(), why: t("invalid JSON") },
        Encode { what: "the plan", why: t("invalid key") }, Random { why: t("not supported") },
    ]; }
    { use DatabaseError::*; let d = || t("the database of `kuma`"); add![
        NoFile(p()), EmptyFile(p()), NotSqlite(p()), Encrypted(p()), OtherFormat { path: p(), what: t("a gzip file"), command: t("gunzip x") }, WalWithoutDatabase(p()), ForeignJournal { journal: p(), why: t("its pages have 512 bytes") },
        Damaged { database: d(), problems: vec![t("page 3 is damaged")] },
        NotKuma { database: d(), why: t("it has no tables") }, UnknownRelease { database: d(), why: t("closest to 2.5.3, but without `a.js`") },
        UnknownMigrations { database: d(), first: t("2029-01-01-0000-later.js"), count: 2 },
        MissingColumn { table: t("monitor"), column: t("location") },
        OlderImage(Box::new(kumadb::error::OlderImage {
            image: t("louislam/uptime-kuma:1"), of: Some(t("1.23.17")), what: t("snapshot `01ab` (2.5.3)"),
            lacking: vec![t("2023-08-16-0000-create-uptime.js")], needed: t("louislam/uptime-kuma:2.5.3"),
        })),
        ReleaseNotFound(p()), NoRows(p()), NoFreeId { table: t("monitor"), highest: 4_294_967_295 }, NotSalvageable { database: t("kuma") },
        Sql { database: d(), message: t("no such table") }, Busy { database: d() }, MigrationLocked { database: d() },
        Unreachable { address: t("db:3306"), why: t("connection refused") },
        CommitInDoubt { database: d() }, DiskFull { database: d() }, ReadOnly { database: d(), why: "`read_only` is set" },
        NoSuchDatabase { address: t("db:3306"), database: t("kuma") },
        Charset { database: t("kuma"), charset: t("latin1") }, NotEmpty { database: d(), what: t("it has 3 tables") },
        Occupied { place: t("`./new`"), why: t("it is not empty"), hint: hint() },
        CannotSwapTables { database: d(), why: t("the name of the database is too long"), hint: None },
        NoTransactions { table: t("monitor"), engine: t("Aria") },
        CopyDiffers { database: d(), differences: vec![t("column `extra`")] }, CannotConvert { total: 1, cells: vec![t("name")] },
        MariaDbNotInstalled { program: "mariadbd" }, MariaDbSeries { version: t("11.4"), series: "10.11." },
        MariaDbStart { why: t("timed out") }, MariaDbStop { status: t("signal 9") }, PasswordHash { why: t("no random") },
    ];
    for why in [
        Denied::NoPassword, Denied::WrongPassword, Denied::SocketOnly, Denied::Database(t("kuma")), Denied::Shadowed,
        Denied::Privilege(t("DELETE")), Denied::Host, Denied::Method(t("`gssapi`")), Denied::Expired, Denied::Locked,
        Denied::TlsOnly,
    ] { add![AccessDenied { address: t("db:3306"), user: t("kuma"), why }]; }
    add![Strange { database: t("`kuma`"), what: t("a view called `tag`"), drop: t("DROP VIEW `tag`") }, NotCheckpointed { database: t("`/data/kuma.db`"), cause: full() }, NodeNotReady { address: t("db:3306") }, NotMariaDb { database: t("`kuma` at db:3306"), version: t("8.0.36") }];
    for why in [
        TlsFault::NotOffered, TlsFault::Certificate(t("the certificate has expired")),
        TlsFault::Unusable(t("the certificate is for another host: x")), TlsFault::Handshake(t("the server does not speak TLS")),
        TlsFault::Authority(t("invalid PEM")),
    ] { add![Tls { address: t("db:3306"), why }]; } }
    { use DockerError::*; let c = || t("kuma"); add![
        Unreachable { address: t("unix:///var/run/docker.sock"), why: t("no such socket"), hint: hint() },
        Action { act: "start", container: c(), why: t("port is already allocated"), forbidden: false },
        Image { image: c(), why: t("no such image") }, ImageWithoutMariaDb { image: c() },
        NoMariaDb { image: c(), why: t("`mariadbd` not found") },
        Removed { container: c(), what: t("no longer exists"), unfinished: true, hint: None },
        Replaced { container: c() }, StopTimeout { container: c(), seconds: 60 },
        NotUp { container: c(), seconds: 60, why: t("it exited"), log: vec![t("line")] }, Migrating { container: c() },
        Paused { container: c() }, RestartLoop { container: c() }, AutoRemove { container: c() },
        Swarm { container: c(), service: c() }, Kubernetes { container: c(), namespace: c(), pod: c() },
        Helper { container: c(), why: t("it exited"), log: vec![] }, OutputInData { path: p() },
    ]; }
    { use RemoteError::*; let e = || t("ssh://host"); add![
        DataNotLocal { container: t("kuma"), folder: t("/srv"), engine: e() },
        CannotExport { instance: t("kuma"), why: t("it is remote") }, SnapshotsNotLocal { instance: t("kuma") },
        CannotRun { engine: e(), why: t("no shell") }, NotForLinux { path: p() },
        NotStatic { path: p(), machine: "x86_64" },
        WrongMachine { engine: e(), system: t("linux"), machine: t("aarch64"), ours: "x86_64" },
        ConnectionLost { engine: e(), container: t("kuma"), why: t("connection reset") },
        JobSpec { path: p(), why: t("invalid JSON") }, WriteJobSpec { why: t("invalid key") },
        Overrides { name: "KUMADB_JOB", why: t("invalid JSON") },
    ]; }
    { use ServerError::*; add![
        NoResponse { address: t("http://kuma:3001"), why: t("connection refused"), hint: hint() },
        PushRefused { address: t("http://kuma:3001"), monitor: t("A"), why: t("monitor not found") },
        MonitorPaused { monitor: t("A") }, NoToken { monitor: t("A") },
    ]; }
    { use OperationError::*; add![
        Locked { holder: t("`restore`, pid 7") }, Unfinished { verb: t("restore"), started: t("today"), phase: t("writing") },
        OtherDatabase { verb: t("restore"), origin: t("/a"), here: t("/b") }, Journal { path: p(), why: t("invalid JSON") },
        NothingUnfinished, ServerRunning { what: t("the server is running") }, InUse { database: t("kuma"), connections: 2 },
        CannotWait { instance: t("kuma") }, Migrating { instance: t("kuma"), what: t("the lock is set") }, StalePlan, StaleDifference { instance: t("kuma") },
        OtherInstance { origin: t("/a"), instance: t("b") },
        ReadBack { subject: t("monitor 1"), column: t("name"), expected: t("A"), found: t("B") },
        ChecksFailed(vec![t("broken reference")]), NotInTransaction { statement: t("DROP") },
        OperationError::ReadOnly { statement: t("`DELETE`") }, NewFindings { findings: vec![t("orphan")] },
        NoStatistics { release: t("1.23.17") },
        Downgrade { from: t("2.5.3"), to: t("2.0.2"), migrations: 27 },
        CannotUpgrade(vec![Problem::new("heartbeat", "2 heartbeats of monitors that do not exist").command("kumadb doctor --fix")]),
        ImageNotChanged { container: t("kuma"), image: t("louislam/uptime-kuma:2.5.3"), release: t("2.5.3"), change: t("docker rm kuma") },
        UpgradeRolledBack { cause: full(), image: t("louislam/uptime-kuma:1"), change: t("docker rm kuma") },
        NoAutoVacuum { free_pages: 3 }, NoPipes, RolledBack { cause: full() },
        StatementsStay { cause: full(), done: 2, all: 4 },
        RollbackFailed { cause: full(), failure: full(), is_back: false },
        RollbackFailed { cause: full(), failure: full(), is_back: true }, Panic { what: "the store client", why: t("index") },
        Interrupted { signal: 2 }, Stopped { why: t("stopped by the caller") },
    ]; }
    { use ConvertError::*; let i = || t("kuma"); add![
        SameEngine { instance: i(), engine: "SQLite" }, NoFolder { instance: i() }, NoMariaDb { release: t("1.23.17"), newest: t("2.5.3") },
        Environment { container: i(), variables: vec![t("UPTIME_KUMA_DB_TYPE")], how: t("delete their lines in compose.yaml") },
        Loopback { container: i(), host: t("localhost") }, Socket { socket: p() },
        NoImage { instance: i() }, Exists { path: p() }, Statistics { state: t("migrating") },
        References { faults: vec![t("`heartbeat` refers to a `monitor` that does not exist (2 rows)")] },
        NotEmpty { database: t("`kuma` at db:3306"), what: t("it already contains 3 tables") },
        ConvertError::CannotStore { total: 1, cells: vec![t("`monitor`.`name` of row 1")], choices: Some(t("cut")), all: true },
        ConvertError::CannotStore { total: 1, cells: vec![t("`monitor`.`body` of row 1")], choices: Some(t("cut")), all: false },
    ]; }
    { use SnapshotError::*; let i = || t("01ab"); add![
        Invalid { name: i(), why: t("it is truncated") }, Unfinished { folder: p() }, Changed { path: p() },
        ReadBack { path: p() }, Differs { what: t("rows per table") }, RestoreTest { table: t("monitor") },
        NoTable { path: p(), table: t("monitor") }, RestoredDiffers { what: t("rows per table") }, NotAsSql { table: t("found"), why: t("it is a virtual table") }, NotRaw,
        NotFound(i()), NoFile(p()), NoUndo(i()), NothingToUndo { instance: t("kuma"), stores: vec![t("`/b`")], elsewhere: None },
        NothingToUndo { instance: t("kuma"), stores: vec![t("`/b`")], elsewhere: Some(t("/c")) }, SeveralInstances(vec![t("a"), t("b")]),
        Raw { id: i() }, OfConversion { id: i(), engine: t("SQLite") }, OtherEngine { id: i(), engine: t("SQLite"), here: t("MariaDB") },
        OtherRelease { id: i(), release: t("2.0.2"), here: t("2.5.3"), hint: Some(hint()) },
        UnknownTables { id: i(), release: t("2.0.2"), engine: t("MariaDB") }, UnknownTables { id: i(), release: t("1.23.17"), engine: t("MariaDB") }, OtherTables { id: i(), release: t("2.0.2") },
        RowsRejected { id: i(), why: vec![t("`tag` has the same `name` as another row (1 row)")], is_whole: true }, RowsRejected { id: i(), why: vec![t("the columns of `tag` are not those in the snapshot")], is_whole: false },
        SnapshotError::CannotUpgrade { id: i(), from: t("1.23.17"), to: t("2.5.3"), problems: vec![t("heartbeat: 1 heartbeat with an invalid status")] },
        NotBefore { id: i(), why: t("it has no heartbeats") }, OtherHistory { id: i(), why: t("it is newer than the database") },
        NoDestination { instance: t("kuma") }, NewerConfiguration { newest: i(), id: t("02cd") },
        OnlyUndo { id: i(), reason: t("monitor delete") },
        SnapshotError::Damaged { cause: full(), hint: hint() },
        RawChange { id: i(), reason: t("restore"), created: t("2026-01-31 08:00:00 +00:00"), before: None }, NothingToVerify { what: t("no snapshots of `shop` in `/srv/store`"), others: None },
        SeveralOrigins { instance: t("kuma"), found: vec![t("/a (newest: `1`)"), t("/b (newest: `2`)")], origin: t("/a") },
        Pending { folder: p(), why: t("invalid JSON") }, PendingEncryption { folder: p(), why: t("encrypted without age1x") },
        Key { archive: i(), why: "it requires a passphrase" }, SecretKey, Recipient { text: t("x"), why: t("invalid") },
        NoRecipient, Identity { why: t("invalid") },
    ]; }
    { use StoreError::*; add![
        Action { act: "list", store: t("s3://b"), why: t("access denied"), hint: "check the key" },
        Full { store: t("/srv"), needed: 2, free: 1 },
        Open { store: t("s3://b"), variables: t("AWS_REGION"), why: t("invalid region") },
    ]; }
    { use JobError::*; add![
        Locked { job: t("nightly"), holder: t("pid 7") }, Instance { instance: t("kuma"), cause: full() },
        Notification { what: t("the webhook"), why: t("timed out") }, Command { program: t("sleep"), why: t("exit status: 1") }, NoProgram { program: t("mail") },
        NoMetricsFolder { folder: p() }, NoIdentity,
    ]; }
    all
}

/// Area and variant of `error`: `Input(Cancelled)`.
fn name(error: &Error) -> (String, String) {
    let text = format!("{error:?}");
    let (area, rest) = text.split_once('(').unwrap();
    (area.to_owned(), rest.chars().take_while(|letter| letter.is_alphanumeric()).collect())
}

/// Those about which nobody can do anything but read them.
const NO_HINT: [&str; 22] = [
    "Input(Option",
    "Input(Time",
    "Input(Address",
    "Input(FileContent",
    "Input(Line",
    "Input(Cancelled",
    "File(Io",
    "File(Encode",
    "File(Random",
    "Database(Sql",
    "Database(PasswordHash",
    "Database(CannotSwapTables",
    "Docker(Action",
    "Docker(Removed",
    "Remote(WriteJobSpec",
    "Operation(NothingUnfinished",
    "Operation(ReadBack",
    "Operation(ChecksFailed",
    "Operation(NoPipes",
    "Operation(Interrupted",
    "Operation(Stopped",
    "Snapshot(PendingEncryption",
];

#[test]
fn every_error_speaks_with_one_voice() {
    let mut wrong = Vec::new();
    for error in all() {
        let (report, (area, variant)) = (error.report(), name(&error));
        let mut complain =
            |what: &str| wrong.push(format!("{area}({variant}): {what}: {} {:?}", report.message, report.hints));
        let first = report.message.lines().next().unwrap_or_default();
        let starts = first.split_whitespace().next().unwrap_or_default();
        if starts.chars().next().is_none_or(char::is_uppercase) && !["MariaDB", "SQLite"].contains(&starts) {
            complain("starts with a capital");
        }
        if report.message.ends_with('.') || report.hints.iter().any(|hint| hint.text().ends_with('.')) {
            complain("ends with a full stop");
        }
        if report.hints.is_empty()
            && !NO_HINT.contains(&&*format!("{area}({variant}"))
            && !first.starts_with("snapshot verification failed")
        {
            complain("has no hint");
        }
        let text = report.hints.iter().fold(report.message.clone(), |text, hint| text + "\n" + hint.text());
        let words = wrong_words(&text);
        if !words.is_empty() || text.contains("os error") || text.contains("uncategorized") {
            complain(&format!("says {words:?}"));
        }
        if report.exit == Exit::Done {
            complain("ends well");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_error_is_forgotten() {
    let built: BTreeSet<(String, String)> = all().iter().map(name).collect();
    for area in
        ["Input", "Target", "File", "Database", "Docker", "Remote", "Server", "Operation", "Snapshot", "Store", "Job"]
    {
        let text = fs::read_to_string(root().join(format!("src/error/{}.rs", area.to_lowercase()))).unwrap();
        let variants = text.split_once(&format!("pub enum {area}Error {{")).unwrap().1.split_once("\n}").unwrap().0;
        for line in variants.lines().filter_map(|line| line.strip_prefix("    ")) {
            let variant: String = line.chars().take_while(|letter| letter.is_alphanumeric()).collect();
            if line.starts_with(char::is_uppercase) {
                assert!(built.contains(&(area.to_owned(), variant.clone())), "{area}Error::{variant}");
            }
        }
    }
}

#[test]
fn a_full_disk_is_refused() {
    assert_eq!(full().exit(), Exit::Refused);
    assert_eq!(full().to_string(), "cannot write `/srv/kuma/file`: disk full");
    let full = Error::from(DatabaseError::DiskFull { database: "`kuma`".into() });
    assert_eq!(full.exit(), Exit::Refused);
}

fn get(url: &str) -> String {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_millis(500))).proxy(None).build();
    reason(&ureq::Agent::from(config).get(url).call().unwrap_err())
}

#[test]
fn reasons_have_names() {
    // A port that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(io_reason(&refused), "connection refused");
    assert_eq!(get(&format!("http://127.0.0.1:{port}/")), "connection refused");
    // A name that no resolver knows; whether one answers or none is there, the name is not found.
    assert_eq!(get("http://kuma.invalid/"), "host name not found");
    let address = Address {
        host: "kuma.invalid".into(),
        user: "kuma".into(),
        database: "kuma".into(),
        port: 3306,
        ..Address::default()
    };
    let error = address.reader().err().unwrap().to_string();
    assert_eq!(error, "cannot connect to MariaDB at kuma.invalid:3306: host name not found");
    // One that accepts and stays silent.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(get(&format!("http://{}/", silent.local_addr().unwrap())), "timed out");
    // One that speaks, but not TLS.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = plain.local_addr().unwrap();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        std::thread::sleep(Duration::from_millis(200));
    });
    assert_eq!(get(&format!("https://{place}/")), "TLS: the server does not speak TLS");
    answers.join().unwrap();
    // Files.
    let folder = tempfile::tempdir().unwrap();
    let missing = fs::File::open(folder.path().join("missing")).unwrap_err();
    assert_eq!(io_reason(&missing), "no such file or directory");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
    assert_eq!(io_reason(&full), "disk full");
    assert_eq!(io_reason(&ErrorKind::PermissionDenied.into()), "permission denied");
    // One that the standard library has no name for keeps its words and loses its number.
    let odd = io::Error::from_raw_os_error(71);
    assert_eq!(io_reason(&odd), "protocol error");
}

#[test]
fn a_certificate_file_that_is_not_pem_is_named_so() {
    let tls = Tls::On { ca: Some("rubbish".into()), verify: true };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let address = Address {
        host: "127.0.0.1".into(),
        user: "kuma".into(),
        database: "kuma".into(),
        port,
        tls,
        ..Address::default()
    };
    let error = address.reader().err().unwrap();
    assert!(!error.to_string().contains("BadEncoding"), "{error}");
}
