//! Finds everything that looks like an instance: containers, unused volumes, folders.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::target::holds_data;
use super::{Instance, Location, Locator};
use crate::docker::{Compose, MountKind};
use crate::error::Result;
use crate::files;

/// Where the server is usually installed without a container: by hand, by the scripts for Proxmox, by packages. Its data is
/// there, or in `data` below.
const PLACES: [&str; 5] =
    ["/opt/uptime-kuma", "/srv/uptime-kuma", "/var/lib/uptime-kuma", "/usr/local/uptime-kuma", "/app"];

/// Where home folders are, and that of root.
const HOMES: &str = "/home";
const ROOT: &str = "/root";

/// The file of pm2, in a home folder, with the programs that it runs (read in pm2 7.0.4).
const PM2: &str = ".pm2/dump.pm2";

/// Where systemd units are.
const UNITS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

/// How an instance was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// A container of the server, by image, labels or environment.
    Container,
    /// A container of another image, by the content of its data folder.
    Content,
    /// The volume of this name, which no container uses.
    Volume(String),
    /// A folder.
    Folder,
}

/// An instance that was found.
#[non_exhaustive]
pub struct FoundInstance {
    /// The value for `-t`.
    pub name: String,
    /// How it was found.
    pub how: How,
    /// Where it is, or why it cannot be used.
    pub location: Result<Location>,
    /// Its compose file.
    pub compose: Option<Compose>,
    /// The orchestrator that keeps it running, if any.
    pub orchestrator: Option<String>,
}

impl FoundInstance {
    /// The instance, where it is on this machine.
    pub fn instance(&self) -> Option<&Instance> {
        match &self.location {
            Ok(Location::Local(instance)) => Some(instance),
            _ => None,
        }
    }

    /// Copies of its database that 1.x left in its folder before migrations: `kuma.db.bak…`.
    pub fn old_copies(&self) -> Vec<PathBuf> {
        let Some(folder) = self.instance().and_then(|instance| instance.folder.as_ref()) else {
            return Vec::new();
        };
        let is_copy =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kuma.db.bak"));
        // An unreadable folder is reported with its instance.
        files::entries(folder).unwrap_or_default().into_iter().filter(is_copy).collect()
    }
}

impl Locator {
    /// All instances, including those that [`Self::all`] does not offer as a default target: stopped ones, unused
    /// volumes, and the usual places of installations without a container.
    pub fn everything(&self) -> Result<Vec<FoundInstance>> {
        let mut found = Vec::new();
        let mut used: Vec<PathBuf> = Vec::new();
        if let Ok(docker) = &self.docker {
            let mut volumes_used = Vec::new();
            for container in docker.all_containers()? {
                volumes_used.extend(container.mounts.iter().filter_map(|mount| match &mount.kind {
                    MountKind::Volume(name) => Some(name.clone()),
                    _ => None,
                }));
                let data = container.data().ok().map(|data| files::real(&data.path));
                let how = match (container.server, data.as_deref().is_some_and(holds_data)) {
                    (true, _) => How::Container,
                    (false, true) => How::Content,
                    (false, false) => continue,
                };
                used.extend(data);
                found.push(FoundInstance {
                    name: container.name.clone(),
                    how,
                    compose: container.compose.clone(),
                    orchestrator: container.orchestrator.as_ref().map(ToString::to_string),
                    location: self.of(docker, container),
                });
            }
            for volume in docker.volumes()? {
                if !volumes_used.contains(&volume.name) && holds_data(&volume.path) {
                    used.push(files::real(&volume.path));
                    found.push(self.found(&volume.path, How::Volume(volume.name)));
                }
            }
        }
        for folder in self.folders() {
            let folder = files::real(&folder);
            if holds_data(&folder) && !used.contains(&folder) {
                found.push(self.found(&folder, How::Folder));
                used.push(folder);
            }
        }
        Ok(found)
    }

    fn found(&self, folder: &Path, how: How) -> FoundInstance {
        let name = folder.display().to_string();
        FoundInstance { name, how, location: self.at(folder), compose: None, orchestrator: None }
    }

    /// Folders that may contain data.
    fn folders(&self) -> Vec<PathBuf> {
        let homes = files::entries(Path::new(HOMES)).unwrap_or_default();
        let units = UNITS.iter().flat_map(|folder| files::entries(Path::new(folder)).unwrap_or_default());
        let mut folders = vec![self.here.clone()];
        folders.extend(PLACES.iter().map(PathBuf::from));
        let homes = homes.into_iter().chain([PathBuf::from(ROOT)]);
        folders.extend(homes.flat_map(|home| {
            let text = files::read_below(&home, PM2, files::SMALL).ok().flatten().unwrap_or_default();
            [vec![home.join("uptime-kuma")], of_pm2(&text)].concat()
        }));
        folders.extend(units.filter(|unit| unit.extension().is_some_and(|ending| ending == "service")).flat_map(
            |unit| {
                let text = files::read_text(&unit).ok().flatten().unwrap_or_default();
                of_unit(&text)
            },
        ));
        let below: Vec<PathBuf> = folders.iter().map(|folder| folder.join("data")).collect();
        folders.extend(below);
        folders
    }
}

/// The folders in a systemd unit, if it is one of the server.
fn of_unit(text: &str) -> Vec<PathBuf> {
    if !text.contains("uptime-kuma") && !text.contains("server/server.js") {
        return Vec::new();
    }
    let value = |line: &str| {
        let line = line.trim();
        let value = line.strip_prefix("WorkingDirectory=").or_else(|| {
            let setting = line.strip_prefix("Environment=")?.trim_matches('"');
            setting.strip_prefix("DATA_DIR=")
        })?;
        Some(PathBuf::from(value.trim_matches('"'))).filter(|path| path.is_absolute())
    };
    text.lines().filter_map(value).collect()
}

/// The working folders of programs in pm2, and their data folders.
fn of_pm2(text: &str) -> Vec<PathBuf> {
    let programs: Vec<Json> = serde_json::from_str(text).unwrap_or_default();
    let places = programs.iter().filter_map(|program| {
        let folder = Path::new(program["pm_cwd"].as_str()?);
        let data = program["env"]["DATA_DIR"].as_str().map(|data| folder.join(data));
        Some([Some(folder.to_owned()), data])
    });
    places.flatten().flatten().filter(|path| path.is_absolute()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_programs_of_pm2_keep_their_data() {
        let dump = r#"[{"name": "kuma", "pm_cwd": "/srv/kuma", "pm_exec_path": "/srv/kuma/server/server.js",
            "env": {"DATA_DIR": "./elsewhere/"}}, {"name": "other", "pm_cwd": "/srv/other", "env": {}}, {"name": "none"}]"#;
        let places: Vec<PathBuf> = ["/srv/kuma", "/srv/kuma/elsewhere", "/srv/other"].map(PathBuf::from).to_vec();
        assert_eq!(of_pm2(dump), places);
        assert!(of_pm2("no JSON").is_empty());
    }

    #[test]
    fn reads_where_a_unit_keeps_its_data() {
        let unit = "[Service]\nWorkingDirectory=/srv/kuma\nEnvironment=\"DATA_DIR=/data/kuma/\"\nExecStart=node server/server.js\n";
        assert_eq!(of_unit(unit), [PathBuf::from("/srv/kuma"), PathBuf::from("/data/kuma/")]);
        assert!(of_unit("[Service]\nWorkingDirectory=/srv/other\nExecStart=/bin/other\n").is_empty());
    }
}
