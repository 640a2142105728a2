//! Remote jobs: for instances whose files are on another machine, the whole verb runs there in a container of its own, with its
//! inputs.

mod binary;
mod job;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use crate::docker::{Console, Container, Docker, Fetched, JobSpec, VOLUME};
use crate::error::{DockerError, Error, OperationError, RemoteError, Result};
use crate::files;

pub use binary::Binary;
pub use job::{Overrides, RemoteJob};

/// The folder of the job inside the container.
pub const ORDER: &str = "/kumadb-remote-job";

/// Receives the progress of a remote job.
pub trait JobProgress: Console {
    /// A line of progress output.
    fn say(&mut self, line: &str);
    /// Bytes sent so far, of the total.
    fn sent(&mut self, done: u64, total: u64);
}

/// A finished remote job whose container still exists, to fetch what it wrote.
pub struct FinishedJob<'a> {
    docker: &'a Docker,
    container: Container,
    /// Its exit code.
    pub code: i64,
    kept: bool,
}

/// What to run, and where.
pub struct RemoteVerb<'a> {
    /// The remote engine.
    pub docker: &'a Docker,
    /// The container of the server.
    pub server: &'a Container,
    /// Folders of the remote host that it needs besides the data of the server.
    pub read: Vec<PathBuf>,
    /// The path of the engine's socket on the remote host, where it is known.
    pub socket: Option<String>,
    /// The executable.
    pub binary: Binary,
}

impl<'a> RemoteVerb<'a> {
    /// Runs `order` on the remote host and reports to `follower`, until it has ended.
    ///
    /// # Errors
    /// [`RemoteError::WrongMachine`], [`RemoteError::CannotRun`], [`DockerError::Action`]: nothing was started.
    /// [`RemoteError::ConnectionLost`]: it continues without us.
    pub fn run(self, order: RemoteJob, follower: &mut dyn JobProgress) -> Result<FinishedJob<'a>> {
        let docker = self.docker;
        let engine = docker.engine()?;
        self.binary.check(&engine, docker.address())?;
        docker.remove_old_jobs(engine.now)?;
        let place = format!("{}/bin/{}", VOLUME.1, self.binary.hash);
        let job = self.job(&place, &order);
        if let Some(taken) = order.files.keys().find(|file| job.is_mounted(file)) {
            return Err(Error::Docker(DockerError::OutputInData { path: taken.clone() }));
        }
        let mut ran = FinishedJob::new(docker, &job)?;
        let mut arrived = None;
        if docker.stat(&ran.container, Path::new(&place))?.is_none() {
            // Under a name that nothing else writes to or runs; the job gives it its final name.
            let arrival = format!("{place}.{}", ran.container.name);
            let tar = self.binary.pack(&arrival)?;
            let size = tar.metadata().map_err(Error::file("read", "/tmp"))?.len();
            follower.say(&format!("uploading kumadb to the remote host ({}, only once)", crate::text::bytes(size)));
            ran.put(VOLUME.1, tar, follower)?;
            ran = FinishedJob::new(docker, &self.job(&arrival, &order))?;
            arrived = Some(arrival);
        }
        ran.put("/", order.pack(&place, arrived)?, follower)?;
        match docker.run_job(&ran.container, follower) {
            Ok(code) => ran.code = code,
            Err(error) => {
                ran.kept = matches!(error, Error::Remote(RemoteError::ConnectionLost { .. }));
                return Err(error);
            }
        }
        Ok(ran)
    }

    /// The container that runs the job with the kumadb at `place`.
    fn job(&self, place: &str, order: &RemoteJob) -> JobSpec {
        let sockets = self.socket.clone().map_or_else(|| self.docker.own_sockets(), |socket| vec![socket]);
        // The second is where the server expects its own MariaDB, wherever its data is.
        let inside = vec![self.server.data_inside(), "/app/data/run".into()];
        JobSpec {
            command: [place, "remote-job", ORDER].map(str::to_owned).to_vec(),
            tty: order.tty,
            stdin: order.tty || order.asks,
            fetched: order.fetched,
            server: self.server.clone(),
            inside,
            read: self.read.clone(),
            sockets,
        }
    }
}

