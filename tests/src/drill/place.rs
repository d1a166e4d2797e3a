//! Addresses in a machine that has no network device but those it makes itself.

pub const NET4: &str = "198.51.100.0/27";
pub const NET6: &str = "2001:db8:0:a::/64";
pub const GATEWAY6: &str = "2001:db8:0:a::1";
/// The machine's end of the link to the outside.
pub const HOST4: &str = "198.51.100.33";
pub const HOST6: &str = "2001:db8:0:b::1";
pub const OUTSIDE4: &str = "198.51.100.34";
pub const OUTSIDE6: &str = "2001:db8:0:b::2";

/// Where the beacon sends to.
pub const PORT: &str = "20000";
