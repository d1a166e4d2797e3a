//! A stand-in for a container engine: as much of Docker's API as airgap asks for, over one
//! container that the test made itself. For machines too small for a real engine.

use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Listens until the process ends.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
}

/// The one container there is.
#[derive(Debug, Clone)]
pub struct Described {
    pub id: String,
    pub name: String,
    pub pid: u32,
}

impl Engine {
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(container: Described) -> Self {
        let socket = std::env::temp_dir().join(format!("engine-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&socket).expect("listen");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let container = container.clone();
                // An engine's client that goes away is no failure of the engine.
                std::thread::spawn(move || drop(serve(stream, &container)));
            }
        });
        Self { socket }
    }

    /// For `--host`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn serve(stream: UnixStream, container: &Described) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = answer(path, container);
    let body = body.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn answer(path: &str, container: &Described) -> (&'static str, Value) {
    let path = path.split('?').next().unwrap_or_default();
    // `/v1.41/…`
    let path = match path.strip_prefix("/v1.") {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => path.trim_start_matches('/'),
    };
    let Described { id, name, pid } = container;
    match path {
        "version" => (
            "200 OK",
            json!({ "Version": "20.10.0", "ApiVersion": "1.41", "MinAPIVersion": "1.12" }),
        ),
        "info" => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
            let release = release.unwrap_or_default();
            ("200 OK", json!({ "KernelVersion": release.trim() }))
        }
        _ if path == format!("containers/{name}/json")
            || path == format!("containers/{id}/json") =>
        {
            (
                "200 OK",
                json!({
                    "Id": id, "Name": format!("/{name}"),
                    "State": { "Running": true, "Pid": pid },
                    "HostConfig": { "NetworkMode": "bridge", "LogConfig": { "Type": "json-file" } },
                    "Mounts": [],
                }),
            )
        }
        "containers/json" => (
            "200 OK",
            json!([{ "Id": id, "Names": [format!("/{name}")], "State": "running" }]),
        ),
        _ => ("404 Not Found", json!({ "message": "no such object" })),
    }
}
