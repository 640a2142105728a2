//! `kumadb init`

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Context;
use super::password::PasswordArgs;
use crate::engine::EngineKind;
use crate::engine::mariadb::Address;
use crate::error::{Error, Exit, InputError, Result};
use crate::kuma::init::{self, NewInstance};
use crate::schema::{self, Release};

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Create the instance in a new or empty folder, or in an empty database: mysql://user@host/database
    #[arg(value_name = "LOCATION")]
    place: String,
    /// Set the release of the schema; a newer server migrates it [default: the newest]
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,
    /// Create this user
    #[arg(long, value_name = "NAME")]
    admin: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
    /// Set the server's time zone, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Check location, release and password, without creating anything
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub fn run(args: &InitArgs, context: &mut Context<'_>) -> Result<Exit> {
    let is_address = ["mysql://", "mariadb://"].iter().any(|scheme| args.place.starts_with(scheme));
    let engine = if is_address { EngineKind::MariaDb } else { EngineKind::Sqlite };
    let mut new = NewInstance {
        release: args.release.unwrap_or_else(schema::newest),
        admin: None,
        timezone: args.timezone.clone(),
    };
    // Everything that needs no password is checked before one is asked for.
    new.check(engine)?;
    if engine == EngineKind::Sqlite {
        init::check_unused(Path::new(&args.place))?;
    }
    if args.admin.is_none() && args.password.has_file() {
        return Err(Error::Input(InputError::Requires {
            option: "`--password-file`".into(),
            needs: "`--admin`".into(),
        }));
    }
    if let Some(name) = &args.admin {
        new.admin = Some((name.clone(), args.password.read(name, context)?));
        new.check(engine)?;
    }
    let what = match engine {
        EngineKind::Sqlite => {
            if !args.dry_run {
                init::make_folder(Path::new(&args.place), &new)?;
            }
            format!("`{}`", args.place)
        }
        EngineKind::MariaDb => {
            let address = Address::parse(&args.place)?;
            if args.dry_run {
                init::check_fillable(&address)?
            } else {
                init::fill_database(&address, &new)?
            }
            crate::engine::Connect::describe(&address)
        }
    };
    let mut document = json!({"created": what, "release": new.release, "engine": engine, "admin": args.admin});
    if args.dry_run {
        document["dry_run"] = json!(true);
        context.ui.result(&document, || {
            format!("dry run: would create {what}: {engine}, release {}; nothing changed", new.release)
        })?;
        return Ok(Exit::Done);
    }
    context.ui.result(&document, || {
        let user = match &args.admin {
            Some(name) => format!("user `{name}`"),
            None => "no user yet: create one on the setup page of the web UI".into(),
        };
        format!("created {what}: {engine}, release {}, {user}", new.release)
    })?;
    Ok(Exit::Done)
}
