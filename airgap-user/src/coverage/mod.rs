//! Which vector is covered by what, for one container on this kernel, now.

mod command;
mod state;
mod subtree;
mod unix;
mod words;

use serde::Serialize;

use self::unix::{others, places, served};
pub use self::{
    state::{SealState, summary, takes_sockets},
    words::{WORDS, Words},
};
use crate::{
    command::Confined,
    gate::{FrameGuard, Security, Silence},
    host::udev::Arrivals,
    preflight::NET_RAW,
    technique::vector::{self, JOINS, RAW_FRAMES},
};

/// What the kernel said when it was asked.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Name of the container, for what is to be run.
    pub name: String,
    /// Frame programs can stand on veths here.
    pub frame_layer: bool,
    /// Hooks whose program does not run for the container's cgroup.
    pub missing_hooks: Vec<String>,
    /// The hooks are not attached to the root, and the security hooks are not in force.
    pub silent_apart: bool,
    /// Links that are gone or dead.
    pub broken_links: Vec<String>,
    /// Capability bounding set of the container.
    pub capabilities: u64,
    /// The container runs (else all is said of its next start).
    pub running: bool,
    /// The container's cgroup is in the maps, with level and hint.
    pub marked: bool,
    /// What guards its interfaces; `None`: not known.
    pub frames: Option<Vec<FrameGuard>>,
    /// What the security hooks do, seen just now.
    pub security: Security,
    /// What happens to a veth that comes up.
    pub arrivals: Arrivals,
    /// The seal was in force before the container's first process.
    pub born_sealed: bool,
    /// Where others could leave it a unix socket, in words; `None`: not known.
    pub shared: Option<Vec<String>>,
    /// Unix connections to others that its processes hold, in words.
    pub held: Vec<String>,
    /// How a command is kept in; `None`: it is a container.
    pub command: Option<Confined>,
    /// It is a subtree of the cgroup tree, and no container.
    pub subtree: bool,
}

/// When a vector that is not covered lets the container's bytes reach a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Now: a hole.
    Now,
    /// After a start, a restart or a reboot: a limit.
    Later,
    /// Never: there is no network at its other end. A limit.
    Never,
}

/// A way out, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vector {
    /// The way out.
    pub vector: &'static str,
    /// Whether something stands in it now.
    pub covered: bool,
    /// When it lets bytes out, if it is not covered.
    pub when: When,
    /// What does stand in it, by the names of hooks, or why nothing does.
    pub by: String,
    /// What somebody could do by it, in plain words; absent if it is covered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// What to run or to change; absent if it is covered, or if nothing helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Vector {
    /// One that something stands in.
    pub fn covered(vector: &'static str, when: When, by: impl Into<String>) -> Self {
        Self {
            vector,
            covered: true,
            when,
            by: by.into(),
            effect: None,
            mend: None,
        }
    }

    /// One that nothing stands in.
    pub fn open(
        vector: &'static str,
        when: When,
        by: impl Into<String>,
        mend: Option<String>,
    ) -> Self {
        Self {
            vector,
            covered: false,
            when,
            by: by.into(),
            effect: Some(words::effect(vector).to_owned()),
            mend,
        }
    }

    /// What leaves by it, as a part of a sentence.
    pub fn short(&self) -> &'static str {
        words::short(self.vector)
    }

    /// What may open it, if it is shut now.
    pub fn event(&self) -> &'static str {
        words::event(self.vector)
    }

    /// The container's bytes can leave by it now.
    pub fn is_open_now(&self) -> bool {
        !self.covered && self.when == When::Now
    }
}

/// Judges the evidence. Pure.
pub fn coverage(evidence: &Evidence) -> Vec<Vector> {
    let broken = |hook: &str| {
        evidence.missing_hooks.iter().any(|h| h == hook)
            || evidence
                .broken_links
                .iter()
                .any(|l| l.starts_with(&format!("{hook}:")))
    };
    let hooks = |vector: &'static str, when: When, hooks: &[&str]| {
        let missing: Vec<_> = hooks.iter().copied().filter(|h| broken(h)).collect();
        if !missing.is_empty() {
            let by = format!("not in force: {}", missing.join(", "));
            Vector::open(vector, when, by, Some(attach(evidence)))
        } else if evidence.marked || !evidence.running {
            Vector::covered(vector, when, hooks.join(", "))
        } else {
            let by = "the container's cgroup is not in the gate's maps";
            Vector::open(vector, when, by, Some(attach(evidence)))
        }
    };
    let mut vectors = vec![
        hooks(vector::TCP, When::Now, &["connect4", "connect6", "egress"]),
        hooks(
            vector::UDP,
            When::Now,
            &["sendmsg4", "sendmsg6", "connect4", "connect6", "egress"],
        ),
        hooks(
            vector::DNS,
            When::Now,
            &["connect4", "connect6", "sendmsg4", "sendmsg6", "egress"],
        ),
        hooks(vector::IP_SOCKETS, When::Now, &["sock_create", "egress"]),
        hooks(REPLIES, When::Now, &["ingress", "egress"]),
        hooks(vector::REFLECTION, When::Now, &["ingress", "egress"]),
        match evidence.silent_apart {
            true => Vector::open(
                RESTART,
                When::Later,
                "the hooks are attached to single cgroups, and the security hooks that deny what starts elsewhere are silent",
                Some(attach(evidence)),
            ),
            false => hooks(
                RESTART,
                When::Later,
                &["cgroup_mkdir", "cgroup_release", "egress", "ingress"],
            ),
        },
    ];
    match evidence.command {
        Some(confined) => vectors.extend(command::vectors(evidence, confined)),
        None if evidence.subtree => vectors.extend(subtree::vectors(evidence)),
        None => vectors.extend(frames(evidence)),
    }
    vectors.extend(silent(evidence));
    vectors
}

