//! The server's objects: monitors, their types and columns, and the other entities. Pure: no engine, files, clock or
//! network.

pub(crate) mod check;
pub(crate) mod color;
pub mod defaults;
mod differing;
pub mod entities;
pub mod fields;
pub mod fixture;
pub(crate) mod games;
pub mod kinds;
pub(crate) mod meanings;
pub(crate) mod provider_keys;
pub(crate) mod providers;
pub(crate) mod release;
pub(crate) mod row;
mod rules;
pub mod state;
mod subject;
pub(crate) mod typed;
pub mod view;

pub use check::{check_edit, check_monitor, check_names};
pub use fields::{Field, Reference, ValueShape, field, nearest};
pub use kinds::{MonitorType, kind, kinds, nearest_kind};
pub use row::{
    FieldOption, NewMonitorContext, TypeDefaults, check_accepted, check_column, new_monitor, options, push_token_length,
};
pub use typed::{from_json, normalise, parse, render, same};
