//! An upgrade into a database on the other engine: the rows of the upgrade, as a conversion stores them.

use super::{Upgrade, UpgradeOptions, Upgraded};
use crate::engine::Reader;
use crate::engine::fit::Misfit;
use crate::error::Result;
use crate::kuma::transfer::convert::{Convert, OnConflict};
use crate::kuma::transfer::{Feed, Put, RefusedCell, Resolution, Schemas, Transform};
use crate::model::state::Database;
use crate::upgrade::Route;
use crate::upgrade::preflight::Facts;

/// A conversion to a newer release.
pub struct UpgradeConverted<'r> {
    upgrade: Upgrade<'r>,
    convert: Convert,
}

impl<'r> UpgradeConverted<'r> {
    /// Reads from `source` what both need before the first row; the target of `route` is on the other engine.
    pub fn prepare(
        source: &mut dyn Reader,
        (database, facts): (&Database, &Facts),
        route: &'r Route,
        options: UpgradeOptions,
        on_conflict: OnConflict,
    ) -> Result<UpgradeConverted<'r>> {
        let upgrade = Upgrade::prepare(source, database, route, facts, options)?;
        let mut convert = Convert::of(source, route.target, on_conflict)?;
        // The settings of both get ids of their own.
        convert.number_settings_after(upgrade.next_setting);
        Ok(UpgradeConverted { upgrade, convert })
    }

    /// What the upgrade has changed.
    pub fn done(self) -> Upgraded {
        self.upgrade.done
    }
}

impl Transform for UpgradeConverted<'_> {
    fn columns(&self, table: &str, schemas: Schemas<'_>) -> Vec<String> {
        self.upgrade.columns(table, schemas)
    }

    fn feeds(&self, table: &str, schemas: Schemas<'_>) -> Vec<Feed> {
        self.upgrade.feeds(table, schemas)
    }

    fn row(&mut self, table: &str, feed: usize, row: Vec<crate::value::Value>, put: Put<'_>) -> Result<()> {
        let convert = &mut self.convert;
        self.upgrade.row(table, feed, row, &mut |row| convert.row(table, feed, row, put))
    }

    fn end(&mut self, table: &str, put: Put<'_>) -> Result<()> {
        let convert = &mut self.convert;
        self.upgrade.end(table, &mut |row| convert.row(table, 0, row, put))?;
        convert.end(table, put)
    }

    fn drops(&self, table: &str, column: Option<&str>) -> bool {
        self.upgrade.drops(table, column)
    }

    fn resolve(&mut self, cell: &RefusedCell<'_>, misfit: &Misfit) -> Resolution {
        self.convert.resolve(cell, misfit)
    }
}
