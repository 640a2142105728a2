//! Answers at a terminal, waited for so that one Ctrl-C ends it.

use std::io::{BufRead as _, Write as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, Result};

/// Reads one line of stdin, without its end. `signal` tells the number of the signal that came, or 0.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn line(signal: &dyn Fn() -> i32) -> Result<String> {
    wait(signal)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Error::file("read", "/dev/stdin"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks `question` on the terminal, and reads an answer that is not shown while it is typed.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn unseen(question: &str, signal: &dyn Fn() -> i32) -> Result<String> {
    let hidden = Hidden::begin()?;
    let _ = write!(std::io::stderr(), "{question}: ");
    let answer = line(signal);
    drop(hidden);
    // Nor is the end of the line shown.
    let _ = writeln!(std::io::stderr());
    answer
}

/// Waits until something can be read. A signal is only noted, and would be slept through otherwise.
fn wait(signal: &dyn Fn() -> i32) -> Result<()> {
    let stdin = std::io::stdin();
    let pause = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    loop {
        match signal() {
            0 => {}
            signal => return Err(Error::Interrupted { signal }),
        }
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&pause)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(Error::file("read", "/dev/stdin")(error.into())),
        }
    }
}

/// The terminal does not show what is typed, until this is dropped.
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
