//! `airgap install`.
use std::path::Path;
pub(super) fn is_installed() -> bool {
    Path::new("/etc/systemd/system/airgap-restore.service").exists()
}
