//! An attacker who owns the data folder exchanges things in it while root works there. Each race counts its rounds, the rounds
//! in which the attacker's change came while the work was under way (a race in which it never does shows nothing), the rounds that
//! kumadb refused or rolled back, and the wins. The work is done by the library in this process: a round takes milliseconds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use kumadb::backup::{StagedCopy, Store, Stores};
use kumadb::engine::mariadb::Address;
use kumadb::error::{Error, OperationError, Result};
use kumadb::instance::Instance;
use kumadb::kuma::read::{read_database, read_state};
use kumadb::kuma::transfer::convert::OnConflict;
use kumadb::kuma::upgrade::UpgradeOptions;
use kumadb::model::{NewMonitorContext, new_monitor};
use kumadb::operation::UpgradeWork;
use kumadb::operation::convert::{Conversion, Destination};
use kumadb::operation::{self, BackupOptions, Load, NoObserver, Replacement, Settings, Transaction};
use kumadb::plan::monitor::{New, Notify, plan_add};
use kumadb::upgrade::Route;
use kumadb::upgrade::rules::Style;
use kumadb::value::Value;
use rustix::fs::{CWD, RenameFlags};

use serde_json::json;

use crate::support::attacker::{Attack, OWNER, give_all, while_racing};
use crate::support::chance::Chance;
use crate::support::lab::find_at;
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;

/// What root does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    /// Adds a monitor.
    Add,
    Backup,
    Restore,
    /// Rolls back what a planted journal says.
    Recover,
    /// Moves the database to a MariaDB.
    Convert,
    /// Rolls back a conversion to SQLite that a planted journal says is interrupted.
    ConvertBack,
    /// Makes a database of 1.23.17 one of the newest release.
    Upgrade,
    /// Rolls back an upgrade that a planted journal says is committed, as `recover --roll-back`.
    UpgradeBack,
    /// `doctor --fix` on an embedded MariaDB with files of root's, in a process of its own.
    Doctor,
}

