//! Requests to a store: repeated while a server is unavailable, aborted without traffic, with the required authentication.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, Request, Response, StatusCode, Url};
use tokio::time::{Sleep, sleep, timeout};

use super::credentials::{Credentials, Notice, Timeouts};
use super::login::HttpLogin;
use crate::tls;

/// Timeout of a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long to wait again for a server that was found to be down.
const DOWN: Timeouts = Timeouts { retry: Duration::from_secs(5), silence: Duration::from_secs(10) };
/// Pauses between two attempts: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A line reports the wait after this time without an answer.
const QUIET: Duration = Duration::from_secs(5);
/// Polling interval for the traffic of a request.
const TICK: Duration = Duration::from_millis(500);
/// Bytes of a body that are passed on at a time; less than a slow line takes within the timeout.
const PIECE: usize = 64 << 10;
/// For every so many bytes sent a server gets a second more to respond: it may have to copy them.
const COPIED: u64 = 10_000_000;
/// A response up to this size is read at once.
const SMALL: u64 = 64 << 10;
/// Bytes of an error response that are read.
const WORDS: usize = 64 << 10;

/// The client of one store.
#[derive(Clone)]
pub(super) struct Wire {
    client: reqwest::Client,
    login: Option<Arc<HttpLogin>>,
    patience: Timeouts,
    /// When it was last found to be down: requests soon after that wait less.
    down: Arc<Mutex<Option<Instant>>>,
    /// The address of the store, for the line that is printed while kumadb waits for it.
    address: String,
    notice: Notice,
    noticed: Arc<AtomicBool>,
}

/// How many bytes of the body of a request were sent.
pub(super) type Sent = Arc<AtomicU64>;

