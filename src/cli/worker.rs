//! Processes that run a verb on one instance after another, for `fleet.rs`. Most of the time of a short run is the start
//! of its process and the config file, which has a table for each instance.
//!
//! Only verbs that change nothing run like this. A run that ends its process is repeated in a new one: what an earlier instance
//! left behind is not the fault of the next.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::dup2_stdin;

use super::{Context, Global, Ui, Verb};
use crate::error::{Error, Exit, OperationError, Result};
use crate::files;
use crate::kuma::init;
use crate::text::bytes;

/// How many runs one process makes: its memory, and whatever else grows, ends with it.
const RUNS: usize = 50;

/// How much of the messages of a run is kept, in bytes.
pub const STORY: u64 = 1 << 20;

/// Begins the line after a run, on standard output and standard error. Results and messages have it only as an escape.
const END: u8 = 0x1e;

/// Bytes of the line after a run.
const LINE: u64 = 64;

/// The option of such a process.
pub const OPTION: &str = "--for-parent";

/// What a run has written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    bytes: Vec<u8>,
    /// Whether there was more.
    is_cut: bool,
    /// The line after it; `None` where the process has ended instead.
    end: Option<String>,
}

impl Part {
    /// Reads from `source` until [`END`] and `token`, and keeps `most` bytes of it. Text that does not have the token cannot end it.
    fn read(source: &mut dyn BufRead, token: &str, most: u64) -> std::io::Result<Part> {
        let (mut part, mark) = (Part::default(), [&[END], token.as_bytes()].concat());
        let mut matched = 0;
        while matched < mark.len() {
            let read = match source.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read.is_empty() {
                part.keep(&mark[..matched], most);
                return Ok(part);
            }
            let mut used = 0;
            for byte in read {
                used += 1;
                if *byte == mark[matched] {
                    matched += 1;
                    if matched == mark.len() {
                        break;
                    }
                    continue;
                }
                part.keep(&mark[..matched], most);
                // No token has this byte.
                matched = usize::from(*byte == END);
                if matched == 0 {
                    part.keep(&[*byte], most);
                }
            }
            source.consume(used);
        }
        let mut line = Vec::new();
        source.take(LINE).read_until(b'\n', &mut line)?;
        part.end = Some(String::from_utf8_lossy(&line).trim().to_owned());
        Ok(part)
    }

    fn keep(&mut self, bytes: &[u8], most: u64) {
        let room = most.saturating_sub(self.bytes.len() as u64) as usize;
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The text that a run has written to its standard output, how it ended, and its messages.
pub struct FinishedRun {
    pub text: String,
    pub is_cut: bool,
    pub exit: Exit,
    pub progress: String,
    /// Whether its process did not end before it.
    pub is_whole: bool,
}

/// One such process.
struct Worker {
    child: Child,
    token: String,
    names: ChildStdin,
    out: BufReader<ChildStdout>,
    progress: Receiver<Part>,
    runs: usize,
}

/// The processes of one command.
pub struct Pool<'p> {
    words: &'p [OsString],
    idle: Mutex<Vec<Worker>>,
    /// All of them, so that signals reach them.
    pids: &'p Mutex<Vec<u32>>,
}

impl<'p> Pool<'p> {
    /// Processes that run the command line `words`; the ids of all that run are in `pids`.
    pub fn new(words: &'p [OsString], pids: &'p Mutex<Vec<u32>>) -> Pool<'p> {
        Pool { words, idle: Mutex::default(), pids }
    }

    /// Runs the verb on the instance `name`, in a process that waits or in a new one. At most `most` bytes of its result are kept.
    pub fn run(&self, name: &str, most: u64) -> Result<FinishedRun> {
        let idle = lock(&self.idle).pop();
        if let Some(worker) = idle {
            let run = self.run_in(worker, name, most)?;
            // One that received a signal has ended because of it.
            if run.is_whole || matches!(run.exit, Exit::Interrupted | Exit::Terminated) {
                return Ok(run);
            }
        }
        self.run_in(self.start()?, name, most)
    }

