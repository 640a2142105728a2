//! The part of the server's socket API that adds monitors: Socket.IO over one WebSocket.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// Requirements of this benchmark.
pub const NEEDED: &str =
    "KUMADB_BENCH_SERVER=ws://HOST:PORT, a running server, with KUMADB_BENCH_USER and KUMADB_BENCH_PASSWORD";

/// Adds `count` paused monitors one after another; returns the duration for one. `None` without a server.
pub fn add_monitors(count: usize) -> Option<Duration> {
    let read = |name: &str| std::env::var(name).ok();
    let mut socket = Socket::open(&read("KUMADB_BENCH_SERVER")?);
    let (user, password) = (read("KUMADB_BENCH_USER")?, read("KUMADB_BENCH_PASSWORD")?);
    socket.call("login", json!({"username": user, "password": password, "token": ""}));
    let begun = Instant::now();
    for n in 0..count {
        socket.call("add", monitor(n));
    }
    Some(begun.elapsed() / u32::try_from(count).unwrap())
}

/// A monitor as the web UI sends it.
fn monitor(n: usize) -> Json {
    json!({
        "type": "http", "name": format!("Monitor {n}"), "url": format!("https://host-{n}.example.com/health"),
        "active": false, "method": "GET", "interval": 60, "retryInterval": 60, "resendInterval": 0, "maxretries": 0,
        "timeout": 48, "maxredirects": 10, "accepted_statuscodes": ["200-299"], "notificationIDList": {},
        "ignoreTls": false, "upsideDown": false, "expiryNotification": false, "httpBodyEncoding": "json",
        "kafkaProducerBrokers": [], "kafkaProducerSaslOptions": {"mechanism": "None"}, "rabbitmqNodes": [],
        "conditions": [], "parent": null,
    })
}

struct Socket {
    stream: WebSocket<MaybeTlsStream<TcpStream>>,
    calls: usize,
}

impl Socket {
    fn open(server: &str) -> Socket {
        let url = format!("{server}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) = tungstenite::connect(url).expect("the server answers");
        let mut socket = Socket { stream, calls: 0 };
        socket.wait_for("0");
        socket.send("40".into());
        // Before this event the server does not listen (2.5.3).
        socket.wait_for("42[\"loginRequired\"");
        socket
    }

    /// Sends `event` and waits for the response, which must be `ok`.
    fn call(&mut self, event: &str, argument: Json) {
        self.calls += 1;
        self.send(format!("42{}{}", self.calls, json!([event, argument])));
        let answer = self.wait_for(&format!("43{}[", self.calls));
        assert!(answer.contains("\"ok\":true"), "{event}: {answer}");
    }

    fn send(&mut self, text: String) {
        self.stream.send(Message::text(text)).unwrap();
    }

    /// The next packet that begins with `start`. Other packets are events for the web UI, and pings, which must be answered.
    fn wait_for(&mut self, start: &str) -> String {
        loop {
            let Ok(text) = self.stream.read().unwrap().into_text() else { continue };
            match text.as_str() {
                "2" => self.send("3".into()),
                text if text.starts_with(start) => return text.to_owned(),
                _ => {}
            }
        }
    }
}
