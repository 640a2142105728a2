//! Reasons to refuse a conversion, found before the server is stopped.

use std::path::Path;

use super::{ConversionTarget, Destination};
use crate::docker::{Container, is_loopback};
use crate::engine::mariadb::Address;
use crate::engine::{Depth, Reader};
use crate::error::{ConvertError, DockerError, Error, OperationError, Result};
use crate::files;
use crate::instance::target::check_socket;
use crate::instance::{DbLocation, Instance};
use crate::kuma::create::{self, ExistingTables, read_content};
use crate::kuma::read::read_database;
use crate::operation::release::check_writable;
use crate::operation::upgrade::{UpgradeStart, preflight, refuse};
use crate::operation::work::Settings;
use crate::schema::{self, Recording};
use crate::text::quoted;
use crate::upgrade::Route;

/// The setting with the state of the statistics of 2.x.
const STATISTICS: &str = "migrateAggregateTableState";

/// Fails where the instance itself cannot be converted; returns its data folder.
pub fn check_instance<'i>(instance: &'i Instance, to: &Destination) -> Result<&'i Path> {
    let name = || instance.name.clone();
    let Some(folder) = &instance.folder else {
        return Err(Error::Convert(ConvertError::NoFolder { instance: name() }));
    };
    instance.check_config()?;
    let is_same = match (&instance.place, to) {
        (DbLocation::Sqlite(_), Destination::Sqlite) | (DbLocation::Embedded(_), Destination::Embedded) => true,
        (DbLocation::External(was), Destination::External(address)) => is_same_database(was, address),
        _ => false,
    };
    if is_same {
        return Err(Error::Convert(ConvertError::SameEngine { instance: name(), engine: to.words() }));
    }
    if let Some(server) = &instance.container {
        let container = server.container();
        check_environment(&container)?;
        if let Destination::External(address) = to {
            check_reachable(&container, address)?;
        }
    }
    if let Destination::External(address) = to {
        let is_refused = || ConvertError::Socket { socket: address.socket.clone().unwrap_or_default() };
        check_socket(folder, address).map_err(|_| is_refused())?;
    }
    Ok(folder)
}

fn is_same_database(one: &Address, other: &Address) -> bool {
    (&one.host, one.port, &one.socket, &one.database) == (&other.host, other.port, &other.socket, &other.database)
}

/// Fails where the environment of the container sets the database: it wins over `db-config.json` at every start.
fn check_environment(container: &Container) -> Result<()> {
    if container.env(&["UPTIME_KUMA_DB_TYPE"]).is_none() {
        return Ok(());
    }
    let is_place = |name: &&String| name.starts_with("UPTIME_KUMA_DB_") && !name.contains("_POOL_");
    let variables: Vec<String> = container.env.keys().filter(is_place).cloned().collect();
    let how = match &container.compose {
        Some(compose) => {
            let service = quoted(&compose.service);
            format!("delete their lines in compose.yaml, then: docker compose up -d {service}")
        }
        None => {
            let options: Vec<String> = variables.iter().map(|name| format!("-e {name}=…")).collect();
            format!("repeat its `docker run` without {}", options.join(" "))
        }
    };
    Err(Error::Convert(ConvertError::Environment { container: container.name.clone(), variables, how }))
}

/// Fails where the address is one that means another machine inside the container.
fn check_reachable(container: &Container, address: &Address) -> Result<()> {
    let host = match &address.socket {
        Some(socket) => socket.display().to_string(),
        None if container.network_mode != "host" && is_loopback(&address.host) => address.host.clone(),
        _ => return Ok(()),
    };
    Err(Error::Convert(ConvertError::Loopback { container: container.name.clone(), host }))
}

/// Fails where the new database cannot be created.
pub fn check_destination(instance: &Instance, folder: &Path, to: &Destination) -> Result<()> {
    let is_free = |name: &str| {
        let path = folder.join(name);
        if files::is_there(&path)? { Err(Error::Convert(ConvertError::Exists { path })) } else { Ok(()) }
    };
    match to {
        Destination::Sqlite => ["kuma.db", "kuma.db-wal", "kuma.db-journal"].into_iter().try_for_each(is_free),
        Destination::External(address) => {
            address.read_only()?.require_mariadb()?;
            let recorded = schema::recorded(to.engine()).last();
            recorded.map_or(Ok(()), |recording| check_empty(address, recording).map(drop))
        }
        Destination::Embedded => {
            is_free("mariadb")?;
            match &instance.container {
                None => Err(Error::Convert(ConvertError::NoImage { instance: instance.name.clone() })),
                Some(server) if !server.has_mariadb() => {
                    Err(Error::Docker(DockerError::ImageWithoutMariaDb { image: server.container().image.clone() }))
                }
                Some(_) => Ok(()),
            }
        }
    }
}

/// The tables of an interrupted conversion in the database at `address`.
///
/// # Errors
/// [`ConvertError::NotEmpty`] where it has others.
pub fn check_empty(address: &Address, recording: &Recording) -> Result<Vec<String>> {
    let schema = recording.schema();
    match read_content(address, &|table| schema.table(table).is_some())? {
        ExistingTables::Nothing => Ok(Vec::new()),
        ExistingTables::Unfinished(tables) => Ok(tables),
        ExistingTables::Server(what) | ExistingTables::Other(what) => {
            Err(Error::Convert(ConvertError::NotEmpty { database: address.to_string(), what }))
        }
    }
}

/// Fails where the account may not create, fill and drop the tables: it does that with empty ones, before the server is stopped.
/// They are marked, so that the next conversion removes what an interruption leaves.
pub fn check_privileges(to: &Destination, recording: &Recording) -> Result<()> {
    let Destination::External(address) = to else { return Ok(()) };
    create::clear(address, &check_empty(address, recording)?)?;
    create::with_tables(address, recording, || Ok(()))
}

/// Fails where the database cannot be read completely, or is of a release that the other engine does not have; returns the
/// recorded release of the new one, and the way to it where that is a newer one.
pub fn check_database(
    instance: &Instance,
    reader: &mut dyn Reader,
    goal: &ConversionTarget,
    settings: &Settings,
) -> Result<(&'static Recording, Option<Route>)> {
    let to = &goal.to;
    let database = read_database(reader, &instance.name)?;
    check_writable(instance, &database, settings)?;
    if let Some(newer) = goal.release {
        let from = database.release.to_string();
        let route = Route::find(to.engine(), &database.migrations, &from, newer)
            .map_err(|why| refuse(why, &from, &newer.to_string()))?;
        if !route.is_current() {
            let UpgradeStart { preflight, .. } = preflight(reader, database, &route)?;
            return if preflight.blockers.is_empty() {
                Ok((route.target, Some(route)))
            } else {
                Err(OperationError::CannotUpgrade(preflight.blockers).into())
            };
        }
    }
    let release = database.release.release;
    let Some(recording) = schema::recording(to.engine(), release) else {
        return Err(Error::Convert(ConvertError::NoMariaDb {
            release: release.to_string(),
            newest: schema::newest().to_string(),
        }));
    };
    let rows = reader.query("SELECT `value` FROM `setting` WHERE `key` = ?", &[STATISTICS.into()])?;
    let state = rows.first().and_then(|row| row.text("value")).unwrap_or("not set");
    if state.trim_matches('"') != "migrated" {
        return Err(Error::Convert(ConvertError::Statistics { state: state.to_owned() }));
    }
    let faults = reader.check(Depth::References)?;
    if faults.is_empty() {
        Ok((recording, None))
    } else {
        Err(Error::Convert(ConvertError::References { faults: faults.iter().map(ToString::to_string).collect() }))
    }
}
