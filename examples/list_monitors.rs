//! Lists the monitors of an instance whose server does not have to run: `cargo run --example list_monitors -- /srv/kuma/data`
#![allow(clippy::print_stdout, reason = "an example shows what it has read")]

use kumadb::instance::Locator;
use kumadb::kuma::read::read_shown_state;

fn main() -> kumadb::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or("data".into());
    let instance = Locator::without_docker().find(Some(&folder))?.local()?;
    // Read-only: no lock, no checkpoint, no file beside the database.
    let monitors = instance.open()?.read(|reader| read_shown_state(reader, &instance.name))?.monitors;
    for (id, monitor) in monitors {
        println!("{id}\t{}\t{}", monitor.kind(), monitor.name());
    }
    Ok(())
}
