//! sock_diag(7), in the network namespace of the calling thread.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// `struct nlmsghdr`, bytes.
const HEADER: usize = 16;

/// A sock_diag socket.
///
/// # Errors
/// If the kernel has none.
pub(super) fn open() -> io::Result<OwnedFd> {
    // SAFETY: integers only; the new descriptor is owned at once.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_SOCK_DIAG,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts the header before a request's own part.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]); // sequence, port
    out.extend(body);
    out
}

pub(super) fn send(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe `message`.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            0,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Bytes received, at most `buffer`'s length.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe `buffer`.
    let len = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
        )
    };
    usize::try_from(len).map_err(|_negative| io::Error::last_os_error())
}

/// Asks for all sockets of a family (`SOCK_DIAG_BY_FAMILY` with `NLM_F_DUMP`);
/// `each` gets the part of each answer behind the header.
///
/// # Errors
/// If the kernel cannot list them.
pub(super) fn dump(request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST_DUMP: u16 = 1 | 0x300;
    let socket = open()?;
    send(
        &socket,
        &message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, request),
    )?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = receive(&socket, &mut buffer)?;
        if take_apart(&buffer[..len], &mut each)? {
            return Ok(());
        }
    }
}

/// Hands out the messages of one datagram; returns whether the dump is over.
fn take_apart(mut bytes: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    while let Some(header) = bytes.get(..HEADER) {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(body) = bytes.get(HEADER..len) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body
                    .get(..4)
                    .map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => each(body),
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(bytes: &[u8]) -> (Vec<Vec<u8>>, io::Result<bool>) {
        let mut found = Vec::new();
        let done = take_apart(bytes, &mut |body| found.push(body.to_vec()));
        (found, done)
    }

    #[test]
    fn a_datagram_may_hold_several_messages() {
        let mut bytes = message(20, 2, &[1, 2, 3, 4]);
        bytes.extend(message(20, 2, &[5, 6, 7, 8]));
        let (found, done) = bodies(&bytes);
        assert_eq!((found.len(), done.unwrap()), (2, false));
        bytes.extend(message(3, 2, &[0; 4]));
        assert!(bodies(&bytes).1.unwrap());
    }

    #[test]
    fn an_error_ends_it_and_any_bytes_are_survived() {
        let error = message(2, 0, &(-libc::ENOENT).to_ne_bytes());
        assert_eq!(
            bodies(&error).1.unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        for len in 0..=80 {
            for fill in [0, 1, 17, 0xff] {
                let _ = bodies(&vec![fill; len]);
            }
        }
    }
}
