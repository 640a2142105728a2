//! The only place that prints: results on stdout, progress on stderr.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value as Json, json};

use super::environment::value;
use super::paint::for_stdout;
use super::signals::failure;
use super::{Cli, prompt, signals};
use crate::cancel::Cancel;
use crate::error::{Error, Exit, Hint, InputError, OperationError, Result, SnapshotError};
use crate::operation::{Observer, Step};
use crate::text::{for_terminal, message, one_line};
use crate::value::Secret;

/// How long a step runs before a progress bar is shown.
const SLOW: Duration = Duration::from_secs(1);

/// Output to the user, and questions.
pub struct Ui {
    json: bool,
    yes: bool,
    quiet: bool,
    verbose: bool,
    /// Whether another kumadb asks the questions for this one; it shows the lines in `shown`.
    asked_by_parent: bool,
    shown: Vec<String>,
    color: bool,
    bar: Option<ProgressBar>,
    since: Instant,
    signal: Arc<AtomicUsize>,
    /// The same, for work that it ends early.
    cancel: Cancel,
    /// Whether a signal waits until the run has ended in order.
    must_finish: Arc<AtomicBool>,
    /// Whether each result replaces the one before.
    watches: bool,
    /// Lines of this round that wait until the screen is cleared, which would take them away.
    held: Option<Vec<String>>,
    /// Stores for which a waiting line was printed.
    noticed: Arc<Mutex<BTreeSet<String>>>,
}

