//! `kumadb history stats`

use chrono::Utc;
use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::write::read_from;
use crate::cli::{Context, Ui};
use crate::engine::space::{Space, read_space};
use crate::error::{Exit, Result};
use crate::instance::Instance;
use crate::kuma::history::{AHEAD, History, MonitorBeats, read_history};
use crate::kuma::read::{read_counts, read_shown_state};
use crate::model::state::MonitorConfig;
use crate::text::bytes;
use crate::value::{shown_time, utc_time};

#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Show only the N monitors with the most heartbeats (0: all)
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
}

/// The data of the report.
struct Measured {
    state: MonitorConfig,
    history: History,
    space: Space,
    rows: crate::engine::Counts,
}

impl Measured {
    /// The tables, most rows first.
    fn tables(&self) -> Vec<(&String, u64, crate::engine::space::TableSpace)> {
        let space = |table: &String| self.space.tables.get(table).copied().unwrap_or_default();
        let mut tables: Vec<_> = self.rows.iter().map(|(table, rows)| (table, *rows, space(table))).collect();
        tables.sort_by_key(|(table, _, space)| (std::cmp::Reverse(space.rows + space.indexes), *table));
        tables
    }

    /// The monitors, most heartbeats first.
    fn monitors(&self) -> Vec<(i64, &MonitorBeats)> {
        let mut monitors: Vec<_> = self.history.monitors.iter().map(|(id, beats)| (*id, beats)).collect();
        monitors.sort_by_key(|(id, beats)| (std::cmp::Reverse(beats.rows), *id));
        monitors
    }

    fn beats(&self) -> u64 {
        self.history.monitors.values().map(|beats| beats.rows).sum()
    }

    /// Approximate size of `beats` heartbeats, indexes included.
    fn bytes_of(&self, beats: u64) -> u64 {
        let space = self.space.tables.get("heartbeat").copied().unwrap_or_default();
        let each = (space.rows + space.indexes) as f64 / (self.beats().max(1)) as f64;
        (beats as f64 * each) as u64
    }

    fn share(&self, beats: u64) -> f64 {
        100.0 * beats as f64 / self.beats().max(1) as f64
    }

    fn name(&self, id: i64) -> Option<String> {
        self.state.monitors.contains_key(&id).then(|| self.state.path(id))
    }
}

pub fn run(args: &StatsArgs, instance: &Instance, context: &mut Context<'_>) -> Result<Exit> {
    let measured = read_from(instance, |reader, name| {
        let state = read_shown_state(reader, name)?;
        let schema = &state.database.schema;
        let history = read_history(reader, schema, Utc::now())?;
        let (space, rows) = (read_space(reader)?, read_counts(reader, schema)?);
        Ok(Measured { history, space, rows, state })
    })?;
    context.ui.result(&document(&measured), || text(&measured, args.top))?;
    Ok(Exit::Done)
}

fn document(measured: &Measured) -> Json {
    let Measured { history, space, .. } = measured;
    let tables: Vec<Json> = measured
        .tables()
        .iter()
        .map(|(table, rows, space)| {
            json!({"table": table, "rows": rows, "bytes": space.rows, "index_bytes": space.indexes, "free_bytes": space.free})
        })
        .collect();
    let monitors: Vec<Json> = measured
        .monitors()
        .iter()
        .map(|(id, beats)| {
            json!({
                "id": id, "path": measured.name(*id), "heartbeats": beats.rows, "share": measured.share(beats.rows),
                "important": beats.important, "oldest": utc_time(&beats.oldest), "newest": utc_time(&beats.newest),
                "server_deletes": beats.server_deletes,
            })
        })
        .collect();
    let layout = space.layout.map(|layout| {
        json!({
            "page_size": layout.page_size, "pages": layout.pages, "free_pages": layout.free_pages,
            "auto_vacuum": layout.auto_vacuum.word(),
        })
    });
    let amount = |beats: u64| json!({"heartbeats": beats, "bytes": measured.bytes_of(beats)});
    let mut deletes = history.old_statistics.clone();
    deletes.insert("heartbeat".into(), history.monitors.values().map(|beats| beats.server_deletes).sum());
    json!({
        "size_bytes": space.total, "free_bytes": space.free, "sqlite": layout, "tables": tables, "monitors": monitors,
        "heartbeats": measured.beats(), "per_day": amount(history.per_day), "in_30_days": amount(history.ahead),
        "retention": {"set": history.retention.set, "days": history.retention.days, "deletes_unimportant": history.retention.thins},
        "server_deletes": deletes,
    })
}

fn text(measured: &Measured, top: usize) -> String {
    let Measured { history, space, .. } = measured;
    let tables = measured
        .tables()
        .into_iter()
        .filter(|(_, rows, _)| *rows > 0)
        .take(10)
        .map(|(table, rows, space)| vec![table.clone(), rows.to_string(), bytes(space.rows), bytes(space.indexes)])
        .collect();
    let monitors = measured.monitors();
    let shown = if top == 0 { monitors.len() } else { top };
    let rows = monitors
        .iter()
        .take(shown)
        .map(|(id, beats)| {
            vec![
                id.to_string(),
                measured.name(*id).unwrap_or_else(|| "(no such monitor)".into()),
                beats.rows.to_string(),
                format!("{:.1}", measured.share(beats.rows)),
                beats.important.to_string(),
                shown_time(&beats.oldest),
                shown_time(&beats.newest),
            ]
        })
        .collect();
    let mut text = Ui::table(&["table", "rows", "size", "indexes"], tables);
    if !monitors.is_empty() {
        let headers = ["id", "monitor", "heartbeats", "%", "important", "oldest", "newest"];
        text.push_str(&format!("\n\n{}", Ui::table(&headers, rows)));
    }
    if monitors.len() > shown {
        text.push_str(&format!("\n… and {} more; to show all: --top 0", monitors.len() - shown));
    }
    let deletes: u64 = history.monitors.values().map(|beats| beats.server_deletes).sum();
    let old: u64 = history.old_statistics.values().sum();
    let lines = [
        format!("size       {}, {} of it free{}", bytes(space.total), bytes(space.free), mode(space)),
        format!(
            "growth     {} heartbeats a day ({}); {} in {AHEAD} days ({})",
            history.per_day,
            bytes(measured.bytes_of(history.per_day)),
            history.ahead,
            bytes(measured.bytes_of(history.ahead))
        ),
        format!("retention  {}", retention(history)),
        format!("cleanup    the server's next cleanup deletes {deletes} heartbeats and {old} rows of statistics"),
    ];
    format!("{text}\n\n{}", lines.join("\n"))
}

fn mode(space: &Space) -> String {
    space.layout.map_or_else(String::new, |layout| format!(" (auto_vacuum {})", layout.auto_vacuum.word()))
}

fn retention(history: &History) -> String {
    let retention = history.retention;
    let days = match (retention.days, retention.set) {
        (..=0, _) => "unlimited".to_owned(),
        (days, Some(_)) => format!("{days} days"),
        (days, None) => format!("{days} days (default)"),
    };
    if retention.thins {
        format!(
            "{days}; after one day the server keeps only status changes and the newest 100 heartbeats of each monitor"
        )
    } else {
        days
    }
}
