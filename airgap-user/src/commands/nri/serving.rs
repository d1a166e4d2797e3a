//! One connection to a runtime, from registration to its end.

use std::{
    io,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use airgap_nri::{Connection, Event, Incoming, Refusal};
use anyhow::{Result, bail};

use super::worker::Worker;

/// Its name, and its place among plugins: what others change comes first.
const NAME: &str = "airgap";
const INDEX: &str = "90";
/// What runtimes wait where they do not say.
const USUAL: Duration = Duration::from_secs(2);

/// Until the runtime closes.
///
/// # Errors
/// If the runtime refuses this plugin, or what it says cannot be read.
pub(super) fn serve(stream: UnixStream, worker: &Worker) -> Result<()> {
    let mut connection = Connection::new(stream);
    connection.register(NAME, INDEX)?;
    let mut patience = patience(USUAL);
    loop {
        let call = match connection.receive() {
            Ok(Some(Incoming::Call(call))) => call,
            Ok(Some(Incoming::Registered(Ok(())))) => continue,
            Ok(Some(Incoming::Registered(Err(why)))) => {
                bail!("the runtime does not take this plugin: {why}")
            }
            Ok(None) => return Ok(()),
            // As one that ends does.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let asked = Instant::now();
        let answer = match Event::decode(&call.method, &call.payload) {
            Ok(None) => Err(Refusal::Unknown),
            Err(error) => Err(Refusal::Because(format!(
                "airgap cannot read what it is asked: {error}"
            ))),
            Ok(Some(event)) => {
                if let Event::Configure(configured) = &event {
                    log::info!(
                        "asked by {} {}",
                        configured.runtime_name,
                        configured.runtime_version
                    );
                    let said = u64::try_from(configured.request_timeout).ok();
                    let said = said.filter(|ms| *ms > 0).map(Duration::from_millis);
                    patience = self::patience(said.unwrap_or(USUAL));
                }
                let answer = event.answer();
                let judged = worker.judge(event, patience);
                judged.map(|()| answer).map_err(Refusal::Because)
            }
        };
        log::debug!("{} took {:?}", call.method, asked.elapsed());
        connection.answer(&call, answer)?;
    }
}

/// What is not judged by then is refused: a runtime that has waited in vain goes on as if
/// nobody had been asked.
fn patience(timeout: Duration) -> Duration {
    timeout * 3 / 4
}
