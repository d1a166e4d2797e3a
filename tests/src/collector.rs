//! A collector of OpenTelemetry logs over HTTP that keeps what it gets.

use crate::wait;
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A collector on this host's loopback.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// Starts one at a free port.
    ///
    /// # Panics
    /// When none can be had.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = Arc::clone(&sink);
                std::thread::spawn(move || serve(stream, &sink));
            }
        });
        Self { address, requests }
    }

    /// What `--otlp` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a log record.
    ///
    /// # Panics
    /// When none comes in time; shows what came instead.
    #[track_caller]
    pub fn await_record(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait::within(limit, || self.records().into_iter().find(|r| wanted(r)))
            .unwrap_or_else(|| panic!("no record within {limit:?}: {what}; {:#?}", self.records()))
    }

    /// All log records so far.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let scopes = requests.iter().flat_map(|r| list(&r["resourceLogs"]));
        let scopes = scopes.flat_map(|logs| list(&logs["scopeLogs"]));
        scopes
            .flat_map(|scope| list(&scope["logRecords"]))
            .collect()
    }
}

/// The value of a record's attribute.
#[must_use]
pub fn attribute(record: &Value, key: &str) -> Value {
    let attributes = record["attributes"].as_array();
    let found = attributes.and_then(|all| all.iter().find(|a| a["key"] == key));
    found.map(|a| a["value"].clone()).unwrap_or_default()
}

/// Requests of one connection, until its end.
fn serve(stream: TcpStream, sink: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = request(&mut reader) {
        sink.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request);
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Value>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if !line.starts_with("POST /v1/logs ") {
        return Err(io::Error::other(line));
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(io::Error::other)
}
