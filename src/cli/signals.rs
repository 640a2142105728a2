//! The signals that end a command. They only set a flag, which is checked between two steps. But a step on a large database can take minutes,
//! and one that waits for a lock or a network as long as that: until something has been changed, the process just ends.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::files;

/// A lost terminal sends SIGHUP.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// How long equal signals count as one: `timeout` sends each of its signals twice, to its child and to its process group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// How long the run may take to end by itself.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How often it is checked whether something has to be removed first.
const TICK: Duration = Duration::from_millis(50);

/// Makes signals only set `note`: their number. A second one ends the process as usual; then the next run finds the
/// journal.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn note(note: &Arc<AtomicUsize>) -> std::io::Result<()> {
    let (mut heard, report) = UnixStream::pair()?;
    let mut all = Vec::new();
    for number in ENDING {
        let (received, armed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        flag::register_conditional_default(number, armed.clone())?;
        flag::register(number, received.clone())?;
        flag::register_usize(number, note.clone(), number.unsigned_abs() as usize)?;
        pipe::register(number, report.try_clone()?)?;
        all.push((received, armed));
    }
    thread::spawn(move || {
        while heard.read_exact(&mut [0]).is_ok() {
            thread::sleep(SAME_SIGNAL);
            for (received, armed) in &all {
                armed.fetch_or(received.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        }
    });
    Ok(())
}

/// From here on, a signal ends this process, unless it `must_finish` by then.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn end_promptly(cancel: Cancel, must_finish: Arc<AtomicBool>, json: bool) -> std::io::Result<()> {
    let (mut heard, report) = UnixStream::pair()?;
    for number in ENDING {
        pipe::register(number, report.try_clone()?)?;
    }
    thread::spawn(move || {
        let is_heard = heard.read_exact(&mut [0]).is_ok();
        thread::sleep(PATIENCE);
        while cancel.is_held() {
            thread::sleep(TICK);
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
