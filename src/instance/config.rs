//! The database of a data folder: `db-config.json`, the environment that rewrites it, and the rules of 1.x.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::engine::mariadb::{Address, Tls};
use crate::error::{Error, Result, TargetError};
use crate::files;
use crate::value::Secret;

/// The database that the server will open.
#[derive(Clone, Debug, PartialEq)]
pub enum DbConfig {
    /// `kuma.db` in the data folder.
    Sqlite,
    /// The MariaDB inside the container.
    Embedded,
    /// An external MariaDB.
    External(External),
}

/// The address of an external MariaDB, with the fields of `db-config.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Host name.
    #[serde(default)]
    pub hostname: String,
    /// TCP port; a number or text.
    #[serde(default, deserialize_with = "port")]
    pub port: u16,
    /// User.
    #[serde(default)]
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: Secret,
    /// Database.
    #[serde(default)]
    pub db_name: String,
    /// Unix socket, instead of host and port.
    #[serde(default)]
    pub socket_path: Option<PathBuf>,
    /// Whether TLS is used.
    #[serde(default)]
    pub ssl: bool,
    /// The certificate authority, in PEM.
    #[serde(default)]
    pub ca: Option<String>,
}

fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Port {
        Number(u16),
        Text(String),
        Nothing(()),
    }
    match Port::deserialize(deserializer)? {
        Port::Number(n) => Ok(n),
        Port::Text(text) if text.is_empty() => Ok(3306),
        Port::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Port::Nothing(()) => Ok(3306),
    }
}

/// The fields with the address of an external MariaDB.
const ADDRESS: [&str; 8] = ["hostname", "port", "username", "password", "dbName", "socketPath", "ssl", "ca"];

/// The name of the file.
pub const FILE: &str = "db-config.json";

/// What is wrong with a `db-config.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Invalid {
    /// What, with the field or the place in the text.
    why: String,
    /// Whether the server replaces the file and continues as if there were none; otherwise it exits or cannot connect.
    replaced: bool,
}

/// Reads which database the server will open on the data folder `folder` when it is started with `env`.
///
/// As 2.5.3 does it: the environment wins and rewrites the file at each start, a field that it does not have included. What
/// the container reads out of files of its own (`UPTIME_KUMA_DB_PASSWORD_FILE`) is only in the file that the last start
/// wrote. A file that is missing, is not
/// JSON or has no `type` beside a `kuma.db` means that SQLite file ([`find_problem`] reports it); 1.x has no such file.
///
/// # Errors
/// [`TargetError::DbConfig`] for a file that the server refuses, or that is invalid with no `kuma.db` beside it;
/// [`TargetError::NotDataFolder`] for a folder without either.
pub fn read_config(folder: &Path, env: &BTreeMap<String, Secret>) -> Result<DbConfig> {
    let path = folder.join(FILE);
    if let Some(config) = from_env(env)? {
        let written = read_file(folder)?.and_then(|text| parse(&text).ok());
        return Ok(match (config, written) {
            (DbConfig::External(of_env), Some(DbConfig::External(written))) => {
                DbConfig::External(of_env.with_files(env, written))
            }
            (config, _) => config,
        });
    }
    let has_sqlite = files::is_there(&folder.join("kuma.db"))? || files::is_there(&folder.join("kuma.db-wal"))?;
    match read_file(folder)?.as_deref().map(parse) {
        Some(Ok(config)) => Ok(config),
        Some(Err(Invalid { replaced: true, .. })) | None if has_sqlite => Ok(DbConfig::Sqlite),
        Some(Err(Invalid { why, .. })) => Err(TargetError::DbConfig { path, why }.into()),
        None => {
            let why = "neither kuma.db nor db-config.json is there".into();
            Err(TargetError::NotDataFolder { path: folder.to_owned(), why }.into())
        }
    }
}

/// What is wrong with the `db-config.json` in `folder`, where a server that is started with `env` reads it; `None` when it
/// is valid, is missing or the environment replaces it.
///
/// # Errors
/// [`FileError`](crate::error::FileError) when it cannot be read.
pub fn find_problem(folder: &Path, env: &BTreeMap<String, Secret>) -> Result<Option<String>> {
    if from_env(env)?.is_some() {
        return Ok(None);
    }
    let text = read_file(folder)?;
    Ok(text.and_then(|text| parse(&text).err()).map(|invalid| invalid.why))
}

/// The text of the `db-config.json` in `folder`, where there is one: a link there may lead to a file that only this user
/// can read.
pub fn read_file(folder: &Path) -> Result<Option<String>> {
    files::read_below(folder, FILE, files::SMALL)
}

