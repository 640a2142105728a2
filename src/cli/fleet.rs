//! One verb on many instances of the config file. Each runs in a process of its own, `kumadb -t NAME …`, so that nothing is
//! shared and an error on one does not stop the others. Verbs that change nothing share some processes, see [`worker`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use super::worker::{self, FinishedRun, Pool, STORY, lock, messages};
use super::{Context, Ui, config};
use crate::config::{ConfigFile, InstanceConfig};
use crate::error::{Error, Exit, InputError, OperationError, Result};
use crate::text::{bytes, counted};

/// How much of the result of one run is read, in bytes: the list of a million monitors.
const RESULT: u64 = 256 << 20;

/// Polling interval for signals.
const LOOK: Duration = Duration::from_millis(20);

/// Which instances of the config file.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Multiple instances")]
pub struct FleetArgs {
    /// Select this instance of the config file (can be repeated)
    #[arg(hide_short_help = true, long = "instance", value_name = "NAME")]
    instances: Vec<String>,
    #[command(flatten)]
    groups: GroupArgs,
}

/// The same for verbs whose `--instance` is something else.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Multiple instances")]
pub struct GroupArgs {
    /// Select the instances of this group of the config file (can be repeated)
    #[arg(hide_short_help = true, long = "instance-group", value_name = "NAME")]
    groups: Vec<String>,
    /// Select all instances of the config file
    #[arg(hide_short_help = true, long)]
    all: bool,
    /// Run on this many instances in parallel
    #[arg(hide_short_help = true, long, value_name = "N", default_value = "4")]
    parallel: NonZeroUsize,
}

/// Options of the parent only, and whether a value follows.
const OURS: [(&str, bool); 5] =
    [("--instance", true), ("--instance-group", true), ("--all", false), ("--parallel", true), (WATCH, false)];

/// The one of them whose value, a duration, may be missing.
const WATCH: &str = "--watch";

/// Options that every child gets or does not get in any case.
const GIVEN: [&str; 5] = ["--json", "--yes", "-y", "--asked-by-parent", worker::OPTION];

/// How a verb runs on many instances.
pub struct Fleet<'a> {
    /// The selection.
    pub args: FleetArgs,
    /// Options that only make sense for one of many.
    pub more: &'a [&'a str],
    /// Summarises a result in a few words.
    pub words: fn(&Json) -> String,
}

impl GroupArgs {
    /// The same without names of instances.
    pub fn fleet(&self) -> FleetArgs {
        FleetArgs { instances: Vec::new(), groups: self.clone() }
    }
}

impl FleetArgs {
    /// These instances, those of these groups, or all.
    pub fn of(instances: Vec<String>, groups: Vec<String>, all: bool) -> FleetArgs {
        FleetArgs { instances, groups: GroupArgs { groups, all, parallel: NonZeroUsize::MIN } }
    }

    /// Whether several instances are selected, rather than the one of `-t`.
    pub fn is_many(&self) -> bool {
        self.groups.all || !self.groups.groups.is_empty() || !self.instances.is_empty()
    }

    /// Their names, each once, sorted.
    pub fn names(&self, config: &ConfigFile) -> Result<Vec<String>> {
        let known: Vec<&str> = config.instances.keys().map(String::as_str).collect();
        let mut groups: Vec<&str> =
            config.instances.values().flat_map(|target| &target.groups).map(String::as_str).collect();
        groups.dedup();
        for (kind, desired, known) in
            [("instance", &self.instances, &known), ("instance group", &self.groups.groups, &groups)]
        {
            if let Some(name) = desired.iter().find(|name| !known.contains(&name.as_str())) {
                let known = known.iter().map(|known| (*known).to_owned()).collect();
                return Err(InputError::NotConfigured { kind, name: name.clone(), known }.into());
            }
        }
        let desired = |(name, target): &(&String, &InstanceConfig)| {
            self.groups.all
                || self.instances.contains(name)
                || target.groups.iter().any(|group| self.groups.groups.contains(group))
        };
        let names: Vec<String> = config.instances.iter().filter(desired).map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            Err(Error::Input(InputError::NoSection { section: "[instances.NAME]" }))
        } else {
            Ok(names)
        }
    }
}

/// A run that waits for an answer.
struct Run<'c> {
    crew: &'c Workers,
    name: String,
    begun: Instant,
    child: Child,
    answer: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
    progress: JoinHandle<String>,
}

/// How a run ended.
struct FinishedChild {
    name: String,
    exit: Exit,
    took: Duration,
    document: Json,
    progress: String,
}

