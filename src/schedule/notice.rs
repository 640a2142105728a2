//! The commands of a job, and the messages about its runs.

use std::io::{PipeReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::result::RunResult;
use crate::error::{Error, JobError, Result, io_reason};
use crate::text::bytes;
use crate::wait::Deadline;

/// How much of the output of a command is kept: the end, which shows why it failed.
const KEPT: usize = 64 << 10;

/// The longest line of it in a message, in characters.
const LINE: usize = 500;

/// How long the output of a command may take to end after it: what it leaves running may keep it open for ever.
const REST: Duration = Duration::from_millis(500);

/// Runs a command of the config file, without a shell. Its environment describes the run; the end of its output is used for
/// the error. `alive` is called while it runs.
pub fn command(
    words: &[String],
    environment: &[(&str, String)],
    timeout: Duration,
    alive: &mut dyn FnMut(),
) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let failed = |why: String| Error::Job(JobError::Command { program: program.clone(), why });
    let wrong = |error: std::io::Error| failed(io_reason(&error));
    let (output, pipe) = std::io::pipe().map_err(wrong)?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(pipe.try_clone().map_err(wrong)?)
        .stderr(pipe)
        .spawn()
        .map_err(wrong)?;
    let output = Output::of(output);
    let deadline = Deadline::after(timeout, Duration::from_millis(20));
    let status = loop {
        if let Some(status) = child.try_wait().map_err(wrong)? {
            break status;
        }
        if !deadline.wait() {
            child.kill().map_err(wrong)?;
            child.wait().map_err(wrong)?;
            return Err(failed(format!("not finished within {} s", timeout.as_secs())));
        }
        alive();
    };
    if status.success() {
        return Ok(());
    }
    let line = output.last_line();
    Err(failed(match line.chars().count() {
        0 => status.to_string(),
        1..=LINE => format!("{status}: {line}"),
        _ => {
            let start: String = line.chars().take(LINE).collect();
            format!("{status}: {start}… (only the first {LINE} characters of this line are shown)")
        }
    }))
}

/// The end of the output of a command, which is read while it runs.
struct Output {
    end: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Output {
    fn of(mut pipe: PipeReader) -> Output {
        let end = Arc::new(Mutex::new(Vec::new()));
        let kept = end.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 8 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&piece[..count]);
                let excess = kept.len().saturating_sub(KEPT);
                kept.drain(..excess);
            }
        });
        Output { end, reader }
    }

    /// Its last line that is not empty.
    fn last_line(self) -> String {
        let deadline = Deadline::after(REST, Duration::from_millis(5));
        while !self.reader.is_finished() && deadline.wait() {}
        let kept = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }
}

impl RunResult {
    /// The summary: `2 snapshots, 1.2 MB, 3.4 s`.
    pub fn sum(&self) -> String {
        let taken = crate::text::counted(self.taken.len(), "snapshot");
        let sum = format!("{taken}, {}, {:.1} s", bytes(self.size()), self.took.as_secs_f64());
        let removed = match self.removed {
            0 => String::new(),
            n => format!(", {n} deleted"),
        };
        format!("{sum}{removed}")
    }

    /// The message about the run: the summary, or the errors.
    pub fn words(&self) -> String {
        if self.errors.is_empty() {
            self.sum()
        } else {
            let errors: Vec<String> = self.errors.iter().map(Error::to_string).collect();
            format!("{} ({})", errors.join("; "), self.sum())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn fails(script: &str) -> (String, Duration) {
        let words = ["sh", "-c", script].map(str::to_owned);
        let began = Instant::now();
        let failed = command(&words, &[], Duration::from_secs(60), &mut || ()).expect_err("the script fails");
        (failed.to_string(), began.elapsed())
    }

    #[test]
    fn the_last_line_of_a_command_says_why_it_failed() {
        assert!(fails("echo first; echo the reason >&2; echo; exit 3").0.ends_with("exit status: 3: the reason"));
        assert!(fails("exit 4").0.ends_with("exit status: 4"));
    }

    #[test]
    fn output_without_an_end_is_not_kept() {
        let (reason, _) = fails("head -c 50000000 /dev/zero | tr '\\0' a; exit 3");
        assert!(
            reason.len() < 2 * LINE && reason.ends_with("(only the first 500 characters of this line are shown)"),
            "{reason}"
        );
        let (reason, _) = fails("yes | head -c 20000000; echo; echo the reason; exit 3");
        assert!(reason.ends_with("exit status: 3: the reason"), "{reason}");
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let (reason, took) = fails("sleep 30 & echo the reason; exit 3");
        assert!(reason.ends_with("exit status: 3: the reason") && took < Duration::from_secs(20), "{took:?}: {reason}");
    }
}
