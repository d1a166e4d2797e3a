//! The multiplexer: before each piece of a connection's bytes stand the connection's number
//! and the piece's length, four bytes each, big-endian.

use std::io::{self, Read};

/// The connection on which the runtime calls the plugin.
pub(crate) const PLUGIN: u32 = 1;
/// The connection on which the plugin calls the runtime.
pub(crate) const RUNTIME: u32 = 2;
/// The other end takes a piece whole, into a buffer of this size.
const PIECE: usize = 4096;
/// The longest message, and its header.
const MOST: usize = (4 << 20) + 10;

/// The bytes of a connection as they go over the socket.
pub(crate) fn pieces(connection: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    for piece in bytes.chunks(PIECE) {
        out.extend(connection.to_be_bytes());
        out.extend((piece.len() as u32).to_be_bytes());
        out.extend(piece);
    }
    out
}

/// Reads one piece: its connection and its bytes. `None`: the other end has closed.
///
/// # Errors
/// If it ends within one, or one is longer than any can be.
pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<(u32, Vec<u8>)>> {
    let mut header = [0; 8];
    let first = loop {
        match from.read(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => break done?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[first..])?;
    let [a, b, c, d, e, f, g, h] = header;
    let connection = u32::from_be_bytes([a, b, c, d]);
    let len = u32::from_be_bytes([e, f, g, h]) as usize;
    if len > MOST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a piece of {len} bytes, at most {MOST} are possible"),
        ));
    }
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    Ok(Some((connection, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_goes_in_pieces() {
        let bytes: Vec<u8> = (0..9000_u32).map(|i| i as u8).collect();
        let sent = pieces(PLUGIN, &bytes);
        assert_eq!(sent.len(), 9000 + 3 * 8);
        let (mut from, mut got) = (sent.as_slice(), Vec::new());
        while let Some((connection, piece)) = read(&mut from).unwrap() {
            assert!(connection == PLUGIN && piece.len() <= PIECE);
            got.extend(piece);
        }
        assert_eq!(got, bytes);
        assert!(pieces(RUNTIME, &[]).is_empty());
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_an_error() {
        let whole = pieces(RUNTIME, b"abc");
        for cut in 1..whole.len() {
            assert!(read(&mut &whole[..cut]).is_err(), "{cut}");
        }
        let mut long = whole;
        long[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(read(&mut long.as_slice()).is_err());
    }
}
