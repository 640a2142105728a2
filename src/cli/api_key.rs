//! `kumadb api-key …`: keys for `/metrics`.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Context;
use super::document::{Read, plan_on, read_written};
use super::format::FormatArgs;
use super::lazy::Lazy;
use super::user::PlannedChange;
use super::write::{WriteArgs, read_from};
use crate::cli::apply::carry_out_planned;
use crate::error::{Error, Exit, InputError, Result};
use crate::formats::{At, Node};
use crate::kuma::read::read_config;
use crate::model::state::ConfigRows;
use crate::plan::Plan;
use crate::plan::fixture::ApplyOptions;
use crate::plan::user::{find_key, plan_cells};
use crate::value::{Row, shown_time};

#[derive(Debug, Subcommand)]
pub enum ApiKeyVerb {
    /// List API keys
    #[command(visible_alias = "ls")]
    List(FormatArgs),
    /// Create an API key and print it once
    Add(Lazy<AddArgs>),
    /// Disable an API key
    Disable(Lazy<ApiKeyArgs>),
    /// Enable an API key
    Enable(Lazy<ApiKeyArgs>),
    /// Delete an API key
    Delete(Lazy<ApiKeyArgs>),
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// Set the name of the key
    name: String,
    /// Set when the key expires, UTC: 2027-01-31 or '2027-01-31 12:00:00' [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Args, Debug)]
pub struct ApiKeyArgs {
    /// Select the key by name or id
    key: String,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(verb: &ApiKeyVerb, context: &mut Context<'_>) -> Result<Exit> {
    match verb {
        ApiKeyVerb::List(format) => list(*format, context),
        ApiKeyVerb::Add(args) => add(args, context),
        ApiKeyVerb::Disable(args) => switch(args, false, context),
        ApiKeyVerb::Enable(args) => switch(args, true, context),
        ApiKeyVerb::Delete(args) => delete(args, context),
    }
}

fn list(format: FormatArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let config = read_from(&instance, read_config)?;
    let keys = config.rows("api_key");
    let expires = |key: &Row| key.text("expires").map(str::to_owned);
    let documents: Vec<Json> = keys
        .iter()
        .map(|key| {
            let active = key.cell("active").truthy();
            json!({"id": key.int("id"), "name": key.text("name"), "active": active, "expires": expires(key)})
        })
        .collect();
    context.ui.result(&json!({"api_keys": documents}), || {
        let line = |key: &Row| {
            let active = if key.cell("active").truthy() { "yes" } else { "no" };
            let id = key.int("id").unwrap_or_default().to_string();
            vec![
                id,
                key.text("name").unwrap_or_default().to_owned(),
                active.into(),
                expires(key).map_or(String::new(), |at| shown_time(&at)),
            ]
        };
        let around = |table| if keys.is_empty() { "no API keys yet".into() } else { table };
        format.text(&["id", "name", "active", "expires"], keys.iter().map(line).collect(), around)
    })?;
    Ok(Exit::Done)
}

/// Adds the key through a fixture: with the same checks, the same key format, and the same setting that makes the server
/// require keys.
fn add(args: &AddArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let config = read_from(&instance, read_config)?;
    if find_key(&config, &args.name).is_ok_and(|key| key.text("name") == Some(&args.name)) {
        return Err(Error::Input(InputError::Exists { kind: "API key", name: args.name.clone() }));
    }
    let at = At::nowhere("api-key add");
    let text = |text: &str| Node::new(at.clone(), text.replace("${", "$${"));
    let mut key = vec![("name", text(&args.name))];
    key.extend(args.expires.as_deref().map(|expires| ("expires", text(expires))));
    let keys = Node::new(at.clone(), vec![Node::map(at.clone(), key)]);
    let read: Read = read_written(&[Node::map(at.clone(), [("api_keys", keys)])])?;
    let planned = plan_on(config, read, &ApplyOptions::default())?;
    carry_out_planned("api-key add", planned, &args.write, &instance, context)
}

fn switch(args: &ApiKeyArgs, active: bool, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let config = read_from(&instance, read_config)?;
    let key = known(&config, &args.key)?;
    let mut plan = Plan::of(&config.fingerprint);
    plan_cells(&mut plan, "api_key", &subject(key), key, &[("active", active.into())]);
    let (verb, did) = if active { ("api-key enable", "enabled") } else { ("api-key disable", "disabled") };
    let done_text = format!("{did} {}", subject(key));
    PlannedChange { verb, plan, done_text }.write(&args.write, &instance, &config, context)
}

fn delete(args: &ApiKeyArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let config = read_from(&instance, read_config)?;
    let key = known(&config, &args.key)?;
    if !args.write.is_dry_run() {
        context.ui.ask(&format!("delete {}? Clients that use it lose access", subject(key)))?;
    }
    let mut plan = Plan::of(&config.fingerprint);
    plan.delete("api_key", subject(key), ("id", key.int("id").unwrap_or_default()), 1);
    let done_text = format!("deleted {}", subject(key));
    PlannedChange { verb: "api-key delete", plan, done_text }.write(&args.write, &instance, &config, context)
}

fn known<'c>(config: &'c ConfigRows, name: &str) -> Result<&'c Row> {
    find_key(config, name).map_err(|problem| Error::Input(InputError::Problems(vec![problem])))
}

fn subject(key: &Row) -> String {
    format!("API key `{}`", key.text("name").unwrap_or_default())
}