/// The state of a run.
enum RunState<'c> {
    Asks(Run<'c>, Json),
    Ended(FinishedChild),
}

/// The running children, and whether no more are to be started.
#[derive(Default)]
struct Workers {
    stopped: AtomicBool,
    pids: Mutex<Vec<u32>>,
}

/// Runs the command line once per instance, shows a table, and returns the worst exit code.
pub fn run(fleet: &Fleet<'_>, context: &mut Context<'_>) -> Result<Exit> {
    let (names, words) = fleet.begin(context)?;
    let parallel = fleet.args.groups.parallel.get();
    let crew = Workers::default();
    let mut watch = Watch { crew: &crew, signal: 0 };
    let asked = if context.ui.is_yes() { "--yes" } else { "--asked-by-parent" };
    let begin = |name: String| Run::begin(&name, &words, fleet.more, asked, &crew);
    let mut begun = side_by_side(names, parallel, begin, &mut || watch.look(context.ui));
    let mut ended = Vec::new();
    loop {
        let mut asking = Vec::new();
        for one in begun {
            match one? {
                RunState::Asks(run, asks) => asking.push((run, asks)),
                RunState::Ended(one) => ended.push(one),
            }
        }
        if asking.is_empty() {
            break;
        }
        if let Err(error) = ask(&asking, context.ui) {
            // End of input means no.
            for (mut run, _) in asking {
                drop(run.answer.take());
                let _ = run.child.wait();
            }
            return Err(error);
        }
        begun = side_by_side(asking, parallel, Run::answer, &mut || watch.look(context.ui));
    }
    ended.sort_by(|a, b| a.name.cmp(&b.name));
    watch.finish(&ended, fleet.words, context.ui)
}

/// The same for a verb that changes nothing and does not ask: a few processes run it on all instances.
pub fn read(fleet: &Fleet<'_>, context: &mut Context<'_>) -> Result<Exit> {
    let (names, mut words) = fleet.begin(context)?;
    words.extend(fleet.more.iter().map(OsString::from));
    let crew = Workers::default();
    let pool = Pool::new(&words, &crew.pids);
    let mut watch = Watch { crew: &crew, signal: 0 };
    let read = |name: String| {
        let begun = Instant::now();
        if crew.stopped.load(Ordering::SeqCst) {
            return Ok(FinishedChild::stopped(name));
        }
        let run = pool.run(&name, RESULT)?;
        Ok(FinishedChild::of(name, begun.elapsed(), run))
    };
    let ended = side_by_side(names, fleet.args.groups.parallel.get(), read, &mut || watch.look(context.ui));
    pool.close()?;
    watch.finish(&ended.into_iter().collect::<Result<Vec<_>>>()?, fleet.words, context.ui)
}

impl Fleet<'_> {
    /// The names of the instances, and the command line of each.
    fn begin(&self, context: &mut Context<'_>) -> Result<(Vec<String>, Vec<OsString>)> {
        // Signals are forwarded to the others.
        context.ui.finish_in_order();
        Ok((self.args.names(&config::required(context)?.1)?, own_words(std::env::args_os().skip(1))?))
    }
}

impl FinishedChild {
    /// The instance `name`, which was not read.
    fn stopped(name: String) -> FinishedChild {
        let document = json!({"error": {"message": "interrupted before it started", "hint": null}});
        FinishedChild { name, exit: Exit::Interrupted, took: Duration::ZERO, document, progress: String::new() }
    }

    fn of(name: String, took: Duration, run: FinishedRun) -> FinishedChild {
        let FinishedRun { text, is_cut, exit, progress, .. } = run;
        let document = serde_json::from_str(&text).unwrap_or_else(|_| {
            if is_cut {
                let message =
                    format!("its result is larger than {}: run it with `-t` and this instance", bytes(RESULT));
                return json!({"error": {"message": message, "hint": null}});
            }
            let last = progress.lines().last().unwrap_or("it exited without a message");
            json!({"error": {"message": last, "hint": null}})
        });
        FinishedChild { name, exit, took, document, progress }
    }
}

