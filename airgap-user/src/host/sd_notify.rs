//! What a service tells systemd (sd_notify(3)).

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Tells it `state`, such as `READY=1`; nothing where nobody listens. Only that it is ready waits
/// for one who is slow: a sign of life is not worth standing still for.
///
/// # Errors
/// If somebody does and cannot be told.
pub fn notify(state: &str) -> io::Result<()> {
    let Ok(path) = env::var("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(!state.contains("READY=1"))?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}
