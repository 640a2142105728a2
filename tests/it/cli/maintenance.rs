//! Maintenance windows: the server's own, for the monitors that the filters select, ended now or automatically.

use chrono::{NaiveDateTime, TimeDelta, Utc};

use crate::cli::monitor::furnish;
use crate::support::lab::Lab;

/// Whether `text`, as the server stores it, is about `minutes` from now.
fn is_in(text: &str, minutes: i64) -> bool {
    let at = NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S").unwrap().and_utc();
    (at - Utc::now() - TimeDelta::minutes(minutes)).num_seconds().abs() < 60
}

fn states(lab: &Lab) -> Vec<(String, String, i64)> {
    let list = lab.json("maintenance list");
    let windows = list["maintenance"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    windows.iter().map(|one| (text(&one["title"]), text(&one["state"]), one["monitors"].as_i64().unwrap())).collect()
}

#[test]
fn a_window_is_started_listed_and_ended() {
    for lab in Lab::both("2.5.3").into_iter().chain([Lab::sqlite("1.23.17")]) {
        furnish(&lab);
        lab.sql("INSERT INTO status_page (slug, title, icon, theme) VALUES ('default', 'Status', '/icon.svg', 'auto')");
        assert_eq!(lab.ok("maintenance list"), "no maintenance windows yet\n");
        let started = lab.run("maintenance start --group Network --for 45m --title Deploy --status-page default --yes");
        assert_eq!(started.exit, 0, "{started:?}");
        assert!(started.err.contains("2 monitors under maintenance until "), "{}", started.err);
        let column = |column: &str| lab.sql(&format!("SELECT {column} FROM maintenance WHERE title = 'Deploy'"));
        assert!(is_in(&column("start_date"), 0) && is_in(&column("end_date"), 45), "{}", lab.engine());
        assert_eq!(
            (column("strategy").trim(), column("timezone").trim(), column("active").trim()),
            ("single", "UTC", "1")
        );
        assert_eq!(lab.sql("SELECT count(*) FROM monitor_maintenance").trim(), "2");
        assert_eq!(lab.sql("SELECT count(*) FROM maintenance_status_page").trim(), "1");
        lab.ok("maintenance schedule Cron --from '2099-01-31 22:00' --for 2h --title Later --yes");
        // Monitors of one name, by their ids.
        lab.ok("monitor add push --name Cron --allow-duplicate");
        let ids = lab.sql("SELECT id FROM monitor WHERE name = 'Cron' ORDER BY id");
        lab.ok(&format!(
            "maintenance start {} --for 1h --title Both --yes",
            ids.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
        let both = "SELECT monitor_id FROM monitor_maintenance WHERE maintenance_id = (SELECT id FROM maintenance WHERE title = 'Both') ORDER BY 1";
        assert_eq!(lab.sql(both), ids);
        lab.sql(
            "DELETE FROM monitor_maintenance WHERE maintenance_id = (SELECT id FROM maintenance WHERE title = 'Both')",
        );
        lab.sql("DELETE FROM maintenance WHERE title = 'Both'");
        lab.ok(&format!("monitor delete {} --yes", ids.split_whitespace().last().unwrap()));
        let in_progress = ("Deploy".to_owned(), "in progress".to_owned(), 2);
        assert_eq!(states(&lab), [in_progress, ("Later".into(), "scheduled".into(), 1)]);

        let twice = lab.fails(2, "maintenance start Cron --for 1h --title Deploy --yes");
        assert!(twice.err.contains("maintenance window `Deploy`: it already exists"), "{}", twice.err);
        for (line, why) in [
            ("start --for 45m", "monitor"),
            ("start Cron --for 30s", "at least one minute"),
            ("schedule Cron --for 1h --from 2020-01-01", "is in the past"),
            ("schedule Cron --for 1h --from whenever", "is not a valid date or time"),
            ("start Cron --for 1h --status-page nothing --yes", "nothing"),
        ] {
            let wrong = lab.fails(2, &format!("maintenance {line}"));
            assert!(wrong.err.contains(why), "{line}: {}", wrong.err);
        }
        let wrong = lab.fails(8, "maintenance end Depoly");
        assert!(wrong.err.contains("no maintenance window `Depoly` (did you mean `Deploy`?)"), "{}", wrong.err);
        lab.ok("maintenance end Later --yes");
        assert_eq!(states(&lab)[1], ("Later".into(), "inactive".into(), 1));
        let again = lab.fails(2, "maintenance end Later --yes");
        assert!(again.err.contains("is neither in progress nor scheduled"), "{}", again.err);
        lab.ok("maintenance end Deploy --yes");
        assert!(is_in(&column("end_date"), 0));
        lab.sql("UPDATE maintenance SET end_date = '2020-01-01 00:00:00' WHERE title = 'Deploy'");
        assert_eq!(states(&lab)[0].1, "ended");
        // One that was switched on by hand, and one that repeats.
        lab.sql(
            "INSERT INTO maintenance (title, description, user_id, active, strategy, cron, duration, timezone) VALUES \
             ('By hand', '', 1, 1, 'manual', NULL, NULL, NULL), ('Always', '', 1, 1, 'cron', '* * * * *', 3600, 'UTC')",
        );
        lab.ok("maintenance end 'By hand' --yes");
        assert_eq!(lab.sql("SELECT active FROM maintenance WHERE title = 'By hand'").trim(), "0");
        let repeats = lab.fails(2, "maintenance end Always");
        assert!(repeats.err.contains("repeats: one occurrence cannot be ended"), "{}", repeats.err);
    }
}
