//! `kumadb doctor`

use chrono::Utc;
use clap::Args;
use serde_json::{Value as Json, json};

use super::fixes::{Fixes, collect, files_json};
use super::fleet::{self, Fleet, FleetArgs};
use super::inputs::Inputs;
use super::password::PasswordArgs;
use super::salvage::{rebuilt_json, rebuilt_text, salvaged_text};
use super::write::{WriteArgs, all_lines, changes_json, finish, lines, outcome_json};
use super::{Context, Ui};
use crate::backup::Manifest;
use crate::backup::store::Listing;
use crate::doctor::{self, CHECKS, CHOSEN_BY_NAME, Check, Evidence, Finding, Fix};
use crate::engine::{Depth, EngineKind};
use crate::error::{DatabaseError, Error, Exit, InputError, Result};
use crate::instance::{DbLocation, Instance};
use crate::kuma::damaged::DamagedDb;
use crate::kuma::fresh::{Salvaged, TableReport, estimate};
use crate::kuma::read::is_configuration;
use crate::model::entities::noun;
use crate::operation::examine::{gather, gather_nowhere, gather_stopped};
use crate::operation::{self, Outcome, RebuiltFrom, Settings, Transaction};
use crate::schema::Release;
use crate::text::{self, QUOTE, age_words, counted, one_line};

/// Lines of the log that are shown of a server in a restart loop.
const SHOWN_LOG: usize = 20;

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Check only these codes: K001 K014 [default: all]
    #[arg(value_name = "CODE", value_parser = code)]
    codes: Vec<&'static str>,
    /// Fix findings, after a confirmation prompt and a snapshot
    #[arg(long)]
    pub fix: bool,
    /// Explain a code; list all codes without one
    #[arg(long, value_name = "CODE", value_parser = code, num_args = 0..=1, default_missing_value = "0", conflicts_with = "fix")]
    explain: Option<&'static str>,
    /// Run every check of the database engine, however long it takes
    #[arg(long)]
    full: bool,
    /// Set the release of a damaged database that cannot be detected
    #[arg(long, value_name = "RELEASE", requires = "fix")]
    release: Option<Release>,
    /// Exit with 20 when there are findings
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    pub fleet: FleetArgs,
}

/// Reads a code; `0` stands for all of them.
fn code(text: &str) -> Result<&'static str, String> {
    match text {
        "0" => Ok("0"),
        text => doctor::check(text)
            .map(|check| check.code)
            .ok_or_else(|| format!("unknown code `{text}`; to list all: kumadb doctor --explain")),
    }
}

impl DoctorArgs {
    /// Whether it only explains a code.
    pub fn explains(&self) -> bool {
        self.explain.is_some()
    }

    /// Packs the password for a remote job. One that is not in a file is asked for only if it has to be set.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        if self.password.has_file() { self.password.pack(inputs) } else { Ok(()) }
    }
}

pub fn run(args: &DoctorArgs, context: &mut Context<'_>) -> Result<Exit> {
    if let Some(code) = args.explain {
        return explain(code, context);
    }
    if args.fleet.is_many() {
        return fleet::run(&Fleet { args: args.fleet.clone(), more: &[], words }, context);
    }
    let instance = match context.location() {
        Ok(location) => location.local()?,
        Err(error) if args.fix => return Err(error),
        Err(error) => {
            let evidence = gather_nowhere(error, Utc::now())?;
            let findings = examine(&evidence, args);
            return report(&evidence, &findings, args, context);
        }
    };
    let mut evidence = look(&instance, args);
    context.ui.cancel().check()?;
    let is_looping = !args.write.is_dry_run() && ends_with_its_database(&evidence);
    let stopped = Settings { opens_lock: true, ..args.write.settings("doctor") };
    let is_stopped = is_looping && may_stop(&instance, args, context.ui)?;
    if is_stopped {
        evidence = gather_stopped(&instance, Utc::now(), depth(args), &stopped, context.ui)?;
    }
    let mut findings = examine(&evidence, args);
    if args.fix && !args.full && findings.iter().any(doctor::deletes_orphans) {
        // An index without some rows looks the same as rows that are missing.
        evidence = if is_stopped {
            gather_stopped(&instance, Utc::now(), Depth::Full, &stopped, context.ui)?
        } else {
            gather(&instance, Utc::now(), Depth::Full)
        };
        findings = examine(&evidence, args);
    }
    if args.fix {
        fix(&instance, &evidence, &findings, args, context)
    } else {
        report(&evidence, &findings, args, context)
    }
}

