//! Takes a verified backup while the server runs or not: `cargo run --example backup -- /srv/kuma/data /srv/snapshots`
#![allow(clippy::print_stdout, reason = "an example shows what it has done")]

use kumadb::backup::{Store, Stores};
use kumadb::instance::Locator;
use kumadb::operation::{BackupOptions, NoObserver, take};

fn main() -> kumadb::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or(default.into());
    let instance = Locator::without_docker().find(Some(&next("data")))?.local()?;
    let stores = Stores::from(Store::new(next("snapshots")));
    // The copy is compared with the database, packed, and read back from the store.
    let made = take(&instance, &stores, "example", &BackupOptions::default(), &mut NoObserver)?;
    println!("{}: {} bytes", made.copies[0].location(), made.copies[0].size);
    Ok(())
}
