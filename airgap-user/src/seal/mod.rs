//! What a seal is to those who show it: its status, as a value. Nothing here prints, and
//! nothing asks an engine.

mod check;
mod dry_run;
mod existing;
mod exits;
mod row;
mod status;

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
    status::{failing, texts},
};
