//! Which time zones exist.

use std::path::Path;

use crate::files;

/// Where systems keep their time zones.
const ZONES: &str = "/usr/share/zoneinfo";

/// Whether this machine knows the time zone; where it has no list of zones, whether the name is well-formed.
pub(super) fn is_zone(name: &str) -> bool {
    let is_plain = name
        .split('/')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c)));
    is_plain && (!files::is_folder(Path::new(ZONES)) || files::is_file(&Path::new(ZONES).join(name)))
}
