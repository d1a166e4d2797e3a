//! Subtrees of the cgroup tree that are no container's and no command's: a cgroup with all
//! below it, sealed by its path. Whatever is made at that path is born sealed.

mod drop_in;
mod expected;
mod facts;
mod found;
mod leaving;
mod service;

use airgap_common::map::ID_LEN;

pub use self::{
    drop_in::{DropIn, MARK, Service},
    expected::expected,
    facts::gather,
    found::{Subtree, elsewhere, member},
    service::with_all_rights,
};

/// What stands before the path of a cgroup: no engine's container can have it.
pub const PREFIX: &str = "cgroup:";
/// The id's digits before its last: no container's are these, but by chance, one in 2^92.
const IDS: &str = "7d0f5a3e91c84b26f3d17a9";

/// Whether this id is a subtree's.
pub fn is_subtree(id: &str) -> bool {
    id.len() == ID_LEN && id.as_bytes()[..ID_LEN - 1].ends_with(IDS.as_bytes())
}

/// The id of the subtree of this path, always the same. Pure.
pub fn id_of(path: &str) -> String {
    let [a, b] = [0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142].map(|basis| hash(basis, path));
    let room = ID_LEN - IDS.len() - 1;
    format!("{:0<room$}{IDS}0", format!("{a:016x}{b:016x}"))
}

/// FNV-1a, from this basis.
fn hash(basis: u64, text: &str) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    text.bytes().fold(basis, step)
}

#[cfg(test)]
mod tests {
    use super::{id_of, is_subtree};
    use crate::{command::is_command, state::is_id};

    #[test]
    fn ids_say_what_they_are() {
        let id = id_of("/system.slice/nginx.service");
        assert!(is_id(&id) && is_subtree(&id) && !is_command(&id), "{id}");
        assert_eq!(id, id_of("/system.slice/nginx.service"));
        assert_ne!(id, id_of("/system.slice/nginx.servicf"));
        assert!(!is_subtree("") && !is_subtree(&"7d0f".repeat(16)) && !is_subtree("é"));
    }
}
