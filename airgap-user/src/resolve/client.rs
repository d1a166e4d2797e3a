//! One question to one server.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout, timeout_at},
};

use super::message::{Answer, Kind, Labels, Question};

const PORT: u16 = 53;
/// How long a server is waited for, each time.
const PATIENCE: Duration = Duration::from_millis(1500);
const TRIES: u32 = 2;

/// Asks by datagram, and by a connection where the answer is cut short or none fits.
///
/// # Errors
/// In words.
pub(super) async fn ask(name: &Labels, kind: Kind, server: IpAddr) -> Result<Answer, String> {
    let failed = |error: io::Error| format!("{server} cannot be asked: {error}");
    for _ in 0..TRIES {
        let question = Question::new(name, kind, &random().map_err(failed)?);
        match datagram(&question, server).await {
            Ok(Some(Answer::Cut)) => break,
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            // Nobody is there: a connection fails as well, and says why.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break,
            Err(error) => return Err(failed(error)),
        }
    }
    // A server that changes letters, or forged answers, come this way, too.
    let question = Question::new(name, kind, &random().map_err(failed)?);
    match timeout(PATIENCE, connection(&question, server)).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) => Err(format!("{server} answers something else")),
        Ok(Err(error)) => Err(failed(error)),
        Err(_late) => Err(format!("{server} does not answer")),
    }
}

/// The first answer to it; `None`: none came in time. What is no answer is passed over.
async fn datagram(question: &Question, server: IpAddr) -> io::Result<Option<Answer>> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of the kernel's choice, and only from that server.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(SocketAddr::new(server, PORT)).await?;
    socket.send(&question.wire).await?;
    let (end, mut buffer) = (Instant::now() + PATIENCE, vec![0; 4096]);
    while let Ok(got) = timeout_at(end, socket.recv(&mut buffer)).await {
        let len = got?;
        if let Some(answer) = question.answered(&buffer[..len]) {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

async fn connection(question: &Question, server: IpAddr) -> io::Result<Option<Answer>> {
    let mut stream = TcpStream::connect(SocketAddr::new(server, PORT)).await?;
    let len = u16::try_from(question.wire.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&len.to_be_bytes(), &question.wire[..]].concat())
        .await?;
    let len = stream.read_u16().await?;
    let mut wire = vec![0; len.into()];
    stream.read_exact(&mut wire).await?;
    Ok(question.answered(&wire))
}

/// Of the kernel.
fn random() -> io::Result<[u8; 34]> {
    let mut bytes = [0; 34];
    // SAFETY: a buffer of that length, which the call fills.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(got) {
        Ok(len) if len == bytes.len() => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}