    fn run_in(&self, mut worker: Worker, name: &str, most: u64) -> Result<FinishedRun> {
        // A process that has ended is noticed where its answer is read.
        let _ = writeln!(worker.names, "{name}").and_then(|()| worker.names.flush());
        let read = Part::read(&mut worker.out, &worker.token, most).map_err(Error::file("read from", "kumadb"))?;
        let heard = worker.progress.recv().unwrap_or_default();
        worker.runs += 1;
        let exit = read.end.as_ref().and_then(|end| end.parse().ok()).and_then(Exit::of);
        let is_whole = exit.is_some();
        let exit = match exit {
            Some(exit) if worker.runs < RUNS => {
                lock(&self.idle).push(worker);
                exit
            }
            Some(exit) => self.end(worker).map(|_| exit)?,
            None => {
                self.end(worker)?.code().and_then(Exit::of).filter(|exit| *exit != Exit::Done).unwrap_or(Exit::Failed)
            }
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let progress = messages(text(heard.bytes), heard.is_cut);
        Ok(FinishedRun { text: text(read.bytes), is_cut: read.is_cut, exit, progress, is_whole })
    }

    fn start(&self) -> Result<Worker> {
        let program = std::env::current_exe().map_err(Error::file("find", "kumadb"))?;
        let mut command = Command::new(program);
        command.args(["--json", OPTION]).args(self.words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::file("run", "kumadb"))?;
        lock(self.pids).push(child.id());
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut names), Some(out), Some(err)) = pipes else {
            return Err(Error::Operation(OperationError::NoPipes));
        };
        let token = init::random_text(16)?;
        let _ = writeln!(names, "{token}");
        let (sender, progress) = mpsc::channel();
        let expected = token.clone();
        thread::spawn(move || {
            let mut err = BufReader::new(err);
            // Reports the part that could be read.
            while let Ok(part) = Part::read(&mut err, &expected, STORY) {
                let is_last = part.end.is_none();
                if sender.send(part).is_err() || is_last {
                    break;
                }
            }
        });
        Ok(Worker { child, token, names, out: BufReader::new(out), progress, runs: 0 })
    }

    /// Ends the process of `worker`, which has nothing to do.
    fn end(&self, worker: Worker) -> Result<ExitStatus> {
        let Worker { mut child, names, out, .. } = worker;
        // It ends where there are no more names, and must not wait for a reader.
        drop((names, out));
        // The process id is not reused before it is waited for, so no signal reaches another process.
        let status = child.wait().map_err(Error::file("wait for", "kumadb"))?;
        lock(self.pids).retain(|pid| *pid != child.id());
        Ok(status)
    }

    /// Ends all processes.
    pub fn close(self) -> Result<()> {
        let idle = std::mem::take(&mut *lock(&self.idle));
        idle.into_iter().try_for_each(|worker| self.end(worker).map(drop))
    }
}

/// The messages of a run.
pub fn messages(mut text: String, is_cut: bool) -> String {
    if is_cut {
        text.push_str(&format!("\nwarning: its messages after the first {} were left out", bytes(STORY)));
    }
    text
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `verb` on each instance whose name is on standard input.
pub fn serve(verb: &Verb, global: &Global, ui: &mut Ui) -> Result<Exit> {
    let failed = Error::file("read", "/dev/stdin");
    // No program that is started can read the names instead.
    let names = fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(|error| failed(error.into()))?;
    let nothing = files::open(std::path::Path::new("/dev/null"))?;
    dup2_stdin(nothing).map_err(|error| Error::file("open", "/dev/null")(error.into()))?;
    let mut lines = BufReader::new(std::fs::File::from(names)).lines();
    let mut next = || lines.next().transpose().map_err(Error::file("read", "/dev/stdin"));
    let Some(token) = next()? else { return Ok(Exit::Done) };
    let mut config = None;
    while let Some(name) = next()? {
        let global = Global { target: Some(name), ..global.clone() };
        let mut context = Context::new(ui, global);
        if let Some(config) = config.take() {
            let _ = context.config.set(config);
        }
        let ran = verb.run_located(&mut context);
        config = context.config.take();
        let exit = ran.unwrap_or_else(|error| ui.fail(&error));
        ui.end_run(&token, exit)?;
        if ui.signal() != 0 {
            break;
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_where_its_token_is() {
        let mut text: &[u8] = b"one\x1ewrong 0\n\x1e\x1etok\x1etoken 3\n\x1etoken\nrest\x1eto";
        let read = |text: &mut &[u8], most| Part::read(text, "token", most).expect("it can be read");
        let part =
            |bytes: &str, is_cut, end: Option<&str>| Part { bytes: bytes.into(), is_cut, end: end.map(str::to_owned) };
        assert_eq!(read(&mut text, 100), part("one\x1ewrong 0\n\x1e\x1etok", false, Some("3")));
        assert_eq!(read(&mut text, 100), part("", false, Some("")));
        assert_eq!(read(&mut text, 100), part("rest\x1eto", false, None));
        // What is too much is read and not kept.
        let long = [b"a".repeat(5_000_000), b"\x1eother\nbbb\x1etoken 7\nnext".to_vec()].concat();
        let mut text = long.as_slice();
        assert_eq!(read(&mut text, 3), part("aaa", true, Some("7")));
        assert_eq!(read(&mut text, 4), part("next", false, None));
    }
}
