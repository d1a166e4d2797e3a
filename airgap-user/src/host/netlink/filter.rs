//! BPF classifiers on an interface before tcx (Linux 6.6): the clsact queueing
//! discipline (4.5) and its filters in direct-action mode (tc-bpf(8)).

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use super::{Message, NLM_F_CREATE, NLM_F_EXCL, Netlink, attributes};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
/// `struct tcmsg`, bytes.
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
/// What the program returns is the verdict.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
const TC_H_CLSACT: u32 = 0xffff_fff1;
/// Handle of a clsact discipline.
const CLSACT: u32 = 0xffff_0000;

/// Which way packets go that a filter sees, as its interface counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received on the interface.
    Ingress,
    /// Sent on the interface.
    Egress,
}

impl Direction {
    const fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// A filter as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Lower ones see a packet first.
    pub priority: u16,
    /// Tells it from others of its priority.
    pub handle: u32,
    /// Name that was given with the program.
    pub name: String,
    /// Id of the BPF program whose result is the verdict; `None` for filters of other kinds.
    pub program: Option<u32>,
}

/// `struct tcmsg`.
fn header(index: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut header = [0; TCMSG];
    for (at, field) in [(4, index), (8, handle), (12, parent), (16, info)] {
        header[at..at + 4].copy_from_slice(&field.to_ne_bytes());
    }
    header
}

/// Priority and protocol of a filter for frames of all protocols.
fn info(priority: u16) -> u32 {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    u32::from(priority) << 16 | u32::from(protocol)
}

fn discipline(kind: u16, flags: u16, index: u32, name: &CStr) -> Vec<u8> {
    let mut message = Message::new(kind, flags, &header(index, CLSACT, TC_H_CLSACT, 0));
    message.attribute(TCA_KIND, name.to_bytes_with_nul());
    message.finish()
}

/// Kind of the discipline that is where filters of arriving frames go, if this one of a dump is
/// that of `index`: `ingress`, or `clsact`, which takes those of sent frames, too.
fn arriving(body: &[u8], index: u32) -> Option<CString> {
    let field = |at: usize| Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
    if field(4)? != index || field(12)? != TC_H_CLSACT {
        return None;
    }
    let mut attributes = attributes(body.get(TCMSG..)?);
    let (_, kind) = attributes.find(|(kind, _)| *kind == TCA_KIND)?;
    Some(CStr::from_bytes_until_nul(kind).ok()?.to_owned())
}

