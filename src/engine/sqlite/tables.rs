//! The columns, keys and indexes of tables. One statement reads those of all tables: one for each table takes several times as long,
//! and a write reads them several times.

use super::{Reader as _, Sqlite};
use crate::error::Result;
use crate::schema::{Column, ForeignKey, Index, Schema, Table, checked_choices};
use crate::value::Row;

impl Sqlite {
    pub(super) fn read_columns(&mut self, schema: &mut Schema) -> Result<()> {
        let sql = "SELECT m.name AS of, x.* FROM sqlite_schema m, pragma_table_info(m.name) x \
                   WHERE m.type = 'table' ORDER BY m.name, x.cid";
        for row in self.query(sql, &[])? {
            let Some(table) = table_of(schema, &row) else { continue };
            table.columns.push(Column {
                name: row.text("name").unwrap_or_default().to_owned(),
                sql_type: row.text("type").unwrap_or_default().to_owned(),
                not_null: row.cell("notnull").truthy(),
                default: row.text("dflt_value").map(str::to_owned),
                primary_key: row.cell("pk").truthy(),
                ..Column::default()
            });
        }
        let sql = "SELECT name AS of, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%CHECK%'";
        for row in self.query(sql, &[])? {
            let Some(table) = table_of(schema, &row) else { continue };
            for (name, choices) in checked_choices(row.text("sql").unwrap_or_default()) {
                let column = table.columns.iter_mut().find(|column| column.name.eq_ignore_ascii_case(&name));
                if let Some(column) = column {
                    column.choices = choices;
                }
            }
        }
        Ok(())
    }

    pub(super) fn read_foreign_keys(&mut self, schema: &mut Schema) -> Result<()> {
        let sql = "SELECT m.name AS of, x.* FROM sqlite_schema m, pragma_foreign_key_list(m.name) x \
                   WHERE m.type = 'table'";
        for row in self.query(sql, &[])? {
            let Some(table) = table_of(schema, &row) else { continue };
            table.foreign_keys.push(ForeignKey {
                name: None,
                column: row.text("from").unwrap_or_default().to_owned(),
                table: row.text("table").unwrap_or_default().to_owned(),
                to: row.text("to").unwrap_or("id").to_owned(),
                on_update: row.text("on_update").unwrap_or_default().to_owned(),
                on_delete: row.text("on_delete").unwrap_or_default().to_owned(),
            });
        }
        schema.tables.values_mut().for_each(|table| table.foreign_keys.sort());
        Ok(())
    }

    pub(super) fn read_indexes(&mut self, schema: &mut Schema) -> Result<()> {
        let sql = "SELECT m.name AS of, l.name, l.`unique`, l.partial, i.name AS `column` \
                   FROM sqlite_schema m, pragma_index_list(m.name) l, pragma_index_info(l.name) i \
                   WHERE m.type = 'table' ORDER BY m.name, l.seq, i.seqno";
        for row in self.query(sql, &[])? {
            let Some(table) = table_of(schema, &row) else { continue };
            let name = row.text("name").unwrap_or_default();
            if table.indexes.last().is_none_or(|last| last.name != name) {
                let unique = row.cell("unique").truthy() && !row.cell("partial").truthy();
                table.indexes.push(Index { name: name.to_owned(), unique, columns: Vec::new() });
            }
            let Some(index) = table.indexes.last_mut() else { continue };
            match row.text("column") {
                Some(column) => index.columns.push(column.to_owned()),
                // An expression: it has no name.
                None => index.unique = false,
            }
        }
        schema.tables.values_mut().for_each(|table| table.indexes.sort());
        Ok(())
    }
}

/// The table of `schema` that `row` is about; none for SQLite's own tables.
fn table_of<'s>(schema: &'s mut Schema, row: &Row) -> Option<&'s mut Table> {
    schema.tables.get_mut(row.text("of").unwrap_or_default())
}
