//! The commands of a job, and the messages about its runs.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::job::Ended;
use crate::error::{Error, JobError, Result, io_reason};
use crate::text::bytes;

/// Runs a command of the config file, without a shell. Its environment describes the run; its output is used for the
/// error.
/// `alive` is called while it runs.
pub fn command(
    words: &[String],
    environment: &[(&str, String)],
    timeout: Duration,
    alive: &mut dyn FnMut(),
) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let failed = |why: String| Error::Job(JobError::Command { program: program.clone(), why });
    let wrong = |error: std::io::Error| failed(io_reason(&error));
    let mut output: File = tempfile::tempfile().map_err(wrong)?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(wrong)?)
        .stderr(output.try_clone().map_err(wrong)?)
        .spawn()
        .map_err(wrong)?;
    let end = Instant::now() + timeout;
    let status = loop {
        match child.try_wait().map_err(wrong)? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                child.kill().map_err(wrong)?;
                child.wait().map_err(wrong)?;
                return Err(failed(format!("not finished within {} s", timeout.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
        alive();
    };
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut said)).map_err(wrong)?;
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(failed(last.map_or_else(|| status.to_string(), |line| format!("{status}: {}", line.trim()))))
}

impl Ended {
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
        match self.errors.is_empty() {
            true => self.sum(),
            false => {
                let errors: Vec<String> = self.errors.iter().map(Error::to_string).collect();
                format!("{} ({})", errors.join("; "), self.sum())
            }
        }
    }
}