impl<'a> FinishedJob<'a> {
    fn new(docker: &'a Docker, job: &JobSpec) -> Result<FinishedJob<'a>> {
        Ok(FinishedJob { docker, container: docker.create_job(job)?, code: 0, kept: false })
    }

    fn put(&self, at: &str, tar: File, follower: &mut dyn JobProgress) -> Result<()> {
        self.docker.put(&self.container, Path::new(at), tar, &mut |done, total| {
            follower.sent(done, total);
            follower.signal().map_or(Ok(()), |signal| Err(Error::Operation(OperationError::Interrupted { signal })))
        })
    }

    /// The file at `path` in its container, as a tar; `None` where there is none.
    fn fetch(&self, path: &Path) -> Result<Option<tar::Archive<Fetched<'_>>>> {
        let found = self.docker.stat(&self.container, path)?;
        Ok(found.map(|_| tar::Archive::new(self.docker.fetch(&self.container, path))))
    }

    /// Writes every file that it left below `path` to the folder `into`, and returns their names there.
    pub fn fetch_folder(&self, path: &Path, into: &Path, follower: &mut dyn JobProgress) -> Result<Vec<PathBuf>> {
        let Some(mut archive) = self.fetch(path)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in archive.entries().map_err(Error::file("fetch", path))? {
            let mut entry = entry.map_err(Error::file("fetch", path))?;
            let name = entry.path().map_err(Error::file("fetch", path))?;
            // The first part is the folder's own name; a path that leads out of it is ignored.
            let name: PathBuf = name.components().skip(1).collect();
            let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
            if entry.header().entry_type() != EntryType::Regular || !plain {
                continue;
            }
            let target = into.join(&name);
            files::make_folder(target.parent().unwrap_or(into))?;
            let (mut file, total) = (files::create_private(&target)?, entry.size());
            let mut piece = vec![0; 64 << 10];
            let mut done = 0;
            while let n @ 1.. = entry.read(&mut piece).map_err(Error::file("fetch", path))? {
                file.write_all(&piece[..n]).map_err(Error::file("write", &target))?;
                done += n as u64;
                follower.sent(done, total);
                follower
                    .signal()
                    .map_or(Ok(()), |signal| Err(Error::Operation(OperationError::Interrupted { signal })))?;
            }
            file.sync_all().map_err(Error::file("flush", &target))?;
            names.push(name);
        }
        Ok(names)
    }

    /// Writes the file that it left at `path` to the same path here, readable by its owner only; returns whether there
    /// was one.
    pub fn fetch_file(&self, path: &Path) -> Result<bool> {
        let Some(mut archive) = self.fetch(path)? else { return Ok(false) };
        for entry in archive.entries().map_err(Error::file("fetch", path))? {
            let mut entry = entry.map_err(Error::file("fetch", path))?;
            files::write_output(path, files::PRIVATE, |file| std::io::copy(&mut entry, file).map(drop))?;
        }
        Ok(true)
    }
}

impl Drop for FinishedJob<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // The next run removes what cannot be removed now.
            let _ = self.docker.remove_job(&self.container);
        }
    }
}

/// A gzipped tar for one folder, written to an unnamed file.
struct Pack {
    at: &'static str,
    tar: tar::Builder<GzEncoder<File>>,
}

impl Pack {
    fn new(at: &'static str, level: u32) -> Result<Pack> {
        let file = tempfile::tempfile().map_err(Error::file("create a file in", std::env::temp_dir()))?;
        Ok(Pack { at, tar: tar::Builder::new(GzEncoder::new(file, Compression::new(level))) })
    }

    fn add(&mut self, path: &Path, mode: u32, size: u64, content: impl std::io::Read) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(chrono::Utc::now().timestamp().unsigned_abs());
        // No folders: existing ones keep their owner and mode.
        let name = path.strip_prefix(self.at).unwrap_or(path);
        // A file that shrinks meanwhile would make the rest of the tar unreadable, so it is padded.
        self.tar.append_data(&mut header, name, content.take(size)).map_err(Error::file("pack", path))
    }

    fn done(self) -> Result<File> {
        let end = || -> std::io::Result<File> {
            let mut file = self.tar.into_inner()?.finish()?;
            file.flush()?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        end().map_err(Error::file("write in", std::env::temp_dir()))
    }
}
