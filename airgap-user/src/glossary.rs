//! Every word that airgap prints of a seal, explained: states, ways out, risks, reasons.

use crate::{
    coverage::{SealState, WORDS},
    events::EXPLANATIONS,
    preflight::Risk,
    technique::vector,
};

/// A word and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// `state`, `way out`, `risk`, `reason` or `word`.
    pub kind: &'static str,
    /// As it is printed.
    pub name: &'static str,
    /// What it means.
    pub what: String,
    /// What the operator can do.
    pub advice: String,
}

/// All of them, by kind.
pub fn terms() -> Vec<Term> {
    let term = |kind, name, what: &str, advice: &str| Term {
        kind,
        name,
        what: what.to_owned(),
        advice: advice.to_owned(),
    };
    let mut all = Vec::new();
    for state in SealState::ALL {
        let (what, advice) = of_state(state);
        all.push(term("state", state.name(), what, advice));
    }
    for words in &WORDS {
        let what = format!("Where it is open, {}.", words.effect);
        all.push(term("way out", words.vector, &what, words.advice));
    }
    for (name, what) in TRIED {
        all.push(term("way out", name, what, VERIFY));
    }
    for risk in Risk::ALL {
        let what = format!(
            "A configuration that could lead around the seal: {}. airgap attach refuses it; --accept {} goes on all the same, and the state is LIMITED for as long as the seal lasts.",
            of_risk(*risk),
            risk.name()
        );
        let advice = format!("To close it: {}.", risk.mend());
        all.push(term("risk", risk.name(), &what, &advice));
    }
    for reason in &EXPLANATIONS {
        all.push(term("reason", reason.reason, reason.what, reason.advice));
    }
    for (name, what, advice) in OTHER {
        all.push(term("word", name, what, advice));
    }
    all
}

const VERIFY: &str = "airgap verify tries it from inside, and says what refused it.";

/// Ways out that only `airgap verify` names.
const TRIED: [(&str, &str); 5] = [
    (
        vector::DNS_SERVERS,
        "Questions to name servers outside, directly.",
    ),
    (
        vector::SOURCE_ROUTES,
        "Packets that carry their own route, to come back to a host outside.",
    ),
    (
        vector::DEVICES,
        "Packets to an address of the container's own that are sent out by an interface all the same.",
    ),
    (
        vector::STRANGERS,
        "Programs that listen on the container's loopback and are not of the container, Docker's resolver first of all.",
    ),
    (
        vector::PACKET_SOCKETS,
        "Hand-made frames from packet sockets, which need CAP_NET_RAW.",
    ),
];

/// Words of other texts.
const OTHER: [(&str, &str, &str); 6] = [
    (
        "exit",
        "Somebody who may get the container's data by design: a client that may connect to a service port, where the reply is the container's to write, or whoever an exception leads to.",
        "Limit who may connect: airgap attach --from CIDR. Take exceptions back: airgap disallow. As a number that a command ends with: 0 sealed as promised, or limited; 4 sealed, and something is open, an exception is closed, or the container is gone; 3 not sealed, broken or not known; 1 refused, or failed; 2 asked wrongly, and nothing was changed.",
    ),
    (
        "audit",
        "airgap attach --audit NAME judges all that the container does, by the ports, clients and exceptions that are given, tells and counts what a seal would refuse (WOULD REFUSE in airgap tail), and refuses nothing: NOT SEALED, exit 3, and no connection is cut. It lasts over restarts and reboots until airgap detach or airgap attach.",
        "airgap learn NAME prints what was seen as --to lines; airgap attach NAME with them seals, and cuts what is open by then. What is sealed is not audited: that would open it.",
    ),
    (
        "exception",
        "Where a sealed container may connect, or send datagrams to, by the operator's word (--to, airgap allow, the label airgap.to). IN FORCE: it lets new ones out. ENDED: its time (--for) is over, what was open by then goes on. CLOSED: it is recorded and not in force.",
        "airgap status NAME lists each with how it was used; airgap disallow NAME --to … takes one back, and cuts what it let out.",
    ),
    (
        "NET_RAW",
        "CAP_NET_RAW, which Docker grants by default: a root process inside may open packet sockets and write whole frames.",
        "Run the container with --cap-drop NET_RAW, if it needs no ping and no sniffer.",
    ),
    (
        "security hooks",
        "Programs on the kernel's security checks, which refuse a socket itself, whatever interface there is. BPF LSM calls them where bpf is in lsm= (Linux 5.15 or newer), fmod_ret programs on the same checks elsewhere; a kernel that preempts passes over those at times, and there they count as no cover. kernel.ftrace_enabled=0 switches both off, from Linux 6.1 until before 7.3.",
        "airgap doctor says whether this kernel runs them, and what to set.",
    ),
    (
        "guard",
        "Programs on the host's end of a container's veth, which judge each frame. They end with the veth, at a restart or when a network is disconnected.",
        "airgap attach guards the veths that exist; airgap watch, and an attach that still shows denials, guard those that come later.",
    ),
];

