//! The one test binary.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod backup;
mod comeback;
mod containers;
mod crash;
mod docked;
mod docker;
mod dockerd;
mod doctor;
mod document_text;
mod documents;
mod faults;
mod fixture_tables;
mod foreign;
mod foreign_chance;
mod init;
mod input;
mod lab;
mod layers;
mod mariadb;
mod mariadb_errors;
mod mariadb_load;
mod mariadbd;
mod model;
mod monitor;
mod need;
mod plan;
mod plan_names;
mod restore;
mod round_trip;
mod schema;
mod under_load;
mod unreadable;
mod words;
