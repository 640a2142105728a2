//! Verifying that the server is up: requests are made inside its container, so that no port need be published.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::endpoint::Transport;
use super::{Container, Docker, LogRange, RunState, Start};
use crate::error::{DockerError, Error, Result};

/// Two good responses in a row, at least this long apart, are required.
const STEADY: Duration = Duration::from_secs(1);

/// Timeout of one request.
const QUESTION: Duration = Duration::from_secs(10);

/// How often a refused connection is retried within one request while the server is starting: for about 0.6 s.
const TRIES: u32 = 10;

/// The pause between two requests: at first, because the downtime counts, and later on or during a migration.
const SOON: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_millis(500);

/// Prints the body of `GET $1`, a line break and the status. Every image of the server has node, most have curl too,
/// which starts faster. A refused connection (7 of curl, 4 of GNU's wget) is retried $2 times, which is cheaper than as
/// many requests.
/// Proxies in the environment are ignored.
const ASK: &str = r#"unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
if command -v curl >/dev/null 2>&1; then ask() { curl -gsSk -m 8 -w '\n%{http_code}' "$1"; }
elif command -v node >/dev/null 2>&1; then exec node -e '
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; process.removeAllListeners("warning")
const [url, tries] = process.argv.slice(1)
let left = Number(tries)
const ask = () => require(url.startsWith("https") ? "https" : "http").get(url, { timeout: 8000 }, answer => {
  let body = ""
  answer.on("data", piece => body += piece)
  answer.on("end", () => process.stdout.write(body + "\n" + answer.statusCode))
}).on("error", error => {
  left -= 1
  if (error.code === "ECONNREFUSED" && left > 0) return setTimeout(ask, 50)
  console.error(error.message); process.exit(7)
})
ask()' "$1" "$2"
else ask() { wget -q -O - --no-check-certificate "$1" && printf '\n200'; }
fi
left=$2
until answer=$(ask "$1" 2>&1); do
  code=$?
  case "$code $answer" in [47]\ *|*refused*) left=$((left - 1)) ;; *) left=0 ;; esac
  if [ $left -le 0 ]; then printf '%s\n' "$answer" >&2; exit $code; fi
  sleep 0.05
done
printf %s "$answer""#;

/// The start page of the real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPage {
    /// `entryPage`: the dashboard or a chosen status page.
    Entry,
    /// `statusPageMatchedDomain`: the status page of the requested domain.
    StatusPage,
}

/// What `GET /api/entry-page` shows about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The real server.
    Up(EntryPage),
    /// It waits for the choice of a database: it found none.
    SetUp,
    /// It is busy migrating its database. It must not be stopped now.
    Migrating,
    /// None of these, and why.
    Nothing(String),
}

impl Docker {
    /// Addresses where the server in `container` may respond from outside, the likeliest first, with a description of
    /// each.
    pub fn addresses(&self, container: &Container) -> Vec<(String, &'static str)> {
        let host = match &self.endpoint.way {
            Transport::Unix(_) => None,
            Transport::Tcp { host, .. } => Some(host.as_str()),
            Transport::Ssh(login) => Some(login.host.as_str()),
        };
        addresses(container, host)
    }

    /// Requests the entry page of the server in the running container.
    ///
    /// # Errors
    /// Only of the engine; a server that does not respond is [`Answer::Nothing`].
    pub fn probe(&self, container: &Container) -> Result<Answer> {
        self.probe_patiently(container, 1)
    }

    fn probe_patiently(&self, container: &Container, tries: u32) -> Result<Answer> {
        let origin = origin(container);
        let (status, body) = match self.ask(container, &format!("{origin}/api/entry-page"), tries)? {
            Ok(answer) => answer,
            Err(why) => return Ok(Answer::Nothing(why)),
        };
        if status == 404 {
            // The server and its setup page have this path; the page shown during a migration does not.
            return Ok(match self.ask(container, &format!("{origin}/"), 1)? {
                Ok((200, page)) if page.contains("Migration") => Answer::Migrating,
                _ => Answer::Nothing("another service answers on its port: /api/entry-page not found".into()),
            });
        }
        let json = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default();
        Ok(match json["type"].as_str() {
            Some("entryPage") => Answer::Up(EntryPage::Entry),
            Some("statusPageMatchedDomain") => Answer::Up(EntryPage::StatusPage),
            Some("setup-database") => Answer::SetUp,
            _ => Answer::Nothing(format!("another service answers on its port, with status {status}")),
        })
    }

