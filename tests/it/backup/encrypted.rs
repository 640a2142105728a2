//! Encrypted snapshots, with `age` itself as the judge; and damage to what lies elsewhere, encrypted or not.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use kumadb::backup::{Keys, Snapshot};

use crate::backup::stores::{Away, json};
use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, Ran};
use crate::support::mariadbd::Mariadbd;
use crate::support::rounds;

/// The identity of 32 equal bytes; it protects nothing.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// Who can be encrypted to so that [`IDENTITY`] opens it.
pub fn recipient() -> String {
    IDENTITY.parse::<age::x25519::Identity>().unwrap().to_public().to_string()
}

/// A file with the identity, as `age-keygen` writes it.
pub fn identity_text() -> String {
    format!("# created: 2026-11-24\n# public key: {}\n{IDENTITY}\n", recipient())
}

/// That file in `lab`.
pub fn identity(lab: &Lab) -> PathBuf {
    let file = lab.root.path().join("key.txt");
    fs::write(&file, identity_text()).unwrap();
    file
}

#[test]
fn a_write_encrypts_what_it_keeps_where_the_instance_says_so() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        fs::remove_dir_all(lab.store()).unwrap();
        let (key, recipients) = (identity(&lab).display().to_string(), lab.root.path().join("recipients"));
        fs::write(&recipients, recipient()).unwrap();
        let config = lab.root.path().join("kumadb.toml");
        let text = format!(
            "[stores.s]\naddress = '{}'\n[instances.kuma]\ntarget = '{}'\nstores = ['s']\nencrypt_to = ['{}']\n\
             [jobs.j]\ncron = '@daily'\ninstances = ['kuma']\nstores = ['s']\n",
            lab.store().display(),
            lab.target,
            recipient()
        );
        fs::write(&config, text).unwrap();
        let odd = "INSERT INTO heartbeat (id, monitor_id, status, time, msg) VALUES (7, 3, 5, '2026-01-01', 'odd')";
        lab.sql(odd);
        // The environment says it for every instance, the config file for one.
        let before = lab.rows();
        let named = |line: &str| lab.ok(&format!("{line} --config {} -t kuma", config.display()));
        let mut fix = lab.bare();
        fix.args(["-t", &lab.target, "doctor", "--fix", "K006", "--yes"]).env("KUMADB_RECIPIENTS_FILE", &recipients);
        let fixed = Ran::of(&mut fix);
        assert_eq!(fixed.exit, 0, "{}{}", fixed.out, fixed.err);
        named("monitor add group --name New");
        named("backup create");
        named("backup schedule --once j");
        let backups = lab.json("backup list")["snapshots"].clone();
        let listed = lab.json("backup list --undo")["snapshots"].clone();
        for listed in [&backups, &listed] {
            assert_eq!(listed.as_array().unwrap().len(), 2);
            assert!(listed.as_array().unwrap().iter().all(|one| one["encrypted"] == true), "{listed:#}");
        }
        // The deleted rows are for the same eyes.
        let kept = fixed.out.split("the deleted rows are saved in ").nth(1).unwrap().trim();
        assert!(kept.ends_with(".removed.json.age"), "{kept}");
        let opened = Command::new("age").args(["-d", "-i", &key, kept]).output().unwrap();
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        assert!(String::from_utf8_lossy(&opened.stdout).contains("\"odd\""));
        let id = listed[0]["manifest"]["id"].as_str().unwrap();
        lab.ok(&format!("restore {id} --yes --identity {key}"));
        assert!(lab.rows() == before, "{}", lab.engine());
    }
}

