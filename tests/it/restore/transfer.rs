//! A whole instance on SQLite, history and all, into one on MariaDB.

use crate::cli::monitor::furnish;
use crate::support::lab::Lab;

fn snapshot(lab: &Lab) -> String {
    lab.json("backup create")["path"].as_str().unwrap().to_owned()
}

#[test]
fn a_history_goes_over_whatever_its_cells_look_like() {
    let (sqlite, Some(mariadb)) = (Lab::sqlite("2.5.3"), Lab::mariadb("2.5.3")) else { return };
    furnish(&sqlite);
    sqlite.sql(
        "INSERT INTO heartbeat (id, monitor_id, status, msg, time, ping, duration, important, retries) VALUES
             (0, 2, 1, 'the first''s id is 0', '2026-11-20 10:00:00.123', 12, 60, 1, 0),
             (7, 2, '0', 'down \u{1f600} \\ ', '2026-11-20T10:01:00.999Z', '12', 60.0, 'true', 0),
             (8, 3, 1, NULL, 1763632860123, 12.5, 0, 0, 0),
             (9, 3, 1, x'c3a4', '2026-11-20 12:00:00+02:00', NULL, -1, 0, 2);
         INSERT INTO stat_daily (monitor_id, timestamp, ping, up, down, ping_min, ping_max, extras) VALUES
             (2, 1763596800, 12.345, 70000, 0, 0, 16777217, '{\"maintenance\":1}'), (2, 1763683200, 3, 1, 1, 1e-3, 0.1, NULL);
         INSERT INTO setting (key, value, type) VALUES ('emoji', '\"\u{1f600}\"', NULL), ('keepDataPeriodDays', 30, 'general');
         UPDATE monitor SET timeout = 0.8, description = 'tab\t, new\nline', created_date = '2026-11-20T09:00:00Z' WHERE id = 2;
         INSERT INTO domain_expiry (last_check, domain, expiry) VALUES ('2026-11-23 02:58:35.355', 'a.example', 'Invalid Date');
         UPDATE monitor SET timeout = 1e20, conditions = '[]', snmp_version = 3 WHERE id = 3",
    );
    // What the target has of its own goes, but for how its tables came to be.
    mariadb.ok("monitor add group --name Gone");
    let migrations = mariadb.sql("SELECT * FROM knex_migrations ORDER BY id");
    let ran = mariadb.run(&format!("restore {} --yes", snapshot(&sqlite)));
    assert_eq!(ran.exit, 0, "{}{}", ran.out, ran.err);
    for what in [
        "`heartbeat`.`ping`: 1 value rounded to an integer",
        "`heartbeat`.`time`: 3 values without fractions of a second",
        "`stat_daily`.`ping`: 1 value rounded",
        "`domain_expiry`.`expiry`: 1 value set to NULL, because `Invalid Date` is not a date",
    ] {
        assert!(ran.err.contains(what), "{}", ran.err);
    }
    assert_eq!(
        mariadb
            .sql("SELECT id, monitor_id, status, HEX(msg), time, ping, duration, important FROM heartbeat ORDER BY id"),
        "0\t2\t1\t74686520666972737427732069642069732030\t2026-11-20 10:00:00\t12\t60\t1\n\
         7\t2\t0\t646F776E20F09F9880205C20\t2026-11-20 10:01:00\t12\t60\t1\n\
         8\t3\t1\tNULL\t2025-11-20 10:01:00\t13\t0\t0\n\
         9\t3\t1\tC3A4\t2026-11-20 10:00:00\tNULL\t-1\t0\n"
    );
    assert_eq!(
        mariadb.sql("SELECT timestamp, ping, up, ping_min, ping_max FROM stat_daily ORDER BY id"),
        "1763596800\t12.34\t70000\t0.00\t16777216.00\n1763683200\t3.00\t1\t0.00\t0.10\n"
    );
    assert_eq!(mariadb.sql("SELECT timeout FROM monitor WHERE id IN (2, 3) ORDER BY id"), "0.8\n1e20\n");
    assert_eq!(mariadb.sql("SELECT * FROM knex_migrations ORDER BY id"), migrations);
    assert_eq!(mariadb.ok("export --secrets"), sqlite.ok("export --secrets"));
    let fresh = mariadb.json("monitor add group --name New");
    assert_eq!(fresh["monitor"]["id"], 5, "ids go on after the highest: {fresh:#}");
    // And back again, to the cell.
    let again = Lab::sqlite("2.5.3");
    again.ok(&format!("restore {} --yes", snapshot(&mariadb)));
    assert_eq!(again.ok("export --secrets"), mariadb.ok("export --secrets"));
    assert_eq!(again.sql("SELECT count(*), min(id), max(id), sum(ping) FROM heartbeat"), "4\t0\t9\t37\n");
}