fn attach(evidence: &Evidence) -> String {
    format!("airgap attach {}", evidence.name)
}

/// Frames are seen by no cgroup hook, only on the host's side of a veth, and
/// that ends with the veth: at a restart, or when a network is connected. The
/// security hooks stay, and refuse the sockets themselves.
fn frames(evidence: &Evidence) -> [Vector; 9] {
    let raw = evidence.capabilities & (1 << NET_RAW) != 0;
    let open = unguarded(evidence);
    let nothing_older = evidence.born_sealed || !evidence.running;
    let no_link = evidence.running && evidence.frames.as_ref().is_some_and(Vec::is_empty);
    let now = now(evidence);
    let hooked = |names: &str| {
        Some(format!(
            "{names} ({})",
            evidence.security.in_force()?.name()
        ))
    };
    let (sockets, option) = (hooked("socket_create, socket_sendmsg"), hooked(OPTION));
    let silence = silence(evidence.security);
    // Never advice that cannot help.
    let guard = || attach_helps(evidence).then(|| guard(evidence));
    let later = || silence.map(|s| s.mend(&evidence.name)).or_else(guard);
    let drop = || "run the container with --cap-drop NET_RAW".to_owned();
    [
        match (&open, sockets.clone()) {
            _ if !raw => Vector::covered(RAW_FRAMES, now, NO_RAW),
            (None, _) => Vector::covered(RAW_FRAMES, now, guarded(evidence)),
            // An AF_XDP socket that was there before sends by poll, past every hook.
            (Some(_), Some(by)) if nothing_older => Vector::covered(RAW_FRAMES, now, by),
            (Some(why), _) => Vector::open(RAW_FRAMES, now, why, guard().or_else(|| Some(drop()))),
        },
        match sockets {
            _ if !raw => Vector::covered(RAW_FRAMES_LATER, When::Later, NO_RAW),
            Some(by) => Vector::covered(RAW_FRAMES_LATER, When::Later, by),
            None => {
                let by = "the frame programs end with the veth, and CAP_NET_RAW stays";
                Vector::open(
                    RAW_FRAMES_LATER,
                    When::Later,
                    by,
                    later().or_else(|| Some(drop())),
                )
            }
        },
        match (&open, option.clone()) {
            (None, _) => Vector::covered(JOINS, now, guarded(evidence)),
            // A group that was joined before is announced by leaving it: close(), no option.
            (Some(_), Some(by)) if nothing_older => Vector::covered(JOINS, now, by),
            (Some(why), _) => Vector::open(JOINS, now, why, guard()),
        },
        match option {
            Some(by) => Vector::covered(JOINS_LATER, When::Later, by),
            None if no_link => Vector::covered(JOINS_LATER, When::Later, guarded(evidence)),
            None => Vector::open(JOINS_LATER, When::Later, ENDS, later()),
        },
        match &open {
            None => Vector::covered(PROBES, now, guarded(evidence)),
            Some(why) => Vector::open(PROBES, now, why, guard()),
        },
        match evidence.arrivals {
            _ if no_link => Vector::covered(PROBES_LATER, When::Later, guarded(evidence)),
            Arrivals::Guarded if attach_helps(evidence) && evidence.frame_layer => {
                Vector::covered(PROBES_LATER, When::Later, ARRIVALS)
            }
            Arrivals::Unguarded if attach_helps(evidence) => Vector::open(
                PROBES_LATER,
                When::Later,
                ENDS,
                Some("airgap install".into()),
            ),
            _ => Vector::open(PROBES_LATER, When::Later, ENDS, guard()),
        },
        match hooked("socket_create") {
            Some(by) => Vector::covered(HOST_SOCKETS, When::Never, by),
            None => {
                let mend = silence.map(|silence| silence.mend(&evidence.name));
                Vector::open(HOST_SOCKETS, When::Never, unhooked(evidence), mend)
            }
        },
        others(evidence, nothing_older),
        served(evidence),
    ]
}

