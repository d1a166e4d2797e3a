//! Exceptions by name: finding their addresses, leasing them, and looking after them for
//! as long as they are allowed.

mod answers;
pub(crate) mod keeper;
mod leasing;
mod look;

pub(crate) use self::leasing::{forget_names, has_names, lease_and_tell, refuse_unkept};
