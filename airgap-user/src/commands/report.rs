//! The status of a seal, gathered from the kernel.

mod gather;
mod rows;

pub(super) use self::{
    gather::{Seen, reach, subtree_of},
    rows::expected,
};
