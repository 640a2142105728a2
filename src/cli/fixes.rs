//! The changes that `kumadb doctor --fix` makes: collected from findings, shown, carried out.

use serde_json::{Value as Json, json};

use super::password::PasswordArgs;
use super::write::all_lines;
use super::{Context, Ui};
use crate::doctor::{self, Evidence, FileChange, Finding, Fix};
use crate::error::{Error, InputError, OperationError, Result};
use crate::instance::Instance;
use crate::kuma::init::{check_password, hash};
use crate::operation::{self, DoneOf, FixProgress, Outcome, Replacement, Settings, Transaction, Work};
use crate::plan::{Assignment, Change, Plan, PlanStep};
use crate::schema::Release;
use crate::text::one_line;

/// Everything that will be changed, by kind.
pub struct Fixes {
    /// The database is damaged: a new one is built, and its rows are examined afterwards.
    pub salvage: bool,
    /// Changes of files.
    pub files: Vec<FileChange>,
    /// Changes of rows.
    pub plan: Plan,
    /// Changes of the structure.
    pub statements: Vec<String>,
}

/// The changes that fix `findings`; asks for a password where one has to be set.
pub fn collect(
    findings: &[&Finding],
    evidence: &Evidence,
    password: &PasswordArgs,
    context: &mut Context<'_>,
) -> Result<Fixes> {
    let plan = doctor::plan_fixes(findings, evidence);
    let mut fixes = Fixes { salvage: false, files: Vec::new(), plan, statements: Vec::new() };
    for finding in findings {
        match &finding.fault.fix {
            Fix::Statements(statements) => {
                for statement in statements {
                    if !fixes.statements.contains(statement) {
                        fixes.statements.push(statement.clone());
                    }
                }
            }
            Fix::Salvage => fixes.salvage = true,
            Fix::Files(changes) => fixes.files.extend(changes.iter().cloned()),
            Fix::Password { id, name, old } => {
                let password = password.read(name, context)?;
                if let Some(problem) = check_password(&password) {
                    return Err(Error::Input(InputError::Problems(vec![problem])));
                }
                let set = vec![Assignment {
                    column: "password".into(),
                    old: old.clone(),
                    new: hash(&password)?.into(),
                    secret: true,
                }];
                let change = Change::Update { id: *id, set };
                fixes.plan.steps.push(PlanStep { table: "user".into(), subject: format!("user `{name}`"), change });
            }
            Fix::Rows(_) | Fix::Advice(_) => {}
        }
    }
    if fixes.plan.is_empty() {
        // Statements do not depend on the rows of the configuration.
        fixes.plan.fingerprint = None;
    }
    Ok(fixes)
}

impl Fixes {
    /// What is done, a line for each.
    pub fn text(&self, lines: fn(&Plan) -> String) -> String {
        let mut text: Vec<String> = self.files.iter().map(|change| one_line(&file_line(change)).into_owned()).collect();
        if self.salvage {
            text.push("~ build a new database from the damaged one; the snapshot keeps its files".into());
        }
        let (deleted, kept): (Vec<PlanStep>, Vec<PlanStep>) =
            self.plan.steps.iter().cloned().partition(PlanStep::is_delete);
        if !kept.is_empty() {
            text.push(lines(&Plan { steps: kept, ..Plan::default() }));
        }
        if !deleted.is_empty() {
            text.push("DELETED, and saved in a file beside the snapshot:".into());
            // All of them, however many there are.
            text.push(all_lines(&Plan { steps: deleted, ..Plan::default() }));
        }
        text.extend(self.statements.iter().map(|statement| format!("~ {}", one_line(statement))));
        text.join("\n")
    }

    /// The rows and the statements.
    pub fn of_database(&self) -> operation::Fixes<'_> {
        operation::Fixes { plan: &self.plan, statements: &self.statements }
    }

    /// Files first: a database that cannot be written cannot be fixed either. Then all of the database, in one operation where a
    /// rollback allows that (never while the server is running); otherwise the statements are an operation of their own, after the rows.
    pub fn carry_out(
        &self,
        instance: &Instance,
        release: Option<Release>,
        settings: &Settings,
        context: &mut Context<'_>,
    ) -> Result<Outcome> {
        let store = context.store()?;
        let (none, all) = (Plan::default(), self.of_database());
        let works: Vec<Work<'_>> = match (self.salvage, all.are_one(instance.engine(), settings.mode)) {
            (true, _) => vec![Replacement::Salvage(release).into()],
            (false, true) => vec![Transaction::Fixes(all).into()],
            (false, false) => {
                let statements = operation::Fixes { plan: &none, ..all };
                vec![Transaction::Plan(&self.plan).into(), Transaction::Fixes(statements).into()]
            }
        };
        let part = |done, all| DoneOf { done, all };
        let mut settings = settings.clone();
        settings.fixes = Some(FixProgress {
            files: part(0, self.files.len()),
            rows: part(0, self.plan.steps.len()),
            statements: part(0, self.statements.len()),
        });
        let mut outcome = Outcome::default();
        if !self.files.is_empty() {
            outcome = operation::repair(instance, &self.files, &settings, context.ui)?;
        }
        for work in works {
            settings.fixes = outcome.fixes.or(settings.fixes);
            match operation::run(instance, &store, work, &settings, context.ui) {
                Ok(next) => outcome = outcome.then(next),
                Err(error) => {
                    if let Some(fixes) = &mut outcome.fixes {
                        fixes.statements.done = statements_that_stay(&error);
                    }
                    warn_of_made(&outcome, context.ui);
                    return Err(error);
                }
            }
        }
        Ok(outcome)
    }
}

/// The number of statements that were executed before `error`, and were not rolled back.
fn statements_that_stay(error: &Error) -> usize {
    match error {
        Error::Operation(OperationError::StatementsStay { done, .. }) => *done,
        Error::Operation(
            OperationError::RolledBack { cause } | OperationError::RollbackFailed { cause, is_back: true, .. },
        ) => statements_that_stay(cause),
        _ => 0,
    }
}

/// Warns of what earlier parts have made, where a later one failed.
fn warn_of_made(outcome: &Outcome, ui: &mut Ui) {
    outcome.warnings.iter().for_each(|warning| ui.warn(warning));
    if let Some(made) = outcome.fixes.as_ref().and_then(FixProgress::words) {
        let snapshots = match outcome.snapshots() {
            none if none.is_empty() => String::new(),
            some => format!(" (undo snapshot {})", some.join(", ")),
        };
        ui.warn(&format!("{made}{snapshots}; the next part failed"));
    }
}

fn file_line(change: &FileChange) -> String {
    match change {
        FileChange::Own { path, uid, gid, mode } => {
            format!("~ {}: owner {uid}:{gid}, mode {mode:o}", path.display())
        }
        FileChange::SetAside { path, to } => format!("~ {} → {}", path.display(), to.display()),
    }
}

/// The changes of files.
pub fn files_json(changes: &[FileChange]) -> Json {
    changes
        .iter()
        .map(|change| match change {
            FileChange::Own { path, uid, gid, mode } => {
                json!({"path": path, "action": "chown", "uid": uid, "gid": gid, "mode": format!("{mode:o}")})
            }
            FileChange::SetAside { path, to } => json!({"path": path, "action": "rename", "to": to}),
        })
        .collect()
}
