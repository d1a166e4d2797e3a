//! ttrpc: a header of ten bytes (length and stream, four bytes each, big-endian; kind; flags),
//! then the message in protobuf.

use std::io;

/// The longest message.
const MOST: usize = 4 << 20;
const HEADER: usize = 10;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request = 1,
    Response = 2,
}

/// A call.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) payload: Vec<u8>,
}

/// Its answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) payload: Vec<u8>,
}

/// Why a call has failed; code 0: it has not.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

/// A message with its header.
pub(crate) fn framed(kind: Kind, stream: u32, message: &impl prost::Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(stream.to_be_bytes());
    out.extend([kind as u8, 0]);
    out.extend(body);
    out
}

/// Stream, kind and bytes of a message; a kind that means nothing here is `None`.
pub(crate) type Taken = (u32, Option<Kind>, Vec<u8>);

/// The first whole message in a buffer, which it leaves; `None`: there is none yet.
///
/// # Errors
/// If one is longer than any can be.
pub(crate) fn take(buffer: &mut Vec<u8>) -> io::Result<Option<Taken>> {
    let Some([a, b, c, d, e, f, g, h, kind, _]) = buffer.first_chunk::<HEADER>().copied() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > MOST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {len} bytes, at most {MOST} are possible"),
        ));
    }
    if buffer.len() < HEADER + len {
        return Ok(None);
    }
    let rest = buffer.split_off(HEADER + len);
    let body = std::mem::replace(buffer, rest).split_off(HEADER);
    let kind = match kind {
        1 => Some(Kind::Request),
        2 => Some(Kind::Response),
        _ => None,
    };
    Ok(Some((u32::from_be_bytes([e, f, g, h]), kind, body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn messages_are_taken_once_they_are_whole() {
        let request = Request {
            service: "s".into(),
            method: "m".into(),
            payload: vec![7; 300],
        };
        let mut bytes = framed(Kind::Request, 3, &request);
        bytes.extend(framed(Kind::Response, 5, &Response::default()));
        let (mut buffer, mut got) = (Vec::new(), Vec::new());
        for byte in bytes {
            buffer.push(byte);
            got.extend(take(&mut buffer).unwrap());
        }
        let [
            (3, Some(Kind::Request), one),
            (5, Some(Kind::Response), other),
        ] = &got[..]
        else {
            panic!("{got:?}");
        };
        assert_eq!(Request::decode(one.as_slice()).unwrap(), request);
        assert!(other.is_empty() && buffer.is_empty());
    }

    #[test]
    fn what_is_too_long_is_an_error() {
        let mut bytes = framed(Kind::Request, 1, &Request::default());
        bytes[0] = 0xff;
        assert!(take(&mut bytes).is_err());
        // A kind that is none is passed over with its bytes.
        let mut data = framed(Kind::Request, 1, &Request::default());
        data[8] = 3;
        assert_eq!(take(&mut data).unwrap(), Some((1, None, Vec::new())));
    }
}
