//! How a scenario came out.

/// What is written in the table.
#[derive(Debug)]
pub(crate) enum Seen {
    /// As it should be, against a control.
    Ok(String),
    /// airgap refuses it, with its reason.
    Refused(String),
    /// This engine has no such thing.
    Absent(&'static str),
}

/// A failure says what was seen instead.
pub(crate) type Scenario = Result<Seen, String>;

/// Fails with `what` unless `good`.
pub(crate) fn must(good: bool, what: impl Into<String>) -> Result<(), String> {
    if good { Ok(()) } else { Err(what.into()) }
}
