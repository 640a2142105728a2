//! `kumadb user …`: manages users, and regains access for those who are locked out.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Context;
use super::format::FormatArgs;
use super::inputs::Inputs;
use super::lazy::Lazy;
use super::password::PasswordArgs;
use super::write::{WriteArgs, WriteRequest, carry_out, input, read_from};
use crate::error::{Error, Exit, InputError, Problem, Result};
use crate::instance::Instance;
use crate::kuma::init;
use crate::kuma::read::read_config;
use crate::model::state::ConfigRows;
use crate::operation::Outcome;
use crate::plan::Plan;
use crate::plan::user::{find_user, plan_adopt, plan_cells};
use crate::text::counted;
use crate::value::{Row, Secret, Value};

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// List users
    #[command(visible_alias = "ls")]
    List(FormatArgs),
    /// Add a user
    Add(Lazy<AddArgs>),
    /// Reset a user's password and end their sessions
    Password(Lazy<PasswordVerb>),
    /// Rename a user
    Rename(Lazy<RenameArgs>),
    /// Disable two-factor authentication of a user
    #[command(name = "disable-2fa")]
    Disable2fa(Lazy<WhoArgs>),
    /// Activate an inactive user
    Activate(Lazy<WhoArgs>),
    /// Assign orphaned items to a user
    Adopt(Lazy<WhoArgs>),
    /// Sign out all users by replacing the session secret
    #[command(name = "sign-out")]
    SignOut(Lazy<SignOutArgs>),
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// Set the user name
    name: String,
    #[command(flatten)]
    pub password: PasswordArgs,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
