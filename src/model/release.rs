//! The releases at which tables, pages and limits of the server changed.

use crate::schema::Release;

/// The oldest release that is supported.
pub const R1_23: Release = Release::new(1, 23, 0);
/// The page's flags for Kafka monitors.
pub const R1_23_3: Release = Release::new(1, 23, 3);
/// The page's default for retries was 1 before.
pub const R1_23_8: Release = Release::new(1, 23, 8);
/// MariaDB, conditions, ping options.
pub const R2_0: Release = Release::new(2, 0, 0);
/// Intervals from 1 s, saved responses.
pub const R2_1: Release = Release::new(2, 1, 0);
/// The page's default for domain expiry was disabled; 2.2.0 enabled it again.
pub const R2_1_1: Release = Release::new(2, 1, 1);
/// DNS measurements of Globalping.
pub const R2_1_2: Release = Release::new(2, 1, 2);
/// The page's defaults for WebSocket monitors changed.
pub const R2_2: Release = Release::new(2, 2, 0);
/// Oracle, authentication of WebSocket monitors.
pub const R2_3: Release = Release::new(2, 3, 0);
/// Bearer tokens.
pub const R2_4: Release = Release::new(2, 4, 0);
/// NTP, PM2, no upper limit of the interval.
pub const R2_5: Release = Release::new(2, 5, 0);