/// What does not run sends nothing: what is open then is open at its next start.
const fn now(evidence: &Evidence) -> When {
    if evidence.running {
        When::Now
    } else {
        When::Later
    }
}

/// Why no frame program stands in the way now, if none does.
fn unguarded(evidence: &Evidence) -> Option<String> {
    match (&evidence.frames, evidence.running) {
        (_, false) => {
            Some("the container does not run, so there is nothing to guard yet".to_owned())
        }
        (None, true) => Some("not known, treated as open: the container's interfaces".to_owned()),
        (Some(guards), true) => guards.iter().find_map(|g| g.missing.clone()),
    }
}

/// Whether every interface that is not guarded has an end that can be.
fn attach_helps(evidence: &Evidence) -> bool {
    let missing = |guard: &&FrameGuard| guard.missing.is_some();
    let mut bare = evidence.frames.iter().flatten().filter(missing);
    !evidence.running || evidence.frame_layer && bare.all(|guard| guard.interface.host.is_some())
}

/// What guards all interfaces: an attach, once nothing is in its way.
fn guard(evidence: &Evidence) -> String {
    let guards = evidence.frames.iter().flatten();
    let mut commands: Vec<_> = guards.filter_map(|guard| guard.clear.clone()).collect();
    commands.push(attach(evidence));
    commands.join("; ")
}

fn guarded(evidence: &Evidence) -> String {
    let names: Vec<_> = evidence
        .frames
        .iter()
        .flatten()
        .filter_map(|g| g.interface.host.as_ref().map(|h| h.name.as_str()))
        .collect();
    if names.is_empty() {
        "the container has no interface but lo".to_owned()
    } else {
        format!("frame programs on {}", names.join(", "))
    }
}

/// Hooks that were put there and refuse nothing: what is opened meanwhile stays open.
fn silent(evidence: &Evidence) -> Option<Vector> {
    let silence = silence(evidence.security)?;
    let mend = Some(silence.mend(&evidence.name));
    Some(Vector::open(
        SILENT_HOOKS,
        now(evidence),
        silence.why(),
        mend,
    ))
}

const fn silence(security: Security) -> Option<Silence> {
    match security {
        Security::Silent(silence) => Some(silence),
        Security::Absent | Security::InForce(_) | Security::Skipped(_) => None,
    }
}

const fn unhooked(evidence: &Evidence) -> &'static str {
    match evidence.security {
        Security::Silent(silence) => silence.why(),
        Security::Skipped(_) => SKIPPED,
        Security::Absent | Security::InForce(_) => NO_HOOKS,
    }
}

const NO_HOOKS: &str =
    "only security hooks refuse them, and this kernel runs none (see airgap doctor)";
const SKIPPED: &str = "security hooks refuse them, but this kernel preempts, and passes over a hook that a preempted thread is in (see airgap doctor)";
const NO_PLACE: &str = "it shares no mount and no network or IPC namespace with anybody";
const NO_RAW: &str = "the container has no CAP_NET_RAW";
const NO_RAW_TASK: &str = "no task of it has CAP_NET_RAW, or gets it";
const OPTION: &str = "socket_setsockopt";
const ENDS: &str = "the frame programs end with the veth";
const ARRIVALS: &str = "airgap guard, which udev runs for each new veth";
const REPLIES: &str = "replies that no client asked for";
const RESTART: &str = "restart of the container";
const RAW_FRAMES_LATER: &str = "raw frames after a restart";
const JOINS_LATER: &str = "multicast joins after a restart";
/// Kernel-made: echo replies, and the RST of a closed port.
const PROBES: &str = "answers to probes (echo replies, RSTs)";
const PROBES_LATER: &str = "answers to probes after a restart";
/// No network, but ways to the host's hypervisor and to its audit log.
const HOST_SOCKETS: &str = "host sockets (AF_VSOCK, netlink audit)";
const OTHERS: &str = "unix sockets of others, descriptors from them";
/// Only there while they are silent.
const SILENT_HOOKS: &str = "what only security hooks refuse";
const SERVED: &str = "unix sockets that others connect to";
/// Of a command: what it writes where its user's other programs read.
const FILES: &str = "files that others run or send";
/// What preflight finds now.
pub const CONFIGURATION: &str = "configuration";
/// Whether the seal outlives the kernel.
pub const REBOOT: &str = "host reboot";
/// Told right after an attach.
pub const OLDER: &str = "sockets older than the seal";

/// The vectors that the guard of a veth alone stands in.
pub fn is_of_the_veth(vector: &str) -> bool {
    [RAW_FRAMES, JOINS, PROBES].contains(&vector)
}

#[cfg(test)]
mod tests;
