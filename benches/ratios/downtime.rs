//! Downtime of the server, measured over HTTP: one `monitor add` compared with `docker restart`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::dockerd::{self, Bench, Image};
use crate::place::{Place, kumadb, time_command};
use crate::read::add_beats;
use crate::report::{Limit, Report};

/// About 10 MB and 500 MB, and by how much more than `docker restart` each may take.
const SIZES: [(usize, Duration); 2] = [(95_000, Duration::from_millis(300)), (4_700_000, Duration::from_secs(1))];

pub fn run(report: &mut Report) {
    let Some(bench) = dockerd::bench() else {
        return report.left_out("downtime of one monitor add", "a Docker engine, busybox, sqlite3 or mariadbd");
    };
    for (beats, more) in SIZES {
        compare(report, &bench, beats, more);
    }
}

fn compare(report: &mut Report, bench: &Bench, beats: usize, more: Duration) {
    let place = Place::folder();
    add_beats(&place, beats);
    let size = place.file().metadata().unwrap().len() / 1_000_000;
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mount = format!("{}:/app/data", place.target);
    let publish = format!("{address}:3001");
    let server = bench.run(Image::Slim, &["-v", &mount, "-p", &publish]);
    wait_up(address);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 1..=report.runs {
        report.say(&format!("downtime, {n}"));
        theirs.push(longest_gap(address, || {
            let mut restart = Command::new("docker");
            restart.args(["restart", "--time", "60", &server.name]);
            time_command(restart);
        }));
        ours.push(longest_gap(address, || {
            let mut add = kumadb(&place);
            add.args(["monitor", "add", "http", "--name", &format!("Added {n}"), "--url", "http://127.0.0.1:1/"]);
            time_command(add);
        }));
    }
    let what = format!("downtime of one monitor add, SQLite ({size} MB)");
    report.time(&what, &ours, Some(("docker restart", &theirs)), Limit::More(more));
    assert!(Path::new(&place.target).exists());
}

fn wait_up(address: SocketAddr) {
    let end = Instant::now() + Duration::from_secs(60);
    while !answers(address) {
        assert!(Instant::now() < end, "the test server did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The longest time without a response while `work` runs, and until the next response.
fn longest_gap(address: SocketAddr, work: impl FnOnce()) -> Duration {
    let over = Arc::new(AtomicBool::new(false));
    let seen_over = over.clone();
    let watch = std::thread::spawn(move || {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        loop {
            let is_over = seen_over.load(Ordering::SeqCst);
            if answers(address) {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                if is_over {
                    return longest;
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    work();
    over.store(true, Ordering::SeqCst);
    watch.join().unwrap()
}

fn answers(address: SocketAddr) -> bool {
    let limit = Duration::from_millis(500);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else { return false };
    let _ = stream.set_read_timeout(Some(limit));
    let asked = stream.write_all(b"GET /api/entry-page HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("\"entryPage\"")
}
