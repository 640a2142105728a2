//! The engine of a new instance, what creates its database, and the owner of its files: from the options, else from snapshot,
//! container and image.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::launch;
use super::place::{NewContainer, RestoreTarget};
use crate::backup::Manifest;
use crate::cli::{Context, engine};
use crate::docker::{Docker, Image, ServerFiles};
use crate::engine::EngineKind;
use crate::error::{DatabaseError, DockerError, Error, Hint, InputError, Result};
use crate::operation::rebuild::{Initializer, RebuiltDatabase};
use crate::schema::{Release, recognise_applied, recorded};
use crate::text::one_line;
use crate::value::{image_parts, is_image};

/// The database type of `db-config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RestoreKind {
    /// SQLite in the data folder
    Sqlite,
    /// MariaDB inside the container
    EmbeddedMariadb,
    /// External MariaDB
    Mariadb,
}

/// Options of a restore that makes a new instance.
#[derive(Args, Debug)]
#[command(next_help_heading = "New instance")]
pub struct NewArgs {
    /// Create a new instance from the snapshot: in a new or empty folder, in the empty database
    /// mysql://user@host/database, or in a container that was never started
    #[arg(long, value_name = "LOCATION", conflicts_with_all = [
        "config_only", "monitors", "other_release", "live", "no_restart", "wait_beats", "allow_unknown_release",
    ])]
    pub to: Option<String>,
    /// With `latest` or `--before`: use snapshots of this instance, given by name or by its original data folder
    /// [default: that of `-t`]
    #[arg(long, value_name = "NAME", requires = "to")]
    pub of: Option<String>,
    /// Set the database engine of the new instance [default: that of the snapshot]
    #[arg(long, value_name = "ENGINE", requires = "to")]
    pub engine: Option<RestoreKind>,
    /// With `--to mysql://...`: create this data folder, for db-config.json, upload/ and docker-tls/
    #[arg(long, value_name = "FOLDER", requires = "to")]
    pub data_folder: Option<String>,
    /// Set the image that the server will run; it determines the owner of the files
    #[arg(long, hide_short_help = true, value_name = "IMAGE", requires = "to", value_parser = image)]
    pub image: Option<String>,
    /// Set the owner of the files [default: the user of the container or image, else the owner of the folder]
    #[arg(long, hide_short_help = true, value_name = "UID:GID", requires = "to", value_parser = owner)]
    pub owner: Option<(u32, u32)>,
}

fn image(text: &str) -> Result<String, String> {
    if is_image(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is not a valid image: write NAME:TAG, such as louislam/uptime-kuma:2.5.3", one_line(text)))
    }
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    match (uid.parse(), gid.parse()) {
        (Ok(uid), Ok(gid)) => Ok((uid, gid)),
        _ => Err(format!("`{text}` is not a valid owner: write UID:GID, such as 1000:1000")),
    }
}

/// The decisions.
pub struct RestoreChoice {
    /// The kind of database.
    pub kind: RestoreKind,
    /// The name of the image that the server will run.
    pub image: String,
    /// The image itself, where it exists locally.
    found: Option<Image>,
    docker: Option<Arc<Docker>>,
}

impl RestoreChoice {
    /// Decides for `place`, before the snapshot is unpacked.
    pub fn make(
        args: &NewArgs,
        manifest: &Manifest,
        place: &RestoreTarget,
        context: &Context<'_>,
    ) -> Result<RestoreChoice> {
        let kind = kind(args, manifest, place)?;
        if let RestoreTarget::Container(fresh) = place {
            let found = Image::of(&fresh.container);
            if args.image.as_ref().is_some_and(|image| *image != found.name) {
                return Err(Error::Input(InputError::NotFor {
                    option: "`--image`".into(),
                    subject: format!("container `{}`", fresh.container.name),
                    why: format!("it runs image `{}`", found.name),
                }));
            }
            let docker = Some(fresh.docker.clone());
            return Ok(RestoreChoice { kind, image: found.name.clone(), found: Some(found), docker });
        }
        let image = args.image.clone().unwrap_or_else(|| launch::image(manifest));
        // A remote engine has images, but not the folders of this machine.
        let surroundings = engine::surroundings(&context.global);
        let is_local = surroundings.endpoint().is_ok_and(|endpoint| endpoint.is_local());
        let docker = if is_local { engine::connect(&surroundings).ok() } else { None };
        let found = match &docker {
            Some(docker) => docker.image(&image)?,
            None => None,
        };
        Ok(RestoreChoice { kind, image, found, docker })
    }

    /// The newest known release that the server can use: by its files, if they are known, or by the name of the image,
    /// `:2.5.3-slim`.
    pub fn release(&self, shipped: Option<&ServerFiles>) -> Option<Release> {
        if let Some(shipped) = shipped {
            let names = shipped.migrations().into_iter().map(str::to_owned).collect();
            let found = recognise_applied(&names);
            return found.exact.then_some(found.release);
        }
        let named = self.named()?;
        recorded(EngineKind::Sqlite).iter().map(|recording| recording.release).filter(|one| *one <= named).max()
    }

    /// The release in the tag of the image.
    pub fn named(&self) -> Option<Release> {
        let (_, tag) = image_parts(&self.image);
        tag.and_then(|tag| tag.split('-').next()?.parse().ok())
    }

