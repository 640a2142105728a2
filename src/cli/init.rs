//! `kumadb init`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Context;
use crate::engine::EngineKind;
use crate::engine::mariadb::Address;
use crate::error::{Error, Exit, Result};
use crate::kuma::init::{self, NewInstance};
use crate::schema::{self, Release};
use crate::value::Secret;

#[derive(Args, Debug)]
pub struct InitArgs {
    /// A folder that is not there yet (or empty), or mysql://user@host/database of an empty database
    place: String,
    /// The release whose schema it gets; a newer server brings it up to date by itself [default: the newest recorded]
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,
    /// Name of the first user; the password is asked for, or comes from stdin, --password-file or
    /// KUMADB_ADMIN_PASSWORD
    #[arg(long, value_name = "NAME")]
    admin: Option<String>,
    /// Read the password of the first user from this file
    #[arg(long, value_name = "FILE", requires = "admin")]
    password_file: Option<PathBuf>,
    /// The password of the first user, from the environment only
    #[arg(long, env = "KUMADB_ADMIN_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
    /// The server's time zone, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
}

pub fn run(args: &InitArgs, context: &mut Context<'_>) -> Result<Exit> {
    let is_address = ["mysql://", "mariadb://"].iter().any(|scheme| args.place.starts_with(scheme));
    let engine = if is_address { EngineKind::MariaDb } else { EngineKind::Sqlite };
    let mut new = NewInstance {
        release: args.release.unwrap_or_else(schema::newest),
        admin: None,
        timezone: args.timezone.clone(),
    };
    // Everything that needs no password is found out before one is asked for.
    new.check(engine)?;
    if engine == EngineKind::Sqlite {
        init::check_unused(Path::new(&args.place))?;
    }
    if let Some(name) = &args.admin {
        new.admin = Some((name.clone(), password(args, name, context)?));
        new.check(engine)?;
    }
    let what = match engine {
        EngineKind::Sqlite => {
            init::make_folder(Path::new(&args.place), &new)?;
            format!("`{}`", args.place)
        }
        EngineKind::MariaDb => {
            let address = Address::parse(&args.place)?;
            init::fill_database(&address, &new)?;
            crate::engine::Connect::describe(&address)
        }
    };
    let document = json!({"made": what, "release": new.release, "engine": engine, "admin": args.admin});
    context.ui.result(&document, || {
        let user = match &args.admin {
            Some(name) => format!("user `{name}`"),
            None => "no user yet: the server asks for one on its first page".into(),
        };
        format!("made {what}: {engine}, release {}, {user}", new.release)
    })?;
    Ok(Exit::Done)
}

fn password(args: &InitArgs, name: &str, context: &mut Context<'_>) -> Result<Secret> {
    if let Some(path) = &args.password_file {
        let text =
            crate::files::read_text(path)?.ok_or_else(|| Error::Usage(format!("no file `{}`", path.display())))?;
        return Ok(Secret::new(text.lines().next().unwrap_or_default()));
    }
    match &args.password {
        Some(password) => Ok(Secret::new(password)),
        None => context.ui.password(&format!("`{name}`")).map(Secret::new),
    }
}
