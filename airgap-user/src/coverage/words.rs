//! What each vector means, in plain words: the effect before the mechanism.

use super::{
    CONFIGURATION, FILES, HOST_SOCKETS, JOINS, JOINS_LATER, OLDER, OTHERS, PROBES, PROBES_LATER,
    RAW_FRAMES, RAW_FRAMES_LATER, REBOOT, REPLIES, RESTART, SERVED, SILENT_HOOKS,
};
use crate::technique::vector::{DNS, IP_SOCKETS, REFLECTION, TCP, UDP};

/// A vector of the coverage in words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The vector's name.
    pub vector: &'static str,
    /// What leaves by it, as a part of a sentence.
    pub short: &'static str,
    /// What somebody could do by it, where it is not covered.
    pub effect: &'static str,
    /// What stands in it, and what an operator can do.
    pub advice: &'static str,
}

const CGROUP: &str = "Programs at the root of the cgroup tree refuse it, on every kernel that airgap runs on. Where they are not in force the state is BROKEN: airgap attach puts them back.";
const FRAMES: &str = "A guard on the host's end of the container's veth refuses it, and ends with the veth: at a restart, or with another network. airgap attach guards the new one; airgap watch and an attach that still shows denials do so by themselves.";

/// Every vector that the coverage knows.
pub const WORDS: [Words; 21] = [
    of(
        TCP,
        "connections",
        "a process inside could connect to the outside",
        CGROUP,
    ),
    of(
        UDP,
        "datagrams",
        "a process inside could send datagrams to the outside",
        CGROUP,
    ),
    of(
        DNS,
        "names that are looked up",
        "a process inside could look names up, and so tell a name server what it likes",
        CGROUP,
    ),
    of(
        IP_SOCKETS,
        "raw packets",
        "a process inside could send packets of its own making by raw and ping sockets",
        CGROUP,
    ),
    of(
        REPLIES,
        "packets without a client",
        "a process inside could send what is no reply to a client",
        CGROUP,
    ),
    of(
        REFLECTION,
        "reflected packets",
        "a process inside could have its kernel answer forged packets to the outside",
        CGROUP,
    ),
    of(
        RESTART,
        "all that it sends after a restart",
        "after a restart the container would run unsealed",
        CGROUP,
    ),
    of(
        RAW_FRAMES,
        "hand-made frames",
        "a root process inside can send hand-made frames to the local network",
        "Needs CAP_NET_RAW, which Docker grants by default: --cap-drop NET_RAW closes it for good, and so do security hooks (airgap doctor). Else a guard on the host's end of the container's veth refuses them; airgap attach puts one on a new veth.",
    ),
    of(
        RAW_FRAMES_LATER,
        "hand-made frames after a restart",
        "after a restart, a root process inside could send hand-made frames to the local network",
        "Without security hooks (airgap doctor) the guard ends with the veth. airgap watch, running, guards the new one within about a second; --cap-drop NET_RAW closes it for good.",
    ),
    of(
        JOINS,
        "multicast announcements",
        "a process inside can have multicast groups of its choice announced on the local network",
        FRAMES,
    ),
    of(
        JOINS_LATER,
        "multicast announcements after a restart",
        "after a restart, a process inside could have multicast groups of its choice announced on the local network",
        FRAMES,
    ),
    of(
        PROBES,
        "answers to probes",
        "the container's kernel answers pings and knocks at closed ports: about a bit an answer, to a scanner who is in league with it",
        FRAMES,
    ),
    of(
        PROBES_LATER,
        "answers to probes after a restart",
        "after a restart, the container's kernel could answer pings and knocks at closed ports",
        "After airgap install, udev runs airgap guard for each new veth: the guard stands before the container's program runs, nearly always (airgap doctor counts when it did not). Without, airgap watch and an attach that still shows denials guard the new veth within about a second, and airgap attach does.",
    ),
    of(
        HOST_SOCKETS,
        "host sockets",
        "a process inside can open sockets to this host's hypervisor (AF_VSOCK) and audit log; neither is a network",
        "Only security hooks refuse them (airgap doctor says whether this kernel runs any).",
    ),
    of(
        OTHERS,
        "data for unix sockets of others",
        "a process inside can talk to whoever listens on a unix socket that both can reach, and that one may pass it on, or hand over a socket of its own, by which datagrams leave",
        "Security hooks refuse it (airgap doctor). Without them, share no directory and no network namespace with the container.",
    ),
    of(
        SILENT_HOOKS,
        "sockets that only security hooks refuse",
        "a process inside can open sockets to this host and to others that the security hooks would refuse, and keep them",
        "Security hooks are attached and the kernel does not call them. kernel.ftrace_enabled=0 switches them all off, from Linux 6.1 until before 7.3: sysctl kernel.ftrace_enabled=1 brings them back at once. Else airgap attach attaches them anew.",
    ),
    of(
        SERVED,
        "answers on unix sockets",
        "whoever can reach a unix socket on which the container serves gets answers, whatever --from says",
        "Share no directory and no network namespace with the container, or take whoever can reach it for a client.",
    ),
    of(
        FILES,
        "what it writes to files",
        "it writes to files as its user, and whoever runs or sends them later is not sealed: shell profiles, build files, cron tables",
        "Run it as a user of its own (airgap exec --user NAME), and look at what it wrote before others run it.",
    ),
    of(
        CONFIGURATION,
        "what its configuration lets out",
        "its configuration leads around the seal",
        "Change what is named, or accept it by its name with airgap attach --accept RISK. What could not be looked at counts as open.",
    ),
    of(
        REBOOT,
        "all that it sends after a reboot",
        "after a reboot of this host the container would not be sealed as it is now",
        "airgap install has systemd restore every recorded seal before the engines start. A seal that is not recorded is recorded by airgap attach.",
    ),
    of(
        OLDER,
        "data on sockets that are older than the seal",
        "a process inside can go on sending on a socket that it had before the seal",
        "Restart the container: it starts sealed, and has no older sockets.",
    ),
];

const fn of(
    vector: &'static str,
    short: &'static str,
    effect: &'static str,
    advice: &'static str,
) -> Words {
    Words {
        vector,
        short,
        effect,
        advice,
    }
}

fn find(vector: &str) -> Option<&'static Words> {
    WORDS.iter().find(|words| words.vector == vector)
}

/// What leaves by a vector, as a part of a sentence.
pub(super) fn short(vector: &'static str) -> &'static str {
    find(vector).map_or(vector, |words| words.short)
}

/// What somebody could do by a vector.
pub(super) fn effect(vector: &'static str) -> &'static str {
    find(vector).map_or(vector, |words| words.effect)
}

/// What may open a vector that is shut now.
pub(super) fn event(vector: &str) -> &'static str {
    match vector {
        REBOOT => "a reboot of this host",
        FILES => "whoever runs what it wrote",
        RESTART | RAW_FRAMES_LATER | JOINS_LATER | PROBES_LATER => RESTARTED,
        // All else is shut only because nothing runs.
        _ => START,
    }
}

pub(super) const RESTARTED: &str = "its next restart";
pub(super) const START: &str = "its next start";