/// Asks whether the server may be stopped for the look. Without `--fix`, the rest can be examined anyway.
fn may_stop(instance: &Instance, args: &DoctorArgs, ui: &mut Ui) -> Result<bool> {
    let question = format!("stop `{}`, which is in a restart loop, to check its database?", instance.name);
    match ui.ask(&question) {
        Err(Error::Input(InputError::ConfirmationRequired | InputError::Cancelled)) if !args.fix => Ok(false),
        asked => asked.map(|()| true),
    }
}

fn look(instance: &Instance, args: &DoctorArgs) -> Evidence {
    gather(instance, Utc::now(), depth(args))
}

fn depth(args: &DoctorArgs) -> Depth {
    if args.full { Depth::Full } else { Depth::Structure }
}

/// Whether the database could not be read because its container is in a restart loop.
fn ends_with_its_database(evidence: &Evidence) -> bool {
    let is_embedded = evidence.folder.as_ref().is_some_and(|folder| folder.embedded);
    evidence.database.is_none() && is_embedded && evidence.container.as_ref().is_some_and(|container| container.looping)
}

fn examine(evidence: &Evidence, args: &DoctorArgs) -> Vec<Finding> {
    let mut findings = doctor::examine(evidence);
    findings.retain(|finding| args.codes.is_empty() || args.codes.contains(&finding.code));
    findings
}

/// Shows the findings and returns the exit code.
fn report(evidence: &Evidence, findings: &[Finding], args: &DoctorArgs, context: &mut Context<'_>) -> Result<Exit> {
    warn_unread(evidence, context.ui);
    context.ui.result(&document(evidence, findings), || {
        let mut text = match (findings.is_empty(), evidence.unread.is_empty()) {
            (true, false) => "no findings in the parts that could be checked".into(),
            _ => findings_text(findings),
        };
        let log = evidence.container.as_ref().filter(|container| container.looping);
        if let Some(container) = log {
            text.push_str(&format!("\n\ncontainer `{}` is in a restart loop; last lines of its log:", container.name));
            let lines: Vec<&String> = container.log.iter().filter(|line| !line.trim().is_empty()).collect();
            let first = lines.len().saturating_sub(SHOWN_LOG);
            text.extend(lines[first..].iter().map(|line| format!("{QUOTE}{}", one_line(line))));
        }
        if ends_with_its_database(evidence) {
            text.push_str("\n\nto check its database too: kumadb doctor --yes (stops the server meanwhile)");
        }
        if findings.iter().any(|finding| is_fixed(finding, args)) || ends_with_its_database(evidence) {
            text.push_str("\n\nto fix this: kumadb doctor --fix (asks for confirmation)");
        }
        text
    })?;
    Ok(match (findings.is_empty(), evidence.unread.is_empty()) {
        (false, _) if args.detailed_exitcode => Exit::Changes,
        (_, false) => Exit::Partial,
        (_, true) => Exit::Done,
    })
}

/// Whether `--fix` fixes it: what a person has to choose only if they named it.
fn is_fixed(finding: &Finding, args: &DoctorArgs) -> bool {
    finding.is_fixable() && (!CHOSEN_BY_NAME.contains(&finding.code) || args.codes.contains(&finding.code))
}

fn warn_unread(evidence: &Evidence, ui: &mut Ui) {
    for unread in &evidence.unread {
        ui.warn(&format!("cannot check the {}: {}", unread.part, unread.why));
    }
}

