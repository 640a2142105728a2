//! `kumadb restart` and `kumadb logs`

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Context;
use super::write::{duration, finish, outcome_json};
use crate::error::{Error, Exit, OperationError, Result};
use crate::instance::{Instance, Server};
use crate::run::{self, Settings};

#[derive(Args, Debug)]
pub struct RestartArgs {
    /// How long the server gets to stop (never less than 60s)
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    grace: Duration,
    /// How long the server gets to come up and write a beat
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "3m")]
    deadline: Duration,
}

#[derive(Args, Debug)]
pub struct LogsArgs {
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 50)]
    tail: u32,
    /// Only lines that look like errors, of the present run
    #[arg(long)]
    errors: bool,
}

pub fn run(args: &RestartArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    server(&instance)?;
    let settings = Settings {
        grace: args.grace.max(Duration::from_secs(60)),
        deadline: args.deadline,
        ..Settings::new("restart")
    };
    let outcome = run::restart(&instance, &settings, context.ui)?;
    let mut document = json!({"restarted": instance.name});
    if let Some(document) = document.as_object_mut() {
        document.extend(outcome_json(&outcome));
    }
    context.ui.result(&document, || format!("server `{}` is up", instance.name))?;
    finish(&outcome, context.ui)
}

pub fn logs(args: &LogsArgs, context: &mut Context<'_>) -> Result<Exit> {
    let instance = context.instance()?;
    let server = server(&instance)?;
    let lines = match args.errors {
        true => server.last_errors(),
        false => server.logs(args.tail)?,
    };
    context.ui.result(&json!({"lines": lines}), || lines.join("\n"))?;
    Ok(Exit::Done)
}

fn server(instance: &Instance) -> Result<&Server> {
    instance.container.as_ref().ok_or_else(|| {
        Error::Operation(OperationError::Refused(format!(
            "`{}` has no container that kumadb knows: start and stop its server by hand",
            instance.name
        )))
    })
}