    /// Waits until the server that was started at `start` is verified up: the container runs and was not restarted,
    /// and the real server responds, twice in a row over at least 1 s. Returns after how long it first responded,
    /// counted from this call.
    ///
    /// `tick` is called after each check with the elapsed time; an error it returns ends the waiting.
    ///
    /// # Errors
    /// [`DockerError::NotUp`] with the last error lines of the log: at once when the
    /// container ends, is restarted, or shows the setup page, else after `deadline`.
    /// [`DockerError::Migrating`] when it was migrating then: it must keep
    /// running.
    pub fn wait_up(
        &self,
        container: &Container,
        start: &Start,
        deadline: Duration,
        tick: &mut dyn FnMut(Duration) -> Result<()>,
    ) -> Result<Duration> {
        let begin = Instant::now();
        let not_up = |now: &Container, why: String| {
            // In a restart loop the errors are of earlier runs; the current one may have logged nothing yet.
            let since = start.at.filter(|_| now.state.restart_count == 0);
            let log = self.last_errors(container, since);
            Error::Docker(DockerError::NotUp {
                container: container.name.clone(),
                seconds: begin.elapsed().as_secs(),
                why,
                log,
            })
        };
        let mut first: Option<Duration> = None;
        loop {
            let now = self.again(container)?;
            if let Some(why) = fallen(&now, start) {
                return Err(not_up(&now, why));
            }
            // A request starts two processes in the container, so there is none before the second one counts.
            let left = first.map_or(Duration::ZERO, |first| (first + STEADY).saturating_sub(begin.elapsed()));
            if !left.is_zero() {
                tick(begin.elapsed())?;
                std::thread::sleep(SOON.min(left));
                continue;
            }
            let answer = self.probe_patiently(&now, TRIES)?;
            match (&answer, first) {
                (Answer::SetUp, _) => {
                    return Err(not_up(&now, "it shows the setup page, which means that it found no database".into()));
                }
                (Answer::Up(_), Some(first)) => return Ok(first),
                (Answer::Up(_), None) => first = Some(begin.elapsed()),
                _ => first = None,
            }
            tick(begin.elapsed())?;
            // A server that responded gets its second request.
            if first.is_none() && begin.elapsed() >= deadline {
                return Err(match answer {
                    Answer::Nothing(why) if !self.logs_a_migration(&now, start) => not_up(&now, why),
                    _ => Error::Docker(DockerError::Migrating { container: container.name.clone() }),
                });
            }
            let is_soon = answer != Answer::Migrating && begin.elapsed() < Duration::from_secs(20);
            std::thread::sleep(if is_soon { SOON } else { LATER });
        }
    }

    /// Fails when the container is no longer in the run that began at `start`.
    ///
    /// # Errors
    /// [`DockerError::NotUp`] with the last error lines of the log.
    pub fn check_run(&self, container: &Container, start: &Start) -> Result<()> {
        let now = self.again(container)?;
        let Some(why) = fallen(&now, start) else { return Ok(()) };
        let log = self.last_errors(container, start.at);
        let seconds = start.at.map_or(0, |at| (chrono::Utc::now() - at).num_seconds().unsigned_abs());
        Err(Error::Docker(DockerError::NotUp { container: container.name.clone(), seconds, why, log }))
    }

    /// Whether the last lines of the log show a migration; most of them run before any page is shown.
    fn logs_a_migration(&self, container: &Container, start: &Start) -> bool {
        let lines = self.logs(container, LogRange { tail: Some(3), since: start.at }).unwrap_or_default();
        let marks = ["[DB] INFO: Migrating", "is patching", "Patching ./db"];
        lines.iter().any(|line| marks.iter().any(|mark| line.contains(mark)))
    }

    /// Status and body of `GET url`, requested inside the container; or why there is none.
    fn ask(&self, container: &Container, url: &str, tries: u32) -> Result<Result<(u16, String), String>> {
        let output = match self.exec(container, &["sh", "-c", ASK, "sh", url, &tries.to_string()], b"", QUESTION) {
            Ok(output) => output,
            // The container may end at any time; the next check shows it.
            Err(Error::Docker(DockerError::Action { why, .. })) => return Ok(Err(why)),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if output.code != 0 {
            let complaint = String::from_utf8_lossy(&output.stderr);
            // wget prints no more than this for a refused connection.
            if complaint.contains(" 404 ") {
                return Ok(Ok((404, String::new())));
            }
            // curl's status line for a missing response has no information.
            let words = |line: &&str| !line.is_empty() && *line != "000";
            let last = text.lines().chain(complaint.lines()).map(str::trim).rfind(words);
            return Ok(Err(last.unwrap_or("no response").to_owned()));
        }
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
        Ok(status.trim().parse().map(|status| (status, body.to_owned())).map_err(|_| "no response".to_owned()))
    }
}

/// Why a container that was started at `start` is no longer in that run.
fn fallen(now: &Container, start: &Start) -> Option<String> {
    let code = now.state.exit_code;
    match now.state.life {
        RunState::Stopped if now.state.oom_killed => Some("it ran out of memory".into()),
        RunState::Stopped => Some(format!("it exited with code {code}")),
        RunState::Restarting => Some(format!("it exits repeatedly with code {code}")),
        RunState::Running if now.state.restart_count > start.restart_count => {
            Some("it exited and was restarted".into())
        }
        RunState::Paused => Some("it is paused".into()),
        RunState::Running => None,
    }
}

/// The address that a server listens on, from its command line and environment (read in 2.5.3).
struct Listens<'c> {
    scheme: &'static str,
    host: Option<&'c str>,
    port: u16,
}

