//! Sealing, and what a seal is to those who show it: its status, as a value read back from
//! the kernel. Nothing here prints.

pub(crate) mod above;
pub(crate) mod attach;
pub(crate) mod born;
mod check;
pub(crate) mod command;
mod dry_run;
mod existing;
mod exits;
mod gather;
pub(crate) mod keep;
pub(crate) mod pods;
pub(crate) mod recorded;
mod row;
mod status;
pub(crate) mod subtree;

pub use self::{
    check::{BOOT, Check, HOOKS},
    dry_run::DryRun,
    existing::Existing,
    exits::ExitRow,
    row::Row,
    status::{CgroupRef, ContainerRef, Denials, Report},
};
pub(crate) use self::{
    existing::older,
    exits::{rows as exit_rows, withdrawn},
    gather::{Seen, expected, reach, subtree_of},
    status::{failing, texts},
};