    /// The files of the release in the tag of the image, as far as that release is known.
    pub fn files_by_tag(&self) -> Option<ServerFiles> {
        let named = self.named()?;
        // A server of 2.x has the patches of 1.x too.
        let known = recorded(EngineKind::Sqlite).iter().filter(|recording| recording.release <= named);
        let names = known.flat_map(|one| one.patches().into_iter().chain(one.migrations().map(str::to_owned)));
        Some(ServerFiles::of_release(named.to_string(), names))
    }

    /// The engine of the place, or the one found on this machine.
    pub fn docker(&self) -> Option<&Arc<Docker>> {
        self.docker.as_ref()
    }

    /// The database at `place`.
    ///
    /// # Errors
    /// [`DockerError::NoMariaDb`](crate::error::DockerError::NoMariaDb) where nothing can create an embedded MariaDB;
    /// it lists the alternatives.
    pub fn database(&self, args: &NewArgs, place: &RestoreTarget) -> Result<RebuiltDatabase<'_>> {
        let maker = match (self.kind, place) {
            (RestoreKind::Sqlite, _) => return Ok(RebuiltDatabase::Sqlite),
            (RestoreKind::Mariadb, RestoreTarget::Database(address)) => {
                return Ok(RebuiltDatabase::External(address.clone()));
            }
            (RestoreKind::Mariadb, _) => return Err(names_no_database()),
            (RestoreKind::EmbeddedMariadb, _) => match (&self.docker, &self.found) {
                (Some(docker), Some(image)) => Initializer::Image(docker, image.clone()),
                _ if args.image.is_some() => {
                    return Err(Error::Database(DatabaseError::Occupied {
                        place: format!("image `{}`", self.image),
                        why: "the image is not on this machine".into(),
                        hint: Hint::command(format!("docker pull {}", self.image)),
                    }));
                }
                _ => Initializer::Local,
            },
        };
        match maker.check() {
            Ok(()) => Ok(RebuiltDatabase::Embedded(maker)),
            Err(error) => {
                Err(Error::Docker(DockerError::NoMariaDb { image: self.image.clone(), why: error.to_string() }))
            }
        }
    }

    /// The owner of the files, where an option, the container or the image specifies one.
    pub fn owner(&self, args: &NewArgs) -> Option<(u32, u32)> {
        let rootless = self.image.contains("rootless").then_some((1000, 1000));
        let meant = args.owner.or_else(|| self.found.as_ref().map_or(rootless, Image::ids));
        // Root in its container can read the files of any owner.
        meant.filter(|(uid, _)| args.owner.is_some() || *uid != 0 || rustix::process::geteuid().is_root())
    }
}

fn names_no_database() -> Error {
    Error::Input(InputError::Requires {
        option: "`--engine mariadb`".into(),
        needs: "`--to mysql://user@host/database --data-folder FOLDER`".into(),
    })
}

fn kind(args: &NewArgs, manifest: &Manifest, place: &RestoreTarget) -> Result<RestoreKind> {
    let default = match manifest.engine {
        EngineKind::Sqlite => RestoreKind::Sqlite,
        EngineKind::MariaDb => RestoreKind::EmbeddedMariadb,
    };
    match (place, args.engine) {
        (RestoreTarget::Database(_), None | Some(RestoreKind::Mariadb)) => Ok(RestoreKind::Mariadb),
        (RestoreTarget::Database(_), Some(_)) => Err(Error::Input(InputError::NotFor {
            option: "`--engine`".into(),
            subject: "`--to mysql://…`".into(),
            why: "the destination is a MariaDB database".into(),
        })),
        (RestoreTarget::Folder(_) | RestoreTarget::Container(_), Some(RestoreKind::Mariadb)) => {
            Err(names_no_database())
        }
        (RestoreTarget::Folder(_), desired) => Ok(desired.unwrap_or(default)),
        (RestoreTarget::Container(fresh), desired) => match kind_of_container(fresh)? {
            None => Ok(desired.unwrap_or(default)),
            Some(given) if desired.is_none_or(|desired| desired == given) => Ok(given),
            Some(_) => Err(Error::Input(InputError::NotFor {
                option: "`--engine`".into(),
                subject: format!("container `{}`", fresh.container.name),
                why: "its UPTIME_KUMA_DB_TYPE specifies another engine".into(),
            })),
        },
    }
}

/// The engine in the environment of a container, which takes precedence for the server.
fn kind_of_container(fresh: &NewContainer) -> Result<Option<RestoreKind>> {
    let container = &fresh.container;
    match container.env(&["UPTIME_KUMA_DB_TYPE"]) {
        None => Ok(None),
        Some("sqlite") => Ok(Some(RestoreKind::Sqlite)),
        Some("embedded-mariadb") => Ok(Some(RestoreKind::EmbeddedMariadb)),
        Some(other) => Err(Error::Database(DatabaseError::Occupied {
            place: format!("container `{}`", container.name),
            why: format!("its environment has UPTIME_KUMA_DB_TYPE={other}: its database is external"),
            hint: Hint::command(format!(
                "kumadb restore SNAPSHOT --to mysql://USER@HOST/DATABASE --data-folder {}",
                fresh.folder.display()
            )),
        })),
    }
}
