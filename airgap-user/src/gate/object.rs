//! The embedded BPF object.

/// Bytes of the object, aligned for the ELF reader.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("AIRGAP_BPF_OBJECT")));

/// A digest of the object, made when it was embedded: tells whether the attached
/// programs are these.
static DIGEST: u64 = include!(concat!(env!("OUT_DIR"), "/digest"));

/// [`DIGEST`], as it is in the binary's file.
pub(super) fn digest() -> u64 {
    *std::hint::black_box(&DIGEST)
}
