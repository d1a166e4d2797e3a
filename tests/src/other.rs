//! Another version of the product, as far as the kernel is concerned.

use crate::airgap::binary;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// The same binary with another BPF object in it, by one word of its licence, and that
/// one's digest; gone with it.
#[derive(Debug)]
pub struct Other(pub PathBuf);

impl Other {
    /// # Panics
    /// When `$AIRGAP_BPF_OBJ` is not the object in the binary, or a file cannot be read or written.
    #[must_use]
    pub fn new() -> Self {
        let built = std::env::var_os("AIRGAP_BPF_OBJ").expect("AIRGAP_BPF_OBJ");
        let old = fs::read(built).expect("read the BPF object");
        let mut new = old.clone();
        put_at_each(&mut new, b"Dual MIT/GPL", b"Dual BSD/GPL");
        let mut bytes = fs::read(binary()).expect("read the binary");
        put_at_each(&mut bytes, &old, &new);
        let digests = [&old, &new].map(|object| digest(object).to_le_bytes());
        put_at_each(&mut bytes, &digests[0], &digests[1]);
        let path = PathBuf::from(format!("/run/airgap-test-other-{}", std::process::id()));
        fs::write(&path, bytes).expect("write the binary");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(path)
    }
}

/// Puts `new` in the place of each `old`, of which there is one at least.
fn put_at_each(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let found: Vec<_> = (0..=bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .collect();
    assert!(!found.is_empty(), "{} bytes are not there", old.len());
    for at in found {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
}

/// As the build script makes it: FNV-1a, 64 bits.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Default for Other {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