/// What the attacker does.
#[derive(Clone, Copy, Debug)]
enum Strike {
    /// Exchanges this name for a link to that one of root's, in some rounds all the time and in others for a moment at some time.
    Exchange(&'static str, &'static str),
    /// Exchanges the second name for a link once the first exists.
    Appeared(&'static str, &'static str, &'static str),
    /// The same once it has existed and does not any more.
    Gone(&'static str, &'static str, &'static str),
    /// Plants the journal of a rollback.
    Journal,
    /// Exchanges the scratch folder in the store for a link to root's folder.
    Scratch,
}

/// How the rounds of one race ended.
#[derive(Debug, Default)]
struct Score {
    rounds: usize,
    /// Rounds in which the change of the attacker came during the work.
    landed: usize,
    refused: usize,
    wins: usize,
}

/// One race on an instance that is made anew for each round.
struct Race {
    attack: Attack,
    verb: Verb,
    strike: Strike,
    /// The instance as it is before each round.
    clean: PathBuf,
    desired: Option<StagedCopy>,
    /// How long the work took without an attacker.
    typical: Duration,
    /// The MariaDB that a conversion leads to.
    server: Option<Mariadbd>,
}

impl Race {
    fn new(verb: Verb, strike: Strike) -> Option<Race> {
        let attack = Attack::on(if verb == Verb::Upgrade { "1.23.17" } else { "2.5.3" })?;
        let server = match verb {
            Verb::Convert => Some(Mariadbd::with(&["--port={port}", "--bind-address=127.0.0.1"])?),
            _ => None,
        };
        if let Some(server) = &server {
            server.sql("mysql", "CREATE USER kuma@'%' IDENTIFIED BY 'Kuma-2026'; GRANT ALL ON *.* TO kuma@'%'");
        }
        let (clean, data) = (attack.lab.root.path().join("clean"), attack.data());
        fs::create_dir_all(data.join("upload")).unwrap();
        fs::write(data.join("upload/icon.png"), "an icon").unwrap();
        let mut race = Race { attack, verb, strike, clean, desired: None, typical: Duration::ZERO, server };
        if verb == Verb::Restore {
            let (instance, store) = race.open().unwrap();
            let taken =
                operation::take(&instance, &stores(&store), "backup", &BackupOptions::default(), &mut NoObserver)
                    .unwrap();
            race.desired = Some(taken.copies[0].unpack(&race.attack.lab.root.path().join("wanted")).unwrap());
            fs::write(data.join("upload/icon.png"), "another icon").unwrap();
        }
        if verb == Verb::Doctor {
            fs::remove_file(data.join("kuma.db")).unwrap();
            fs::write(data.join("db-config.json"), r#"{"type": "embedded-mariadb"}"#).unwrap();
            fs::create_dir_all(data.join("mariadb/mysql")).unwrap();
        }
        if matches!(strike, Strike::Exchange("kuma.db-wal", _)) {
            fs::write(data.join("kuma.db-wal"), "").unwrap();
        }
        fs::rename(&data, &race.clean).unwrap();
        let took = || {
            race.reset();
            let begun = Instant::now();
            race.work().unwrap();
            begun.elapsed()
        };
        race.typical = (0..rounds::count(2, 3)).map(|_| took()).min().unwrap();
        Some(race)
    }

    /// The instance, as root sees it, and its store.
    fn open(&self) -> Result<(Instance, Store)> {
        let (lab, data) = (&self.attack.lab, self.attack.data());
        Ok((find_at(data.to_str().unwrap(), lab.root.path(), lab.root.path().join("state"))?, Store::new(lab.store())))
    }

    /// Makes the data folder anew.
    fn reset(&self) {
        let data = self.attack.data();
        let _ = fs::remove_dir_all(&data);
        copy_all(&self.clean, &data);
        match self.verb {
            Verb::Recover => self.attack.plant_rollback(b"his own", |_| {}),
            Verb::ConvertBack => self.plant_conversion(),
            Verb::UpgradeBack => {
                self.attack.plant_rollback(b"his own", |_| {});
                let mut journal = self.attack.rollback();
                (journal["verb"], journal["phase"]) = ("upgrade".into(), "committed".into());
                journal["upgrade"] = json!({"release": "2.5.3", "image": null});
                fs::write(data.join(".kumadb/journal.json"), journal.to_string()).unwrap();
                give_all(&data);
            }
            _ => give_all(&data),
        }
        if self.verb == Verb::Doctor {
            // What root has left in it has to be given to the server.
            for name in ["mariadb/ibdata1", "mariadb/shadow", "mariadb/mysql/user.frm"] {
                fs::write(data.join(name), "").unwrap();
            }
        }
        if let Some(server) = &self.server {
            server.sql("mysql", "DROP DATABASE IF EXISTS kuma");
            server.create_database("kuma", "utf8mb4");
        }
        if matches!(self.strike, Strike::Scratch) {
            let _ = fs::remove_dir_all(self.attack.lab.store());
            fs::create_dir_all(self.attack.lab.store()).unwrap();
            give_all(&self.attack.lab.store());
        }
        match self.strike {
            Strike::Exchange(_, target) | Strike::Appeared(_, _, target) | Strike::Gone(_, _, target) => {
                self.attack.link(target, "planted");
            }
            Strike::Journal => fs::write(data.join("planted"), self.attack.rollback().to_string()).unwrap(),
            Strike::Scratch => symlink(self.attack.victim(), self.attack.lab.store().join("planted")).unwrap(),
        }
    }

    /// Plants the journal of a conversion from an embedded MariaDB, whose files are set aside and whose `db-config.json` has
    /// been replaced.
    fn plant_conversion(&self) {
        let data = self.attack.data();
        self.attack.plant_rollback(b"his own", |_| {});
        let (old, new) = (r#"{"type": "embedded-mariadb"}"#, r#"{"type": "sqlite"}"#);
        fs::write(data.join(".kumadb/held/db-config.json"), old).unwrap();
        fs::write(data.join("db-config.json"), new).unwrap();
        fs::create_dir_all(data.join(".kumadb/convert/data")).unwrap();
        fs::create_dir_all(data.join("mariadb.before-convert-20260101T000000Z/kuma")).unwrap();
        let mut journal = self.attack.rollback();
        journal["verb"] = "convert".into();
        journal["converts"] = json!({
            "from": "embedded", "to": "sqlite", "after": blake3::hash(new.as_bytes()).to_hex().to_string(),
            "had_config": true, "placed": true,
        });
        fs::write(data.join(".kumadb/journal.json"), journal.to_string()).unwrap();
        give_all(&data);
    }

    /// Moves the database to the MariaDB of this race.
    fn convert(&self, instance: &Instance, store: &Store, settings: &Settings) -> Result<()> {
        let port = self.server.as_ref().unwrap().port();
        let to = Address::parse(&format!("mariadb://kuma:Kuma-2026@127.0.0.1:{port}/kuma"))?;
        let to = Destination::External(to);
        let conversion = Conversion::prepare(instance, to, OnConflict::default(), settings, &mut NoObserver)?;
        conversion.run(instance, store, settings, &mut NoObserver).map(drop)
    }

    /// What root does.
    fn work(&self) -> Result<()> {
        if self.verb == Verb::Doctor {
            let ran = self.attack.run("doctor --fix --yes");
            let refused = || Error::Operation(OperationError::Stopped { why: ran.err.clone() });
            // No container runs that MariaDB, so its content is not checked.
            return if ran.exit == 3 { Ok(()) } else { Err(refused()) };
        }
        let (instance, store) = self.open()?;
        let settings = |verb: &str| Settings { deadline: Duration::from_secs(5), ..Settings::new(verb) };
        let silent = &mut NoObserver;
        match self.verb {
            Verb::Backup => {
                operation::take(&instance, &stores(&store), "backup", &BackupOptions::default(), silent).map(drop)
            }
            Verb::Restore => {
                let staged = StagedCopy::open(&self.desired.as_ref().unwrap().folder)?;
                let work = Load { desired: &staged, kept: &[], merges: false, shown: None };
                let mut outcome = operation::run(&instance, &store, work, &settings("restore"), silent)?;
                operation::put_files_back(&instance, &staged, &mut outcome);
                Ok(())
            }
            Verb::Recover | Verb::ConvertBack => {
                operation::resume(&instance, &store, &settings("recover"), silent).map(drop)
            }
            Verb::UpgradeBack => {
                let settings = Settings { rolls_back: true, ..settings("recover") };
                operation::resume(&instance, &store, &settings, silent).map(drop)
            }
            Verb::Convert => self.convert(&instance, &store, &settings("convert")),
            Verb::Upgrade => upgrade(&instance, &store, &settings("upgrade")),
            Verb::Add | Verb::Doctor => add(&instance, &store, &settings("monitor add")),
        }
    }

    /// One round: whether the change of the attacker came during the work, and whether kumadb refused or rolled back.
    fn round(&self, number: usize, score: &mut Score) {
        self.reset();
        let works = AtomicBool::new(false);
        let mut attacker = Attacker::new(self, number);
        let ended = while_racing(
            || attacker.act(works.load(Ordering::SeqCst)),
            || {
                works.store(true, Ordering::SeqCst);
                let ended = match self.verb {
                    Verb::Doctor => self.work(),
                    _ => self.attack.on_some_kernel(|| self.work()),
                };
                works.store(false, Ordering::SeqCst);
                ended
            },
        );
        score.rounds += 1;
        score.landed += usize::from(attacker.landed > 0);
        score.refused += usize::from(ended.is_err());
        let mut harm = self.attack.harm();
        if harm.is_none() && self.attack.data().join(".kumadb/journal.json").exists() {
            let _ = self.open().and_then(|(instance, store)| {
                operation::resume(&instance, &store, &Settings::new("recover"), &mut NoObserver)
            });
            harm = self.attack.harm();
        }
        if let Some(harm) = harm {
            score.wins += 1;
            println!("{:?}, {:?}, round {number}: {harm}; {ended:?}", self.verb, self.strike);
        }
    }
}

/// The attacker in one round.
struct Attacker<'a> {
    race: &'a Race,
    /// When he exchanges, for a moment; without it, all the time.
    at: Option<(Duration, Duration)>,
    begun: Option<Instant>,
    appeared: bool,
    is_done: bool,
    landed: usize,
}

impl Attacker<'_> {
    fn new(race: &Race, number: usize) -> Attacker<'_> {
        let mut chance = Chance::new(rounds::seed().wrapping_add(number as u64));
        for _ in 0..4 {
            chance.next();
        }
        let typical = race.typical.as_micros() as usize;
        let after = Duration::from_micros(chance.below(typical) as u64);
        let datetime = Duration::from_micros(chance.below(300) as u64);
        // A recovery is over in milliseconds, before an attacker who waits gets a processor.
        let is_short = matches!(race.verb, Verb::Recover | Verb::ConvertBack | Verb::UpgradeBack);
        let waits = number.is_multiple_of(4) == is_short;
        let at = waits.then_some((after, datetime));
        Attacker { race, at, begun: None, appeared: false, is_done: false, landed: 0 }
    }

    /// One look, and perhaps one change.
    fn act(&mut self, works: bool) {
        let data = self.race.attack.data();
        let planted = data.join("planted");
        let begun = if works { *self.begun.get_or_insert_with(Instant::now) } else { Instant::now() };
        let is_there = |name: &str| fs::symlink_metadata(data.join(name)).is_ok();
        let made = match self.race.strike {
            Strike::Exchange(name, _) => match self.at {
                None => exchange(&data.join(name), &planted),
                Some((after, datetime)) if !self.is_done && works && begun.elapsed() >= after => {
                    self.is_done = true;
                    let made = exchange(&data.join(name), &planted);
                    let end = Instant::now() + datetime;
                    while Instant::now() < end {
                        std::hint::spin_loop();
                    }
                    made && exchange(&data.join(name), &planted)
                }
                Some(_) => false,
            },
            Strike::Appeared(watched, name, _) if !self.is_done && is_there(watched) => {
                self.is_done = true;
                exchange(&data.join(name), &planted)
            }
            Strike::Gone(watched, name, _) if !self.is_done => {
                let is_there = is_there(watched);
                self.appeared |= is_there;
                self.is_done = self.appeared && !is_there;
                self.is_done && exchange(&data.join(name), &planted)
            }
            Strike::Journal => {
                let (copy, journal) = (data.join("copy"), data.join(".kumadb/journal.json"));
                is_there(".kumadb/lock") && fs::copy(&planted, &copy).and_then(|_| fs::rename(&copy, journal)).is_ok()
            }
            Strike::Scratch if !self.is_done => {
                let entries = fs::read_dir(self.race.attack.lab.store()).into_iter().flatten().flatten();
                let name =
                    entries.map(|entry| entry.file_name()).find(|name| name.to_string_lossy().starts_with(".kumadb-"));
                let store = self.race.attack.lab.store();
                self.is_done = name.is_some_and(|name| exchange(&store.join(name), &store.join("planted")));
                self.is_done
            }
            Strike::Appeared(..) | Strike::Gone(..) | Strike::Scratch => false,
        };
        self.landed += usize::from(made && works);
    }
}

fn exchange(a: &Path, b: &Path) -> bool {
    rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

fn stores(store: &Store) -> Stores {
    Stores::new(vec![store.clone()], store.clone())
}

/// Adds a monitor.
fn add(instance: &Instance, store: &Store, settings: &Settings) -> Result<()> {
    let session = instance.open()?;
    let state = session.read(|reader| read_state(reader, "test"))?;
    let table = state.database.schema.table("monitor").unwrap();
    let typed = BTreeMap::from([("name".to_owned(), Value::from("one"))]);
    let by = NewMonitorContext { user_id: state.owner().unwrap(), ..NewMonitorContext::default() };
    let row = new_monitor(state.database.release.release, table, "group", &typed, &by).unwrap();
    let plan = plan_add(&state, &[New { row, tags: Vec::new(), notify: Notify::Defaults }], false).unwrap();
    operation::run(instance, store, Transaction::Plan(&plan), settings, &mut NoObserver).map(drop)
}

/// Makes the database one of the newest release.
fn upgrade(instance: &Instance, store: &Store, settings: &Settings) -> Result<()> {
    let database = instance.open()?.read(|reader| read_database(reader, "test"))?;
    let route = Route::find(instance.engine(), &database.migrations, "old", kumadb::schema::newest()).unwrap();
    let options = UpgradeOptions { style: Style::Intended, zone: None, now: Utc::now() };
    operation::run(
        instance,
        store,
        Replacement::Upgrade(&UpgradeWork { route: &route, options }),
        settings,
        &mut NoObserver,
    )
    .map(drop)
}

/// Copies the folder `from`, which has no links.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Runs these races one after the other, and fails if the attacker wins one.
fn run_races(races: &[(Verb, Strike)]) {
    let mut won = Vec::new();
    for &(verb, strike) in races {
        let Some(race) = Race::new(verb, strike) else { return };
        let (begun, mut score) = (Instant::now(), Score::default());
        for number in 0..rounds::count(3, 500) {
            race.round(number, &mut score);
        }
        let Score { rounds, landed, refused, wins } = score;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{verb:?}, {strike:?}: {rounds} rounds, {landed} landed, {refused} refused, {wins} wins, {seconds:.1} s"
        );
        assert!(!rounds::is_long() || landed * 20 > rounds, "{verb:?}, {strike:?}: it came too late too often");
        won.extend((wins > 0).then_some((verb, strike)));
    }
    assert!(won.is_empty(), "{won:?}");
}

#[test]
fn a_change_of_a_file_of_the_server_during_a_write_harms_nothing() {
    run_races(&[
        (Verb::Add, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::Add, Strike::Exchange("kuma.db-wal", "kuma.db-wal")),
        (Verb::Add, Strike::Exchange("db-config.json", "shadow")),
        (Verb::Restore, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::Restore, Strike::Exchange("upload", "upload")),
        (Verb::Restore, Strike::Exchange("upload/icon.png", "upload/icon.png")),
    ]);
}

#[test]
fn a_change_of_the_folder_of_kumadb_during_a_write_harms_nothing() {
    run_races(&[
        (Verb::Add, Strike::Exchange(".kumadb", "")),
        // It clears up once the journal is gone.
        (Verb::Add, Strike::Gone(".kumadb/journal.json", ".kumadb", "")),
        (Verb::Add, Strike::Appeared(".kumadb/held", ".kumadb/held", "held")),
        (Verb::Add, Strike::Appeared(".kumadb/held/kuma.db", ".kumadb/held/kuma.db", "kuma.db")),
        (Verb::Add, Strike::Gone(".kumadb/held/kuma.db", ".kumadb", "")),
        (Verb::Add, Strike::Journal),
        (Verb::Restore, Strike::Exchange(".kumadb", "")),
        (Verb::Restore, Strike::Appeared(".kumadb/held/manifest.json", ".kumadb/held", "held")),
    ]);
}

#[test]
fn a_change_during_a_recovery_harms_nothing() {
    run_races(&[
        (Verb::Recover, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::Recover, Strike::Exchange(".kumadb", "")),
        (Verb::Recover, Strike::Exchange(".kumadb/held", "held")),
        (Verb::Recover, Strike::Exchange(".kumadb/held/kuma.db", "kuma.db")),
        (Verb::Recover, Strike::Exchange(".kumadb/journal.json", "journal.json")),
    ]);
}

#[test]
fn a_change_during_a_conversion_harms_nothing() {
    run_races(&[
        (Verb::Convert, Strike::Exchange("db-config.json", "shadow")),
        (Verb::Convert, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::Convert, Strike::Appeared(".kumadb/convert", ".kumadb/convert", "held")),
        (Verb::Convert, Strike::Appeared(".kumadb/convert", "db-config.json", "shadow")),
        (Verb::Convert, Strike::Gone("kuma.db", ".kumadb", "")),
        (Verb::ConvertBack, Strike::Exchange("db-config.json", "shadow")),
        (Verb::ConvertBack, Strike::Exchange(".kumadb", "")),
        (Verb::ConvertBack, Strike::Exchange("mariadb.before-convert-20260101T000000Z", "held")),
        (Verb::ConvertBack, Strike::Exchange(".kumadb/convert", "held")),
        (Verb::ConvertBack, Strike::Exchange("kuma.db", "held/kuma.db")),
    ]);
}

#[test]
fn a_change_during_an_upgrade_harms_nothing() {
    run_races(&[
        (Verb::Upgrade, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::Upgrade, Strike::Appeared(".kumadb/upgrade", ".kumadb/upgrade", "held")),
        (Verb::Upgrade, Strike::Appeared(".kumadb/upgrade/kuma.db", ".kumadb/upgrade/kuma.db", "kuma.db")),
        (Verb::Upgrade, Strike::Exchange(".kumadb", "")),
        (Verb::UpgradeBack, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::UpgradeBack, Strike::Exchange(".kumadb/held", "held")),
        (Verb::UpgradeBack, Strike::Exchange(".kumadb/journal.json", "journal.json")),
    ]);
}

#[test]
fn a_change_during_a_backup_shows_nothing() {
    run_races(&[
        (Verb::Backup, Strike::Exchange("kuma.db", "kuma.db")),
        (Verb::Backup, Strike::Exchange("upload", "upload")),
        (Verb::Backup, Strike::Exchange("upload/icon.png", "upload/icon.png")),
        (Verb::Backup, Strike::Exchange("db-config.json", "shadow")),
        (Verb::Backup, Strike::Scratch),
    ]);
}

#[test]
fn a_change_during_a_fix_of_owners_gives_nothing_away() {
    run_races(&[
        (Verb::Doctor, Strike::Exchange("mariadb", "")),
        (Verb::Doctor, Strike::Exchange("mariadb/mysql", "held")),
        (Verb::Doctor, Strike::Exchange("mariadb/shadow", "shadow")),
    ]);
}

#[test]
fn an_unguarded_write_loses_such_a_race() {
    let Some(attack) = Attack::new() else { return };
    let (file, planted) = (attack.data().join("db-config.json"), attack.data().join("planted"));
    attack.link("shadow", "planted");
    std::os::unix::fs::chown(attack.data(), Some(OWNER), Some(OWNER)).unwrap();
    while_racing(
        || {
            exchange(&file, &planted);
        },
        || {
            let end = Instant::now() + Duration::from_secs(30);
            while attack.harm().is_none() {
                assert!(Instant::now() < end, "the harness never wins");
                if !file.is_symlink() {
                    // Where the other thread gets little of the processors, it would win too rarely.
                    std::thread::sleep(Duration::from_micros(100));
                    fs::write(&file, "{}").unwrap();
                }
            }
        },
    );
}
