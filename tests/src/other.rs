//! Another version of the product, as far as the kernel is concerned.

use crate::airgap::binary;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// The same binary with another BPF object in it, by one word of its licence; gone with it.
#[derive(Debug)]
pub struct Other(pub PathBuf);

impl Other {
    /// # Panics
    /// When the binary cannot be read or written, or has no object in it.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = fs::read(binary()).expect("read the binary");
        let (old, new) = (b"Dual MIT/GPL", b"Dual BSD/GPL");
        let at = bytes.windows(old.len()).position(|w| w == old);
        let at = at.expect("the object's licence");
        bytes[at..at + new.len()].copy_from_slice(new);
        let path = PathBuf::from(format!("/run/airgap-test-other-{}", std::process::id()));
        fs::write(&path, bytes).expect("write the binary");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        Self(path)
    }
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