impl Ui {
    /// From the options. From here on SIGINT, SIGTERM and SIGHUP (a lost terminal) only set a flag, which is checked
    /// between two steps.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn new(cli: &Cli) -> std::io::Result<Ui> {
        let signal = Arc::new(AtomicUsize::new(0));
        signals::note(&signal)?;
        Ok(Ui {
            json: cli.global.json,
            yes: cli.global.yes,
            quiet: cli.global.quiet,
            verbose: cli.global.verbose,
            asked_by_parent: cli.global.asked_by_parent,
            color: std::io::stderr().is_terminal() && value("NO_COLOR").is_none(),
            cancel: Cancel::by(signal.clone()),
            signal,
            ..Ui::silent()
        })
    }

    /// Without any output, for a completion.
    pub fn silent() -> Ui {
        let signal = Arc::new(AtomicUsize::new(0));
        Ui {
            json: false,
            yes: false,
            quiet: true,
            verbose: false,
            asked_by_parent: false,
            shown: Vec::new(),
            color: false,
            bar: None,
            since: Instant::now(),
            cancel: Cancel::by(signal.clone()),
            signal,
            must_finish: Arc::default(),
            watches: false,
            held: None,
            noticed: Arc::default(),
        }
    }

    /// From here on, a signal ends this process within two seconds, until [`finish_in_order`](Ui::finish_in_order).
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn end_promptly(&self) -> Result<()> {
        signals::end_promptly(self.cancel.clone(), self.must_finish.clone(), self.json)
            .map_err(Error::file("catch signals of", "kumadb"))
    }

    /// From here on, a signal waits for the run, which ends in order.
    pub fn finish_in_order(&self) {
        self.must_finish.store(true, Ordering::SeqCst);
    }

    /// Whether the result is printed as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether long lists are shown whole: with `--verbose`, or where no one reads them on a terminal.
    pub fn shows_all(&self) -> bool {
        self.verbose || !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal()
    }

    /// Whether questions are answered by `--yes`.
    pub fn is_yes(&self) -> bool {
        self.yes
    }

    /// What ends work early: a signal, until something has to be finished.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The number of the received signal, or 0.
    pub fn signal(&self) -> i32 {
        self.signal.load(Ordering::SeqCst) as i32
    }

    /// The same as a value that other threads can read.
    pub fn signals(&self) -> impl Fn() -> i32 + Send + Sync + use<> {
        let signal = self.signal.clone();
        move || signal.load(Ordering::SeqCst) as i32
    }

    /// Prints one line for each store that kumadb waits for, unless quiet.
    pub fn notices(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let (quiet, color, noticed) = (self.quiet, self.color, self.noticed.clone());
        move |line: &str| {
            let store = line.split(": ").next().unwrap_or_default().to_owned();
            let is_new = noticed.lock().is_ok_and(|mut noticed| noticed.insert(store));
            if is_new && !quiet {
                // A bar may be on this line.
                let start = if color { "\r\u{1b}[K" } else { "" };
                let _ = writeln!(std::io::stderr(), "{start}{line}");
            }
        }
    }

    /// The same, and resets it.
    pub fn take_signal(&mut self) -> Option<i32> {
        Some(self.signal.swap(0, Ordering::SeqCst) as i32).filter(|signal| *signal != 0)
    }

    /// How a run that waits for a signal ended, once one was received.
    pub fn signal_exit(&self) -> Option<Exit> {
        match self.signal() {
            0 => None,
            signal_hook::consts::SIGTERM => Some(Exit::Terminated),
            _ => Some(Exit::Interrupted),
        }
    }

    /// From here on, each result replaces the one before on the screen.
    pub fn watch(&mut self) {
        self.watches = true;
    }

    /// Begins a result that replaces the one before: lines for stderr wait until the screen is cleared.
    pub fn begin_round(&mut self) {
        self.held = (self.watches && std::io::stdout().is_terminal()).then(Vec::new);
    }

    /// Clears the screen, where results replace each other on one.
    pub fn clear_screen(&mut self) -> Result<()> {
        if self.watches && std::io::stdout().is_terminal() {
            self.print("\u{1b}[H\u{1b}[2J")?;
        }
        self.end_round();
        Ok(())
    }

    /// Prints the lines that waited.
    pub fn end_round(&mut self) {
        for line in self.held.take().unwrap_or_default() {
            self.report(&line);
        }
    }

    /// Forwards the output of a remote job. A closed pipe must not end it halfway.
    pub fn pass_out(&mut self, bytes: &[u8]) {
        self.clear();
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// The same for its standard error.
    pub fn pass_err(&mut self, bytes: &[u8]) {
        self.clear();
        let _ = std::io::stderr().write_all(bytes);
    }

    /// Prints the result: `document` as JSON, or the text of `text`, in which control characters are escaped. A name must not
    /// begin another line: [`one_line`], [`lines`](crate::text::lines) and tables see to that.
    pub fn result(&mut self, document: &Json, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.raw_result(document, String::new) } else { self.print(&for_terminal(&text())) }
    }

    /// The same for the content of a file, or values that another program reads: only a terminal gets escapes.
    pub fn raw_result(&mut self, document: &Json, text: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json { format!("{document:#}") } else { text() };
        self.print(&for_stdout(&text))
    }

    /// The same with colours. The text must consist of tables, [`painted`](super::paint::painted) texts and
    /// [`one_line`](crate::text::one_line)s, because nothing else is escaped.
    pub fn painted_result(&mut self, document: &Json, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.result(document, String::new) } else { self.print(&text()) }
    }

    fn print(&mut self, text: &str) -> Result<()> {
        self.clear();
        let mut out = std::io::stdout().lock();
        let written =
            if text.is_empty() { Ok(()) } else { writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) };
        match written {
            // The reader has closed the pipe, `head` for instance.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Error::file("write", "/dev/stdout")),
        }
    }

    /// Ends the output of one of several runs, as the parent expects it; see [`worker`](super::worker).
    pub fn end_run(&mut self, token: &str, exit: Exit) -> Result<()> {
        self.clear();
        self.shown.clear();
        let _ = writeln!(std::io::stderr(), "\u{1e}{token}");
        let mut out = std::io::stdout().lock();
        let ended = writeln!(out, "\u{1e}{token} {}", exit as u8).and_then(|()| out.flush());
        ended.map_err(Error::file("write", "/dev/stdout"))
    }

    /// Standard output for a result that is not text, without a buffer.
    ///
    /// # Errors
    /// [`InputError::Option`]: it is a terminal.
    pub fn stream_out(&mut self) -> Result<File> {
        self.clear();
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Err(Error::Input(InputError::Option {
                option: "`--stdout`".into(),
                why: "standard output is a terminal".into(),
                hint: Some(Hint::command(
                    "kumadb backup create --stdout | restic backup --stdin --stdin-filename kuma.kuma.tar",
                )),
            }));
        }
        stdout.as_fd().try_clone_to_owned().map(File::from).map_err(Error::file("write", "/dev/stdout"))
    }

    /// Prints a part of a long result; `false` when the reader has closed the pipe.
    pub fn put(&mut self, text: &str) -> Result<bool> {
        self.clear();
        let mut out = std::io::stdout().lock();
        match out.write_all(for_stdout(text).as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).map_err(Error::file("write", "/dev/stdout")),
        }
    }

    /// A line of progress output.
    pub fn say(&mut self, line: &str) {
        self.say_text(&one_line(line));
    }

    /// Progress output of several lines: tables, and [`lines`](crate::text::lines).
    pub fn say_text(&mut self, text: &str) {
        let line = &for_terminal(text);
        if self.asked_by_parent {
            self.shown.push(line.clone().into_owned());
        }
        if !self.quiet {
            self.report(line);
        }
    }

    /// A warning, shown even with `--quiet`.
    pub fn warn(&mut self, line: &str) {
        let line = format!("{} {}", self.paint("33", "warning:"), message(line));
        self.report(&line);
    }

    /// A line of a log; shown even with `--quiet` if it `matters`.
    pub fn log(&mut self, line: &str, matters: bool) {
        if matters || !self.quiet {
            self.report(&message(line));
        }
    }

    /// Fails where a signal was received, and stopping before `step` leaves the database as it was.
    pub fn check_signal(&self, step: &Step) -> Result<()> {
        match self.signal() {
            0 => Ok(()),
            signal if step.can_end() => Err(Error::Operation(OperationError::Interrupted { signal })),
            _ => Ok(()),
        }
    }

    /// Prints `error` with its hint, and returns the exit code.
    pub fn fail(&mut self, error: &Error) -> Exit {
        let report = error.report();
        let line = format!("{} {}", self.paint("31", "error:"), message(&report.message));
        self.report(&line);
        report.more.iter().for_each(|line| self.report(&message(line)));
        for hint in report.hints {
            let line = format!("{} {}", self.paint("36", &format!("  {}:", hint.label())), one_line(hint.text()));
            self.report(&line);
        }
        if self.json {
            let _ = writeln!(std::io::stdout(), "{:#}", failure(error));
        }
        error.exit()
    }

    /// Asks `question`; anything but yes is [`InputError::Cancelled`](crate::error::InputError::Cancelled).
    pub fn ask(&mut self, question: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if self.asked_by_parent {
            let asks = json!({"question": question, "shown": std::mem::take(&mut self.shown)});
            let mut out = std::io::stdout().lock();
            writeln!(out, "{asks}").and_then(|()| out.flush()).map_err(Error::file("write", "/dev/stdout"))?;
        } else if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Error::Input(InputError::ConfirmationRequired));
        } else {
            self.clear();
            let _ = write!(std::io::stderr(), "{} [y/N] ", one_line(question));
        }
        let answer = prompt::line(&|| self.signal())?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Error::Input(InputError::Cancelled)),
        }
    }

    /// Whether questions can be asked.
    pub fn asks(&self) -> bool {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        terminal && !self.yes && !self.json && !self.asked_by_parent
    }

    /// Asks `question`, which ends with the default in brackets. `None` for the default, and where no question can be asked.
    pub fn answer(&mut self, question: &str) -> Result<Option<String>> {
        if !self.asks() {
            return Ok(None);
        }
        self.clear();
        let _ = write!(std::io::stderr(), "{}: ", one_line(question));
        let answer = prompt::line(&|| self.signal())?;
        Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
    }

    /// Asks for a new password: on a terminal twice and without echo, else the first line of stdin.
    pub fn password(&mut self, of: &str) -> Result<String> {
        let first = self.known_password(&format!("password of {of}"))?;
        if !std::io::stdin().is_terminal() {
            return Ok(first);
        }
        if first == prompt::unseen("confirm password", &|| self.signal())? {
            Ok(first)
        } else {
            Err(Error::Input(InputError::PasswordsDiffer))
        }
    }

    /// Asks for an existing secret, which is typed only once.
    pub fn known_password(&mut self, of: &str) -> Result<String> {
        if self.asked_by_parent {
            return Err(Error::Input(InputError::CannotPrompt { secret: of.to_owned() }));
        }
        if std::io::stdin().is_terminal() {
            prompt::unseen(of, &|| self.signal())
        } else {
            prompt::line(&|| self.signal())
        }
    }

    /// A function that asks for the passphrase of an archive, on a terminal, without echo.
    pub fn asks_passphrase(&self) -> impl Fn(&str) -> Result<Secret> + Send + Sync + 'static {
        let signal = self.signal.clone();
        move |of| {
            if std::io::stdin().is_terminal() {
                let signal = || signal.load(Ordering::SeqCst) as i32;
                prompt::unseen(&format!("passphrase of {of}"), &signal).map(Secret::new)
            } else {
                Err(Error::Snapshot(SnapshotError::Key {
                    archive: of.to_owned(),
                    why: "it is encrypted with a passphrase",
                }))
            }
        }
    }

    /// A line on stderr. A closed terminal, for instance, must not end a run halfway.
    fn report(&mut self, line: &str) {
        if let Some(held) = &mut self.held {
            return held.push(line.to_owned());
        }
        self.clear();
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Prints the answer to a shell.
pub fn put_answer(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// How wide the terminal of standard output is; 80 where that is unknown, or 0 as in some containers.
pub fn terminal_width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let named = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.filter(|width| *width > 0).or_else(named).filter(|width| *width > 0).unwrap_or(80)
}

impl Observer for Ui {
    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Journal | Step::Rebuild { .. } | Step::Fill => {
                self.finish_in_order();
                self.cancel.defer(false);
            }
            Step::Undo { .. } | Step::Committed => self.cancel.defer(true),
            _ => {}
        }
        self.check_signal(step)?;
        if *step == Step::Commit {
            self.cancel.defer(true);
        }
        self.since = Instant::now();
        if self.verbose || step.is_reported() {
            self.say(&step.to_string());
        }
        Ok(())
    }

    fn progress(&mut self, done: u64, total: u64) {
        if self.quiet || !std::io::stderr().is_terminal() || (self.bar.is_none() && self.since.elapsed() < SLOW) {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            match ProgressStyle::with_template("  {bar:30} {percent:>3} %  {eta} left") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_length(total.max(done));
        bar.set_position(done);
    }
}