#[test]
fn what_mariadb_cannot_hold_is_refused_and_named() {
    let (sqlite, Some(mariadb)) = (Lab::sqlite("2.5.3"), Lab::mariadb("2.5.3")) else { return };
    furnish(&sqlite);
    let long = "x".repeat(151);
    sqlite.sql(&format!(
        "UPDATE monitor SET name = '{long}' WHERE id = 1;
         UPDATE monitor SET interval = 'often' WHERE id = 2;
         UPDATE monitor SET created_date = 'long ago' WHERE id = 3;
         UPDATE monitor SET hostname = x'ff00' WHERE id = 4;
         INSERT INTO setting (key, value) VALUES ('Jwtsecret', 'x');
         UPDATE user SET username = 'admin \u{1f600}'"
    ));
    let before = mariadb.content();
    let refused = mariadb.fails(9, &format!("restore {} --yes", snapshot(&sqlite)));
    for what in [
        "`monitor`.`name` of row 1 has length 151, but varchar(150) allows 150",
        "`monitor`.`interval` of row 2 is not a number",
        "`monitor`.`created_date` of row 3 is not a valid date and time",
        "`monitor`.`hostname` of row 4 is binary data, not text",
        "is a duplicate: MariaDB ignores case",
        "`user`.`username` of row 1 has a character that the column cannot store",
    ] {
        assert!(refused.err.contains(what), "{what}: {}", refused.err);
    }
    assert!(!refused.err.contains(&long) && !refused.err.contains("often"), "{}", refused.err);
    assert_eq!(mariadb.content(), before);
    let older = Lab::sqlite("2.0.2");
    let refused = mariadb.fails(9, &format!("restore {} --yes --other-release", snapshot(&older)));
    assert!(refused.err.contains("but the database is of release"), "{}", refused.err);
}

#[test]
fn random_rows_go_over_and_come_back() {
    let (sqlite, Some(mariadb)) = (Lab::sqlite("2.5.3"), Lab::mariadb("2.5.3")) else { return };
    furnish(&sqlite);
    let rounds: u64 = std::env::var("KUMADB_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for round in 1..=rounds {
        let mut random = Random(round * 0x9e37_79b9);
        let rows: Vec<String> = (1..=400)
            .map(|id| {
                let text: String = (0..random.below(30)).map(|_| random.letter()).collect();
                let time = 1_500_000_000 + random.below(400_000_000);
                let msg = text.replace('\'', "''");
                format!(
                    "({id}, {}, {}, '{msg}', datetime({time}, 'unixepoch'), {}, {}, {})",
                    2 + random.below(2),
                    random.below(4),
                    random.below(1 << 40),
                    random.below(1 << 30),
                    random.below(2)
                )
            })
            .collect();
        sqlite.sql(&format!(
            "DELETE FROM heartbeat; INSERT INTO heartbeat (id, monitor_id, status, msg, time, ping, duration, important) \
             VALUES {}",
            rows.join(", ")
        ));
        let stats: Vec<String> = (1..=100)
            .map(|n| format!("({}, {}, {}, 0, 0)", 2 + n % 2, 1_700_000_000 + n * 60, random.below(1 << 20)))
            .collect();
        sqlite.sql(&format!(
            "DELETE FROM stat_minutely; INSERT INTO stat_minutely (monitor_id, timestamp, ping, up, down) VALUES {}",
            stats.join(", ")
        ));
        mariadb.ok(&format!("restore {} --yes", snapshot(&sqlite)));
        let cells =
            "SELECT id, monitor_id, status, hex(msg), time, ping, duration, important FROM heartbeat ORDER BY id";
        assert_eq!(mariadb.sql(cells), sqlite.sql(cells), "round {round}");
        let again = Lab::sqlite("2.5.3");
        again.ok(&format!("restore {} --yes", snapshot(&mariadb)));
        assert_eq!(again.sql(cells), sqlite.sql(cells), "round {round}");
        let cells = "SELECT id, monitor_id, timestamp, ping, up FROM stat_minutely ORDER BY id";
        assert_eq!(again.sql(cells), sqlite.sql(cells), "round {round}");
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn letter(&mut self) -> char {
        const HARD: [char; 14] =
            ['\'', '"', '\\', '\n', '\r', '\t', '%', '`', '?', ';', '\u{e9}', '\u{1f600}', ' ', '\u{1a}'];
        match usize::try_from(self.below(30)).unwrap() {
            at if at < HARD.len() => HARD[at],
            at => char::from(b'a' + u8::try_from(at - HARD.len()).unwrap()),
        }
    }
}
