//! What an upgrade from one release of the server to a newer one does to the data: the rules of each migration, the aggregation
//! of heartbeats, and what has to be solved before. Pure: facts and rows in, rows out.

pub(crate) mod correction;
mod domains;
pub mod preflight;
pub mod rules;
pub(crate) mod settings;
pub mod statistics;
pub(crate) mod thinning;
mod time;

use std::collections::BTreeSet;

use crate::schema::{EngineKind, Recording, Release, recorded, recording};

/// The way from the release of a database to a newer one.
#[derive(Clone, Debug)]
pub struct Route {
    /// The schema that the database gets.
    pub target: &'static Recording,
    /// The release that the database has now, as its migrations show it.
    pub from: String,
    /// Patches of 1.x that are not applied, sorted.
    pub patches: BTreeSet<String>,
    /// Migrations that are not applied, sorted.
    pub migrations: BTreeSet<String>,
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No recorded schema of the release on the engine.
    NotRecorded,
    /// The database has what the target does not: these migrations. The target is older.
    Newer(Vec<String>),
    /// Migrations of no recorded release.
    Unknown(Vec<String>),
}

impl Route {
    /// The way of a database with the migrations `applied` (patches in 1.x) to `to`.
    pub fn find(engine: EngineKind, applied: &BTreeSet<String>, from: &str, to: Release) -> Result<Route, NoRoute> {
        let target = recording(engine, to).ok_or(NoRoute::NotRecorded)?;
        let is_1x = applied.iter().all(|name| name.ends_with(".sql"));
        let known: BTreeSet<String> = recorded(EngineKind::Sqlite)
            .iter()
            .flat_map(|known| known.migrations().map(str::to_owned).chain(known.patches()))
            .collect();
        let unknown: Vec<String> = applied.difference(&known).cloned().collect();
        if !unknown.is_empty() || applied.is_empty() {
            return Err(NoRoute::Unknown(unknown));
        }
        let migrations: BTreeSet<String> = target.migrations().map(str::to_owned).collect();
        // Those of 1.x, which is on SQLite, whatever the engine of the target.
        let patches = recording(EngineKind::Sqlite, to).map(Recording::patches).unwrap_or_default();
        let target_names = if is_1x { &patches } else { &migrations };
        let lacking: Vec<String> = applied.difference(target_names).cloned().collect();
        if !lacking.is_empty() {
            return Err(NoRoute::Newer(lacking));
        }
        let missing = |of: &BTreeSet<String>| of.difference(applied).cloned().collect::<BTreeSet<_>>();
        Ok(Route {
            target,
            from: from.to_owned(),
            patches: if is_1x { missing(&patches) } else { BTreeSet::new() },
            migrations: missing(&migrations),
        })
    }

    /// Whether nothing is missing: only heartbeats may have to be aggregated.
    pub fn is_current(&self) -> bool {
        self.patches.is_empty() && self.migrations.is_empty()
    }

    /// Everything that is not applied.
    pub fn missing(&self) -> BTreeSet<String> {
        self.patches.union(&self.migrations).cloned().collect()
    }

    /// Whether the server aggregates the heartbeats of a database without statistics when it first runs on the target.
    pub fn has_statistics(&self) -> bool {
        self.target.migrations().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(release: Release) -> BTreeSet<String> {
        let known = recording(EngineKind::Sqlite, release).expect("it is valid");
        let migrations: BTreeSet<String> = known.migrations().map(str::to_owned).collect();
        if migrations.is_empty() { known.patches() } else { migrations }
    }

    fn find(from: Release, to: Release) -> Result<(usize, usize), NoRoute> {
        let route = Route::find(EngineKind::Sqlite, &applied(from), "", to)?;
        Ok((route.patches.len(), route.migrations.len()))
    }

    #[test]
    fn finds_what_is_missing() {
        let (old, newest) = (Release::new(1, 23, 0), Release::new(2, 5, 3));
        assert_eq!(find(old, newest), Ok((4, 55)));
        assert_eq!(find(Release::new(1, 23, 17), newest), Ok((0, 55)));
        assert_eq!(find(old, Release::new(1, 23, 17)), Ok((4, 0)));
        assert_eq!(find(Release::new(2, 0, 2), newest), Ok((0, 27)));
        assert_eq!(find(newest, newest), Ok((0, 0)));
        assert_eq!(find(newest, Release::new(9, 0, 0)), Err(NoRoute::NotRecorded));
        assert!(matches!(find(newest, Release::new(2, 4, 0)), Err(NoRoute::Newer(names)) if names.len() == 5));
        assert!(matches!(find(newest, old), Err(NoRoute::Newer(_))));
        // A release between two recorded ones has some of the patches.
        let between: BTreeSet<String> =
            applied(old).into_iter().chain(["patch-notification-config.sql".to_owned()]).collect();
        assert_eq!(Route::find(EngineKind::Sqlite, &between, "", newest).expect("it is valid").patches.len(), 3);
        let unknown = BTreeSet::from(["2029-01-01-0000-later.js".to_owned()]);
        assert!(matches!(Route::find(EngineKind::Sqlite, &unknown, "", newest), Err(NoRoute::Unknown(_))));
        let moved = Route::find(EngineKind::MariaDb, &applied(old), "", newest).expect("it is newer");
        assert_eq!((moved.patches.len(), moved.migrations.len()), (4, 55));
        let found = Route::find(EngineKind::MariaDb, &applied(old), "", Release::new(1, 23, 17));
        assert!(matches!(found, Err(NoRoute::NotRecorded)));
    }

    #[test]
    fn every_rule_belongs_to_a_recorded_migration() {
        let newest = recording(EngineKind::Sqlite, Release::new(2, 5, 3)).expect("it is valid");
        let names: BTreeSet<String> = newest.migrations().map(str::to_owned).chain(newest.patches()).collect();
        let mut last = String::new();
        for rule in rules::RULES {
            assert!(names.contains(rule.migration), "{}", rule.migration);
            assert!(newest.schema().table(rule.table).is_some(), "{}", rule.table);
            // Patches come before migrations.
            let order = format!("{}{}", u8::from(rule.migration.ends_with(".js")), rule.migration);
            if rule.migration.ends_with(".js") {
                assert!(order >= last, "{order} {last}");
                last = order;
            }
        }
    }
}
