//! Events as logs of OpenTelemetry, over OTLP/HTTP with JSON (OTLP specification 1.x).

mod record;

use std::{
    fmt, fs,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{container::Identity, events::Event, failure::Failure, notation::escape};

/// Where a collector of this host listens (OTLP specification, "OTLP/HTTP Default Port").
pub const DEFAULT: &str = "http://127.0.0.1:4318";
/// Events that wait at most; more than that are counted, and lost.
const QUEUE: usize = 8192;
/// Events in a request at most.
const BATCH: usize = 512;
/// Patience with one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Patience at the end while nothing is taken.
const FLUSH: Duration = Duration::from_secs(5);
/// Between two tries: the first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How much of an answer is read, in bytes.
const ANSWER: usize = 64 << 10;

/// A collector's address: where log records are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector(Uri);

impl FromStr for Collector {
    type Err = String;

    /// `http://ADDRESS:PORT`, with a path before `/v1/logs` if there is one.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &dyn fmt::Display| {
            format!("'{text}' is no collector: {why}; write http://ADDRESS:PORT, as {DEFAULT}")
        };
        let uri: Uri = text.parse().map_err(|e| wrong(&e))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    &"airgap speaks plain HTTP; a collector on this host can pass it on over TLS",
                ));
            }
            _ => return Err(wrong(&"it does not begin with http://")),
        }
        // Nobody would be asked for it, and it would be in every message.
        if uri.authority().is_some_and(|at| at.as_str().contains('@')) {
            return Err(wrong(&"it has a user or a password in it"));
        }
        if uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(wrong(&"it needs a host, and no question"));
        }
        let path = uri.path().trim_end_matches('/');
        let mut parts = uri.clone().into_parts();
        let path = format!("{}/v1/logs", path.trim_end_matches("/v1/logs"));
        parts.path_and_query = Some(path.parse().map_err(|e| wrong(&e))?);
        Uri::from_parts(parts).map(Self).map_err(|e| wrong(&e))
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sends events to a collector beside other work.
pub struct Exporter {
    queue: mpsc::Sender<Value>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
    collector: Collector,
}

#[derive(Default)]
struct Counts {
    /// Given to this exporter.
    given: AtomicU64,
    /// Taken by the collector.
    taken: AtomicU64,
    /// Found no room in the queue since that was said last.
    dropped: AtomicU64,
    /// Whether the last request failed.
    failing: AtomicBool,
}

/// What became of one request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Taken, but for so many records, and why not those.
    Taken(u64, String),
    /// To be sent again, after this pause if the collector says so.
    Later(String, Option<Duration>),
    /// Not to be sent again.
    Refused(String),
}

impl Exporter {
    /// Begins; somebody has to listen at the collector's address.
    ///
    /// # Errors
    /// If nobody does, with what to do.
    pub async fn start(collector: Collector) -> Result<Self> {
        let host = collector.0.host().unwrap_or_default();
        let host = host.trim_matches(['[', ']']);
        let port = collector.0.port_u16().unwrap_or(80);
        timeout(PATIENCE, TcpStream::connect((host, port)))
            .await
            .map_err(anyhow::Error::from)
            .and_then(|connected| Ok(connected?))
            .with_context(|| {
                Failure::new(
                    format!("no collector listens at {collector}"),
                    "start one with an OTLP receiver for HTTP, or name another: --otlp http://ADDRESS:PORT",
                )
            })?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(deliver(collector.clone(), waiting, Arc::clone(&counts)));
        Ok(Self {
            queue,
            counts,
            task,
            collector,
        })
    }