fn findings_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "no findings".into();
    }
    let mut text = Vec::new();
    // An old database may have the same finding in every table.
    for alike in findings.chunk_by(|one, next| one.code == next.code && one.fix() == next.fix()) {
        text.extend(alike.iter().map(what));
        let each = if alike.len() > 1 { " for each" } else { "" };
        text.extend(alike.first().map(|finding| format!("     fix{each}: {}", finding.fix())));
    }
    text.push(counted(findings.len(), "finding"));
    text::lines(text)
}

fn what(finding: &Finding) -> String {
    let explains = match &finding.explains[..] {
        [] => String::new(),
        codes => format!(" (explains {})", codes.join(", ")),
    };
    format!("{} {}: {}{explains}", finding.code, finding.severity.word(), finding.fault.what)
}

fn document(evidence: &Evidence, findings: &[Finding]) -> Json {
    let findings: Vec<Json> = findings
        .iter()
        .map(|finding| {
            let (fault, subject) = (&finding.fault, &finding.fault.subject);
            json!({
                "code": finding.code, "title": finding.title, "severity": finding.severity, "what": fault.what,
                "table": subject.table, "id": subject.id, "column": subject.column, "path": subject.path,
                "fix": finding.fix(), "fixable": finding.is_fixable(), "explains": finding.explains,
            })
        })
        .collect();
    let unread: Vec<Json> =
        evidence.unread.iter().map(|unread| json!({"part": unread.part, "why": unread.why})).collect();
    json!({"findings": findings, "unread": unread, "interrupted": evidence.unfinished})
}

/// The findings that are fixed now: some prevent others from being fixed.
fn fixable_now<'f>(evidence: &Evidence, findings: &'f [Finding], args: &DoctorArgs, ui: &mut Ui) -> Vec<&'f Finding> {
    let mut fixable: Vec<&Finding> = findings.iter().filter(|finding| is_fixed(finding, args)).collect();
    // The server continues its migrations as soon as it can; other findings are fixed afterwards.
    if fixable.iter().any(|finding| finding.code == "K009") {
        fixable.retain(|finding| ["K008", "K009"].contains(&finding.code));
    }
    let salvages = |finding: &Finding| matches!(finding.fault.fix, Fix::Salvage);
    // Other findings need a database that can be read completely: a damaged one may hide the rows that others refer to.
    if !evidence.damage.is_empty() {
        if !fixable.iter().any(|finding| salvages(finding)) {
            ui.warn(if doctor::examine(evidence).iter().any(salvages) {
                "the database is damaged; fix that first: kumadb doctor --fix"
            } else {
                "the database is damaged; restore a snapshot before other findings are fixed: kumadb backup list"
            });
        }
        fixable.retain(|finding| salvages(finding) || matches!(finding.fault.fix, Fix::Files(_)));
    }
    fixable
}

