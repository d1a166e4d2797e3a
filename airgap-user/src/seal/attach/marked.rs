//! A seal that was put in force and is not judged yet.

use std::time::Instant;

use airgap_common::map::SealNumber;

use crate::{container::Container, gate::Standing, policy::Rules, state::Record};

/// A seal that is in force, and what is needed to lift it again.
pub(crate) struct Marked {
    pub(crate) number: SealNumber,
    pub(crate) record: Record,
    /// Sockets older than it were not judged yet.
    pub(crate) fresh: bool,
    /// It only took back: that holds whatever is found.
    pub(crate) narrows: bool,
    /// What is taken back in the end is in force until all is judged.
    pub(crate) pending: Option<Rules>,
    /// Nobody named a port: it has the default one.
    pub(crate) ports_by_default: bool,
    pub(crate) container: Container,
    pub(crate) before: Option<Standing>,
    pub(crate) earlier: Option<Vec<u8>>,
    pub(crate) open: Option<Vec<u64>>,
    pub(crate) since: Instant,
}
