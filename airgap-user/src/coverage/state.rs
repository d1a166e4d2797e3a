//! How much of a container is sealed, in one word, and what line one says of it.

use serde::{Serialize, Serializer};

use super::{OTHERS, REBOOT, Vector, When, words};
use crate::failure::exit;

/// The state of one seal: the same word in text, JSON, pages and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SealState {
    /// Recorded, or expected by its name, and not in force.
    NotSealed,
    /// The kernel does not show it in force as it should be.
    Broken,
    /// In force, and a way lets the container's bytes out now.
    Opened,
    /// Not read yet, or not lately.
    Unknown,
    /// In force, and an exception is not as it is written: less is let out than was said.
    ExceptionClosed,
    /// In force, and nothing that the container chooses can leave now.
    Limited,
    /// In force, all covered, nothing accepted.
    Sealed,
    /// There is no such container any more.
    Gone,
}

impl SealState {
    /// Every state, the worst first.
    pub const ALL: [Self; 8] = [
        Self::NotSealed,
        Self::Broken,
        Self::Opened,
        Self::Unknown,
        Self::ExceptionClosed,
        Self::Limited,
        Self::Sealed,
        Self::Gone,
    ];

    /// The word in JSON, pages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSealed => "not-sealed",
            Self::Broken => "broken",
            Self::Opened => "opened",
            Self::Unknown => "unknown",
            Self::ExceptionClosed => "exception-closed",
            Self::Limited => "limited",
            Self::Sealed => "sealed",
            Self::Gone => "gone",
        }
    }

    /// The words that line one of a text begins with.
    pub const fn headline(self) -> &'static str {
        match self {
            Self::NotSealed => "NOT SEALED",
            Self::Broken => "BROKEN",
            Self::Opened => "SEALED, OPENED",
            Self::Unknown => "UNKNOWN",
            Self::ExceptionClosed => "SEALED, EXCEPTION CLOSED",
            Self::Limited => "SEALED, LIMITED",
            Self::Sealed => "SEALED",
            Self::Gone => "GONE",
        }
    }

    /// The same, of what is under audit: whatever else it is, nothing is refused.
    pub const AUDIT: &'static str = "NOT SEALED (audit: nothing is refused)";

    /// The word in a list: capitals where something is to be done.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotSealed => "NOT SEALED",
            Self::Broken => "BROKEN",
            Self::Opened => "OPENED",
            Self::Unknown => "unknown",
            Self::ExceptionClosed => "EXCEPTION CLOSED",
            Self::Limited => "limited",
            Self::Sealed => "sealed",
            Self::Gone => "gone",
        }
    }

    /// Something is to be done at once.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::NotSealed | Self::Broken | Self::Opened)
    }

    /// The exit code that it stands for.
    pub const fn code(self) -> u8 {
        match self {
            Self::Sealed | Self::Limited => exit::OK,
            // What is asked for is not there, and nothing of it is open.
            Self::Opened | Self::ExceptionClosed | Self::Gone => exit::OPENED,
            Self::NotSealed | Self::Broken | Self::Unknown => exit::NOT_SEALED,
        }
    }

    /// Of a seal that stands: by what is covered, and what the operator accepted.
    pub fn of(coverage: &[Vector], accepted: bool) -> Self {
        if coverage.iter().any(Vector::is_open_now) {
            Self::Opened
        } else if accepted || coverage.iter().any(|vector| !vector.covered) {
            Self::Limited
        } else {
            Self::Sealed
        }
    }
}

impl Serialize for SealState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// What line one says after the state: what holds, what does not, what to run. `name`
/// is the container's, `accepted` are names of risks, `exits` is how many exceptions are
/// in force.
pub fn summary(
    state: SealState,
    coverage: &[Vector],
    accepted: &[&str],
    exits: usize,
    name: &str,
) -> String {
    match state {
        SealState::Sealed => match exits {
            0 => "nothing leaves but answers to its clients".into(),
            some => format!(
                "nothing leaves but answers to its clients, and by {}",
                count(some)
            ),
        },
        SealState::Limited => limits(coverage, accepted, exits),
        SealState::Opened => openings(coverage),
        SealState::Broken => "not in force as it should be".into(),
        SealState::NotSealed => "recorded, but not in force; run: airgap restore".into(),
        SealState::Unknown => "what is in force could not be read".into(),
        SealState::ExceptionClosed => {
            "an exception is not in force as it is written; run: airgap restore".into()
        }
        SealState::Gone => {
            format!(
                "the engine has no such container any more; its seal goes with: airgap detach {name}"
            )
        }
    }
}

/// Whether sockets that others made can get in: what is shut is then shut for the
/// container's own alone.
pub fn takes_sockets(coverage: &[Vector]) -> bool {
    let mut open = coverage.iter().filter(|vector| vector.is_open_now());
    open.any(|vector| vector.vector == OTHERS)
}

fn count(exits: usize) -> String {
    match exits {
        1 => "1 exception".to_owned(),
        some => format!("{some} exceptions"),
    }
}

fn limits(coverage: &[Vector], accepted: &[&str], exits: usize) -> String {
    let open = || coverage.iter().filter(|vector| !vector.covered);
    let mut but = Vec::new();
    if exits > 0 {
        but.push(format!("by {}", count(exits)));
    }
    if !accepted.is_empty() {
        but.push(format!("by what was accepted: {}", accepted.join(", ")));
    }
    let mut parts = vec![match &but[..] {
        [] => "nothing but answers to its clients leaves now".to_owned(),
        some => format!(
            "nothing leaves now but answers to its clients, and {}",
            some.join(", and ")
        ),
    }];
    let mut later: Vec<&str> = Vec::new();
    let mut otherwise = Vec::new();
    for vector in open().filter(|vector| vector.when == When::Later) {
        let event = words::event(vector.vector);
        if vector.vector == REBOOT && vector.effect.as_deref() == Some(words::effect(REBOOT)) {
            // It comes back with other terms, or denied everything.
            otherwise.extend(vector.effect.clone());
        } else if !later.contains(&event) {
            later.push(event);
        }
    }
    // A restart is a start.
    if later.contains(&words::START) {
        later.retain(|event| *event != words::RESTARTED);
    }
    if !later.is_empty() {
        parts.push(format!("{} may open it", later.join(" and ")));
    }
    parts.extend(otherwise);
    for vector in open().filter(|vector| vector.when == When::Never) {
        parts.push(format!(
            "{}, which are no network, are not refused here",
            words::short(vector.vector)
        ));
    }
    parts.join("; ")
}

fn openings(coverage: &[Vector]) -> String {
    let open = || coverage.iter().filter(|vector| vector.is_open_now());
    let shorts: Vec<_> = open().map(|vector| words::short(vector.vector)).collect();
    let mut out = format!("can leave now: {}", shorts.join(", "));
    // One command that closes all of it, or the lines below say what each needs.
    let mut mends: Vec<_> = open().map(|vector| vector.mend.as_deref()).collect();
    mends.dedup();
    if let [Some(only)] = mends[..] {
        out += &format!("; run: {only}");
    }
    out
}
