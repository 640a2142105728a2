//! How often a write reads the configuration, counted by the server.

use crate::doctor::findings::furnish;
use crate::support::lab::Lab;

/// Tables of the configuration that a new monitor does not change, and no list for a plan reads.
const OTHERS: [&str; 6] =
    ["api_key", "group", "maintenance", "monitor_maintenance", "status_page", "status_page_cname"];

#[test]
fn a_monitor_is_added_with_two_readings_of_the_configuration() {
    let Some(lab) = Lab::mariadb("2.5.3") else { return };
    furnish(&lab);
    lab.sql("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = 1");
    lab.ok("monitor add ping --name Printer --hostname 192.0.2.7");
    lab.sql("SET GLOBAL general_log = 0");
    let log = lab.sql("SELECT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute')");
    // The copy is made by other statements.
    let readings = |table: &str| {
        let end = format!(" FROM `{table}` ORDER BY `id`");
        log.lines().filter(|line| line.starts_with("SELECT `id`, ") && line.ends_with(&end)).count()
    };
    for table in OTHERS {
        assert_eq!(readings(table), 2, "`{table}` is read for the plan and for the check:\n{log}");
    }
    // All of it for the plan and for the check, and once more to read the change back; a list for the plan.
    assert!(readings("monitor") <= 4, "{log}");
    assert!(log.lines().any(|line| line.starts_with("INSERT INTO `monitor` ")), "{log}");
}