pub struct PasswordVerb {
    /// Select the user [default: the only one]
    name: Option<String>,
    #[command(flatten)]
    pub password: PasswordArgs,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
pub struct RenameArgs {
    /// Select the user
    name: String,
    /// Set the new name
    new: String,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
pub struct WhoArgs {
    /// Select the user [default: the only one]
    name: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
pub struct SignOutArgs {
    #[command(flatten)]
    write: WriteArgs,
}

impl UserVerb {
    /// Adds what it reads on this machine to `inputs`.
    pub fn pack(&self, inputs: &mut Inputs) -> Result<()> {
        match self {
            UserVerb::Add(args) => args.password.pack(inputs),
            UserVerb::Password(args) => args.password.pack(inputs),
            UserVerb::List(_)
            | UserVerb::Rename(_)
            | UserVerb::Disable2fa(_)
            | UserVerb::Activate(_)
            | UserVerb::Adopt(_)
            | UserVerb::SignOut(_) => Ok(()),
        }
    }
}

pub fn run(verb: &UserVerb, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let config = read_from(&instance, read_config)?;
    match verb {
        UserVerb::List(format) => list(*format, &config, context),
        UserVerb::Add(args) => add(args, &instance, &config, context),
        UserVerb::Password(args) => {
            let user = known(&config, args.name.as_deref())?;
            let password = new_password(&args.password, name(user), context)?;
            let done_text = format!("changed the password of user `{}`", name(user));
            let cells = [("password", init::hash(&password)?.into())];
            change("user password", &config, user, &cells, &done_text).write(&args.write, &instance, &config, context)
        }
        UserVerb::Rename(args) => {
            let user = known(&config, Some(&args.name))?;
            check_new(&args.new, &instance, &config)?;
            let done_text = format!("renamed user `{}` to `{}`", args.name, args.new);
            let cells = [("username", args.new.as_str().into())];
            change("user rename", &config, user, &cells, &done_text).write(&args.write, &instance, &config, context)
        }
        UserVerb::Disable2fa(args) => {
            let user = known(&config, args.name.as_deref())?;
            let done_text = format!("disabled two-factor authentication of user `{}`", name(user));
            let cells = [("twofa_status", 0.into()), ("twofa_secret", Value::Null), ("twofa_last_token", Value::Null)];
            change("user disable-2fa", &config, user, &cells, &done_text).write(
                &args.write,
                &instance,
                &config,
                context,
            )
        }
        UserVerb::Activate(args) => {
            let user = known(&config, args.name.as_deref())?;
            let done_text = format!("activated user `{}`", name(user));
            change("user activate", &config, user, &[("active", 1.into())], &done_text).write(
                &args.write,
                &instance,
                &config,
                context,
            )
        }
        UserVerb::Adopt(args) => {
            let user = known(&config, args.name.as_deref())?;
            let plan = plan_adopt(&config, user.int("id").unwrap_or_default());
            let done_text = format!("assigned {} to user `{}`", counted(plan.steps.len(), "item"), name(user));
            PlannedChange { verb: "user adopt", plan, done_text }.write(&args.write, &instance, &config, context)
        }
        UserVerb::SignOut(args) => sign_out(args, &instance, &config, context),
    }
}

fn list(format: FormatArgs, config: &ConfigRows, context: &mut Context<'_>) -> Result<Exit> {
    let users = config.rows("user");
    let owned = |user: &Row| config.rows("monitor").iter().filter(|row| row.int("user_id") == user.int("id")).count();
    let documents: Vec<Json> = users
        .iter()
        .map(|user| {
            json!({
                "id": user.int("id"),
                "name": name(user),
                "active": user.cell("active").truthy(),
                "twofa": user.cell("twofa_status").truthy(),
                "monitors": owned(user),
            })
        })
        .collect();
    context.ui.result(&json!({"users": documents}), || {
        let on = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let line = |user: &Row| {
            let id = user.int("id").unwrap_or_default().to_string();
            let (active, twofa) = (on(user.cell("active").truthy()), on(user.cell("twofa_status").truthy()));
            vec![id, name(user).to_owned(), active, twofa, owned(user).to_string()]
        };
        let around = |table| match users {
            [] => "no users yet: create one on the setup page of the web UI".into(),
            _ => table,
        };
        format.text(&["id", "name", "active", "2fa", "monitors"], users.iter().map(line).collect(), around)
    })?;
    Ok(Exit::Done)
}

fn add(args: &AddArgs, instance: &Instance, config: &ConfigRows, context: &mut Context<'_>) -> Result<Exit> {
    check_new(&args.name, instance, config)?;
    let password = new_password(&args.password, &args.name, context)?;
    let mut plan = Plan::of(&config.fingerprint);
    let cells = [
        ("username", Value::from(args.name.as_str())),
        ("password", init::hash(&password)?.into()),
        ("active", 1.into()),
    ];
    let row = cells.into_iter().map(|(column, value)| (column.to_owned(), value.into())).collect();
    plan.insert("user", format!("user `{}`", args.name), row);
    let done_text = format!("added user `{}`", args.name);
    PlannedChange { verb: "user add", plan, done_text }.write(&args.write, instance, config, context)
}

fn sign_out(args: &SignOutArgs, instance: &Instance, config: &ConfigRows, context: &mut Context<'_>) -> Result<Exit> {
    let mut plan = Plan::of(&config.fingerprint);
    let secret = init::session_secret()?;
    let subject = "setting `jwtSecret`";
    match config.setting("jwtSecret") {
        Some(row) => plan_cells(&mut plan, "setting", subject, row, &[("value", secret.into())]),
        None => {
            let row = vec![("key".to_owned(), "jwtSecret".into()), ("value".to_owned(), secret.into())];
            plan.insert("setting", subject, row);
        }
    }
    let done_text = "signed out all users".to_owned();
    PlannedChange { verb: "user sign-out", plan, done_text }.write(&args.write, instance, config, context)
}

fn name(user: &Row) -> &str {
    user.text("username").unwrap_or_default()
}

fn known<'c>(config: &'c ConfigRows, name: Option<&str>) -> Result<&'c Row> {
    find_user(config, name).map_err(|problem| Error::Input(InputError::Problems(vec![problem])))
}

fn new_password(args: &PasswordArgs, name: &str, context: &mut Context<'_>) -> Result<Secret> {
    let password = args.read(name, context)?;
    match init::check_password(&password) {
        None => Ok(password),
        Some(problem) => Err(Error::Input(InputError::Problems(vec![problem]))),
    }
}

/// The problems with the name of a new user.
fn check_new(name: &str, instance: &Instance, config: &ConfigRows) -> Result<()> {
    let taken = config.rows("user").iter().any(|row| row.text("username") == Some(name));
    let taken =
        taken.then(|| Problem::new("user name", format!("`{name}` already exists")).command("kumadb user list"));
    let problems: Vec<Problem> = init::check_name(name, instance.engine()).into_iter().chain(taken).collect();
    input(if problems.is_empty() { Ok(()) } else { Err(problems) })
}

/// One change, and its result line.
pub struct PlannedChange {
    pub verb: &'static str,
    pub plan: Plan,
    pub done_text: String,
}

/// New cells for one user.
fn change(
    verb: &'static str,
    config: &ConfigRows,
    user: &Row,
    cells: &[(&str, Value)],
    done_text: &str,
) -> PlannedChange {
    let mut plan = Plan::of(&config.fingerprint);
    plan_cells(&mut plan, "user", &format!("user `{}`", name(user)), user, cells);
    PlannedChange { verb, plan, done_text: done_text.to_owned() }
}

impl PlannedChange {
    /// Writes it, through the write path.
    pub fn write(
        self,
        args: &WriteArgs,
        instance: &Instance,
        config: &ConfigRows,
        context: &mut Context<'_>,
    ) -> Result<Exit> {
        let PlannedChange { verb, plan, done_text } = self;
        let done = |_: &Outcome| (json!({"changed": done_text}), vec![done_text.clone()]);
        let question = (plan.steps.len() > 1).then(|| format!("change {}?", counted(plan.steps.len(), "row")));
        carry_out(&WriteRequest { verb, plan, names: config, question, done: &done }, args, instance, context)
    }
}