#[test]
fn an_encrypted_snapshot_takes_its_key() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        fs::remove_dir_all(lab.store()).unwrap();
        let before = lab.rows();
        let key = identity(&lab).display().to_string();
        let (word, wrong) = (lab.root.path().join("word"), lab.root.path().join("wrong"));
        fs::write(&word, "correct horse\nsecond line\n").unwrap();
        fs::write(&wrong, "battery staple\n").unwrap();
        let recipients = lab.root.path().join("recipients");
        fs::write(&recipients, format!("# us\n\n{}\n", recipient())).unwrap();
        let seals = [
            (
                format!("--encrypt-to {}", recipient()),
                format!("--identity {key}"),
                "it is encrypted to recipients, so an identity is required",
            ),
            (
                format!("--recipients-file {}", recipients.display()),
                format!("--identity {key}"),
                "it is encrypted to recipients, so an identity is required",
            ),
            (
                format!("--passphrase-file {}", word.display()),
                format!("--passphrase-file {}", word.display()),
                "wrong passphrase",
            ),
        ];
        // How it is opened has nothing to do with the engine.
        for (encryption, opens, other) in seals.into_iter().take(if lab.engine() == "SQLite" { 3 } else { 1 }) {
            let made = lab.json(&format!("backup create {encryption}"));
            assert_eq!(made["encrypted"], true);
            let path = made["path"].as_str().unwrap();
            assert!(path.ends_with(".kuma.tar.zst.age"), "{path}");
            // Listed without a key, and of its content only what everybody may know.
            let beside = fs::read_to_string(format!("{path}.json")).unwrap();
            assert_eq!(lab.json("backup list")["snapshots"][0]["manifest"]["counts"]["monitor"], 4);
            assert_eq!(beside.matches("blake3").count(), 1, "only the hash of the archive itself: {beside}");
            assert!(!fs::read(path).unwrap().windows(13).any(|bytes| bytes == b"manifest.json"));
            let id = made["manifest"]["id"].as_str().unwrap();
            let given = lab.ok(&format!("backup verify {id}"));
            assert!(given.contains("encrypted: contents not checked without a key"), "{given}");
            assert!(lab.ok(&format!("backup verify {id} {opens}")).contains("ok, "), "{given}");
            let refused = lab.fails(2, &format!("restore {id} --yes"));
            assert!(refused.err.contains("cannot decrypt"), "{}", refused.err);
            let refused = lab.fails(2, &format!("restore {id} --yes --passphrase-file {}", wrong.display()));
            assert!(refused.err.contains(other), "{}", refused.err);
            assert!(!refused.err.contains("staple"));
            lab.ok("monitor delete --name '*' --yes");
            lab.ok(&format!("restore {id} --yes {opens}"));
            assert!(lab.rows() == before, "{}: {encryption}", lab.engine());
            // By its path, and with its manifest lost, it is the same.
            fs::remove_file(format!("{path}.json")).unwrap();
            lab.ok(&format!("restore {path} --yes {opens}"));
            assert!(lab.rows() == before);
            let listed = lab.run("backup list");
            assert!(listed.exit == 3 && listed.err.contains("its manifest file is missing"), "{}", listed.err);
            fs::remove_dir_all(lab.store()).unwrap();
        }
    }
}

#[test]
fn an_invalid_key_is_reported_and_not_shown() {
    let lab = Lab::sqlite("2.5.3");
    let file = lab.root.path().join("file");
    let refused = |line: &str, words: &str| {
        let refused = lab.fails(2, line);
        assert!(refused.err.contains(words), "{}", refused.err);
        assert!(!refused.err.contains("GFPYYSJZ"), "{}", refused.err);
    };
    refused("backup create --encrypt-to age1nobody", "`age1nobody` is not a valid age recipient");
    refused(&format!("backup create --encrypt-to {IDENTITY}"), "cannot encrypt to a secret key");
    fs::write(&file, "# nobody\n").unwrap();
    refused(&format!("backup create --recipients-file {}", file.display()), "no recipient to encrypt to");
    fs::write(&file, "\n").unwrap();
    refused(&format!("backup create --passphrase-file {}", file.display()), "the first line of");
    fs::write(&file, "AGE-SECRET-KEY-1GFPYYSJZ\n").unwrap();
    refused(&format!("backup verify --identity {}", file.display()), "the identity file has an invalid line");
    assert!(!lab.store().exists(), "nothing was begun");
}

