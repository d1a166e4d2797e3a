//! Netlink (RFC 3549, netlink(7)), in the network namespace of the thread that opens it: the few
//! requests that airgap needs, without the commands `ip`, `tc` and `ss`.

mod address;
mod arrivals;
mod filter;
mod link;
mod port;
mod route;

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

pub use self::{
    address::Address,
    arrivals::Arrivals,
    filter::{Direction, Filter},
    link::Link,
    port::Port,
    route::{End, Mac},
};

/// A dump by this asks sock_diag(7) for sockets (linux/sock_diag.h).
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct nlmsghdr`, bytes.
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP: u16 = 0x300;
/// What is listed changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// One request: `struct nlmsghdr`, a header of its family, attributes.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request that is acknowledged.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        Self::with_flags(kind, flags | NLM_F_ACK, header)
    }

    fn with_flags(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        // Sequence and port: one request at a time needs neither.
        bytes.extend([0; 8]);
        bytes.extend(header);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |m| m.0.extend(value));
    }

    /// `struct rtattr` around what `fill` writes, padded to four bytes.
    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        fill(self);
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Its bytes, the length in their head.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}

/// Attributes (`struct rtattr`): kind and value of each, as far as they are whole.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Bits of a kind that say how its value is laid out.
    const NLA_TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A netlink socket, in the namespace of the thread that opened it.
pub struct Netlink(OwnedFd);

impl Netlink {
    /// For links, addresses and filters (rtnetlink(7)).
    ///
    /// # Errors
    /// Whatever `socket` says.
    pub fn route() -> io::Result<Self> {
        Self::open(libc::NETLINK_ROUTE)
    }

    /// For sockets (sock_diag(7)).
    ///
    /// # Errors
    /// If the kernel has no sock_diag.
    pub(crate) fn diag() -> io::Result<Self> {
        Self::open(libc::NETLINK_SOCK_DIAG)
    }

    fn open(protocol: libc::c_int) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and nobody else owns it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.connect_to_kernel()?;
        Ok(socket)
    }

    /// From then on the kernel takes messages for it from nobody else: who may
    /// administer the namespace could forge answers.
    fn connect_to_kernel(&self) -> io::Result<()> {
        // SAFETY: all zero is valid; the port of the kernel is 0.
        let mut kernel: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        kernel.nl_family = libc::AF_NETLINK as u16;
        let len = size_of::<libc::sockaddr_nl>() as u32;
        // SAFETY: the pointer and length describe `kernel`.
        let rc = unsafe { libc::connect(self.0.as_raw_fd(), (&raw const kernel).cast(), len) };
        if rc == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        // SAFETY: the pointer and length describe `request`.
        let sent = unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let fd = self.0.as_raw_fd();
        loop {
            // SAFETY: the pointer and length describe `buffer`; the length that is
            // returned may be greater, which shows what did not fit.
            let got = unsafe {
                let to = buffer.as_mut_ptr().cast();
                libc::recv(fd, to, buffer.len(), libc::MSG_TRUNC)
            };
            match usize::try_from(got) {
                Ok(got) => return buffer.get(..got).ok_or(io::ErrorKind::InvalidData.into()),
                Err(_negative) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Sends a request and waits for its acknowledgement.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn ask(&self, request: &[u8]) -> io::Result<()> {
        self.send(request)?;
        let mut reply = [0; 4096];
        acknowledged(self.receive(&mut reply)?)
            .unwrap_or_else(|| Err(io::ErrorKind::InvalidData.into()))
    }

    /// Asks for one thing; returns what is behind the header of the answer.
    ///
    /// # Errors
    /// The kernel's.
    fn get(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.send(request)?;
        let mut buffer = vec![0; 4096];
        let mut found = None;
        let bytes = self.receive(&mut buffer)?;
        take_apart(bytes, &mut Dump::default(), &mut |body| {
            found.get_or_insert(body.to_vec());
        })?;
        found.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Asks for all there is of a kind; `each` gets what is behind the header of each answer,
    /// once the list is whole.
    ///
    /// # Errors
    /// If the kernel cannot list them, or they change all the time.
    pub(crate) fn dump(
        &self,
        kind: u16,
        request: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        /// How often a list may change while it is read; the pauses are two seconds in sum.
        const TRIES: u64 = 64;
        let request = Message::with_flags(kind, NLM_F_DUMP, request).finish();
        let mut buffer = vec![0; 1 << 16];
        for pause in 0..TRIES {
            thread::sleep(Duration::from_millis(pause));
            self.send(&request)?;
            let mut found = Vec::new();
            let mut dump = Dump::default();
            while !dump.over {
                let bytes = self.receive(&mut buffer)?;
                take_apart(bytes, &mut dump, &mut |body| found.push(body.to_vec()))?;
            }
            if !dump.torn {
                found.iter().for_each(|body| each(body));
                return Ok(());
            }
        }
        Err(io::Error::other("it changes all the time; try again"))
    }
}

/// The error in an acknowledgement; `None` if it is none.
fn acknowledged(reply: &[u8]) -> Option<io::Result<()>> {
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    let error = i32::from_ne_bytes(reply.get(16..20)?.try_into().ok()?);
    match (i32::from(kind), error) {
        (libc::NLMSG_ERROR, 0) => Some(Ok(())),
        (libc::NLMSG_ERROR, error) => Some(Err(io::Error::from_raw_os_error(-error))),
        _ => None,
    }
}

/// How far a list has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dump {
    over: bool,
    /// What is listed changed meanwhile.
    torn: bool,
}

/// Hands out the messages of one datagram.
fn take_apart(mut bytes: &[u8], dump: &mut Dump, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
    while let Some(header) = bytes.get(..HEADER) {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = i32::from(u16::from_ne_bytes([header[4], header[5]]));
        dump.torn |= u16::from_ne_bytes([header[6], header[7]]) & NLM_F_DUMP_INTR != 0;
        let Some(body) = bytes.get(HEADER..len) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                let code = body
                    .get(..4)
                    .map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                // A list that broke off is over, too, and says so here.
                if kind == libc::NLMSG_DONE && code >= 0 {
                    dump.over = true;
                    return Ok(());
                }
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => each(body),
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        Message::with_flags(kind, 2, body).finish()
    }

    fn bodies(bytes: &[u8]) -> (Vec<Vec<u8>>, io::Result<Dump>) {
        let mut found = Vec::new();
        let mut dump = Dump::default();
        let done = take_apart(bytes, &mut dump, &mut |body| found.push(body.to_vec()));
        (found, done.map(|()| dump))
    }

    #[test]
    fn a_datagram_may_hold_several_messages() {
        let mut bytes = message(20, &[1, 2, 3, 4]);
        bytes.extend(message(20, &[5, 6, 7, 8]));
        let (found, done) = bodies(&bytes);
        assert_eq!((found.len(), done.unwrap()), (2, Dump::default()));
        bytes.extend(message(3, &[0; 4]));
        assert!(bodies(&bytes).1.unwrap().over);
    }

    #[test]
    fn a_list_that_broke_off_or_changed_is_not_taken_for_whole() {
        let broken = message(3, &(-libc::ENOMEM).to_ne_bytes());
        let error = bodies(&broken).1.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        let changed = Message::with_flags(20, NLM_F_DUMP_INTR, &[0; 4]).finish();
        let mut dump = Dump::default();
        // The end comes in a datagram of its own.
        for datagram in [changed, message(3, &[0; 4])] {
            take_apart(&datagram, &mut dump, &mut |_| {}).unwrap();
        }
        let (over, torn) = (true, true);
        assert_eq!(dump, Dump { over, torn });
    }

    #[test]
    fn nobody_but_the_kernel_answers() {
        let (asking, other) = (Netlink::route().unwrap(), Netlink::route().unwrap());
        // SAFETY: all zero is valid; the calls write no more than `len` bytes.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::sockaddr_nl>() as u32;
        // SAFETY: as above.
        let rc = unsafe {
            let to = (&raw mut address).cast();
            libc::getsockname(asking.0.as_raw_fd(), to, &raw mut len)
        };
        assert_eq!((rc, address.nl_pid == 0), (0, false));
        let forged = message(3, &[0; 4]);
        // SAFETY: the pointers describe `forged` and `address`.
        let sent = unsafe {
            let (bytes, to) = (forged.as_ptr().cast(), (&raw const address).cast());
            libc::sendto(other.0.as_raw_fd(), bytes, forged.len(), 0, to, len)
        };
        let error = io::Error::last_os_error().raw_os_error();
        // Who may not send to others at all hears that first.
        assert_eq!(sent, -1);
        assert!(matches!(error, Some(libc::ECONNREFUSED | libc::EPERM)));
    }

    #[test]
    fn an_error_ends_it_and_any_bytes_are_survived() {
        let error = message(2, &(-libc::ENOENT).to_ne_bytes());
        assert_eq!(
            bodies(&error).1.unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        for len in 0..=80 {
            for fill in [0, 1, 17, 0xff] {
                let _ = bodies(&vec![fill; len]);
                let _ = attributes(&vec![fill; len]).count();
            }
        }
    }

    #[test]
    fn attributes_are_padded() {
        let mut message = Message(Vec::new());
        message.attribute(1, b"abc");
        message.attribute(2 | 0x8000, b"d");
        let found: Vec<_> = attributes(&message.0).collect();
        assert_eq!(found, [(1, b"abc".as_slice()), (2, b"d".as_slice())]);
        assert_eq!(attributes(&message.0[..9]).count(), 1);
    }

    #[test]
    fn reads_acknowledgements() {
        let reply = |kind: u16, error: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            acknowledged(&bytes).map(|r| r.map_err(|e| e.raw_os_error()))
        };
        assert_eq!(reply(2, 0), Some(Ok(())));
        assert_eq!(reply(2, -17), Some(Err(Some(17))));
        assert_eq!(reply(16, 0), None);
        assert!(acknowledged(&[0; 10]).is_none());
    }
}
