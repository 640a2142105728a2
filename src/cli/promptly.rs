//! The end of a command that has changed nothing yet. A signal is noticed between two steps, but a step on a large database can take minutes,
//! and one that waits for a lock or a network as long as that. Nothing has to be rolled back then, so the process just ends.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use signal_hook::low_level::pipe;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::files;

/// How long the run may take to end by itself.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How often it is checked whether something has to be removed first.
const TICK: Duration = Duration::from_millis(50);

/// From here on, a signal ends this process, unless it `must_finish` by then.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn end_on(cancel: Cancel, must_finish: Arc<AtomicBool>, json: bool) -> std::io::Result<()> {
    let (mut heard, report) = UnixStream::pair()?;
    for number in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        pipe::register(number, report.try_clone()?)?;
    }
    std::thread::spawn(move || {
        let is_heard = heard.read_exact(&mut [0]).is_ok();
        std::thread::sleep(PATIENCE);
        while cancel.is_held() {
            std::thread::sleep(TICK);
        }
        if let Err(error) = cancel.check()
            && is_heard
            && !must_finish.load(Ordering::SeqCst)
        {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            if json {
                let _ = writeln!(std::io::stdout(), "{:#}", failure(&error));
            }
            files::remove_temp_folders();
            std::process::exit(error.exit() as i32);
        }
    });
    Ok(())
}

/// `error` as in `docs/json.md`.
pub fn failure(error: &Error) -> Json {
    json!({"error": {"message": error.to_string(), "hint": error.hint(), "exit": error.exit() as u8}})
}
