//! Maintenance in the format of the server or of its table.

use super::super::node::{Data, Node};
use super::columns::check_keys;
use super::draft::{Draft, Places};
use super::words::flag;
use super::words::parsed;

/// Keys of a maintenance in sources, including those that the server computes.
const KEYS: [&str; 47] = [
    "id",
    "user_id",
    "userId",
    "title",
    "name",
    "description",
    "strategy",
    "active",
    "dateRange",
    "date_range",
    "start_date",
    "startDate",
    "end_date",
    "endDate",
    "timeRange",
    "time_range",
    "start_time",
    "startTime",
    "end_time",
    "endTime",
    "intervalDay",
    "interval_day",
    "weekdays",
    "daysOfMonth",
    "days_of_month",
    "timeslotList",
    "cron",
    "duration",
    "durationMinutes",
    "duration_minutes",
    "timezone",
    "timezoneOption",
    "timezoneOffset",
    "status",
    "last_start_date",
    "lastStartDate",
    "monitors",
    "monitorList",
    "monitor_list",
    "monitorIDList",
    "affectedMonitors",
    "statusPages",
    "statusPageList",
    "status_pages",
    "statusPageIDList",
    "selectedStatusPages",
    "showOnAllPages",
];

/// Converts a maintenance to the native format.
pub(super) fn maintenance(draft: &mut Draft, one: &Node, places: &Places) -> Option<Node> {
    let title = one.first(&["title", "name"]).cloned().unwrap_or_else(|| Node::new(one.at.clone(), ""));
    let what = format!("maintenance `{}`", title.scalar().unwrap_or_default());
    let Some(strategy) = one.find("strategy").and_then(Node::text) else {
        draft.skip(&one.at, what, "the strategy is missing (format of the first releases with maintenance)");
        return None;
    };
    check_keys(draft, &what, one, &KEYS);
    account(draft, one, strategy);
    let mut entries = vec![("title", title)];
    let given = |keys: &[&str]| one.first(keys).filter(|value| value.text() != Some("")).cloned();
    entries.extend(given(&["description"]).map(|text| ("description", text)));
    entries.extend(given(&["strategy"]).map(|text| ("strategy", text)));
    entries.extend(given(&["active"]).map(|yes| ("active", flag(&yes))));
    entries.extend(dates(one));
    let is_cron = strategy == "cron";
    if strategy.starts_with("recurring") {
        entries.extend(times(draft, one));
    }
    if strategy == "recurring-interval" {
        entries.extend(given(&["intervalDay", "interval_day"]).map(|days| ("interval_day", days)));
    }
    for (strategies, column, keys) in [
        ("recurring-weekday", "weekdays", ["weekdays", "weekdays"]),
        ("recurring-day-of-month", "days_of_month", ["daysOfMonth", "days_of_month"]),
    ] {
        if strategy == strategies {
            entries.extend(given(&keys).map(|days| (column, parsed(&days).unwrap_or(days))));
        }
    }
    if is_cron {
        entries.extend(given(&["cron"]).map(|cron| ("cron", cron)));
        let minutes = given(&["durationMinutes", "duration_minutes"]);
        minutes.iter().for_each(|minutes| draft.account(minutes));
        let seconds = minutes.and_then(|minutes| Some(Node::new(minutes.at.clone(), minutes.int()?.checked_mul(60)?)));
        entries.extend(given(&["duration"]).or(seconds).map(|duration| ("duration", duration)));
    }
    entries.extend(given(&["timezoneOption", "timezone"]).map(|zone| ("timezone", zone)));
    entries.extend(monitors(draft, &what, one, places).map(|list| ("monitors", list)));
    entries.extend(pages(draft, &what, one).map(|list| ("status_pages", list)));
    Some(Node::map(one.at.clone(), entries))
}

/// Keys that the server computes, or stores for every strategy and uses for some.
fn account(draft: &mut Draft, one: &Node, strategy: &str) {
    const COMPUTED: [&str; 10] = [
        "id",
        "user_id",
        "userId",
        "timeslotList",
        "timezoneOffset",
        "status",
        "last_start_date",
        "lastStartDate",
        "showOnAllPages",
        "durationMinutes",
    ];
    draft.account_keys(one, &COMPUTED);
    let is_recurring = strategy.starts_with("recurring");
    let times = ["timeRange", "time_range", "start_time", "startTime", "end_time", "endTime"];
    for (keys, is_used) in [
        (&times[..], is_recurring),
        (&["intervalDay", "interval_day"], strategy == "recurring-interval"),
        (&["weekdays"], strategy == "recurring-weekday"),
        (&["daysOfMonth", "days_of_month"], strategy == "recurring-day-of-month"),
        (&["cron", "duration", "duration_minutes"], strategy == "cron"),
        (&["timezone"], one.find("timezoneOption").is_none()),
    ] {
        if !is_used {
            draft.account_keys(one, keys);
        }
    }
    if is_recurring {
        // The server stores them as `cron` and `duration` too.
        draft.account_keys(one, &["cron", "duration", "duration_minutes"]);
    }
}

