//! A new config file, and what runs it as a service.

use std::path::{Path, PathBuf};

use chrono_tz::Tz;

use super::AlertKind;

/// The unit of the packages.
const UNIT: &str = include_str!("../../packaging/kumadb.service");

/// Where that unit expects kumadb, the volumes of Docker, the state of kumadb, and its config file.
const PROGRAM: &str = "/usr/local/bin/kumadb";
const VOLUMES: &str = "/var/lib/docker/volumes";
const STATE: &str = "/var/lib/kumadb";
const CONFIG: &str = "/etc/kumadb/kumadb.toml";

/// What a new config file contains.
#[derive(Clone, Debug)]
pub struct ConfigDraft {
    /// The instances.
    pub instances: Vec<DraftInstance>,
    /// The addresses of the stores.
    pub stores: Vec<String>,
    /// The time zone of the jobs.
    pub zone: Tz,
    /// The age recipients of the snapshots.
    pub recipients: Vec<String>,
    /// The file with the key of the snapshots.
    pub identity_file: Option<PathBuf>,
    /// The alerts, each with the file of its URL.
    pub alerts: Vec<(AlertKind, PathBuf)>,
}

/// An instance in a new config file.
#[derive(Clone, Debug)]
pub struct DraftInstance {
    /// Its name there.
    pub name: String,
    /// What selects it.
    pub target: String,
    /// Its data folder on this machine.
    pub folder: Option<PathBuf>,
    /// Whether this machine can test its snapshots without a MariaDB server.
    pub is_sqlite: bool,
}

impl ConfigDraft {
    /// The config file.
    pub fn toml(&self) -> String {
        let stores = self.named_stores();
        let mut text = String::from(
            "# The config file of kumadb. All keys: docs/config-file.md\n\
             # After a change: kumadb config check\n\n\
             # Where snapshots are stored.\n",
        );
        for (name, address) in &stores {
            text.push_str(&format!("[stores.{name}]\naddress = {}\n", quoted(address)));
            if address.contains("://") {
                text.push_str("# A file with the credentials of the store, in lines NAME=VALUE:\n");
                text.push_str(&format!("# credentials_file = \"/etc/kumadb/{name}.env\"\n"));
            }
            text.push('\n');
        }
        if stores.iter().all(|(_, address)| !address.contains("://")) {
            text.push_str("# Another disk or machine. Without one, the snapshots are lost with this machine.\n");
            text.push_str("# [stores.offsite]\n# address = \"s3://my-bucket/kuma\"\n");
            text.push_str("# credentials_file = \"/etc/kumadb/offsite.env\"\n\n");
        }
        for DraftInstance { name, target, .. } in &self.instances {
            text.push_str(&format!("[instances.{name}]\ntarget = {}\n", quoted(target)));
            text.push_str(&self.encryption());
            text.push('\n');
        }
        text.push_str("# Which snapshots are kept.\n");
        text.push_str("[policies.configuration]\nkeep_daily = 14\nkeep_monthly = 6\n\n");
        text.push_str("[policies.full]\nkeep_weekly = 5\nkeep_monthly = 6\n");
        text.push_str("\n# Every night: everything but heartbeats and statistics.\n");
        text.push_str(&self.job("configuration", "15 3 * * *", "config_only = true\n"));
        let can_open = self.recipients.is_empty() || self.identity_file.is_some();
        if can_open && self.instances.iter().all(|instance| instance.is_sqlite) {
            text.push_str(
                "\n# Every Sunday: everything, read back from its store; every fourth is restored as a test.\n",
            );
            text.push_str(&self.job("full", "45 3 * * SUN", "verify = true\nrestore_test_every = 4\n"));
        } else {
            text.push_str("\n# Every Sunday: everything, read back from its store.\n");
            text.push_str(&self.job("full", "45 3 * * SUN", "verify = true\n"));
        }
        text
    }

    fn job(&self, name: &str, cron: &str, more: &str) -> String {
        let stores: Vec<String> = self.named_stores().into_iter().map(|(name, _)| name).collect();
        let instances: Vec<String> = self.instances.iter().map(|instance| instance.name.clone()).collect();
        let mut text = format!(
            "[jobs.{name}]\ncron = {}\ntimezone = {}\njitter = \"5m\"\ninstances = {}\nstores = {}\n{more}retention = {}\n",
            quoted(cron),
            quoted(self.zone.name()),
            list(&instances),
            list(&stores),
            quoted(name),
        );
        if let Some(file) = &self.identity_file {
            text.push_str(&format!("identity_file = {}\n", quoted(&file.to_string_lossy())));
        }
        if self.alerts.is_empty() {
            text.push_str(
                "# The URL of a push monitor of another Uptime Kuma, with an interval that is longer than that of the job:\n\
                 # push_url_file = \"/etc/kumadb/push-url\"\n\
                 # Also: healthchecks_url_file, ntfy_url_file, webhook_file\n",
            );
        }
        for (kind, file) in &self.alerts {
            text.push_str(&format!("{}_file = {}\n", kind.key(), quoted(&file.to_string_lossy())));
        }
        text
    }