const fn of_state(state: SealState) -> (&'static str, &'static str) {
    match state {
        SealState::Sealed => (
            "SEALED, exit 0. As promised: the container answers its clients, nothing else leaves it, all ways out are covered, also after a restart and a reboot, and nothing was accepted.",
            "Nothing. airgap verify proves it.",
        ),
        SealState::Limited => (
            "SEALED, LIMITED, exit 0. Nothing that the container chooses can leave now. Line one says what limits it: what may open later on this host (a restart, a reboot), what this kernel cannot refuse and that leads to no network, or what was accepted by name.",
            "airgap status --explain NAME says each limit in full and what lifts it; attach --require full refuses to seal with any.",
        ),
        SealState::ExceptionClosed => (
            "SEALED, EXCEPTION CLOSED, exit 4. The seal holds, and an exception that is recorded is not in force as it is written: the container reaches less than was said.",
            "airgap restore puts in force what is recorded; airgap attach NAME records what is in force.",
        ),
        SealState::Opened => (
            "SEALED, OPENED, exit 4. The seal is in force, and a way out is open now: line one names it, since when if that is known, and what to run. What could not be looked at counts as open.",
            "Run what line one names; airgap status --explain NAME says each open way in full.",
        ),
        SealState::Broken => (
            "BROKEN, exit 3. The kernel does not show the seal in force as it should be: a link, an entry or a policy is gone. PROBLEM lines say what.",
            "airgap attach NAME mends the gate; airgap restore builds another beside it.",
        ),
        SealState::NotSealed => (
            "NOT SEALED, exit 3. A seal is recorded or expected by the container's name, and is not in force: everything can leave.",
            "airgap restore puts recorded seals in force; airgap attach NAME seals a new container.",
        ),
        SealState::Unknown => (
            "UNKNOWN, exit 3. What is in force was not read yet, not lately, or could not be read.",
            "airgap status NAME reads it now and says what fails.",
        ),
        SealState::Gone => (
            "GONE. The engine has no such container any more, and nothing of it runs. airgap list exits 0 for it, status 4.",
            "airgap detach ID removes what is left of its seal.",
        ),
    }
}

const fn of_risk(risk: Risk) -> &'static str {
    match risk {
        Risk::Privileged => "a privileged container can undo the seal",
        Risk::Capability => "a capability reaches the kernel's or the host's controls",
        Risk::HostNetwork => "the host's network namespace is no container's own",
        Risk::SharedNetwork => {
            "others that are not sealed live in the same network namespace and may pass data on"
        }
        Risk::HostPid => "processes that are not sealed are visible and can be acted upon",
        Risk::EngineSocket => {
            "the socket of a container engine or of init starts what is not sealed"
        }
        Risk::ControlFs => "the host's cgroup tree or bpffs can be used to leave the seal",
        Risk::NetworkFs => "what is written to a network file system goes over the network",
        Risk::LogDriver => "the log driver sends the container's output over the network",
        Risk::Device => "a device leads around the network stack or into the kernel",
        Risk::ExistingConnections => {
            "connections older than the seal stay, and nothing tells who opened them"
        }
        Risk::ForeignSocket => {
            "a socket of another network namespace is seen by no hook of the container's"
        }
        Risk::Runtime => "the runtime may send from another cgroup",
        Risk::Seccomp => {
            "without a seccomp filter kernel keys have the host's own program run, outside of every seal"
        }
        Risk::HostSettings => {
            "settings of the host that it can write name programs that the host's root runs"
        }
        Risk::UserNamespaces => "user namespaces give capabilities over networks of its own",
        Risk::ProxiedClients => "--from admits an address that stands for strangers",
        Risk::HostExit => {
            "an exception leads to this host, a gateway, metadata, or the container's own network"
        }
        Risk::EndlessLease => "an exception by name keeps its addresses until somebody looks again",
        Risk::UdpAny => {
            "UDP ports are served to so many that a forged datagram can have the answer sent nearly anywhere"
        }
        Risk::DnsExit => {
            "an exception leads to port 53 or 853, where a resolver passes each question on to the servers of any domain"
        }
        Risk::WideException => "an exception leads to more than one organization's networks",
        Risk::RootUser => {
            "a command that runs as root can write files that root's own programs run outside of its seal"
        }
        Risk::UnixSockets => {
            "without security hooks what has unix sockets and is in no container reaches whoever listens on one"
        }
        Risk::NewPrivileges => {
            "set-user-id programs act for whoever runs them, outside of its seal: cron, at, mail"
        }
    }
}