#[test]
fn an_encrypted_snapshot_opens_without_us() {
    if crate::support::need::program(&["age"]).is_none() {
        return crate::support::need::left_out("age (apt-get install age)").unwrap_or_default();
    }
    // The very commands of the page.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/restore-by-hand.md")).unwrap();
    let command = |part: &str| {
        let mut found = page.lines().filter(|line| line.contains(part));
        found.next().unwrap_or_else(|| panic!("the page has no `{part}`")).to_owned()
    };
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let folder = lab.root.path().join("opened");
        fs::create_dir(&folder).unwrap();
        fs::copy(identity(&lab), folder.join("key.txt")).unwrap();
        let run = |command: &str| {
            let done = Command::new("sh").args(["-ec", command]).current_dir(&folder).output().unwrap();
            assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        for (encryption, part) in
            [(String::new(), "&& zstd -dc"), (format!("--encrypt-to {}", recipient()), "age -d -i key.txt")]
        {
            let made = lab.json(&format!("backup create {encryption}"));
            let typed = command(part);
            let name = typed.split_whitespace().find(|word| word.contains(".kuma.tar.zst")).unwrap();
            let _ = fs::remove_dir_all(folder.join("snapshot"));
            run(&typed.replace(name, made["path"].as_str().unwrap()));
            let members = fs::read_dir(folder.join("snapshot")).unwrap().count();
            assert_eq!(members, made["manifest"]["members"].as_array().unwrap().len() + 1);
            let count = "SELECT count(*) FROM monitor";
            let found = match lab.engine() {
                "SQLite" => {
                    let check = command("PRAGMA quick_check").replace("kuma.db", "snapshot/kuma.db");
                    assert_eq!(run(&check).trim(), "ok");
                    run(&format!("sqlite3 snapshot/kuma.db '{count}'"))
                }
                _ => {
                    let Some(elsewhere) = Mariadbd::start() else { return };
                    let address = elsewhere.create_database("kuma", "utf8mb4");
                    let socket = format!("--socket={} -u {}", elsewhere.socket().display(), address.user);
                    run(&command("mariadb -h HOST").replace("-h HOST -u USER -p", &socket));
                    elsewhere.sql("kuma", count)
                }
            };
            assert_eq!(found.trim(), "4");
        }
    }
}

#[test]
fn a_passphrase_is_asked_for_on_a_terminal() {
    let lab = Lab::sqlite("2.5.3");
    furnish(&lab);
    let before = lab.rows();
    let word = lab.root.path().join("word");
    fs::write(&word, "correct horse").unwrap();
    let made = lab.json(&format!("backup create --passphrase-file {}", word.display()));
    lab.ok("monitor delete --name '*' --yes");
    let id = made["manifest"]["id"].as_str().unwrap();
    let typed = format!("{} -t {} restore {id} --yes", env!("CARGO_BIN_EXE_kumadb"), lab.target);
    let mut command = assert_cmd::Command::new("script");
    command.args(["-qec", &typed, "/dev/null"]).env("KUMADB_STORE", lab.store()).env("TERM", "xterm");
    let ended = command.env("DOCKER_HOST", "unix:///none").write_stdin("correct horse\n").output().unwrap();
    let shown = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{shown}");
    // What was typed before the question was seen by the terminal, not by us.
    let after = shown.split_once("passphrase of").unwrap().1;
    assert!(!after.contains("correct horse"), "{shown}");
    assert!(lab.rows() == before);
}

/// What may happen to a file at a position.
fn damage(whole: &[u8], how: &str, at: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match how {
        "flipped" => bytes[at] ^= 1 << (at % 8),
        "missing" => drop(bytes.remove(at)),
        "added" => bytes.insert(at, 0),
        "cut" => bytes.truncate(at),
        _ => unreachable!(),
    }
    bytes
}

