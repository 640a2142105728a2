//! Resolves names to ids.

use crate::error::Problem;
use crate::model::state::{Monitor, MonitorConfig};
use crate::text::{did_you_mean, meant, nearest, quoted};
use crate::value::Row;

/// The monitor with the id, the path (`Group/Name`, or `/Name` outside of groups), or the unique name `text`.
pub fn find_monitor<'a>(state: &'a MonitorConfig, text: &str) -> Result<&'a Monitor, Problem> {
    if let Ok(id) = text.parse::<i64>()
        && let Some(monitor) = state.monitors.get(&id)
    {
        return Ok(monitor);
    }
    let named: Vec<&Monitor> = if text.contains('/') {
        state.monitors.values().filter(|monitor| state.path(monitor.id) == text).collect()
    } else {
        Vec::new()
    };
    let named = if named.is_empty() {
        state.monitors.values().filter(|monitor| monitor.name() == text).collect()
    } else {
        named
    };
    let named = match (named.is_empty(), text.strip_prefix('/')) {
        (true, Some(path)) => state.monitors.values().filter(|monitor| state.path(monitor.id) == path).collect(),
        _ => named,
    };
    match named.as_slice() {
        [monitor] => Ok(monitor),
        [] => {
            let all = state.monitors.values().map(|monitor| monitor.name().to_owned());
            Err(Problem::new("monitor", format!("no monitor `{text}`{}", did_you_mean(text, all)))
                .command("kumadb monitor list")
                .not_found())
        }
        several => {
            let path = |monitor: &Monitor| match monitor.parent() {
                Some(_) => state.path(monitor.id),
                None => format!("/{}", monitor.name()),
            };
            let ids: Vec<String> =
                several.iter().map(|monitor| format!("{} ({})", monitor.id, path(monitor))).collect();
            Err(Problem::new(
                "monitor",
                format!("{} monitors have the name `{text}`: {}", several.len(), ids.join(", ")),
            )
            .hint("use the id or the path of the monitor")
            .not_found())
        }
    }
}

/// The group with the id, path or unique name `text`.
pub fn find_group(state: &MonitorConfig, text: &str) -> Result<i64, Problem> {
    let wrong = |message: String| Problem::new("--parent", message);
    let group = find_monitor(state, text).map_err(|problem| {
        let groups = state.monitors.values().filter(|monitor| monitor.kind() == "group");
        let near = nearest(text, groups.map(|group| group.name()));
        match (problem.message.starts_with("no monitor"), near) {
            (true, Some(near)) => {
                wrong(format!("group `{text}` not found{}", meant(near))).command(format!("--parent {}", quoted(near)))
            }
            (true, None) => wrong(format!("group `{text}` not found"))
                .command(format!("kumadb monitor add group --name {}", quoted(text))),
            (false, _) => wrong(problem.message),
        }
    })?;
    match group.kind() {
        "group" => Ok(group.id),
        kind => Err(wrong(format!("`{text}` has type {kind}; only a group can be a parent"))),
    }
}

/// The notification with the name or id `text`.
pub fn find_notification(state: &MonitorConfig, text: &str) -> Result<i64, Problem> {
    find_row(&state.notifications, "--notification", "notification", text, |row| row.text("name"))
        .map_err(|problem| problem.hint("add notifications in the web UI: Settings > Notifications"))
}

/// The tag called `text`.
pub fn find_tag(state: &MonitorConfig, text: &str) -> Result<i64, Problem> {
    if text.is_empty() {
        return Err(Problem::new("--tag", "the name of the tag is missing").hint("use NAME or NAME=VALUE"));
    }
    find_row(&state.tags, "--tag", "tag", text, |row| row.text("name"))
        .map_err(|problem| problem.hint("remove `--no-create-tags` to create it"))
}

/// The Docker host with the name or id `text`.
pub fn find_docker_host(state: &MonitorConfig, text: &str) -> Result<i64, Problem> {
    find_row(&state.docker_hosts, "--docker-host", "docker host", text, |row| row.text("name"))
        .map_err(|problem| problem.hint("add Docker hosts in the web UI: Settings > Docker Hosts"))
}

/// The proxy with the host or id `text`.
pub fn find_proxy(state: &MonitorConfig, text: &str) -> Result<i64, Problem> {
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    find_row(&state.proxies, "--proxy", "proxy", host, |row| row.text("host"))
        .map_err(|problem| problem.hint("add proxies in the web UI: Settings > Proxies"))
}

/// The remote browser with the name or id `text`.
pub fn find_remote_browser(state: &MonitorConfig, text: &str) -> Result<i64, Problem> {
    find_row(&state.remote_browsers, "--remote-browser", "remote browser", text, |row| row.text("name"))
        .map_err(|problem| problem.hint("add remote browsers in the web UI: Settings > Remote Browsers"))
}

fn find_row(
    rows: &[Row],
    option: &str,
    what: &str,
    text: &str,
    name: impl Fn(&Row) -> Option<&str>,
) -> Result<i64, Problem> {
    let by_name = rows.iter().find(|row| name(row) == Some(text));
    let by_id = || text.parse::<i64>().ok().and_then(|id| rows.iter().find(|row| row.int("id") == Some(id)));
    by_name.or_else(by_id).and_then(|row| row.int("id")).ok_or_else(|| {
        let names = rows.iter().filter_map(|row| name(row).map(str::to_owned));
        Problem::new(option, format!("no {what} `{text}`{}", did_you_mean(text, names)))
    })
}
