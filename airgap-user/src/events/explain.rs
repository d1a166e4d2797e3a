//! What the reasons mean, in plain words, and what an operator can do.

/// A reason in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stable word of [`super::REASONS`].
    pub reason: &'static str,
    /// What happened.
    pub what: &'static str,
    /// What the operator can do.
    pub advice: &'static str,
}

const INSIDE: &str = "If the service needs it, it cannot run sealed as it is. If not, look at the program and its parent: something in the container calls home.";
const HOSTILE: &str = "No ordinary program does this. Look at the process, and keep the container for an examination.";
const NOTHING: &str = "Nothing: no program inside asked for it.";

/// One for each reason, in the order of [`super::REASONS`] from 1 on.
pub const EXPLANATIONS: [Explanation; 22] = {
    const fn of(reason: &'static str, what: &'static str, advice: &'static str) -> Explanation {
        Explanation {
            reason,
            what,
            advice,
        }
    }
    [
        of(
            "egress",
            "A program in the container tried to connect or send to an address outside. The call failed at once, and nothing left.",
            "If the service needs it: airgap allow NAME --to ADDRESS:PORT --for 15m, or --to at attach for good (airgap explain EVENT has the whole command). If not, look at the program and its parent: something in the container calls home.",
        ),
        of(
            "dns",
            "A program in the container tried to look a name up, or to talk to Docker's resolver. The question was read and dropped. glibc and Go fail at once, musl waits for its timeout.",
            "If the service needs that host: airgap attach --to NAME:PORT, and airgap looks the name up in the container's stead. If not, look at the program and its parent: something in the container calls home.",
        ),
        of(
            "socket-type",
            "A program asked for a socket that cannot be judged, such as a raw, ping, packet or MPTCP socket. Runtimes that try MPTCP first fall back to TCP by themselves.",
            "Mostly harmless. For ping and the like there is no way under a seal.",
        ),
        of(
            "syn",
            "A packet that opens a connection was about to leave: the call had passed the first hook, the packet did not pass the second.",
            HOSTILE,
        ),
        of(
            "no-provenance",
            "A packet was no reply on a connection that a client opened: often the rest of a connection that is older than the seal.",
            "Right after attach, nothing: old connections are cut. Later, look at the process.",
        ),
        of(
            "stale-provenance",
            "A reply on a connection opened under an earlier seal, or from a port that is served no more.",
            "Nothing, after a detach and attach or a change of ports: clients connect again.",
        ),
        of(
            "client",
            "A reply, or a datagram from a UDP service port, to a client that --from does not allow.",
            "If the client is yours, attach again with its network in --from.",
        ),
        of(
            "header",
            "A packet with IP options, fragments, extension headers or a malformed header.",
            "Replies that are too large for the path and fragmented are refused, too: look at the MTU. Otherwise no ordinary program does this.",
        ),
        of(
            "loopback",
            "Traffic on loopback that was forged, or to a listener outside the container.",
            HOSTILE,
        ),
        of(
            "neighbour",
            "A neighbour discovery message of a form that the kernel would not send.",
            HOSTILE,
        ),
        of(
            "inbound",
            "A packet from outside that is for no service port. It is counted and makes no event.",
            NOTHING,
        ),
        of(
            "unrecorded",
            "The container's cgroup did not fit into the gate's tables, or was made where the hooks are not attached, so all is denied.",
            "Attach it again; airgap status says which it is. Where the tables are full, lift seals that are not needed (airgap list) first.",
        ),
        of(
            "foreign-socket",
            "A program used a socket that was opened outside the container and handed in.",
            "Find who hands sockets in: a shared unix socket, or a helper on the host.",
        ),
        of(
            "kernel-chatter",
            "The container's own kernel wanted to say something on the link, such as a multicast report, or somebody outside the container sent a frame in its network namespace. It is counted and makes no event.",
            NOTHING,
        ),
        of(
            "frame",
            "An Ethernet frame that the container's kernel did not make, from a packet socket.",
            "Run the container with --cap-drop NET_RAW, and look at the process.",
        ),
        of(
            "unix-peer",
            "A program connected to a unix socket of a process outside the container.",
            "Do not mount sockets of the host into the container.",
        ),
        of(
            "socket-option",
            "A program wanted to join a multicast group, which makes the kernel announce that on the link.",
            INSIDE,
        ),
        of(
            "neighbour-budget",
            "The container's own kernel asked for more neighbours, by ARP or neighbour discovery, than 64 a second. It is counted and makes no event.",
            "If clients wait, look who on the link opens so many connections; answers to neighbours do not use this budget up.",
        ),
        of(
            "exit-port",
            "A program in the container tried a port or a protocol that no exception for that address allows.",
            "If it is meant: airgap allow NAME --to ADDRESS:PORT, with /udp for datagrams. If not, look at the program: it knows the address and asks for more.",
        ),
        of(
            "exit-lapsed",
            "A program in the container tried what an exception allowed until it was over: by its --for, or as nobody had looked at an address of a name for its --hold. Connections that were open by then go on.",
            "airgap status NAME says which exception it was. If it is still needed: airgap allow NAME with the same --to, and --for 15m or none, which is for good. If it leads to a name, have airgap watch or airgap keep run. Otherwise nothing.",
        ),
        of(
            "unasked",
            "A UDP service port wanted to send to somebody who had not sent to that very port for 60 seconds, or never.",
            "If a client is answered too late, have it send keep-alives (SIP has them). If it was never asked, look at the program: it answers from a port of its service, and nobody has asked there.",
        ),
        of(
            "next-hop",
            "Something for a client elsewhere, or for the host, was sent to a neighbour on the container's own link instead of the host. Or, in what shares the host's network, by an interface that the socket was bound to, whichever its client came by.",
            "No kernel does so by itself: a root process inside may want a neighbour to have it, or a neighbour makes itself the gateway by ARP; look at both. A service that is meant to be bound to an interface (SO_BINDTODEVICE, BindToDevice=, VRF) has to be bound to an address instead.",
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::REASONS;

    #[test]
    fn every_reason_has_words() {
        let names: Vec<_> = EXPLANATIONS.iter().map(|e| e.reason).collect();
        assert_eq!(names, REASONS[1..]);
    }
}