/// `dateRange: [start, end]`, or a column for each.
fn dates(one: &Node) -> Vec<(&'static str, Node)> {
    let range = one.first(&["dateRange", "date_range"]).map_or(&[][..], Node::list);
    let mut found = Vec::new();
    for (at, (column, key)) in [("start_date", "startDate"), ("end_date", "endDate")].into_iter().enumerate() {
        let date = range.get(at).or_else(|| one.first(&[column, key]));
        found.extend(
            date.filter(|date| date.text().is_some_and(|date| !date.is_empty())).map(|date| (column, date.clone())),
        );
    }
    found
}

/// `timeRange: [{hours, minutes}, …]`, or a column for each.
fn times(draft: &mut Draft, one: &Node) -> Vec<(&'static str, Node)> {
    let range = one.first(&["timeRange", "time_range"]).map_or(&[][..], Node::list);
    let mut found = Vec::new();
    for (at, (column, key)) in [("start_time", "startTime"), ("end_time", "endTime")].into_iter().enumerate() {
        let time = range.get(at).or_else(|| one.first(&[column, key]));
        time.into_iter().for_each(|time| draft.account_keys(time, &["hours", "minutes", "seconds"]));
        found.extend(time.and_then(time_of_day).map(|time| (column, time)));
    }
    found
}

/// `{hours: 2, minutes: 30}` as `02:30`.
fn time_of_day(time: &Node) -> Option<Node> {
    let Data::Map(_) = time.data else {
        return time.text().filter(|text| !text.is_empty()).map(|_| time.clone());
    };
    let part = |key: &str| time.find(key).and_then(Node::int).unwrap_or(0);
    let text = match part("seconds") {
        0 => format!("{:02}:{:02}", part("hours"), part("minutes")),
        seconds => format!("{:02}:{:02}:{seconds:02}", part("hours"), part("minutes")),
    };
    Some(Node::new(time.at.clone(), text))
}

fn monitors(draft: &mut Draft, what: &str, one: &Node, places: &Places) -> Option<Node> {
    let listed = one.first(&["monitors", "monitorList", "monitor_list", "monitorIDList", "affectedMonitors"])?;
    let mut paths = Vec::new();
    for one in listed.list() {
        draft.account_keys(one, &["id", "monitor_id", "name", "pathName"]);
        let id = one.find("id").or(one.find("monitor_id")).unwrap_or(one).scalar().unwrap_or_default();
        match places.of(&draft.key(&id)) {
            Some(place) => paths.push(Node::new(one.at.clone(), place.path.as_str())),
            // A name refers to an existing monitor.
            None if id.parse::<i64>().is_err() && !id.is_empty() => paths.push(Node::new(one.at.clone(), id)),
            None => draft.skip(&one.at, format!("monitor `{id}` in {what}"), "the monitor is not in the file"),
        }
    }
    Some(Node::new(listed.at.clone(), paths))
}

fn pages(draft: &mut Draft, what: &str, one: &Node) -> Option<Node> {
    let listed =
        one.first(&["statusPages", "statusPageList", "status_pages", "statusPageIDList", "selectedStatusPages"])?;
    let mut slugs = Vec::new();
    for one in listed.list() {
        draft.account_keys(one, &["id", "status_page_id", "slug", "title", "name"]);
        let id = one.find("id").or(one.find("status_page_id")).unwrap_or(one).scalar().unwrap_or_default();
        match draft.referred("status_pages", &id).map(str::to_owned) {
            Some(slug) => slugs.push(Node::new(one.at.clone(), slug)),
            None if id.parse::<i64>().is_err() && !id.is_empty() => slugs.push(Node::new(one.at.clone(), id)),
            None if one.find("slug").is_some() => slugs.extend(one.find("slug").cloned()),
            None => draft.skip(&one.at, format!("status page `{id}` in {what}"), "the page is not in the file"),
        }
    }
    Some(Node::new(listed.at.clone(), slugs))
}
