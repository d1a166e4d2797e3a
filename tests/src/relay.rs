//! A way to the engine that can be made slow, or broken, for one container.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

const ENGINE: &str = "/var/run/docker.sock";

/// What becomes of questions about a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// Until that is changed.
    Held,
    /// The connection breaks; counts down to `Answered`.
    Broken(u32),
}

/// One container's id, and the fate of questions about it.
type Shared = Arc<(Mutex<(String, Fate)>, Condvar)>;

/// Listens until the process ends.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    shared: Shared,
}

impl Relay {
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let socket = PathBuf::from(format!(
            "/run/airgap-test-relay-{}.sock",
            std::process::id()
        ));
        drop(fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).expect("listen");
        let shared: Shared =
            Arc::new((Mutex::new((String::new(), Fate::Answered)), Condvar::new()));
        let its = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&its);
                thread::spawn(move || drop(relay(client, &shared)));
            }
        });
        Self { socket, shared }
    }

    /// From now on, for questions about this container.
    pub fn set(&self, id: &str, fate: Fate) {
        let (state, changed) = &*self.shared;
        *state.lock().unwrap_or_else(PoisonError::into_inner) = (id.to_owned(), fate);
        changed.notify_all();
    }

    /// What is left to come.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
    }

    /// For `--host`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set("", Fate::Answered);
        drop(fs::remove_file(&self.socket));
    }
}

fn relay(mut client: UnixStream, shared: &Shared) -> io::Result<()> {
    let mut engine = UnixStream::connect(ENGINE)?;
    let (mut answers, mut back) = (engine.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut answers, &mut back));
        drop(back.shutdown(Shutdown::Both));
    });
    let mut bytes = [0; 4096];
    loop {
        let len = client.read(&mut bytes)?;
        if len == 0 {
            return engine.shutdown(Shutdown::Both);
        }
        let asked = String::from_utf8_lossy(&bytes[..len]);
        let (state, changed) = &**shared;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let about = |id: &str| asked.contains(&format!("/containers/{id}/json"));
        let hold = |state: &mut (String, Fate)| state.1 == Fate::Held && about(&state.0);
        let mut state = changed
            .wait_while(state, hold)
            .unwrap_or_else(PoisonError::into_inner);
        if let (true, Fate::Broken(times)) = (about(&state.0), state.1) {
            state.1 = match times {
                0 | 1 => Fate::Answered,
                more => Fate::Broken(more - 1),
            };
            client.shutdown(Shutdown::Both)?;
            return engine.shutdown(Shutdown::Both);
        }
        drop(state);
        engine.write_all(&bytes[..len])?;
    }
}