impl Wire {
    /// A client with the proxy and other options from the variables with `prefix`.
    pub(super) fn new(
        address: &str,
        prefix: &str,
        credentials: &Credentials,
        login: Option<HttpLogin>,
    ) -> Result<Wire, String> {
        let named = |name: &str| credentials.value(&format!("{prefix}{name}"));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kumadb/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .connect_timeout(CONNECT);
        if let Some(proxy) = named("PROXY_URL") {
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(|error| error.to_string())?);
        }
        let trusts_all =
            named("ALLOW_INVALID_CERTIFICATES").is_some_and(|value| ["1", "true", "yes", "on"].contains(&value));
        builder = if trusts_all {
            builder.tls_danger_accept_invalid_certs(true)
        } else {
            let trust = tls::trust_system().map_err(|error| error.to_string())?;
            builder.tls_backend_preconfigured(trust.with_no_client_auth())
        };
        let client = builder.build().map_err(|error| super::failure::root(&error))?;
        Ok(Wire {
            client,
            login: login.map(Arc::new),
            patience: credentials.patience,
            down: Arc::default(),
            address: address.trim_end_matches('/').to_owned(),
            notice: credentials.notice.clone(),
            noticed: Arc::default(),
        })
    }

    /// Sends the request of `make`, repeatedly if necessary; returns the last response, or why there was none.
    pub(super) async fn send<F>(&self, make: F) -> Result<Response, HttpError>
    where
        F: Fn() -> Result<(Request, Sent), HttpError> + Send + Sync,
    {
        let (mut failing, mut pause, patience) = (None, PAUSES.0, self.patience());
        loop {
            let (request, sent) = make()?;
            let (once, safe) = (is_link_local(request.url()), *request.method() != Method::POST);
            let answered = match self.send_once(request, &sent, &make).await {
                Ok(answer) if answer.status().is_success() && is_small(&answer) => self.read(answer).await,
                answered => answered,
            };
            let again = match &answered {
                // These errors are permanent: unknown host, disk full.
                Ok(answer) if [501, 505, 507].contains(&answer.status().as_u16()) => false,
                Ok(answer) => answer.status().is_server_error() || [408, 429].contains(&answer.status().as_u16()),
                Err(error) => match error.kind() {
                    HttpErrorKind::Connect | HttpErrorKind::Request => true,
                    HttpErrorKind::Timeout | HttpErrorKind::Interrupted => safe,
                    _ => false,
                },
            };
            // From the first failure on, because a large file may have been in transfer for long.
            let is_late = failing.get_or_insert_with(Instant::now).elapsed() > patience.retry;
            let again = again && !once && !is_late;
            if let (false, Ok(mut down)) = (again, self.down.lock()) {
                *down = answered.is_err().then(Instant::now);
            }
            match (again, answered) {
                (true, answered) => {
                    let why = match answered {
                        Ok(answer) => answer.status().to_string(),
                        Err(error) => super::failure::root(&error),
                    };
                    self.notice(&format!("{why}, retrying for up to {} s", patience.retry.as_secs()));
                }
                (false, Ok(answer)) if answer.status().is_server_error() => {
                    return Err(HttpError::new(HttpErrorKind::Unknown, read_refusal("the request", answer).await));
                }
                (false, Ok(answer)) => return Ok(answer),
                // The caller must not retry.
                (false, Err(error)) => return Err(HttpError::new_boxed(HttpErrorKind::Unknown, Box::new(error))),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Reads a complete response, so that a truncated one is requested again.
    async fn read(&self, answer: Response) -> Result<Response, HttpError> {
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let mut body = self.watched(body);
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(piece) = frame?.into_data() {
                whole.extend_from_slice(&piece);
            }
        }
        Ok(http::Response::from_parts(parts, whole.freeze()).into())
    }

    fn watched(&self, body: reqwest::Body) -> ResponseBody {
        let silence = self.patience.silence;
        ResponseBody { body, silence, left: Box::pin(sleep(silence)) }
    }

    /// Reports once that kumadb waits for the store.
    fn notice(&self, what: &str) {
        if !self.noticed.swap(true, Ordering::Relaxed) {
            (self.notice.0)(&format!("store {}: {what}", self.address));
        }
    }

    fn patience(&self) -> Timeouts {
        match self.down.lock() {
            Ok(down) if down.is_some_and(|since| since.elapsed() < self.patience.silence) => Timeouts {
                retry: self.patience.retry.min(DOWN.retry),
                silence: self.patience.silence.min(DOWN.silence),
            },
            _ => self.patience,
        }
    }

    /// A single attempt, with the required authentication.
    async fn send_once<F>(&self, request: Request, sent: &Sent, make: &F) -> Result<Response, HttpError>
    where
        F: Fn() -> Result<(Request, Sent), HttpError> + Send + Sync,
    {
        let Some(login) = &self.login else { return self.execute(request, sent).await };
        let (mut request, mut sent) = (request, sent.clone());
        let mut tries = 0;
        loop {
            tries += 1;
            let given = login.authorization(request.method(), request.url());
            if let Some(given) = &given {
                request.headers_mut().insert(AUTHORIZATION, given.clone());
            }
            let answer = self.execute(request, &sent).await?;
            let again = answer.status() == StatusCode::UNAUTHORIZED && login.refused(given.as_ref(), answer.headers());
            if !again || tries == 3 {
                return Ok(answer);
            }
            (request, sent) = make()?;
        }
    }

    /// The same, aborted without traffic.
    async fn execute(&self, request: Request, sent: &Sent) -> Result<Response, HttpError> {
        let mut answer = std::pin::pin!(self.client.execute(request));
        let silence = self.patience().silence;
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            if let Ok(answer) = timeout(TICK, &mut answer).await {
                return answer.map_err(failed);
            }
            let now = sent.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() < silence + Duration::from_secs(seen / COPIED) {
                if since.elapsed() >= QUIET + Duration::from_secs(seen / COPIED) {
                    self.notice(&format!("no response yet, waiting for up to {} s", silence.as_secs()));
                }
            } else {
                // No other attempt: it would hang too.
                return Err(HttpError::new(HttpErrorKind::Unknown, IdleTimeout(since.elapsed())));
            }
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Wire {
    fn call<'s, 'f>(
        &'s self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let make = || {
                let (parts, body) = request.clone().into_parts();
                let url = parts.uri.to_string().parse::<Url>();
                let url = url.map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
                let (mut made, sent) = (Request::new(parts.method, url), Sent::default());
                *made.headers_mut() = parts.headers;
                // Not `is_empty`, which returns the opposite for a payload (object_store 0.14.2).
                if body.content_length() > 0 {
                    let outgoing = RequestBody { body, piece: Bytes::new(), sent: sent.clone() };
                    *made.body_mut() = Some(reqwest::Body::wrap(outgoing));
                }
                Ok((made, sent))
            };
            let answer = http::Response::<reqwest::Body>::from(self.send(make).await?);
            Ok(answer.map(|body| HttpResponseBody::new(self.watched(body))))
        })
    }
}

