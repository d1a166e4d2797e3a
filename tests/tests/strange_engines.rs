//! Promise: an engine that is none, too old, broken or slow is told as that, and nothing changes.

use airgap_tests::airgap;
use airgap_tests::cmd::Output;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Answers whatever is asked, by its path, until dropped.
struct StandIn {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    fn start(answer: fn(&str) -> Vec<u8>) -> Self {
        let path = place();
        let listener = UnixListener::bind(&path).expect("bind");
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away is no concern of this one.
                drop(stream.and_then(|stream| serve(stream, answer)));
            }
        });
        Self {
            path,
            stop,
            thread: Some(thread),
        }
    }

    fn attach(&self) -> Output {
        attach(&self.path)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(UnixStream::connect(&self.path));
        drop(self.thread.take().map(JoinHandle::join));
        drop(std::fs::remove_file(&self.path));
    }
}

/// One request a connection.
fn serve(mut stream: UnixStream, answer: fn(&str) -> Vec<u8>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    stream.write_all(&answer(request.split(' ').nth(1).unwrap_or_default()))
}

fn place() -> PathBuf {
    let path = format!("/run/airgap-test-engine-{}.sock", std::process::id());
    drop(std::fs::remove_file(&path));
    PathBuf::from(path)
}

fn attach(socket: &Path) -> Output {
    let host = format!("unix://{}", socket.display());
    airgap(&["--host", &host, "attach", "-d", "web"])
}

fn http(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn version(api: &str) -> Vec<u8> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release");
    let kernel = kernel.trim();
    http(
        200,
        &format!(r#"{{"ApiVersion":"{api}","MinAPIVersion":"1.12","KernelVersion":"{kernel}"}}"#),
    )
}

#[track_caller]
fn told(out: &Output, words: &str) {
    assert_eq!(out.code, 1, "{}", out.describe());
    assert!(out.stderr.contains(words), "{}", out.describe());
    assert!(out.stderr.contains("hint: "), "{}", out.describe());
    assert_eq!(out.stdout, "", "{}", out.describe());
}

#[test]
fn what_is_no_engine_is_told_as_that() {
    let cases: [fn(&str) -> Vec<u8>; 6] = [
        |_| Vec::new(),
        |_| b"220 mail.example ESMTP\r\n".to_vec(),
        |_| http(404, r#"{"message":"page not found"}"#),
        |_| http(200, "<html>hello</html>"),
        |_| http(200, "{}"),
        |_| http(200, r#"{"ApiVersion":"one"}"#),
    ];
    for answer in cases {
        let engine = StandIn::start(answer);
        told(&engine.attach(), "does not speak the API of Docker");
    }
}

#[test]
fn a_socket_that_nobody_serves_is_told_as_that() {
    let path = place();
    drop(UnixListener::bind(&path).expect("bind"));
    told(&attach(&path), "no container engine answers at");
    std::fs::remove_file(&path).expect("remove it");
    let _other_kind = UnixDatagram::bind(&path).expect("bind");
    told(&attach(&path), "no container engine answers at");
    std::fs::remove_file(&path).expect("remove it");
    told(&attach(&path), "no container engine answers at");
}

#[test]
fn an_engine_of_an_old_api_is_refused() {
    let old = StandIn::start(|_| version("1.20"));
    told(&old.attach(), "speaks the API 1.20, and airgap needs 1.24");
}

/// The control: with a whole answer the next question is asked.
#[test]
fn an_engine_that_answers_by_half_is_told_as_that() {
    let half = StandIn::start(|path| {
        if path.contains("version") {
            return version("1.45");
        }
        let mut answer = http(200, &format!(r#"{{"Id":"{}"}}"#, "a".repeat(64)));
        answer.truncate(answer.len() - 20);
        answer
    });
    told(&half.attach(), "cannot inspect the container 'web'");
    drop(half);
    let nameless = StandIn::start(|path| match path.contains("version") {
        true => version("1.45"),
        false => http(200, "{}"),
    });
    told(&nameless.attach(), "a container without an id");
}
