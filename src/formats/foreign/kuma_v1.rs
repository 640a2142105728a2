//! The JSON backup of the page of 1.x: `{version, notificationList, monitorList, proxyList}`.

use super::SourceFile;
use super::columns::KeptFields;
use super::draft::Draft;
use super::dump::{self, Dump, LISTS};
use crate::schema::Release;

/// The last minor release of 1.x: its fields of a monitor type are used.
const LAST_1X: Release = Release::new(1, 23, 17);

pub(super) fn convert(draft: &mut Draft, sources: &[SourceFile]) {
    let (mut dumps, mut keep): (Vec<Dump>, Vec<KeptFields>) = Default::default();
    for document in sources.iter().flat_map(|source| &source.documents) {
        if document.first(LISTS[0].0).is_none() {
            draft.wrong(&document.at, "a backup of 1.x", "`monitorList` is missing");
            continue;
        }
        draft.account_keys(document, &["version"]);
        let is_newer = document.find("version").and_then(|version| version.scalar()).is_some_and(|version| {
            version.split('.').next().and_then(|major| major.parse::<u16>().ok()).is_some_and(|major| major >= 2)
        });
        keep.push(if is_newer { KeptFields::newest() } else { KeptFields::OfType(LAST_1X) });
        dumps.push(dump::unwrap(draft, document));
    }
    dump::convert(draft, &dumps, &keep);
}