/// One filter of a dump; `None` for what is none: heads of priorities, and chains that are only
/// reached by a jump.
fn filter(body: &[u8]) -> Option<Filter> {
    let word = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?));
    let header = body.get(..TCMSG)?;
    let handle = word(&header[8..])?;
    let mut found = Filter {
        priority: (word(&header[16..])? >> 16) as u16,
        handle,
        name: String::new(),
        program: None,
    };
    let (mut chain, mut direct) = (0, false);
    for (kind, value) in attributes(&body[TCMSG..]) {
        match kind {
            TCA_CHAIN => chain = word(value)?,
            TCA_OPTIONS => {
                for (kind, value) in attributes(value) {
                    match kind {
                        TCA_BPF_ID => found.program = word(value),
                        TCA_BPF_FLAGS => direct = word(value)? & TCA_BPF_FLAG_ACT_DIRECT != 0,
                        TCA_BPF_NAME => {
                            let text = CStr::from_bytes_until_nul(value).ok()?;
                            found.name = text.to_string_lossy().into_owned();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    found.program = found.program.filter(|_| direct);
    (handle != 0 && chain == 0).then_some(found)
}

impl Netlink {
    /// Makes place for filters on an interface: `clsact` of both directions, `ingress` of
    /// arriving frames alone.
    ///
    /// # Errors
    /// `EEXIST` if it has one of them already, `ENOENT` without `sch_ingress`.
    pub fn add_discipline(&self, index: u32, name: &CStr) -> io::Result<()> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.ask(&discipline(RTM_NEWQDISC, flags, index, name))
    }

    /// Removes that place and every filter in it.
    ///
    /// # Errors
    /// `ENOENT` or `EINVAL` if there is none of that name.
    pub fn delete_discipline(&self, index: u32, name: &CStr) -> io::Result<()> {
        self.ask(&discipline(RTM_DELQDISC, 0, index, name))
    }

    /// The kind of the discipline that filters of arriving frames hang on: `ingress`, `clsact`,
    /// or `None` without one.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn arriving_discipline(&self, index: u32) -> io::Result<Option<CString>> {
        let mut found = None;
        // Before Linux 6.3 a dump is of all interfaces (tc_dump_qdisc).
        let request = header(index, 0, 0, 0);
        self.dump(RTM_GETQDISC, &request, |body| {
            found = found.take().or_else(|| arriving(body, index));
        })?;
        Ok(found)
    }

    /// Adds a BPF filter, or puts its program in the place of the one that the filter of this
    /// priority and handle runs; no packet passes between the two.
    ///
    /// # Errors
    /// `ENOENT` without `cls_bpf`, `EINVAL` without clsact or if the priority is taken by a
    /// filter of another kind.
    pub fn set_filter(
        &self,
        index: u32,
        direction: Direction,
        priority: u16,
        handle: u32,
        name: &CStr,
        program: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let header = header(index, handle, direction.parent(), info(priority));
        let mut message = Message::new(RTM_NEWTFILTER, NLM_F_CREATE, &header);
        message.attribute(TCA_KIND, b"bpf\0");
        message.nested(TCA_OPTIONS, |m| {
            m.attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
            m.attribute(TCA_BPF_NAME, name.to_bytes_with_nul());
            m.attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
        });
        self.ask(&message.finish())
    }

    /// Removes one filter.
    ///
    /// # Errors
    /// `ENOENT` or `EINVAL` if there is none.
    pub fn delete_filter(
        &self,
        index: u32,
        direction: Direction,
        priority: u16,
        handle: u32,
    ) -> io::Result<()> {
        let header = header(index, handle, direction.parent(), info(priority));
        self.ask(&Message::new(RTM_DELTFILTER, 0, &header).finish())
    }

    /// The filters of an interface, the one that sees packets first in front.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface.
    pub fn filters(&self, index: u32, direction: Direction) -> io::Result<Vec<Filter>> {
        let mut found = Vec::new();
        let request = header(index, 0, direction.parent(), 0);
        self.dump(RTM_GETTFILTER, &request, |body| found.extend(filter(body)))?;
        // Stable: the kernel's order within a priority stays.
        found.sort_by_key(|filter| filter.priority);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(handle: u32, chain: u32, flags: u32) -> Vec<u8> {
        let mut message = Message(Vec::new());
        message.0.extend(header(7, handle, 0xffff_fff2, info(3)));
        message.attribute(TCA_KIND, b"bpf\0");
        message.attribute(TCA_CHAIN, &chain.to_ne_bytes());
        message.nested(TCA_OPTIONS, |m| {
            m.attribute(TCA_BPF_NAME, b"one\0");
            m.attribute(TCA_BPF_FLAGS, &flags.to_ne_bytes());
            m.attribute(TCA_BPF_ID, &42_u32.to_ne_bytes());
        });
        message.0
    }

    #[test]
    fn reads_a_filter() {
        let expected = Filter {
            priority: 3,
            handle: 9,
            name: "one".into(),
            program: Some(42),
        };
        assert_eq!(filter(&dumped(9, 0, 1)), Some(expected));
    }

    #[test]
    fn a_classifier_that_gives_no_verdict_is_no_guard() {
        assert_eq!(filter(&dumped(9, 0, 0)).expect("a filter").program, None);
        assert_eq!(filter(&dumped(9, 1, 1)), None, "of another chain");
        assert_eq!(filter(&dumped(0, 0, 1)), None, "the head of a priority");
    }

    #[test]
    fn tells_the_discipline_of_arriving_frames() {
        let dumped = |index, parent, kind: &[u8]| {
            let mut message = Message(Vec::new());
            message.0.extend(header(index, CLSACT, parent, 0));
            message.attribute(TCA_KIND, kind);
            message.0
        };
        let own = dumped(7, TC_H_CLSACT, b"ingress\0");
        assert_eq!(arriving(&own, 7).as_deref(), Some(c"ingress"));
        assert_eq!(arriving(&own, 8), None, "of another interface");
        let queue = dumped(7, 0xffff_ffff, b"noqueue\0");
        assert_eq!(arriving(&queue, 7), None, "of frames that are sent");
    }

    #[test]
    fn survives_any_bytes() {
        let whole = dumped(9, 0, 1);
        for len in 0..whole.len() {
            let _ = (filter(&whole[..len]), arriving(&whole[..len], 7));
        }
        for fill in 0..=255 {
            let _ = (filter(&[fill; 64]), arriving(&[fill; 64], 7));
        }
    }
}
