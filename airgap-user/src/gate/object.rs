//! The embedded BPF object.

/// Bytes of the object, aligned for the ELF reader.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("AIRGAP_BPF_OBJECT")));

/// FNV-1a of the object: tells whether the attached programs are these.
pub(super) fn digest() -> u64 {
    OBJECT.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
