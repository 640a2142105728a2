//! `kumadb plan`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use super::document::{self, DocumentArgs, UnmanagedArgs};
use super::fleet::{self, Fleet, FleetArgs};
use super::format::output_file;
use super::tally::{self, summary, summary_json};
use super::write::{changes_json, shown_lines};
use crate::error::{Error, Exit, FileError, InputError, Result};
use crate::files;
use crate::formats::Syntax;
use crate::formats::render::render_json;
use crate::plan::fixture::PlanReport;

/// The newest version of the format of saved plans.
const FORM: u32 = 1;

#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    pub documents: DocumentArgs,
    #[command(flatten)]
    prune: UnmanagedArgs,
    /// Save the plan for `kumadb apply`; it contains secrets (mode 0600)
    #[arg(short, long, value_name = "PLAN", value_parser = output_file())]
    pub output: Option<PathBuf>,
    /// Exit with 20 when there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// A plan in a file.
#[derive(Serialize, Deserialize)]
pub struct SavedPlan {
    /// Always [`FORM`].
    pub kumadb_plan: u32,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// The location of the instance that it was made for.
    pub origin: String,
    /// Its summary, in words.
    pub summary: String,
    /// The plan.
    pub report: PlanReport,
}

impl SavedPlan {
    /// Reads the plan in `path`; `None` where the file is not a plan but a fixture.
    ///
    /// # Errors
    /// A plan that this version cannot read.
    pub fn read(path: &Path) -> Result<Option<SavedPlan>> {
        // Any file name is accepted, unless its extension contradicts that.
        if path.is_dir() || !matches!(path.to_str().and_then(Syntax::of), None | Some(Syntax::Json)) {
            return Ok(None);
        }
        let mut first = [0];
        let head = std::fs::File::open(path).and_then(|mut file| file.read(&mut first));
        if head.is_ok() && first != *b"{" {
            return Ok(None);
        }
        let Some(text) = files::read_text(path)?.filter(|text| text.contains("\"kumadb_plan\"")) else {
            return Ok(None);
        };
        let wrong = |why: String| Error::problem(&path.display().to_string(), why);
        let saved: SavedPlan =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is not a complete plan: {error}")))?;
        match saved.kumadb_plan {
            FORM => Ok(Some(saved)),
            other => Err(wrong(format!(
                "has plan format version {other}, but this kumadb supports version {FORM}; create the plan again"
            ))),
        }
    }
}

pub fn run(args: &PlanArgs, context: &mut Context<'_>) -> Result<Exit> {
    if args.fleet.is_many() {
        if args.output.is_some() {
            return Err(Error::Input(InputError::NotFor {
                option: "`--output`".into(),
                subject: "several instances".into(),
                why: "a plan is for one instance".into(),
            }));
        }
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words: tally::words }, context);
    }
    let instance = context.instance()?;
    let planned = document::plan(&args.documents, args.prune.unmanaged(), &instance, context)?;
    tally::report(&planned, context);
    let plan = &planned.report.plan;
    let summary = summary(&planned);
    let (is_empty, is_whole) = (plan.is_empty(), planned.is_whole());
    let mut found = summary_json(&planned);
    found["changes"] = changes_json(plan);
    found["saved"] = json!(args.output);
    let text =
        if is_empty { summary.clone() } else { format!("{}\n\n{summary}", shown_lines(plan, context.ui).join("\n")) };
    if let Some(path) = &args.output {
        let saved = SavedPlan {
            kumadb_plan: FORM,
            made: Utc::now(),
            origin: instance.origin(),
            summary,
            report: planned.report,
        };
        let saved = serde_json::to_value(&saved)
            .map_err(|error| Error::File(FileError::Encode { what: "the plan", why: error.to_string() }))?;
        files::write_output(path, files::PRIVATE, |file| {
            use std::io::Write as _;
            file.write_all(render_json(&saved).as_bytes())
        })?;
    }
    context.ui.result(&found, || text)?;
    Ok(match (args.detailed_exitcode && !is_empty, is_whole) {
        (true, _) => Exit::Changes,
        (false, true) => Exit::Done,
        (false, false) => Exit::Partial,
    })
}