/// Fixes what can be fixed, and examines again.
fn fix(
    instance: &Instance,
    evidence: &Evidence,
    findings: &[Finding],
    args: &DoctorArgs,
    context: &mut Context<'_>,
) -> Result<Exit> {
    let all = findings.iter().filter(|finding| is_fixed(finding, args)).count();
    let fixable = fixable_now(evidence, findings, args, context.ui);
    if fixable.is_empty() {
        return report(evidence, findings, args, context);
    }
    warn_unread(evidence, context.ui);
    context.ui.say_text(&findings_text(findings));
    let fixes = collect(&fixable, evidence, &args.password, context)?;
    let mut settings = Settings {
        opens_lock: fixable.iter().any(|finding| finding.code == "K008"),
        keeps_removed: true,
        ..args.write.settings("doctor --fix")
    };
    // An interrupted migration leaves a database between two known releases.
    settings.allow_unknown_release |= doctor::is_between_releases(evidence);
    if fixes.salvage {
        preview(instance, args.release, context)?;
    }
    if args.write.is_dry_run() {
        return dry_run(&fixes, instance, &settings, context);
    }
    if fixable.len() < all {
        let rest = counted(all - fixable.len(), "other finding");
        let first = match (fixes.salvage, evidence.damage.is_empty()) {
            (true, _) => "the database itself",
            (false, false) => "the files",
            (false, true) => "the migration",
        };
        context.ui.say(&format!("fixing {first} first; to fix {rest}, run this command again afterwards"));
    }
    context.ui.say_text(&format!("\n{}", fixes.text(lines)));
    let changes = fixes.plan.steps.len() + fixes.files.len() + fixes.statements.len() + usize::from(fixes.salvage);
    let made = counted(changes, "change");
    context.ui.ask(&format!("make {made} to fix {}?", counted(fixable.len(), "finding")))?;
    let outcome = fixes.carry_out(instance, args.release, &settings, context)?;
    let after = look(instance, args);
    let left = examine(&after, args);
    let mut document = document(&after, &left);
    if let Json::Object(document) = &mut document {
        document.insert("fixed".into(), fixable.iter().map(|finding| finding.code).collect());
        document.insert("removed".into(), json!(outcome.removed));
        document.insert("rebuilt".into(), outcome.rebuilt.as_ref().map_or(Json::Null, rebuilt_json));
        document.insert("snapshots".into(), json!(outcome.snapshots()));
        document.extend(outcome_json(&outcome));
    }
    warn_unread(&after, context.ui);
    context.ui.result(&document, || fixed_text(fixable.len(), &left, &outcome))?;
    let exit = finish(&outcome, context.ui)?;
    let all_there = outcome.rebuilt.as_ref().is_none_or(RebuiltFrom::is_whole);
    let is_whole = left.is_empty() && after.unread.is_empty() && all_there;
    Ok(if is_whole { exit } else { Exit::Partial })
}

/// What was fixed, and what is `left`.
fn fixed_text(fixed: usize, left: &[Finding], outcome: &Outcome) -> String {
    let mut text = if left.is_empty() {
        format!("fixed {}; checked again: no findings", counted(fixed, "finding"))
    } else {
        format!("checked again:\n{}", findings_text(left))
    };
    if let Some(made) = &outcome.rebuilt {
        text.insert_str(0, &format!("{}\n\n", rebuilt_text(made)));
    }
    match (&outcome.removed, &outcome.rebuilt) {
        (Some(path), None) => text.push_str(&format!("\nthe deleted rows are saved in {}", path.display())),
        (Some(path), _) => text.push_str(&format!("\ndoubtful and skipped rows are listed in {}", path.display())),
        (None, _) => {}
    }
    let snapshots = outcome.snapshots();
    if snapshots.len() > 1 {
        text.push_str(&format!("\nundo snapshots, one for each part: {}", snapshots.join(", ")));
    }
    text
}

/// Tests what can be tested without changing anything, and reports what was not.
fn dry_run(fixes: &Fixes, instance: &Instance, settings: &Settings, context: &mut Context<'_>) -> Result<Exit> {
    operation::dry_run_files(&fixes.files)?;
    let mut tried = Vec::new();
    if !fixes.files.is_empty() {
        tried.push(format!("{} checked", counted(fixes.files.len(), "file change")));
    }
    // MariaDB cannot roll them back, and has no copy.
    let untried = if instance.engine() == EngineKind::MariaDb { fixes.statements.len() } else { 0 };
    if !fixes.plan.is_empty() || untried < fixes.statements.len() {
        let transaction = Transaction::Fixes(fixes.of_database());
        operation::dry_run_transaction(instance, &transaction, settings, context.ui)?;
    }
    if !fixes.plan.is_empty() {
        tried.push(format!("{} rolled back", counted(fixes.plan.steps.len(), "row change")));
    }
    let statements = counted(fixes.statements.len(), "statement");
    match (fixes.statements.len(), untried) {
        (0, _) => {}
        (_, 0) => tried.push(format!("{statements} rolled back")),
        _ => tried.push(format!("{statements} not tested (MariaDB cannot roll them back)")),
    }
    if fixes.salvage {
        tried.push("the new database was not built".into());
    }
    let document = json!({
        "dry_run": true, "changes": changes_json(&fixes.plan), "files": files_json(&fixes.files),
        "statements": fixes.statements, "untested_statements": untried, "salvage": fixes.salvage,
    });
    context.ui.result(&document, || {
        format!("{}\ndry run: {}; nothing was changed", fixes.text(all_lines), tried.join(", "))
    })?;
    Ok(Exit::Done)
}

