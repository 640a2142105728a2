//! Checks of the environment: the image, a second container, the database server, the file system; and unused images.

use super::evidence::Running;
use super::{Evidence, Fault, Fix, Subject};

use crate::schema::{EngineKind, Release};
use crate::text::{bytes, counted};
use crate::value::image_parts;

/// The newest release that an image can contain, according to its tag: `1.23` is at most 1.23.65535, and `latest` is
/// still 1.x (2026). `None` for another repository and for `2`, `beta` and the like.
fn newest_of(image: &str) -> Option<Release> {
    let (repository, tag) = image_parts(image);
    let tag = tag.unwrap_or("latest");
    if !repository.ends_with("louislam/uptime-kuma") {
        return None;
    }
    let number = tag.split('-').next().unwrap_or_default();
    let number = if number == "latest" { "1" } else { number };
    let parts: Vec<u16> = number.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts.as_slice() {
        [1] => Some(Release::new(1, u16::MAX, u16::MAX)),
        [major, minor] => Some(Release::new(*major, *minor, u16::MAX)),
        [major, minor, patch] => Some(Release::new(*major, *minor, *patch)),
        _ => None,
    }
}

/// An image that is older than its database, according to its files or else to its tag.
pub(super) fn find_old_image(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let (Some(content), Some(container)) = (&evidence.database, &evidence.container) else { return };
    let release = &content.config.database.release;
    let is_old = match &container.lacking {
        Some(lacking) => !lacking.is_empty(),
        None => release.exact && newest_of(&container.image).is_some_and(|newest| newest < release.oldest),
    };
    if !is_old {
        return;
    }
    let image = match &container.release {
        Some(release) => format!("image `{}` ({release})", container.image),
        None => format!("image `{}`", container.image),
    };
    let needed = if release.exact {
        format!("louislam/uptime-kuma:{} or newer", release.oldest)
    } else {
        "the image that upgraded the database".into()
    };
    let keys = match content.config.database.engine {
        EngineKind::Sqlite => ", and foreign keys are not checked, so that every deletion leaves rows behind",
        EngineKind::MariaDb => "",
    };
    faults.push(Fault {
        subject: Subject::default(),
        what: format!(
            "{image} of container `{}` is older than its database ({release}): its server logs \"the migration directory \
             is corrupt\" and applies no migrations{keys}; kumadb does not write to this database meanwhile",
            container.name
        ),
        fix: Fix::Advice(format!("recreate the container with {needed}")),
    });
}

/// Releases that fail with SQLite under load: they open twenty connections to one file.
pub(super) fn find_crowding_image(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let (Some(content), Some(container)) = (&evidence.database, &evidence.container) else { return };
    let crowding = Release::new(2, 2, 0)..=Release::new(2, 3, 1);
    if content.config.database.engine != EngineKind::Sqlite
        || !newest_of(&container.image).is_some_and(|release| crowding.contains(&release))
    {
        return;
    }
    faults.push(Fault {
        subject: Subject::default(),
        what: format!(
            "image `{}` opens twenty connections to one SQLite file, which then block each other (SQLITE_BUSY): \
             heartbeats are lost",
            container.image
        ),
        fix: Fix::Advice("use image 2.3.2 or newer".into()),
    });
}

/// Two running servers that use the same data folder.
pub(super) fn find_second_server(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(Running { name, up: true, others, .. }) = &evidence.container else { return };
    let Some(last) = others.last() else { return };
    let names: Vec<String> = std::iter::once(name).chain(others).map(|name| format!("`{name}`")).collect();
    faults.push(Fault {
        subject: Subject { path: evidence.folder.as_ref().map(|folder| folder.path.clone()), ..Subject::default() },
        what: format!(
            "{} use the same data folder: each of them sends alerts, and two servers that write to one SQLite file \
             damage it",
            names.join(" and ")
        ),
        fix: Fix::Advice(format!("stop one of them: `docker stop {last}`; then run `kumadb doctor --full`")),
    });
}

