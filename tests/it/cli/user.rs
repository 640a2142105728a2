//! Users and API keys: in on every engine, with the server up or down, and no secret where others can read it.

use std::fs;

use crate::cli::monitor::furnish;
use crate::support::lab::{Lab, PASSWORD, Ran};

const NEW: &str = "Another-Word-9";

/// Runs `line` with a password on its standard input.
fn with_password(lab: &Lab, line: &str, password: &str) -> Ran {
    Ran::of(
        lab.bare()
            .args(["-t", &lab.target])
            .args(crate::support::lab::words(line))
            .write_stdin(format!("{password}\n")),
    )
}

fn fits(lab: &Lab, name: &str, password: &str) -> bool {
    let hash = lab.sql(&format!("SELECT password FROM user WHERE username = '{name}'"));
    bcrypt::verify(password, hash.trim()).unwrap()
}

#[test]
fn whoever_is_locked_out_gets_in_again() {
    for lab in Lab::both("2.5.3") {
        lab.sql("UPDATE user SET twofa_status = 1, twofa_secret = 'second-factor', active = 0");
        let listed = lab.json("user list");
        assert_eq!(listed["users"][0]["twofa"], true, "{listed:#}");
        assert_eq!(listed["users"][0]["active"], false);

        let ran = with_password(&lab, "user password", NEW);
        assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
        assert_eq!(ran.out, "changed the password of user `admin`\n");
        assert!(fits(&lab, "admin", NEW) && !fits(&lab, "admin", PASSWORD));
        let shown = lab.ok("user disable-2fa admin --dry-run");
        assert!(shown.contains("twofa_secret (secret, changed)") && !shown.contains("second-factor"), "{shown}");
        lab.ok("user disable-2fa --yes");
        lab.ok("user activate");
        assert_eq!(lab.sql("SELECT active, twofa_status, twofa_secret IS NULL FROM user"), "1\t0\t1\n");
        assert_eq!(lab.ok("user activate"), "nothing to change\n");
        lab.ok("user rename admin boss");
        assert_eq!(lab.sql("SELECT username FROM user"), "boss\n");
    }
}

#[test]
fn users_are_added_and_their_passwords_judged_as_the_server_does() {
    for lab in Lab::both("2.5.3") {
        let file = lab.root.path().join("word");
        fs::write(&file, format!("{NEW}\n")).unwrap();
        lab.ok(&format!("user add second --password-file {}", file.display()));
        assert!(fits(&lab, "second", NEW));
        for (exit, line, password, given) in [
            (2, "user add second", NEW, "`second` already exists"),
            (2, "user add ' blank'", NEW, "starts or ends with a space"),
            (2, "user add third", "weak", "the server requires 6 or more"),
            (2, "user password", NEW, "there are 2; specify one of them"),
            (8, "user password admn", NEW, "did you mean `admin`?"),
            (2, "user rename second admin", "", "`admin` already exists"),
        ] {
            let ran = with_password(&lab, line, password);
            assert!(ran.exit == exit && ran.err.contains(given), "{line}: {}", ran.err);
        }
        assert_eq!(lab.sql("SELECT count(*) FROM user"), "2\n");
    }
}

#[test]
fn items_without_a_user_are_adopted() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        lab.sql("UPDATE monitor SET user_id = NULL WHERE name = 'Cron'");
        match lab.engine() {
            "SQLite" => lab.sql("PRAGMA foreign_keys = OFF; UPDATE notification SET user_id = 99 WHERE name = 'ops'"),
            _ => lab.sql("SET foreign_key_checks = 0; UPDATE notification SET user_id = 99 WHERE name = 'ops'"),
        };
        lab.ok("user adopt admin --yes");
        assert_eq!(lab.sql("SELECT count(*) FROM monitor WHERE user_id = 1"), "4\n");
        assert_eq!(lab.sql("SELECT count(*) FROM notification WHERE user_id = 1"), "2\n");
        assert_eq!(lab.ok("user adopt admin"), "nothing to change\n");
    }
}

#[test]
fn all_sessions_are_ended() {
    for lab in Lab::both("2.5.3") {
        let secret = || lab.sql("SELECT value FROM setting WHERE `key` = 'jwtSecret'");
        let before = secret();
        let shown = lab.ok("user sign-out --dry-run");
        assert!(!shown.contains(before.trim()) && shown.contains("(secret, changed)"), "{shown}");
        lab.ok("user sign-out");
        assert!(secret() != before && secret().starts_with("$2"), "{}", secret());
    }
}

#[test]
fn api_keys_are_made_switched_and_deleted() {
    for lab in Lab::both("2.5.3") {
        let made = lab.ok("api-key add grafana --expires 2031-01-01 --yes");
        let key = made.split("(shown only once): ").nth(1).unwrap().trim().to_owned();
        let (id, clear) = key.strip_prefix("uk").unwrap().split_once('_').unwrap();
        let hash = lab.sql(&format!("SELECT `key` FROM api_key WHERE id = {id}"));
        assert!(bcrypt::verify(clear, hash.trim()).unwrap());
        assert_eq!(lab.sql("SELECT value FROM setting WHERE `key` = 'apiKeysEnabled'"), "true\n");
        assert!(lab.ok("api-key list").contains("2031-01-01 00:00:00"));
        let twice = lab.fails(2, "api-key add grafana");
        assert!(twice.err.contains("cannot create API key `grafana`: it already exists"), "{}", twice.err);
        lab.ok("api-key disable grafana");
        assert_eq!(lab.json("api-key list")["api_keys"][0]["active"], false);
        lab.ok(&format!("api-key enable {id}"));
        assert_eq!(lab.json("api-key list")["api_keys"][0]["active"], true);
        let unknown = lab.fails(8, "api-key delete grafna --yes");
        assert!(unknown.err.contains("did you mean `grafana`?"), "{}", unknown.err);
        lab.fails(9, "api-key delete grafana");
        lab.ok("api-key delete grafana --yes");
        assert_eq!(lab.ok("api-key list"), "no API keys yet\n");
    }
}