/// Shows all questions, and asks once.
fn ask(asking: &[(Run<'_>, Json)], ui: &mut Ui) -> Result<()> {
    for (run, asks) in asking {
        ui.say(&format!("{}:", run.name));
        for line in asks["shown"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            ui.say_text(&format!("  {}", line.replace('\n', "\n  ")));
        }
        ui.say(&format!("  {}", asks["question"].as_str().unwrap_or_default()));
    }
    ui.ask(&format!("make all these changes on {}?", counted(asking.len(), "instance")))
}

/// The command line without the options of the parent.
fn own_words(typed: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut typed = typed.peekable();
    let is_duration = |word: &OsString| word.to_string_lossy().starts_with(|first: char| first.is_ascii_digit());
    let mut words = Vec::new();
    while let Some(word) = typed.next() {
        let text = word.to_string_lossy();
        if text == "--" {
            words.push(word);
            words.extend(typed);
            break;
        }
        if text.starts_with("-t") || text == "--target" || text.starts_with("--target=") {
            return Err(Error::Input(InputError::Conflict {
                option: "`-t`".into(),
                other: "`--instance`, `--instance-group` or `--all`".into(),
            }));
        }
        if text == "-" {
            return Err(Error::Input(InputError::NotFor {
                option: "`-`".into(),
                subject: "several instances".into(),
                why: "they cannot share standard input; use a file".into(),
            }));
        }
        let (name, value) = text.split_once('=').map_or((&*text, false), |(name, _)| (name, true));
        match OURS.iter().find(|(ours, _)| *ours == name) {
            Some((_, takes)) if *takes && !value => drop(typed.next()),
            Some((WATCH, _)) if !value => drop(typed.next_if(is_duration)),
            Some(_) => {}
            None if GIVEN.contains(&name) => {}
            None => words.push(word),
        }
    }
    Ok(words)
}

impl<'c> Run<'c> {
    /// Runs `kumadb -t NAME WORDS` until it ends or asks.
    fn begin(name: &str, words: &[OsString], more: &[&str], asked: &str, crew: &'c Workers) -> Result<RunState<'c>> {
        let begun = Instant::now();
        if crew.stopped.load(Ordering::SeqCst) {
            return Ok(RunState::Ended(FinishedChild::stopped(name.to_owned())));
        }
        let failed = Error::file("run", "kumadb");
        let program = std::env::current_exe().map_err(Error::file("find", "kumadb"))?;
        let mut command = Command::new(program);
        command.args(["-t", name, "--json", asked]).args(words).args(more);
        let input = if asked == "--yes" { Stdio::null() } else { Stdio::piped() };
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        lock(&crew.pids).push(child.id());
        let gone = || Error::Operation(OperationError::NoPipes);
        let mut stderr = child.stderr.take().ok_or_else(gone)?;
        let progress = thread::spawn(move || {
            // Reports the part that could be read.
            let (progress, is_cut) = read_bounded(&mut stderr, STORY).unwrap_or_default();
            messages(String::from_utf8_lossy(&progress).into_owned(), is_cut)
        });
        let out = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        Run { crew, name: name.to_owned(), begun, answer: child.stdin.take(), child, out, progress }.listen()
    }

    /// Waits until it ends or asks.
    fn listen(mut self) -> Result<RunState<'c>> {
        let mut first = Vec::new();
        let line = (&mut self.out).take(RESULT).read_until(b'\n', &mut first);
        line.map_err(Error::file("read from", "kumadb"))?;
        let first = String::from_utf8_lossy(&first).into_owned();
        match serde_json::from_str::<Json>(&first) {
            Ok(asks) if asks.get("question").is_some() => Ok(RunState::Asks(self, asks)),
            _ => self.end(first).map(RunState::Ended),
        }
    }

    /// Answers yes, and waits until it ends or asks again.
    fn answer((mut run, _): (Run<'c>, Json)) -> Result<RunState<'c>> {
        if let Some(answer) = &mut run.answer {
            // A child that has ended meanwhile reports why.
            let _ = answer.write_all(b"yes\n");
        }
        run.listen()
    }

    /// Waits for the end; `text` is the beginning of its result.
    fn end(mut self, mut text: String) -> Result<FinishedChild> {
        let rest = RESULT.saturating_sub(text.len() as u64);
        let (rest, is_cut) = read_bounded(&mut self.out, rest).map_err(Error::file("read from", "kumadb"))?;
        text.push_str(&String::from_utf8_lossy(&rest));
        let status = {
            // The process id is not reused before it is waited for, so no signal reaches another process.
            let mut pids = lock(&self.crew.pids);
            pids.retain(|pid| *pid != self.child.id());
            self.child.wait().map_err(Error::file("wait for", "kumadb"))?
        };
        let exit = status.code().and_then(Exit::of).unwrap_or(Exit::Failed);
        let progress = self.progress.join().unwrap_or_default();
        Ok(FinishedChild::of(
            self.name,
            self.begun.elapsed(),
            FinishedRun { text, is_cut, exit, progress, is_whole: false },
        ))
    }
}

/// The first `most` bytes of `source`, and whether there were more. All of it is read: what writes it must not wait.
fn read_bounded(source: &mut dyn Read, most: u64) -> std::io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    source.take(most).read_to_end(&mut kept)?;
    let more = std::io::copy(source, &mut std::io::sink())?;
    Ok((kept, more > 0))
}

/// Forwards a signal to the children that did not get it from the terminal.
struct Watch<'c> {
    crew: &'c Workers,
    signal: i32,
}

impl Watch<'_> {
    /// Shows the results; returns the worst exit code, or fails after a signal.
    fn finish(&self, ended: &[FinishedChild], words: fn(&Json) -> String, ui: &mut Ui) -> Result<Exit> {
        let exit = report(ended, words, ui)?;
        match self.signal {
            0 => Ok(exit),
            signal => Err(Error::Operation(OperationError::Interrupted { signal })),
        }
    }

    fn look(&mut self, ui: &Ui) {
        if self.signal != 0 || ui.signal() == 0 {
            return;
        }
        self.signal = ui.signal();
        self.crew.stopped.store(true, Ordering::SeqCst);
        // Ctrl-C reaches all of them anyway, and a second one would end them at once.
        if let Some(signal) = Signal::from_named_raw(self.signal).filter(|signal| *signal != Signal::INT) {
            let pids = lock(&self.crew.pids);
            for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
                let _ = kill_process(pid, signal);
            }
        }
    }
}

