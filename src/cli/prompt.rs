//! Reading answers at a terminal, so that one Ctrl-C ends the wait.

use std::io::{BufRead as _, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, OperationError, Result};

/// Reads one line of stdin, without the line break. `signal` returns the number of the received signal, or 0.
///
/// # Errors
/// [`OperationError::Interrupted`](crate::error::OperationError::Interrupted).
pub fn line(signal: &dyn Fn() -> i32) -> Result<String> {
    wait(signal)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Error::file("read", "/dev/stdin"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks `question` on the terminal, and reads the answer without echo.
///
/// # Errors
/// [`OperationError::Interrupted`](crate::error::OperationError::Interrupted).
pub fn unseen(question: &str, signal: &dyn Fn() -> i32) -> Result<String> {
    let hidden = Hidden::begin()?;
    let _ = write!(std::io::stderr(), "{question}: ");
    let answer = line(signal);
    drop(hidden);
    // The line break is not echoed either.
    let _ = writeln!(std::io::stderr());
    answer
}

/// Waits until there is input. A signal handler only sets a flag, which a blocking read would not notice.
fn wait(signal: &dyn Fn() -> i32) -> Result<()> {
    let stdin = std::io::stdin();
    let pause = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    loop {
        match signal() {
            0 => {}
            signal => return Err(Error::Operation(OperationError::Interrupted { signal })),
        }
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&pause)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(Error::file("read", "/dev/stdin")(error.into())),
        }
    }
}

/// Echo is off until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Hidden> {
        let failed = |error: Errno| Error::file("read", "/dev/stdin")(error.into());
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &silent).map_err(failed)?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