/// The type in the text of a `db-config.json`, if it has one.
pub fn read_kind(text: &str) -> Option<String> {
    let all: Json = serde_json::from_str(text).ok()?;
    all["type"].as_str().map(str::to_owned)
}

fn parse(text: &str) -> Result<DbConfig, Invalid> {
    let replaced = |why: String| Invalid { why, replaced: true };
    let refused = |why: String| Invalid { why, replaced: false };
    if text.starts_with('\u{feff}') {
        return Err(replaced("it starts with a byte order mark (BOM), which JSON does not allow".into()));
    }
    let all: Json = serde_json::from_str(text).map_err(|error| replaced(format!("invalid JSON: {error}")))?;
    let Json::Object(mut all) = all else { return Err(replaced("it is not a JSON object".into())) };
    let kind = match all.get("type") {
        Some(Json::String(kind)) => kind.clone(),
        Some(other) => return Err(replaced(format!("`type` must be text, not {other}"))),
        None => return Err(replaced("`type` is missing".into())),
    };
    match kind.as_str() {
        "sqlite" => Ok(DbConfig::Sqlite),
        "embedded-mariadb" => Ok(DbConfig::Embedded),
        "mariadb" => {
            all.retain(|_, value| !value.is_null());
            // The values may be secrets, so only the field is named.
            for field in ["hostname", "username", "password", "dbName", "socketPath", "ca"] {
                if !matches!(all.get(field), None | Some(Json::String(_))) {
                    return Err(refused(format!("`{field}` must be text, in quotes")));
                }
            }
            let external: External =
                serde_json::from_value(Json::Object(all)).map_err(|error| refused(error.to_string()))?;
            if external.db_name.is_empty() {
                return Err(refused("`dbName` is missing".into()));
            }
            Ok(DbConfig::External(external))
        }
        other => Err(refused(format!("`{other}` is not a database type that the server knows"))),
    }
}

impl External {
    /// The external MariaDB at `address`.
    pub fn of(address: &Address) -> External {
        let (ssl, ca) = match &address.tls {
            Tls::Off => (false, None),
            Tls::On { ca, .. } => (true, ca.clone()),
        };
        External {
            hostname: address.host.clone(),
            port: address.port,
            username: address.user.clone(),
            password: address.password.clone(),
            db_name: address.database.clone(),
            socket_path: address.socket.clone(),
            ssl,
            ca,
        }
    }

    /// With what the container reads out of files of its own, which `written` has.
    fn with_files(mut self, env: &BTreeMap<String, Secret>, written: External) -> External {
        let is_in_file = |name: &str| env.contains_key(&format!("UPTIME_KUMA_DB_{name}_FILE"));
        if is_in_file("USERNAME") {
            self.username = written.username;
        }
        if is_in_file("PASSWORD") {
            self.password = written.password;
        }
        if is_in_file("SSL") {
            self.ssl = written.ssl;
        }
        if is_in_file("CA") {
            self.ca = written.ca;
        }
        self
    }

    /// Its fields as in the file.
    fn fields(&self) -> Vec<(&'static str, Json)> {
        let mut fields = vec![
            ("hostname", json!(self.hostname)),
            ("port", json!(self.port)),
            ("username", json!(self.username)),
            ("password", json!(self.password.reveal())),
            ("dbName", json!(self.db_name)),
        ];
        fields.extend(self.socket_path.as_ref().map(|path| ("socketPath", json!(path))));
        fields.extend(self.ssl.then(|| ("ssl", json!(true))));
        fields.extend(self.ca.as_ref().map(|ca| ("ca", json!(ca))));
        fields
    }
}

impl DbConfig {
    /// Its type as in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            DbConfig::Sqlite => "sqlite",
            DbConfig::Embedded => "embedded-mariadb",
            DbConfig::External(_) => "mariadb",
        }
    }

    /// The equivalent environment variables, with their values.
    pub fn env(&self) -> Vec<(&'static str, Secret)> {
        let mut env = vec![("UPTIME_KUMA_DB_TYPE", Secret::new(self.kind()))];
        let DbConfig::External(external) = self else { return env };
        for (name, value) in external.fields() {
            let name = match name {
                "hostname" => "UPTIME_KUMA_DB_HOSTNAME",
                "port" => "UPTIME_KUMA_DB_PORT",
                "username" => "UPTIME_KUMA_DB_USERNAME",
                "password" => "UPTIME_KUMA_DB_PASSWORD",
                "dbName" => "UPTIME_KUMA_DB_NAME",
                "socketPath" => "UPTIME_KUMA_DB_SOCKET",
                "ssl" => "UPTIME_KUMA_DB_SSL",
                _ => "UPTIME_KUMA_DB_CA",
            };
            env.push((name, Secret::new(value.as_str().map_or_else(|| value.to_string(), str::to_owned))));
        }
        env
    }
}