fn listens(container: &Container) -> Listens<'_> {
    let given = |flag: &str, names: &[&str]| container.flag(flag).or_else(|| container.env(names));
    let tls = given("ssl-key", &["UPTIME_KUMA_SSL_KEY", "SSL_KEY"])
        .and(given("ssl-cert", &["UPTIME_KUMA_SSL_CERT", "SSL_CERT"]))
        .is_some();
    let host = given("host", &["UPTIME_KUMA_HOST", "HOST"]).filter(|host| !["0.0.0.0", "::"].contains(host));
    // Kubernetes puts `tcp://…` into UPTIME_KUMA_PORT; the server ignores what is not a number.
    let port = [container.flag("port"), container.env(&["UPTIME_KUMA_PORT"]), container.env(&["PORT"])];
    let port = port.into_iter().flatten().find_map(|port| port.trim().parse::<u16>().ok()).unwrap_or(3001);
    Listens { scheme: if tls { "https" } else { "http" }, host, port }
}

/// `http://127.0.0.1:3001`, for requests inside this container.
fn origin(container: &Container) -> String {
    let Listens { scheme, host, port } = listens(container);
    format!("{scheme}://{}:{port}", bracketed(host.unwrap_or("127.0.0.1")))
}

/// Addresses where the server in `container` may respond from outside, the likeliest first, with a description of
/// each: its published ports, and its own addresses. `engine` is the host of a remote engine: then the container's own
/// addresses cannot be reached.
pub(super) fn addresses(container: &Container, engine: Option<&str>) -> Vec<(String, &'static str)> {
    let Listens { scheme, port, host: own } = listens(container);
    let host = engine.unwrap_or("127.0.0.1");
    let place = |ip: &str, port: u16| {
        let ip = if ["", "0.0.0.0", "::"].contains(&ip) { host } else { ip };
        format!("{scheme}://{}:{port}", bracketed(ip))
    };
    let mut found: Vec<(String, &str)> = Vec::new();
    if container.network_mode == "host" && !(engine.is_some() && own.is_some_and(is_loopback)) {
        found.push((place(own.unwrap_or_default(), port), "the host's network"));
    }
    let published = container.published.iter().filter(|(own, ..)| *own == port);
    found.extend(published.map(|(_, ip, port)| (place(ip, *port), "published port")));
    if engine.is_none() {
        found.extend(container.addresses.iter().map(|ip| (place(ip, port), "container's own address")));
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|(address, _)| seen.insert(address.clone()));
    found
}

