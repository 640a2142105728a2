//! One `monitor add` to an instance on a remote host, over a slow connection: 10 Mbit/s and a round-trip time of 40 ms. The
//! transferred bytes are counted.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dockerd::{self, Image, Server};
use crate::place::{Place, time_command};
use crate::read::add_beats;
use crate::report::{Limit, Report};

/// Each way.
const DELAY: Duration = Duration::from_millis(20);
const BYTES_PER_SECOND: f64 = 10_000_000.0 / 8.0;

/// About 10 MB, and about 1 GB.
const BEATS: [usize; 2] = [95_000, 9_500_000];

pub fn run(report: &mut Report) {
    let Some(bench) = dockerd::bench() else {
        return report.left_out("monitor add on a remote host", "a Docker engine, busybox, sqlite3 or mariadbd");
    };
    let endpoint = dockerd::endpoint();
    let Some(engine) = endpoint.address().strip_prefix("unix://") else {
        return report.left_out("monitor add on a remote host", "an engine on a socket");
    };
    for beats in BEATS {
        let place = Place::folder();
        add_beats(&place, beats);
        let size = place.file().metadata().unwrap().len() / 1_000_000;
        let server = bench.run(Image::Slim, &["-v", &format!("{}:/app/data", place.target)]);
        let container = bench.look(&server);
        bench.docker.wait_up(&container, &container.run(), Duration::from_secs(60), &mut |_| Ok(())).unwrap();
        let line = Line::to(engine, place.root().join("line"));
        // The first run also transfers kumadb itself.
        let _ = Command::new("docker").args(["volume", "rm", "kumadb"]).output();
        let first = add(&line, engine, &place, &server, 0);
        let (mut ours, mut crossed) = (Vec::new(), 0);
        let runs = if size > 100 { 1 } else { report.runs };
        for n in 1..=runs {
            report.say(&format!("monitor add on a remote host, {size} MB, {n}"));
            let (took, bytes) = add(&line, engine, &place, &server, n);
            ours.push(took);
            crossed = bytes;
        }
        let carried = (size < 100).then(|| carry(&line, &place, &server));
        let beside =
            carried.as_ref().map(|took| ("docker cp of the database in both directions", std::slice::from_ref(took)));
        let what = format!("monitor add on a remote host, {size} MB; {} KB transferred", crossed / 1000);
        report.time(&what, &ours, beside, Limit::None);
        let what = format!("the same for the first time; {} KB transferred", first.1 / 1000);
        report.time(&what, &[first.0], None, Limit::None);
    }
}

/// Returns the duration and the number of transferred bytes.
fn add(line: &Line, engine: &str, place: &Place, server: &Server, n: usize) -> (Duration, u64) {
    let before = line.crossed.load(Ordering::SeqCst);
    // The folder is hidden only from this process.
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs none \"$0\" && exec \"$@\"", &place.target]);
    command.arg(env!("CARGO_BIN_EXE_kumadb")).args(["-H", line.path.to_str().unwrap(), "--remote-socket", engine]);
    command.args(["-t", &server.name, "monitor", "add", "group", "--name", &format!("Added {n}")]);
    let took = time_command(command);
    (took, line.crossed.load(Ordering::SeqCst) - before)
}

/// The same with Docker alone: copies the database to this machine and back. The change itself is not measured.
fn carry(line: &Line, place: &Place, server: &Server) -> Duration {
    let copy = place.root().join("copy.db");
    let host = format!("unix://{}", line.path.display());
    let began = Instant::now();
    for (from, to) in [
        (format!("{}:/app/data/kuma.db", server.name), copy.display().to_string()),
        (copy.display().to_string(), format!("{}:/tmp/kuma.db", server.name)),
    ] {
        let mut copy = Command::new("docker");
        copy.args(["-H", &host, "cp", &from, &to]);
        time_command(copy);
    }
    began.elapsed()
}

/// A socket that forwards to the engine over a slow connection, which all connections share.
struct Line {
    path: PathBuf,
    crossed: Arc<AtomicU64>,
}

impl Line {
    fn to(engine: &str, path: PathBuf) -> Line {
        let listener = UnixListener::bind(&path).unwrap();
        let crossed = Arc::new(AtomicU64::new(0));
        let (engine, counted) = (Path::new(engine).to_owned(), crossed.clone());
        // When the connection is free again, for each direction.
        let free = [Instant::now(); 2].map(|now| Arc::new(Mutex::new(now)));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // The duration of a TCP handshake.
                std::thread::sleep(2 * DELAY);
                let Ok(remote) = UnixStream::connect(&engine) else { break };
                pass(&near, &remote, &free[0], &counted);
                pass(&remote, &near, &free[1], &counted);
            }
        });
        Line { path, crossed }
    }
}

/// Forwards the data `from` one end at the speed of the connection.
fn pass(from: &UnixStream, to: &UnixStream, free: &Arc<Mutex<Instant>>, crossed: &Arc<AtomicU64>) {
    let (mut from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let (free, crossed) = (free.clone(), crossed.clone());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut piece = vec![0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            crossed.fetch_add(n as u64, Ordering::SeqCst);
            let gone = {
                let mut free = free.lock().unwrap();
                *free = (*free).max(Instant::now()) + Duration::from_secs_f64(n as f64 / BYTES_PER_SECOND);
                *free
            };
            // The sender is limited to the speed of the connection.
            std::thread::sleep(gone.saturating_duration_since(Instant::now()));
            if sender.send((gone + DELAY, piece[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || deliver(receiver, to));
}

fn deliver(pieces: Receiver<(Instant, Vec<u8>)>, mut to: UnixStream) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    while let Some((at, piece)) = waiting.pop_front().or_else(|| pieces.recv().ok()) {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
        waiting.extend(pieces.try_iter());
    }
    let _ = to.shutdown(Shutdown::Write);
}