#[test]
fn damage_is_found_elsewhere_and_under_encryption() {
    for (scheme, encryption) in [("s3", false), ("s3", true), ("webdav", true)] {
        let away = Away::new(Lab::sqlite("2.5.3"), scheme);
        furnish(&away.lab);
        let encryption_to = if encryption { format!("--encrypt-to {}", recipient()) } else { String::new() };
        let made = json(&away.away(&format!("backup create --json {encryption_to}")));
        let other = json(&away.away(&format!("backup create --json {encryption_to}")));
        let key = |made: &serde_json::Value| {
            let name = made["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            away.cloud.names().into_iter().find(|object| object.ends_with(&name)).unwrap()
        };
        let (name, twin) = (key(&made), key(&other));
        let put = |name: &str, bytes: Vec<u8>| drop(away.cloud.shelf().objects.insert(name.to_owned(), bytes));
        let whole = away.cloud.shelf().objects[&name].clone();
        let id = made["manifest"]["id"].as_str().unwrap();
        let keyed = Keys::read(&[identity(&away.lab)], None).unwrap();
        let readers = [away.store(), away.store().with_keys(keyed)];
        let snapshots: Vec<Snapshot> = readers.iter().map(|store| store.find(id, "").unwrap()).collect();
        let check = |what: &str| {
            for (at, snapshot) in snapshots.iter().enumerate() {
                match snapshot.verify() {
                    Err(error) => assert!(
                        error.to_string().contains("snapshot verification failed")
                            || error.to_string().contains("cannot decrypt"),
                        "{error}"
                    ),
                    Ok(proof) => panic!("{scheme}, key {at}: {what} went unseen: {proof:?}"),
                }
            }
        };
        let mut tried = 0;
        let edges = (0..24).chain(whole.len() - 12..whole.len());
        let spread = (0..24).map(|step| step * (whole.len() - 1) / 23);
        let places: Vec<usize> = edges.chain(spread).collect();
        for at in rounds::draw(places.len(), 20).into_iter().map(|n| places[n]) {
            for how in ["flipped", "missing", "added", "cut"] {
                put(&name, damage(&whole, how, at));
                check(&format!("a byte {how} at {at} of {}", whole.len()));
                tried += 1;
            }
        }
        let other = away.cloud.shelf().objects[&twin].clone();
        put(&name, other);
        check("another archive in its place");
        put(&name, [whole.clone(), whole.clone()].concat());
        check("the archive twice");
        put(&name, Vec::new());
        check("an empty archive");
        println!(
            "{scheme}, encrypted {encryption}: {tried} damaged archives of {} bytes were refused twice",
            whole.len()
        );
        put(&name, whole);
        let proofs: Vec<bool> = snapshots.iter().map(|snapshot| snapshot.verify().unwrap().encrypted).collect();
        assert_eq!(proofs, [encryption, false]);
        // The manifest of the other one beside it, a changed one, an empty one, none.
        let beside = format!("{name}.json");
        let reported = away.cloud.shelf().objects[&beside].clone();
        let text = String::from_utf8(reported.clone()).unwrap();
        let swapped = away.cloud.shelf().objects[&format!("{twin}.json")].clone();
        let changed = text.replace("\"monitor\": 4", "\"monitor\": 3").into_bytes();
        assert!(changed != reported);
        let keys = if encryption { format!("--identity {}", identity(&away.lab).display()) } else { String::new() };
        for wrong in [swapped, changed, Vec::new()] {
            put(&beside, wrong);
            let verified = away.away(&format!("backup verify {keys}"));
            assert_eq!(verified.exit, 7, "{}{}", verified.out, verified.err);
        }
        away.cloud.shelf().objects.remove(&beside);
        let listed = json(&away.away("backup list --json"));
        assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1, "without its manifest it is not there");
        put(&beside, reported);
        assert_eq!(away.away(&format!("backup verify {keys}")).exit, 0);
    }
}

#[test]
fn a_thousand_snapshots_are_listed_at_once() {
    let away = Away::new(Lab::sqlite("2.5.3"), "s3");
    let made = json(&away.both("backup create --json"));
    let id = made["manifest"]["id"].as_str().unwrap();
    let path = made["path"].as_str().unwrap();
    let (archive, text) = (fs::read(path).unwrap(), fs::read_to_string(format!("{path}.json")).unwrap());
    let elsewhere = away.cloud.names().into_iter().find(|name| name.contains(id)).unwrap();
    let stem = |name: &str| name.split(".json").next().unwrap().to_owned();
    for n in 0..1000 {
        let new = format!("{n:08x}");
        let text = text.replace(id, &new);
        let path = path.replace(id, &new);
        fs::write(&path, &archive).unwrap();
        fs::write(format!("{path}.json"), &text).unwrap();
        let name = stem(&elsewhere).replace(id, &new);
        let mut shelf = away.cloud.shelf();
        shelf.objects.insert(name.clone(), archive.clone());
        shelf.objects.insert(format!("{name}.json"), text.into_bytes());
    }
    away.cloud.shelf().delay = Duration::from_millis(20);
    let timed = |ran: &dyn Fn() -> crate::support::lab::Ran| {
        let began = Instant::now();
        let listed = json(&ran());
        assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1001);
        began.elapsed()
    };
    let here = timed(&|| away.lab.run("backup list --json"));
    let there = timed(&|| away.away("backup list --json"));
    println!("1001 snapshots are listed in {here:?} from a folder, in {there:?} from elsewhere at 20 ms a request");
    // Generous, because other tests run beside it.
    assert!(here < Duration::from_secs(15) && there < Duration::from_secs(30), "{here:?} {there:?}");
    let shelf = away.cloud.shelf();
    assert!(shelf.busy.1 > 8, "manifests are read at once, not one after the other: {}", shelf.busy.1);
    assert!(!shelf.log.iter().rev().take(1001).any(|line| line.ends_with(".zst")), "no archive is read for a list");
}
