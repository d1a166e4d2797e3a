//! What a refused attempt asked for by name: a DNS question, a unix socket's path.

use airgap_common::denial::QUESTION_LEN;
use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_probe_read_kernel, bpf_skb_load_bytes},
};

use crate::{kernel::HASH_SEED, verifier::bounded};

/// Where in a packet a DNS question starts.
pub(crate) struct Question {
    pub(crate) skb: *mut __sk_buff,
    /// Bytes from where the program's packet starts; 0: it carries none.
    pub(crate) offset: u32,
}

/// Where the kernel keeps a unix socket's `sun_path`.
pub(crate) struct UnixAddress {
    /// Kernel address; 0: the socket has no name.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) len: u32,
}

/// A name that belongs to the attempt, still where the kernel has it: it is
/// read in pieces for its hash, as a whole only into a new record.
pub(super) enum Name<'a> {
    None,
    Question(&'a Question),
    Unix(&'a UnixAddress),
}

/// Bytes of a piece.
const PIECE: u32 = 16;
/// What is copied at once, and what is left then: powers of two, both.
const FIRST: u32 = 256;
const REST: u32 = QUESTION_LEN as u32 - FIRST;

impl Name<'_> {
    /// How many bytes of it are kept.
    #[inline(always)]
    fn len(&self) -> u32 {
        let len = match self {
            Self::None => 0,
            Self::Question(question) => {
                // SAFETY: the context is a __sk_buff.
                let len = unsafe { (*question.skb).len };
                if question.offset == 0 || len <= question.offset {
                    return 0;
                }
                len - question.offset
            }
            Self::Unix(address) if address.at == 0 => 0,
            Self::Unix(address) => address.len,
        };
        if len > QUESTION_LEN as u32 {
            QUESTION_LEN as u32
        } else {
            len
        }
    }

    /// Copies `n` bytes from `offset`.
    ///
    /// # Safety
    /// `to` has room for them.
    #[inline(always)]
    // SAFETY: callers pass a buffer and no more bytes than it has.
    unsafe fn read(&self, offset: u32, to: *mut u8, n: u32) -> bool {
        // SAFETY: the caller's promise; any source address is taken.
        let error = unsafe {
            match self {
                Self::None => return false,
                Self::Question(question) => {
                    bpf_skb_load_bytes(question.skb.cast(), question.offset + offset, to.cast(), n)
                }
                Self::Unix(address) => {
                    let from = address.at + u64::from(offset);
                    bpf_probe_read_kernel(to.cast(), n, from as *const core::ffi::c_void)
                }
            }
        };
        error == 0
    }

    /// Never 0 for a name, and 0 for none.
    #[inline(always)]
    pub(super) fn hash(&self) -> u64 {
        let len = self.len();
        if len == 0 {
            return 0;
        }
        let mut hash = HASH_SEED.load() ^ u64::from(len);
        let mut at = 0;
        while at < QUESTION_LEN as u32 {
            if at >= len {
                break;
            }
            hash = match self {
                Self::None => return 0,
                Self::Question(question) => {
                    airgap_mix_question(question.skb, question.offset + at, len - at, hash)
                }
                Self::Unix(address) => airgap_mix_path(address.at + u64::from(at), len - at, hash),
            };
            at += PIECE;
        }
        hash | 1
    }

    /// Copies it into a record; returns how many bytes.
    ///
    /// # Safety
    /// `to` has room for [`QUESTION_LEN`] bytes.
    #[inline(always)]
    pub(super) unsafe fn copy(&self, to: *mut u8) -> u32 {
        let len = self.len();
        if len == 0 {
            return 0;
        }
        let first = bounded(if len > FIRST { FIRST } else { len }, FIRST);
        // SAFETY: the caller's promise.
        unsafe {
            if !self.read(0, to, first) {
                return 0;
            }
            if len <= FIRST {
                return first;
            }
            let rest = bounded(len - FIRST, REST);
            if self.read(FIRST, to.add(FIRST as usize), rest) {
                FIRST + rest
            } else {
                first
            }
        }
    }
}

/// Mixes the next piece of a DNS question into its hash. A global function: the
/// verifier walks it once, not once for each piece (Linux 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_mix_question(
    skb: *mut __sk_buff,
    offset: u32,
    left: u32,
    hash: u64,
) -> u64 {
    mix_piece(&Name::Question(&Question { skb, offset }), left, hash)
}

/// The same of a unix socket's path.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn airgap_mix_path(at: u64, left: u32, hash: u64) -> u64 {
    mix_piece(&Name::Unix(&UnixAddress { at, len: left }), left, hash)
}

/// Unchanged if it cannot be read.
#[inline(always)]
fn mix_piece(from: &Name<'_>, left: u32, hash: u64) -> u64 {
    if left == 0 {
        return hash;
    }
    let mut piece = [0u64; 2];
    let n = bounded(if left > PIECE { PIECE } else { left }, PIECE);
    // SAFETY: the piece has room for 16 bytes.
    if unsafe { from.read(0, piece.as_mut_ptr().cast(), n) } {
        mix(mix(hash, piece[0]), piece[1])
    } else {
        hash
    }
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}
