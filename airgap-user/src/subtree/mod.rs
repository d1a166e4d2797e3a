//! Subtrees of the cgroup tree that are no container's and no command's: a cgroup with all
//! below it, sealed by its path. Whatever is made at that path is born sealed.

mod drop_in;
mod expected;
mod facts;
mod found;
mod leaving;
mod service;

pub use self::{
    drop_in::{DropIn, MARK, Service},
    expected::expected,
    facts::gather,
    found::{Subtree, elsewhere, member},
    service::with_all_rights,
};

use crate::notation::Kind;

/// What stands before the path of a cgroup: no engine's container can have it.
pub const PREFIX: &str = "cgroup:";
const KIND: Kind = Kind("7d0f5a3e91c84b26f3d17a9");

/// Whether this id is a subtree's.
pub fn is_subtree(id: &str) -> bool {
    KIND.has(id)
}

/// The id of the subtree of this path, always the same. Pure.
pub fn id_of(path: &str) -> String {
    KIND.id_of(path)
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
