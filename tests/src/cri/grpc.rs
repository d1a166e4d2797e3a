//! One call of gRPC over a unix socket: a request, an answer, a status at the end.

use h2::client;
use prost::Message;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// A pod's network takes seconds, on a busy machine more.
const PATIENCE: Duration = Duration::from_secs(90);

/// Calls it, on a connection of its own.
///
/// # Errors
/// What the server says, or what kept it from saying anything.
pub(super) fn call<A: Message + Default>(
    socket: &Path,
    method: &str,
    request: &impl Message,
) -> Result<A, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let asked = async {
        let asked = tokio::time::timeout(PATIENCE, ask(socket, method, request));
        asked.await.map_err(|late| format!("{method}: {late}"))?
    };
    let answer = runtime.expect("a runtime").block_on(asked)?;
    A::decode(answer.as_slice()).map_err(|error| format!("{method}: {error}"))
}

async fn ask(socket: &Path, method: &str, request: &impl Message) -> Result<Vec<u8>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{method}: {error}");
    let stream = UnixStream::connect(socket).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = client::handshake(stream).await.map_err(|e| failed(&e))?;
    tokio::spawn(connection);
    let head = http::Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (answer, mut body) = sender.send_request(head, false).map_err(|e| failed(&e))?;
    let message = request.encode_to_vec();
    let len = u32::try_from(message.len()).expect("a short message");
    let framed = [&[0][..], &len.to_be_bytes(), &message].concat();
    body.send_data(framed.into(), true)
        .map_err(|e| failed(&e))?;
    let (head, mut body) = answer.await.map_err(|e| failed(&e))?.into_parts();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|e| failed(&e))?;
        let taken = body.flow_control().release_capacity(part.len());
        taken.map_err(|e| failed(&e))?;
        bytes.extend(part);
    }
    let trailers = body.trailers().await.map_err(|e| failed(&e))?;
    let trailers = trailers.unwrap_or(head.headers);
    let said = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    match said("grpc-status") {
        Some("0") => Ok(bytes.split_off(bytes.len().min(5))),
        code => Err(format!(
            "{method}: status {}: {}",
            code.unwrap_or("missing"),
            decoded(said("grpc-message").unwrap_or_default())
        )),
    }
}

/// Each `%` and two digits are a byte.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = rest.clone().take(2).map(char::from).collect::<String>();
        match u8::from_str_radix(&digits, 16) {
            Ok(coded) if byte == b'%' => {
                bytes.push(coded);
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn a_message_is_read_as_it_was_meant() {
        assert_eq!(decoded("a%3A b%0Ac%"), "a: b\nc%");
    }
}
