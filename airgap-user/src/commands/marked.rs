//! A seal that was put in force and is not judged yet.

use std::time::Instant;

use airgap_common::map::SealNumber;

use crate::{container::Container, gate::Standing, policy::Rules, state::Record};

/// A seal that is in force, and what is needed to lift it again.
pub(super) struct Marked {
    pub(super) number: SealNumber,
    pub(super) record: Record,
    /// Sockets older than it were not judged yet.
    pub(super) fresh: bool,
    /// It only took back: that holds whatever is found.
    pub(super) narrows: bool,
    /// What is taken back in the end is in force until all is judged.
    pub(super) pending: Option<Rules>,
    /// Nobody named a port: it has the default one.
    pub(super) ports_by_default: bool,
    pub(super) container: Container,
    pub(super) before: Option<Standing>,
    pub(super) earlier: Option<Vec<u8>>,
    pub(super) open: Option<Vec<u64>>,
    pub(super) since: Instant,
}