    fn encryption(&self) -> String {
        if self.recipients.is_empty() {
            "# Encrypt the snapshots of this instance, with a key of `age-keygen`:\n# encrypt_to = [\"age1…\"]\n".into()
        } else {
            format!("encrypt_to = {}\n", list(&self.recipients))
        }
    }

    /// The stores with their names: `local` for the first folder, `offsite` for the first of the others.
    fn named_stores(&self) -> Vec<(String, String)> {
        let mut named: Vec<(String, String)> = Vec::new();
        for address in &self.stores {
            let base = if address.contains("://") { "offsite" } else { "local" };
            let name = unique(base, |name| named.iter().any(|(taken, _)| taken == name));
            named.push((name, address.clone()));
        }
        named
    }

    /// The data folders on this machine.
    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.instances.iter().filter_map(|instance| instance.folder.as_ref())
    }

    /// Folders that the service writes to, besides the volumes of Docker and the state of kumadb.
    fn written(&self) -> Vec<String> {
        let local = self.stores.iter().filter(|address| !address.contains("://")).map(PathBuf::from);
        let all = self.folders().cloned().chain(local);
        let other = all.filter(|folder| !folder.starts_with(VOLUMES) && !folder.starts_with(STATE));
        other.map(|folder| folder.display().to_string()).collect()
    }

    /// A systemd unit that runs the jobs of the config file `config` with the executable `program`.
    pub fn unit(&self, config: &Path, program: &Path) -> String {
        let mut text = UNIT.replace(PROGRAM, &program.display().to_string());
        for folder in self.written() {
            text = text.replacen("ProtectHome=", &format!("ReadWritePaths={folder}\nProtectHome="), 1);
        }
        if config != Path::new(CONFIG) {
            let variable = format!("Type=notify\nEnvironment=KUMADB_CONFIG={}\n", config.display());
            text = text.replacen("Type=notify\n", &variable, 1);
        }
        text
    }

    /// A Compose file that runs the jobs of the config file `config` in a container.
    pub fn compose(&self, config: &Path) -> String {
        let folder = config.parent().unwrap_or(Path::new("/")).display();
        let mut mounts: Vec<String> = self.folders().map(|folder| folder.display().to_string()).collect();
        mounts.extend(self.written());
        mounts.sort();
        mounts.dedup();
        let bind = |path: &String| format!("      - {0}:{0}\n", path);
        let binds: String = mounts.iter().map(bind).collect();
        let secrets = self.alerts.iter().map(|(_, file)| file).chain(&self.identity_file);
        let outside = secrets.filter(|file| file.parent() != config.parent());
        let secrets: String = outside.map(|file| format!("      - {0}:{0}:ro\n", file.display())).collect();
        format!(
            "# kumadb beside Uptime Kuma: docker compose -f {folder}/kumadb.compose.yaml up -d\n\
             # Each data folder is mounted at its path on this machine: this is how kumadb finds it.\n\
             services:\n  kumadb:\n    image: kumadb\n    container_name: kumadb\n    restart: unless-stopped\n    \
             stop_grace_period: 2m\n    # The data of the server is owned by root, unless its image is a rootless one.\n    \
             user: \"0\"\n    read_only: true\n    tmpfs: [/tmp]\n    cap_drop: [ALL]\n    \
             cap_add: [DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, CHOWN]\n    \
             security_opt: [\"no-new-privileges:true\"]\n    environment:\n      KUMADB_CONFIG: {config}\n    volumes:\n      \
             - /var/run/docker.sock:/var/run/docker.sock\n      - {STATE}:{STATE}\n      - {folder}:{folder}:ro\n{binds}{secrets}",
            config = config.display(),
        )
    }
}

/// A name for a table of the config file, made from `text`; not one of those that are `taken`.
pub fn table_name(text: &str, taken: &[String]) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    unique(if plain.is_empty() { "kuma" } else { plain }, |name| taken.iter().any(|one| one == name))
}

fn unique(base: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    std::iter::once(base.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}