/// Shows what could be recovered from a damaged database now, and which snapshot has more of the configuration.
fn preview(instance: &Instance, release: Option<Release>, context: &mut Context<'_>) -> Result<()> {
    let DbLocation::Sqlite(file) = &instance.place else { return Ok(()) };
    match estimate(&DamagedDb::open(file.path())?, release) {
        Ok(salvaged) => {
            context.ui.say_text(&format!("\nrecoverable rows:\n{}", salvaged_text(&salvaged)));
            name_snapshot(instance, &salvaged, context)?;
        }
        // It may be intact without its WAL, or apart from its indexes.
        Err(error @ Error::Database(DatabaseError::ReleaseNotFound(_))) => context.ui.warn(&error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Names the newest snapshot with more rows of the configuration than `salvaged`, if its rows are not complete.
fn name_snapshot(instance: &Instance, salvaged: &Salvaged, context: &mut Context<'_>) -> Result<()> {
    let lossy: Vec<&TableReport> =
        salvaged.tables.iter().filter(|report| is_configuration(&report.table) && !report.is_whole()).collect();
    if lossy.is_empty() {
        return Ok(());
    }
    let stores = context.stores()?;
    // A store that does not respond does not prevent the fix.
    let listing = stores.list().unwrap_or_else(|error| Listing { unusable: vec![error], ..Listing::default() });
    listing.unusable.iter().for_each(|error| context.ui.warn(&error.to_string()));
    let more = |manifest: &Manifest| {
        let more = |report: &&TableReport| {
            let found = report.rows.certain + report.rows.doubtful - report.left_out;
            let more = manifest.rows(&report.table).saturating_sub(found);
            (more > 0).then(|| counted(more as usize, noun(&report.table)))
        };
        lossy.iter().filter_map(more).collect::<Vec<_>>()
    };
    let all = listing.snapshots.iter().rev().map(|snapshot| &snapshot.manifest);
    let found = all
        .filter(|manifest| stores.is_of(manifest, &instance.origin()) && !manifest.raw)
        .map(|manifest| (manifest, more(manifest)))
        .find(|(_, more)| !more.is_empty());
    context.ui.warn(&match found {
        Some((manifest, more)) => format!(
            "snapshot {id} ({} old) has {} more than can be recovered; to restore it instead: kumadb restore {id}; to bring \
             back single monitors after this fix: kumadb restore {id} --monitor NAME",
            age_words(Utc::now() - manifest.created),
            more.join(", "),
            id = manifest.id,
        ),
        None => "rows of the configuration are lost, and no snapshot of this instance has more of them".to_owned(),
    });
    Ok(())
}

/// Summary of one instance for the table of many.
fn words(document: &Json) -> String {
    let findings = document["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let mut codes: Vec<&str> = findings.iter().filter_map(|finding| finding["code"].as_str()).collect();
    codes.dedup();
    match findings.len() {
        0 => "no findings".into(),
        n => format!("{}: {}", counted(n, "finding"), codes.join(" ")),
    }
}

/// Explains one code, or lists all.
fn explain(code: &str, context: &mut Context<'_>) -> Result<Exit> {
    let checks: Vec<&Check> = CHECKS.iter().filter(|check| code == "0" || check.code == code).collect();
    let documents: Vec<Json> = checks
        .iter()
        .map(|check| {
            json!({
                "code": check.code, "title": check.title, "severity": check.severity,
                "explanation": check.explanation, "fix": check.fix, "explains": check.explains,
            })
        })
        .collect();
    context.ui.result(&json!({"codes": documents}), || match checks.as_slice() {
        [check] => format!("{}: {}\n\n{}\n\nFix: {}.", check.code, check.title, check.explanation, check.fix),
        _ => Ui::table(
            &["code", "severity", "finding"],
            checks
                .iter()
                .map(|check| [check.code, check.severity.word(), check.title].map(str::to_owned).into())
                .collect(),
        ),
    })?;
    Ok(Exit::Done)
}