/// MySQL instead of MariaDB.
pub(super) fn find_mysql(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(content) = &evidence.database else { return };
    let version = &content.version;
    if content.config.database.engine != EngineKind::MariaDb || version.is_empty() || version.contains("MariaDB") {
        return;
    }
    faults.push(Fault {
        subject: Subject::default(),
        what: format!("the database runs on MySQL {version}, but the server supports MariaDB only: upgrades may fail"),
        fix: Fix::Advice(
            "move it to MariaDB: `kumadb backup create`, restore the dump into MariaDB, and set the address of \
             MariaDB in db-config.json"
                .into(),
        ),
    });
}

/// SQLite on a network file system.
pub(super) fn find_network(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let Some(folder) = evidence.folder.as_ref().filter(|folder| folder.engine == Some(EngineKind::Sqlite)) else {
        return;
    };
    let Some(words) = &folder.network else { return };
    faults.push(Fault {
        subject: Subject { path: Some(folder.path.clone()), ..Subject::default() },
        what: format!("the database is on {words}"),
        fix: Fix::Advice("stop the server, copy the data folder to a local disk, and mount that folder instead".into()),
    });
}

/// Images that are no longer used.
pub(super) fn find_lost_pictures(evidence: &Evidence, faults: &mut Vec<Fault>) {
    let (Some(content), Some(folder)) = (&evidence.database, &evidence.folder) else { return };
    let icons: Vec<&str> = content.config.rows("status_page").iter().filter_map(|page| page.text("icon")).collect();
    let is_shown = |name: &str| icons.iter().any(|icon| icon.contains(name));
    let lost: Vec<_> = folder.uploads.iter().filter(|picture| !is_shown(&picture.name)).collect();
    if !lost.is_empty() {
        let names = lost.iter().take(3).map(|picture| format!("`{}`", picture.name)).collect::<Vec<_>>().join(", ");
        let sum = bytes(lost.iter().map(|picture| picture.size).sum());
        faults.push(Fault {
            subject: Subject { path: Some(folder.path.join("upload")), ..Subject::default() },
            what: format!(
                "`upload/` contains {} that no status page uses ({sum}): \
                           {names}",
                counted(lost.len(), "image")
            ),
            fix: Fix::Advice("these images can be deleted manually; kumadb does not delete images".into()),
        });
    }
    // One image per monitor; its name is derived from the session key, and a new key leaves the old images behind.
    let browsers = content.config.rows("monitor").iter().filter(|row| row.text("type") == Some("real-browser")).count();
    let more = folder.screenshots.saturating_sub(browsers);
    if more > 0 {
        faults.push(Fault {
            subject: Subject { path: Some(folder.path.join("screenshots")), ..Subject::default() },
            what: format!(
                "`screenshots/` contains {} for {}: the other images are of deleted monitors, or were stored with an \
                 older session key",
                counted(folder.screenshots, "image"),
                counted(browsers, "browser monitor")
            ),
            fix: Fix::Advice(
                "all images in `screenshots/` can be deleted: the server creates the required ones \
                                again"
                    .into(),
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_an_image_limits_how_new_it_can_be() {
        let newest = |image: &str| newest_of(image).map(|release| (release.major, release.minor, release.patch));
        let any = u16::MAX;
        for (image, expected) in [
            ("louislam/uptime-kuma", Some((1, any, any))),
            ("louislam/uptime-kuma:latest", Some((1, any, any))),
            ("ghcr.io/louislam/uptime-kuma:1-alpine", Some((1, any, any))),
            ("registry.lan:5000/louislam/uptime-kuma:1.23", Some((1, 23, any))),
            ("louislam/uptime-kuma:2.0.2-slim-rootless@sha256:00", Some((2, 0, 2))),
            ("louislam/uptime-kuma:2", None),
            ("louislam/uptime-kuma:2-slim", None),
            ("louislam/uptime-kuma:beta", None),
            ("somebody/kuma:1", None),
        ] {
            assert_eq!(newest(image), expected, "{image}");
        }
    }
}