/// Runs `work` on all `items`, `parallel` at a time, and returns the results in the order of the items; `watch` is
/// called meanwhile.
fn side_by_side<T: Send, R: Send>(
    items: Vec<T>,
    parallel: usize,
    work: impl Fn(T) -> R + Sync,
    watch: &mut dyn FnMut(),
) -> Vec<R> {
    let workers = parallel.min(items.len());
    let waiting: Mutex<VecDeque<(usize, T)>> = Mutex::new(items.into_iter().enumerate().collect());
    let done = Mutex::new(Vec::new());
    let next = || lock(&waiting).pop_front();
    let labour = || {
        while let Some((at, item)) = next() {
            let result = work(item);
            lock(&done).push((at, result));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(labour)).collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            watch();
            thread::sleep(LOOK);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Prints the table or the JSON document; returns the worst exit code.
fn report(ended: &[FinishedChild], words: fn(&Json) -> String, ui: &mut Ui) -> Result<Exit> {
    let worst = ended.iter().map(|one| one.exit).max_by_key(|exit| exit.severity()).unwrap_or(Exit::Done);
    let warnings = |one: &FinishedChild| -> Vec<String> {
        let lines = one.progress.lines().filter_map(|line| line.strip_prefix("warning: "));
        lines.map(str::to_owned).collect()
    };
    let error = |one: &FinishedChild| one.document.get("error").filter(|error| error.is_object()).cloned();
    ui.clear_screen()?;
    let documents: Vec<Json> = ended
        .iter()
        .map(|one| {
            let error = error(one);
            json!({
                "instance": one.name,
                "exit": one.exit as u8,
                "seconds": one.took.as_secs_f64(),
                "result": if error.is_some() { &Json::Null } else { &one.document },
                "error": error,
                "warnings": warnings(one),
            })
        })
        .collect();
    for one in ended {
        for warning in warnings(one) {
            ui.warn(&format!("{}: {warning}", one.name));
        }
    }
    let row = |one: &FinishedChild| {
        let result = match error(one) {
            Some(error) => error["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned(),
            None => words(&one.document),
        };
        vec![one.name.clone(), result, format!("{:.1} s", one.took.as_secs_f64()), one.exit.words().to_owned()]
    };
    ui.result(&json!({"instances": documents, "exit": worst as u8}), || {
        Ui::table(&["instance", "result", "time", "status"], ended.iter().map(row).collect())
    })?;
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_read_and_not_kept() {
        let (kept, is_cut) = read_bounded(&mut std::io::repeat(b'a').take(5_000_000), 1000).expect("it can be read");
        assert!(kept.len() == 1000 && is_cut);
        let (kept, is_cut) = read_bounded(&mut &b"abc"[..], 3).expect("it can be read");
        assert!(kept == b"abc" && !is_cut);
    }
}
