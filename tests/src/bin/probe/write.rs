//! Writing to a disk as a database does.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// `O_DIRECT` wants memory and length to be blocks.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Writes blocks of zeros: more than there are connections to lose.
pub(crate) fn run(path: &str) -> Result<(), String> {
    let mut options = File::options();
    let file = options.write(true).custom_flags(libc::O_DIRECT).open(path);
    file.and_then(|mut file| (0..4).try_for_each(|_| file.write_all(&Block([0; 4096]).0)))
        .map_err(|error| format!("{path}: {error}"))
}
