//! A second wall around work on bytes that others wrote: archives, dumps, damaged databases. Where Linux has Landlock, that work
//! runs in a thread, and in programs that this thread starts, which can reach nothing but the files that it is given, and no
//! network. See docs/design/confinement.md.

use std::fmt;
use std::io::{self, Read, Write as _};
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc;

use crate::error::{Error, Result};

/// What confined work can reach; nothing by default.
#[derive(Debug, Default)]
pub struct Confined {
    /// Files and folders that it can read and write, with everything below them.
    pub write: Vec<PathBuf>,
    /// The same for programs that it starts and their libraries, which it can read.
    pub programs: bool,
}

/// Whether there is such a wall on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// All of it.
    Up,
    /// All that this version of Linux supports.
    InPart,
    /// None.
    Missing,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confinement::Up => "archives and damaged databases are read under Landlock",
            Confinement::InPart => {
                "archives and damaged databases are read under Landlock, as far as this kernel supports it"
            }
            Confinement::Missing => {
                "archives and damaged databases are read without Landlock: this system does not have it"
            }
        })
    }
}

impl Confined {
    /// Read and write `folder` only.
    pub fn folder(folder: impl Into<PathBuf>) -> Confined {
        Confined { write: vec![folder.into()], programs: false }
    }

    /// Runs `work` confined.
    ///
    /// # Errors
    /// That of `work`; one of these files cannot be opened.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.run_with_progress(&mut |_, _| {}, |_| work())
    }

    /// Runs `work` confined; the progress that it reports is passed on to `progress`, outside.
    ///
    /// # Errors
    /// The same.
    pub fn run_with_progress<T: Send>(
        &self,
        progress: &mut dyn FnMut(u64, u64),
        work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<T> + Send,
    ) -> Result<T> {
        let (tell, reported) = mpsc::channel();
        std::thread::scope(|scope| {
            let confined = scope.spawn(move || {
                let mut report = |done, total| {
                    // It is heard until the end.
                    let _ = tell.send((done, total));
                };
                self.enter().and_then(|_| work(&mut report))
            });
            reported.into_iter().for_each(|(done, total)| progress(done, total));
            confined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `work` confined on the bytes of `source`, called `name`, which is read outside.
    ///
    /// # Errors
    /// The same; that of `source`, where it cannot be read.
    pub fn run_on<T: Send>(
        &self,
        name: &str,
        mut source: Box<dyn Read + Send>,
        work: impl FnOnce(io::PipeReader) -> Result<T> + Send,
    ) -> Result<T> {
        let (there, mut here) = io::pipe().map_err(Error::file("read", name))?;
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| self.enter().and_then(|_| work(there)));
            let read = pass(&mut *source, &mut here);
            drop(here);
            let done = confined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match read.map_err(io::Error::downcast::<Error>) {
                Ok(()) => done,
                Err(Ok(own)) => Err(own),
                Err(Err(error)) => Err(Error::file("read", name)(error)),
            }
        })
    }

    /// Whether this machine has such a wall.
    pub fn wall() -> Confinement {
        std::thread::scope(|scope| {
            let tried = scope.spawn(|| Confined::default().enter());
            tried.join().ok().and_then(Result::ok).unwrap_or(Confinement::Missing)
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn enter(&self) -> Result<Confinement> {
        Ok(Confinement::Missing)
    }

    /// Confines this thread, for good.
    #[cfg(target_os = "linux")]
    fn enter(&self) -> Result<Confinement> {
        use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetStatus};
        // All of this is denied but for the rules. A kernel that does not know a right does without.
        const KNOWN: ABI = ABI::V5;
        let begin = || {
            Ruleset::default()
                .handle_access(AccessFs::from_all(KNOWN))?
                .handle_access(AccessNet::from_all(KNOWN))?
                .create()
        };
        let mut rules = begin().map_err(refused)?;
        for path in &self.write {
            let is_folder = super::about_target(path)?.is_folder();
            let access = if is_folder { AccessFs::from_all(KNOWN) } else { AccessFs::from_file(KNOWN) };
            allow(&mut rules, path, access & !AccessFs::Execute)?;
        }
        // SQLite draws numbers from the first. What is statically linked asks the second whether there are any.
        for numbers in ["/dev/urandom", "/dev/random"] {
            match allow(&mut rules, Path::new(numbers), AccessFs::ReadFile.into()) {
                Err(error) if error.is_missing() => {}
                allowed => allowed?,
            }
        }
        if self.programs {
            allow(&mut rules, Path::new("/"), AccessFs::from_read(KNOWN))?;
            allow(&mut rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
        }
        Ok(match rules.restrict_self().map_err(refused)?.ruleset {
            RulesetStatus::FullyEnforced => Confinement::Up,
            RulesetStatus::PartiallyEnforced => Confinement::InPart,
            RulesetStatus::NotEnforced => Confinement::Missing,
        })
    }
}

#[cfg(target_os = "linux")]
fn allow(
    rules: &mut landlock::RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<landlock::AccessFs>,
) -> Result<()> {
    use landlock::{PathBeneath, RulesetCreatedAttr as _};
    let found = super::door::open_way(path).map_err(Error::file("open", path))?;
    rules.add_rule(PathBeneath::new(found, access)).map(drop).map_err(refused)
}

#[cfg(target_os = "linux")]
fn refused(error: landlock::RulesetError) -> Error {
    Error::file("confine", "kumadb")(io::Error::other(error.to_string()))
}

/// Writes all of `source` to `pipe`, until its reader has ended, which reports why itself.
fn pass(source: &mut dyn Read, pipe: &mut io::PipeWriter) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) if pipe.write_all(&piece[..count]).is_err() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// Bytes passed on at a time.
const PIECE: usize = 1 << 16;