    /// Has one event sent; never waits.
    pub fn send(&self, event: &Event, container: &Identity) {
        let record = record::record(event, container, SystemTime::now());
        self.counts.given.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(record).is_ok() {
            return;
        }
        // Once for all that follow: whoever makes events could make as many messages.
        if self.counts.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!(
                "events come faster than {} takes them: some are lost, and counted",
                self.collector
            );
        }
    }

    /// The same, and waits until there is room.
    pub async fn send_all(&self, event: &Event, container: &Identity) {
        let record = record::record(event, container, SystemTime::now());
        self.counts.given.fetch_add(1, Ordering::Relaxed);
        // Who takes them ends with this.
        let _ = self.queue.send(record).await;
    }

    /// Waits for what was not sent yet, as long as some of it goes; returns how many are lost.
    pub async fn finish(self) -> u64 {
        let Self {
            queue,
            counts,
            mut task,
            collector,
        } = self;
        drop(queue);
        let taken = || counts.taken.load(Ordering::Relaxed);
        let mut before = taken();
        while timeout(FLUSH, &mut task).await.is_err() {
            let now = taken();
            if now == before {
                task.abort();
                break;
            }
            before = now;
        }
        let lost = counts.given.load(Ordering::Relaxed).saturating_sub(taken());
        if lost > 0 {
            log::warn!(
                "{lost} events did not reach {collector}; what the kernel remembers can be sent again: airgap tail --since 1h --no-follow --output otlp"
            );
        }
        lost
    }
}

async fn deliver(collector: Collector, mut queue: mpsc::Receiver<Value>, counts: Arc<Counts>) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let body = Bytes::from(record::request(&batch, host.trim()).to_string());
        let mut pause = PAUSES.0;
        loop {
            let (why, wait) = match post(&client, &collector, body.clone()).await {
                Answer::Taken(rejected, why) => {
                    let taken = (batch.len() as u64).saturating_sub(rejected);
                    counts.taken.fetch_add(taken, Ordering::Relaxed);
                    if rejected > 0 {
                        log::warn!("{collector} refused {rejected} events: {}", escape(&why));
                    }
                    if counts.failing.swap(false, Ordering::Relaxed) {
                        log::info!("{collector} takes events again");
                    }
                    let dropped = counts.dropped.swap(0, Ordering::Relaxed);
                    if dropped > 0 {
                        log::warn!("{dropped} events found no room and are lost");
                    }
                    break;
                }
                Answer::Refused(why) => {
                    let events = batch.len();
                    log::warn!("{collector} refused {events} events: {}", escape(&why));
                    break;
                }
                Answer::Later(why, wait) => (why, wait),
            };
            if !counts.failing.swap(true, Ordering::Relaxed) {
                let why = escape(&why);
                log::warn!(
                    "{collector} takes no events ({why}); {QUEUE} of them are kept, and tried again"
                );
            }
            sleep(wait.unwrap_or(pause).clamp(PAUSES.0, PAUSES.1)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        batch.clear();
    }
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

async fn post(client: &HttpClient, collector: &Collector, body: Bytes) -> Answer {
    let request = Request::post(collector.0.clone())
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            concat!("airgap/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(body));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let asked = async {
        let response = client.request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok::<_, hyper_util::client::legacy::Error>((head, body))
    };
    match timeout(PATIENCE, asked).await {
        Err(_) => Answer::Later("no answer in time".to_owned(), None),
        Ok(Err(error)) => Answer::Later(format!("{:#}", anyhow::Error::from(error)), None),
        Ok(Ok((head, body))) => {
            let after = head.headers.get(header::RETRY_AFTER);
            let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
            answer(head.status, after.map(Duration::from_secs), &body)
        }
    }
}

/// What an answer means (OTLP specification, "OTLP/HTTP Response"). Pure.
fn answer(status: StatusCode, after: Option<Duration>, body: &[u8]) -> Answer {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        let partial = &told["partialSuccess"];
        // A 64-bit number: a string by the encoding, a number from some.
        let rejected = match &partial["rejectedLogRecords"] {
            Value::String(text) => text.parse().unwrap_or(0),
            other => other.as_u64().unwrap_or(0),
        };
        let why = partial["errorMessage"].as_str().unwrap_or("no reason told");
        return Answer::Taken(rejected, why.to_owned());
    }
    let why = match told["message"].as_str() {
        Some(message) => format!("{status}: {message}"),
        None => status.to_string(),
    };
    match status.as_u16() {
        429 | 502..=504 => Answer::Later(why, after),
        _ => Answer::Refused(why),
    }
}

#[cfg(test)]
mod tests;