/// The text of a `db-config.json` for `config`. Fields of `was` that are not the address of its database stay, such as the
/// `authSecret` of 3.0, without which no login with a second factor works.
pub fn render(config: &DbConfig, was: Option<&str>) -> String {
    let mut all: Map<String, Json> = was.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let same = all.get("type").and_then(Json::as_str) == Some(config.kind());
    match (same, config, was) {
        (true, DbConfig::Sqlite | DbConfig::Embedded, Some(was)) => return was.to_owned(),
        (true, ..) => {}
        (false, ..) => drop(all.insert("type".into(), config.kind().into())),
    }
    ADDRESS.iter().for_each(|name| drop(all.remove(*name)));
    if let DbConfig::External(external) = config {
        all.extend(external.fields().into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    format!("{:#}", Json::Object(all))
}

fn from_env(env: &BTreeMap<String, Secret>) -> Result<Option<DbConfig>> {
    let setting = |name: &str| -> Option<String> {
        let value = env.get(&format!("UPTIME_KUMA_DB_{name}"))?.reveal();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let Some(kind) = setting("TYPE") else { return Ok(None) };
    match kind.as_str() {
        "sqlite" => Ok(Some(DbConfig::Sqlite)),
        "embedded-mariadb" => Ok(Some(DbConfig::Embedded)),
        "mariadb" => {
            let port = setting("PORT").unwrap_or_else(|| "3306".into());
            Ok(Some(DbConfig::External(External {
                hostname: setting("HOSTNAME").unwrap_or_default(),
                port: port.parse().map_err(|_| {
                    Error::Target(TargetError::Environment {
                        name: "UPTIME_KUMA_DB_PORT",
                        value: port.clone(),
                        why: "is not a valid port",
                    })
                })?,
                username: setting("USERNAME").unwrap_or_default(),
                password: Secret::new(setting("PASSWORD").unwrap_or_default()),
                db_name: setting("NAME").unwrap_or_default(),
                socket_path: setting("SOCKET").map(PathBuf::from),
                ssl: setting("SSL").is_some_and(|value| value.eq_ignore_ascii_case("true")),
                ca: setting("CA"),
            })))
        }
        other => Err(Error::Target(TargetError::Environment {
            name: "UPTIME_KUMA_DB_TYPE",
            value: other.to_owned(),
            why: "is not a database type that the server knows",
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        pairs.iter().map(|(name, value)| (format!("UPTIME_KUMA_DB_{name}"), Secret::new(*value))).collect()
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn the_environment_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let written = r#"{"type": "mariadb", "hostname": "old", "port": 3307, "username": "kuma", "password": "written",
                          "dbName": "kuma", "ssl": true}"#;
        std::fs::write(folder.path().join(FILE), written).unwrap();
        let env = env(&[
            ("TYPE", "mariadb"),
            ("HOSTNAME", "new"),
            ("NAME", "kuma2"),
            ("USERNAME", "second"),
            ("PASSWORD_FILE", "/run/secrets/password"),
        ]);
        let DbConfig::External(found) = read_config(folder.path(), &env).unwrap() else { panic!("it names MariaDB") };
        assert_eq!(
            (found.hostname.as_str(), found.db_name.as_str(), found.username.as_str()),
            ("new", "kuma2", "second")
        );
        // What the container reads from a file of its own is only here; what the environment does not set is erased.
        assert_eq!((found.password.reveal(), found.port, found.ssl), ("written", 3306, false));
        let sqlite = BTreeMap::from([("UPTIME_KUMA_DB_TYPE".to_owned(), Secret::new("sqlite"))]);
        assert_eq!(read_config(folder.path(), &sqlite).unwrap(), DbConfig::Sqlite);
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_rewritten_file_keeps_fields_of_other_releases() {
        let was = r#"{"type": "mariadb", "hostname": "db", "password": "secret", "ca": "PEM", "authSecret": "of 3.0"}"#;
        let external = External { hostname: "other".into(), ..External::of(&Address::default()) };
        let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let same = json(&render(&DbConfig::External(external), Some(was)));
        assert_eq!((&same["hostname"], &same["authSecret"], same.get("ca")), (&json!("other"), &json!("of 3.0"), None));
        let changed = json(&render(&DbConfig::Sqlite, Some(was)));
        assert_eq!(changed, json!({"type": "sqlite", "authSecret": "of 3.0"}));
    }
}