/// A word as it is compared: case and punctuation do not count.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words: Vec<_> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("-")
}

/// A term's name as it is typed without quotes; [`find`] takes it.
pub fn typed(term: &Term) -> String {
    plain(term.name)
}

/// The terms that a text names: in full, else by their first words. Several, where a
/// reason and a risk share a name.
pub fn find(text: &str) -> Vec<Term> {
    // Headlines, and the kernel's name of a capability, are longer than the word.
    let wanted = match &plain(text)[..] {
        "sealed-limited" => "limited".to_owned(),
        "sealed-opened" => "opened".to_owned(),
        "sealed-exception-closed" => "exception-closed".to_owned(),
        "cap-net-raw" => "net-raw".to_owned(),
        other => other.to_owned(),
    };
    if wanted.is_empty() {
        return Vec::new();
    }
    // What `attach` and `status` say is shut is the same in a part of a sentence.
    let said = WORDS.iter().find(|words| plain(words.short) == wanted);
    let wanted = said.map_or(wanted, |words| plain(words.vector));
    let mut found = terms();
    let exact = found.iter().any(|term| plain(term.name) == wanted);
    let begun = format!("{wanted}-");
    found.retain(|term| {
        let name = plain(term.name);
        name == wanted || !exact && name.starts_with(&begun)
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        coverage::{Evidence, coverage},
        events::REASONS,
        technique::TABLE,
    };

    #[track_caller]
    fn explained(kind: &str, name: &str) {
        let found = find(name);
        let term = found.iter().find(|t| t.kind == kind && t.name == name);
        let term = term.unwrap_or_else(|| panic!("no {kind} '{name}': {found:?}"));
        assert!(term.what.len() > 20 && term.advice.len() > 10, "{term:?}");
    }

    #[test]
    fn what_is_said_to_be_shut_has_an_entry() {
        for words in &WORDS {
            let found = find(words.short);
            assert!(
                found.iter().any(|term| term.name == words.vector),
                "{}",
                words.short
            );
        }
    }

    #[test]
    fn every_printed_term_has_an_entry() {
        for state in SealState::ALL {
            explained("state", state.name());
            assert!(!find(state.headline()).is_empty(), "{}", state.headline());
            assert!(!find(state.word()).is_empty(), "{}", state.word());
        }
        for vector in coverage(&Evidence::default()) {
            explained("way out", vector.vector);
        }
        for words in &WORDS {
            explained("way out", words.vector);
        }
        for way in TABLE {
            explained("way out", way.vector);
        }
        for risk in Risk::ALL {
            explained("risk", risk.name());
        }
        for reason in &REASONS[1..] {
            explained("reason", reason);
        }
    }

    #[test]
    fn each_term_is_found_as_it_is_typed() {
        for term in terms() {
            let found = find(&typed(&term));
            assert!(found.contains(&term), "{}: {found:?}", typed(&term));
        }
    }

    #[test]
    fn words_are_found_as_people_write_them() {
        let names = |text: &str| -> Vec<_> { find(text).iter().map(|t| t.name).collect() };
        assert_eq!(names("SEALED, LIMITED"), ["limited"]);
        assert_eq!(names("CAP_NET_RAW"), ["NET_RAW"]);
        assert_eq!(names("raw frames"), names("RAW-FRAMES"));
        assert!(names("raw frames").len() > 1);
        assert_eq!(names("foreign-socket").len(), 2, "a risk and a reason");
        for nothing in ["", "--", "nothing", "x\u{1b}", "raw-fram"] {
            assert_eq!(find(nothing), [], "{nothing}");
        }
    }
}