/// Whether a host is the machine, or the container, that asks for it.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::{self, Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use bollard::models::{
        ContainerConfig, ContainerInspectResponse, EndpointSettings, HostConfig, NetworkSettings, PortBinding,
    };

    use super::*;

    #[test]
    fn command_line_and_environment_say_where_to_ask() {
        let origin = |args: &[&str], env: &[&str]| {
            let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
            origin(&Container::from_inspect(ContainerInspectResponse {
                path: Some("node".into()),
                args: words(args),
                config: Some(ContainerConfig { env: words(env), ..Default::default() }),
                ..Default::default()
            }))
        };
        assert_eq!(origin(&["server/server.js"], &[]), "http://127.0.0.1:3001");
        assert_eq!(origin(&[], &["UPTIME_KUMA_HOST=::", "PORT=80"]), "http://127.0.0.1:80");
        assert_eq!(origin(&[], &["UPTIME_KUMA_PORT=tcp://10.0.0.1:3001", "PORT=8080"]), "http://127.0.0.1:8080");
        assert_eq!(origin(&["--port=1", "--host=fd00::1"], &["UPTIME_KUMA_PORT=2"]), "http://[fd00::1]:1");
        assert_eq!(origin(&[], &["UPTIME_KUMA_SSL_KEY=/k", "UPTIME_KUMA_SSL_CERT=/c"]), "https://127.0.0.1:3001");
        assert_eq!(origin(&[], &["UPTIME_KUMA_SSL_KEY=/k", "UPTIME_KUMA_SSL_CERT="]), "http://127.0.0.1:3001");
    }

    #[test]
    fn a_refused_connection_is_retried_with_every_client() -> io::Result<()> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let find = |name: &str| std::env::split_paths(&paths).map(|path| path.join(name)).find(|path| path.exists());
        for (n, client) in ["curl", "node", "wget", "busybox"].into_iter().enumerate() {
            let (Some(program), Some(sleep)) = (find(client), find("sleep")) else { continue };
            let folder = tempfile::tempdir()?;
            symlink(program, folder.path().join(if client == "busybox" { "wget" } else { client }))?;
            symlink(sleep, folder.path().join("sleep"))?;
            let address = format!("127.77.{}.{}:3301", std::process::id() % 250, n + 1);
            let ask = |tries: &str| {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", ASK, "sh", &format!("http://{address}/"), tries]);
                shell.env("PATH", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
            };
            let refused = ask("2")?.wait_with_output()?;
            assert!(!refused.status.success() && refused.stdout.is_empty(), "{client}: {refused:?}");
            let mut asking = ask("400")?;
            std::thread::sleep(Duration::from_millis(200));
            let listener = TcpListener::bind(&address)?;
            listener.set_nonblocking(true)?;
            let mut stream = loop {
                match listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(_) if asking.try_wait()?.is_none() => std::thread::sleep(Duration::from_millis(10)),
                    Err(error) => return Err(io::Error::other(format!("{client}: {error}"))),
                }
            };
            stream.set_nonblocking(false)?;
            assert!(stream.read(&mut [0; 4096])? > 0);
            stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
            let answered = asking.wait_with_output()?;
            assert_eq!(String::from_utf8_lossy(&answered.stdout), "hello\n200", "{client}: {answered:?}");
        }
        Ok(())
    }

    #[test]
    fn published_ports_and_own_addresses_are_where_to_ask_from_outside() {
        let port = |ip: &str, port: &str| PortBinding { host_ip: Some(ip.into()), host_port: Some(port.into()) };
        let endpoint = EndpointSettings { ip_address: Some("172.17.0.2".into()), ..Default::default() };
        let network = NetworkSettings {
            ports: Some(HashMap::from([
                ("3001/tcp".into(), Some(vec![port("0.0.0.0", "8080"), port("::", "8080"), port("10.0.0.5", "81")])),
                ("53/udp".into(), Some(vec![port("", "53")])),
                ("9000/tcp".into(), Some(vec![port("", "9000")])),
            ])),
            networks: Some(HashMap::from([("bridge".into(), endpoint)])),
            ..Default::default()
        };
        let container =
            Container::from_inspect(ContainerInspectResponse { network_settings: Some(network), ..Default::default() });
        let places = |engine| addresses(&container, engine).into_iter().map(|(place, _)| place).collect::<Vec<_>>();
        assert_eq!(places(None), ["http://127.0.0.1:8080", "http://10.0.0.5:81", "http://172.17.0.2:3001"]);
        assert_eq!(places(Some("far.lan")), ["http://far.lan:8080", "http://10.0.0.5:81"]);
    }

    #[test]
    fn in_the_network_of_the_host_a_server_is_where_it_listens() {
        let places = |own: &str, engine| {
            let config = ContainerConfig { env: Some(vec![format!("UPTIME_KUMA_HOST={own}")]), ..Default::default() };
            let host_config = HostConfig { network_mode: Some("host".into()), ..Default::default() };
            let (config, host_config) = (Some(config), Some(host_config));
            let container =
                Container::from_inspect(ContainerInspectResponse { config, host_config, ..Default::default() });
            addresses(&container, engine).into_iter().map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert_eq!(places("0.0.0.0", None), ["http://127.0.0.1:3001"]);
        assert_eq!(places("0.0.0.0", Some("far.lan")), ["http://far.lan:3001"]);
        assert_eq!(places("192.0.2.7", None), ["http://192.0.2.7:3001"]);
        assert_eq!(places("192.0.2.7", Some("far.lan")), ["http://192.0.2.7:3001"]);
        assert_eq!(places("127.0.0.9", None), ["http://127.0.0.9:3001"]);
        assert_eq!(places("127.0.0.9", Some("far.lan")), [""; 0]);
    }
}