/// The body of a request, in counted pieces.
struct RequestBody<B> {
    body: B,
    piece: Bytes,
    sent: Sent,
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        while this.piece.is_empty() {
            match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.piece = piece,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = this.piece.split_to(this.piece.len().min(PIECE));
        this.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact(left + self.piece.len() as u64),
            None => SizeHint::default(),
        }
    }
}

/// The body of a response, aborted without traffic.
struct ResponseBody {
    body: reqwest::Body,
    silence: Duration,
    left: Pin<Box<Sleep>>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.left.as_mut().reset(tokio::time::Instant::now() + this.silence);
                Poll::Ready(frame.map(|frame| frame.map_err(failed)))
            }
            Poll::Pending => match this.left.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, IdleTimeout(this.silence)))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The timeout of a connection without traffic.
#[derive(Debug)]
struct IdleTimeout(Duration);

impl fmt::Display for IdleTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no response within {} s", self.0.as_secs())
    }
}

impl StdError for IdleTimeout {}

/// An error status, with the beginning of the server's message.
#[derive(Debug)]
pub(super) struct Refusal {
    method: &'static str,
    status: StatusCode,
    words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { method, status, words } = self;
        write!(f, "Server returned non-2xx status code: {status} to {method}: {words}")
    }
}

impl StdError for Refusal {}

/// Reads the error message of `answer`.
pub(super) async fn read_refusal(method: &'static str, answer: Response) -> Refusal {
    let status = answer.status();
    let words = match timeout(CONNECT, answer.bytes()).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS)]).into_owned(),
        _ => String::new(),
    };
    Refusal { method, status, words }
}

/// Whether this is a listing or the like, not an archive.
fn is_small(answer: &Response) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.contains("xml") || kind.contains("json") || answer.content_length().is_some_and(|length| length <= SMALL)
}

/// The metadata service of a cloud's machine. On other machines it does not exist, and waiting is useless.
fn is_link_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host.starts_with("169.254."))
}

/// Whether another attempt may succeed.
fn failed(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    let mut kind = match (error.is_connect(), error.is_timeout()) {
        (true, _) => HttpErrorKind::Connect,
        (_, true) => HttpErrorKind::Timeout,
        _ => HttpErrorKind::Unknown,
    };
    let mut cause = error.source();
    while let Some(one) = cause {
        let words = one.to_string();
        if one.is::<rustls::Error>() || words.contains("certificate") || words.contains("corrupt message") {
            // Neither is transient.
            kind = HttpErrorKind::Decode;
            break;
        }
        if let Some(error) = one.downcast_ref::<io::Error>()
            && kind == HttpErrorKind::Unknown
        {
            use io::ErrorKind::*;
            kind = match error.kind() {
                TimedOut => HttpErrorKind::Timeout,
                ConnectionAborted | ConnectionReset | BrokenPipe | UnexpectedEof => HttpErrorKind::Interrupted,
                _ => kind,
            };
        }
        if kind == HttpErrorKind::Unknown && ["before message", "closed"].iter().any(|sign| words.contains(sign)) {
            kind = HttpErrorKind::Request;
        }
        // rustls errors are wrapped in an I/O error.
        cause = match one.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => one.source(),
        };
    }
    HttpError::new(kind, error)
}
