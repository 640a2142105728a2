//! Plans for users and API keys.

use super::{Assignment, Plan};
use crate::error::Problem;
use crate::model::entities::noun;
use crate::model::state::ConfigRows;
use crate::text::did_you_mean;
use crate::value::{Row, Value};

/// The user with this name; without a name the only user.
pub fn find_user<'c>(config: &'c ConfigRows, name: Option<&str>) -> Result<&'c Row, Problem> {
    let users = config.rows("user");
    let names = || users.iter().filter_map(|row| row.text("username").map(str::to_owned));
    let wrong = |message: String| Problem::new("user", message).command("kumadb user list");
    match (name, users) {
        (None, [only]) => Ok(only),
        (None, []) => Err(Problem::new("user", "there are no users yet").command("kumadb user add admin").not_found()),
        (None, several) => Err(wrong(format!("there are {}; specify one of them", several.len()))),
        (Some(name), _) => users
            .iter()
            .find(|row| row.text("username") == Some(name))
            .ok_or_else(|| wrong(format!("no user `{name}`{}", did_you_mean(name, names()))).not_found()),
    }
}

/// The API key with this name or id.
pub fn find_key<'c>(config: &'c ConfigRows, name: &str) -> Result<&'c Row, Problem> {
    let keys = config.rows("api_key");
    let names = keys.iter().filter_map(|row| row.text("name").map(str::to_owned));
    let called: Vec<&Row> = keys.iter().filter(|row| row.text("name") == Some(name)).collect();
    let numbered = || keys.iter().find(|row| name.parse().ok() == row.int("id"));
    let wrong = |message: String| Problem::new("API key", message).command("kumadb api-key list").not_found();
    match called.as_slice() {
        [key] => Ok(key),
        [] => numbered().ok_or_else(|| wrong(format!("no API key `{name}`{}", did_you_mean(name, names)))),
        several => Err(wrong(format!("{} have the name `{name}`: use the id", several.len()))),
    }
}

/// Plans to set `cells` in `row` of `table`, where they differ.
pub fn plan_cells(plan: &mut Plan, table: &str, subject: &str, row: &Row, cells: &[(&str, Value)]) {
    plan.update(table, subject, row.int("id").unwrap_or_default(), Assignment::of(table, row, cells));
}

/// Plans to assign all items without a user to the user `owner`: the server's page shows users only their own monitors
/// (2.5.3).
pub fn plan_adopt(config: &ConfigRows, owner: i64) -> Plan {
    let mut plan = Plan::of(&config.fingerprint);
    for (table, rows) in config.ownerless() {
        for row in rows {
            let name = ["name", "title", "host"].iter().find_map(|column| row.text(column)).unwrap_or_default();
            plan_cells(&mut plan, table, &format!("{} `{name}`", noun(table)), row, &[("user_id", owner.into())]);
        }
    }
    plan
}
