//! Passing descriptors over a unix socket (`SCM_RIGHTS`, unix(7)).

use super::sys::{Step, check};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Room for one descriptor, aligned as `struct cmsghdr` wants.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Sends one byte and one descriptor.
pub fn send(over: BorrowedFd<'_>, passed: BorrowedFd<'_>) -> Step<()> {
    with_message(|message, control| {
        let fd = passed.as_raw_fd();
        // SAFETY: `control` has room for a header and one descriptor.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
            debug_assert!(control.0.len() >= libc::CMSG_SPACE(4) as usize);
        }
        // SAFETY: the message describes live buffers.
        let rc = unsafe { libc::sendmsg(over.as_raw_fd(), message, libc::MSG_NOSIGNAL) };
        check("sendmsg", rc as i64).map(drop)
    })
}

/// Receives what [`send`] sends; `None`: a message without a descriptor, which
/// is what a refused one looks like.
pub fn receive(over: BorrowedFd<'_>) -> Step<Option<OwnedFd>> {
    with_message(|message, _| {
        // SAFETY: the message describes live buffers.
        let rc = unsafe { libc::recvmsg(over.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) };
        check("recvmsg", rc as i64)?;
        // SAFETY: the kernel filled the message; a header is only read if it is there.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
                return Ok(None);
            }
            let fd = libc::CMSG_DATA(header).cast::<i32>().read_unaligned();
            Ok(Some(OwnedFd::from_raw_fd(fd)))
        }
    })
}

fn with_message<T>(work: impl FnOnce(&mut libc::msghdr, &Control) -> T) -> T {
    let mut byte = [0_u8; 1];
    let mut control = Control([0; 24]);
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: plain data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    work(&mut message, &control)
}
