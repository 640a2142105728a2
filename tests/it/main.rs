//! The one test binary.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::too_many_lines, clippy::too_many_arguments, reason = "a test is read from its beginning to its end")]

/// What tests are made with: instances, servers, containers, stores, and waiting for them.
mod support {
    pub mod attacker;
    pub mod chance;
    pub mod child;
    pub mod cloud;
    pub mod docked;
    pub mod dockerd;
    pub mod lab;
    pub mod mariadbd;
    pub mod need;
    pub mod old_kernel;
    pub mod rounds;
    pub mod sshd;
    pub mod steps;
    pub mod wait;
}

/// Snapshots and their stores.
mod backup {
    mod cached;
    pub mod check;
    pub mod earlier;
    pub mod encrypted;
    mod locks;
    pub mod names;
    pub mod pending;
    pub mod prune;
    pub mod retention;
    pub mod snapshots;
    mod staged;
    pub mod store_faults;
    pub mod stores;
    mod stream;
}

/// Verbs and help as a person at a terminal meets them.
mod cli {
    pub mod badges;
    pub mod completion;
    pub mod config;
    pub mod errors;
    pub mod find;
    pub mod fleet;
    pub mod help;
    pub mod history;
    pub mod init;
    pub mod input;
    pub mod lists;
    pub mod maintenance;
    pub mod monitor;
    pub mod names;
    pub mod observe;
    pub mod other_format;
    pub mod probe;
    pub mod report;
    pub mod sql;
    pub mod user;
    pub mod vacuum;
}

/// From one engine to the other.
mod convert {
    pub mod every_step;
    pub mod pipe;
    pub mod verb;
}

/// Servers in containers.
mod docker {
    pub mod engine;
    pub mod image;
    pub mod labels;
    pub mod proxy;
    pub mod recreated;
    pub mod verbs;
}

/// Findings and their fixes.
mod doctor {
    pub mod findings;
    pub mod judgement;
    pub mod migrations;
    pub mod values;
}

/// Texts and the files of other tools.
mod formats {
    pub mod balance;
    pub mod cases;
    pub mod foreign;
    pub mod foreign_chance;
    pub mod labels;
    pub mod mutated;
    pub mod published;
    pub mod round_trip;
    pub mod text;
    pub mod tools;
}

/// The project itself: layers, words, documentation.
mod house {
    pub mod circles;
    pub mod crates;
    pub mod documents;
    pub mod fixture_tables;
    pub mod layers;
    pub mod packaging;
    pub mod plain;
    pub mod transcripts;
    pub mod words;
}

/// The engine MariaDB, on real servers.
mod mariadb {
    pub mod engine;
    pub mod errors;
    pub mod exchange;
    pub mod load;
    mod pair;
    mod permit;
    pub mod schema;
    mod statements;
}

/// Documents planned and applied, and the model behind them.
mod plan {
    pub mod documents;
    pub mod drift;
    pub mod model;
    pub mod names;
    pub mod recorded;
}

/// Engines and instances elsewhere.
mod remote {
    pub mod endpoints;
    pub mod lines;
    pub mod whole_verbs;
}

/// Snapshots put back, and changes undone.
mod restore {
    pub mod older;
    pub mod parts;
    pub mod rejected;
    pub mod to;
    pub mod transfer;
    pub mod undo;
    pub mod unreadable;
}

/// Rows out of damaged files.
mod salvage {
    pub mod fix;
    pub mod hot_journal;
    pub mod rows;
    pub mod sound;
}

/// Jobs: when they are due, what they log, the service.
mod schedule {
    pub mod due;
    pub mod log;
    pub mod service;
}

/// From one release to a newer one.
mod upgrade {
    pub mod container;
    pub mod every_point;
    pub mod oracle;
    pub mod statistics;
    pub mod verb;
}

/// The one write path, made to fail.
mod write {
    pub mod attack;
    pub mod checks;
    pub mod confined;
    pub mod every_point;
    pub mod every_point_of_history;
    pub mod every_step;
    pub mod every_step_of_copy;
    pub mod exchange_of_some;
    pub mod full_disk;
    pub mod kept_rows;
    pub mod live;
    pub mod planted;
    pub mod races;
    pub mod reads;
    pub mod server_fails;
    pub mod terminated;
    pub mod under_load;
    pub mod users;
}
