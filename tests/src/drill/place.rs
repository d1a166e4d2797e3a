//! Addresses in a machine that has no network device but those it makes itself.

pub(crate) const NET4: &str = "198.51.100.0/27";
pub(crate) const NET6: &str = "2001:db8:0:a::/64";
pub(crate) const GATEWAY6: &str = "2001:db8:0:a::1";
/// The machine's end of the link to the outside.
pub(crate) const HOST4: &str = "198.51.100.33";
pub(crate) const HOST6: &str = "2001:db8:0:b::1";
pub(crate) const OUTSIDE4: &str = "198.51.100.34";
pub(crate) const OUTSIDE6: &str = "2001:db8:0:b::2";

/// A container of the drill.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(crate) name: &'static str,
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
}

pub(crate) const SEALED: Twin = Twin {
    name: "sealed",
    v4: "198.51.100.10",
    v6: "2001:db8:0:a::10",
};
/// The control: the same, never sealed.
pub(crate) const OPEN: Twin = Twin {
    name: "open",
    v4: "198.51.100.11",
    v6: "2001:db8:0:a::11",
};

/// Where the beacon sends to.
pub(crate) const PORT: &str = "20000";
