//! The embedded BPF object.

/// Bytes of the object, aligned for the ELF reader.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("AIRGAP_BPF_OBJECT")));

/// A digest of the object, made when it was embedded: tells whether the attached
/// programs are these.
pub(super) const DIGEST: u64 = include!(concat!(env!("OUT_DIR"), "/digest"));
