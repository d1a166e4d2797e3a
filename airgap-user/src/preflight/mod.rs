//! Configurations that let a container undo its seal, or leave around it.
//!
//! Judged from what the engine was told, and where the container runs from what the
//! kernel says of all its tasks: that only adds. Each is refused unless accepted by name.

mod capabilities;
mod carried;
mod clients;
mod devices;
mod engine_thread;
mod exits;
mod facts;
mod listener;
mod mounts;
mod seccomp;
mod sharers;

use std::fmt;

use crate::container::{is_usual_runtime, through_pod};

pub use self::{
    clients::wide_udp,
    devices::reachable,
    exits::{Surroundings, judge as judge_exits},
    facts::{Facts, user_namespaces_usable},
    mounts::{Mount, has_writable_cgroups, network_file_systems},
    sharers::others_in,
};

macro_rules! risks {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $mend:literal;)+) => {
        /// A way around the seal that a configuration opens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Risk {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Risk {
            /// Every risk.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name that `--accept` takes.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What closes it.
            pub const fn mend(self) -> &'static str {
                match self { $(Self::$variant => $mend,)+ }
            }
        }
    };
}

risks! {
    /// `--privileged`.
    Privileged = "privileged", "run the container without --privileged";
    /// A capability that reaches the kernel's or the host's controls.
    Capability = "capability", "drop the capability (--cap-drop)";
    /// The host's network namespace.
    HostNetwork = "host-network", "give the container a network of its own and publish its port";
    /// Others that are not sealed live in the same network namespace.
    SharedNetwork = "shared-network", "give the container a network namespace of its own";
    /// The host's processes are visible and can be acted upon.
    HostPid = "host-pid", "run the container without --pid=host, and no other one with its --pid";
    /// The socket of a container engine or of the host's init is mounted.
    EngineSocket = "engine-socket", "remove the mount";
    /// The host's cgroup tree or bpffs is mounted where the container can use it.
    ControlFs = "control-fs", "remove the mount";
    /// A file system whose writes go over the network.
    NetworkFs = "network-fs", "use a local volume";
    /// A log driver that sends the container's output over the network.
    LogDriver = "log-driver", "use --log-driver json-file, local or journald";
    /// A device that leads around the network stack or into the kernel.
    Device = "device", "remove the --device";
    /// Connections older than the seal stay; nothing tells who opened them.
    ExistingConnections = "existing-connections", "attach without it: they are cut";
    /// A socket of another network namespace, which no hook of the container's sees.
    ForeignSocket = "foreign-socket", "start the container without passing sockets to it (socket activation)";
    /// A runtime whose traffic may come from another cgroup.
    Runtime = "runtime", "run the container with runc or crun";
    /// No seccomp filter, or one that lets kernel keys through: the kernel runs a program
    /// of the host's for them (`request-key`), outside of every cgroup of the container.
    Seccomp = "seccomp", "run the container with the engine's own seccomp profile";
    /// Settings of the host that the container can write: some name programs that the
    /// host's root runs.
    HostSettings = "host-settings", "leave /proc/sys and /proc/sysrq-trigger read-only (no systempaths=unconfined)";
    /// User namespaces: capabilities over networks of its own, and more of the kernel.
    UserNamespaces = "user-namespaces", "use a seccomp profile without unshare, clone and clone3 for namespaces";
    /// A client prefix that holds an address which stands for others: docker-proxy's, a
    /// gateway's, a routing mesh's.
    ProxiedClients = "proxied-clients", "name the clients' own addresses in --from";
    /// An exception that leads to this host, to a gateway, to link-local or metadata
    /// addresses, or to more than one address of the container's own networks.
    HostExit = "host-exit", "name in --to the one address that is meant";
    /// An exception for more than a /16, or a /32 of IPv6.
    WideException = "wide-exception", "name in --to the networks that are meant";
    /// A command as root: its files are run by others.
    RootUser = "root-user", "name another user with --user";
    /// A command that makes unix sockets where nothing tells whose others are.
    UnixSockets = "unix-sockets", "run it without unix sockets";
    /// A task of no container that gains privileges by what it runs: set-user-id programs
    /// act for it (crontab, at, sudo).
    NewPrivileges = "new-privileges", "start it with no_new_privs (NoNewPrivileges=yes)";
    /// An exception by name whose addresses hold until somebody looks again: whoever gets one
    /// of them meanwhile is reached.
    EndlessLease = "endless-lease", "leave out --hold forever, and have airgap watch or airgap keep run";
    /// UDP service ports with a --from for more than a /8, or a /16 of IPv6: a forged
    /// datagram chooses who in there gets the answer.
    UdpAny = "udp-any", "name in --from the networks of those that are served over UDP";
    /// An exception for port 53 or 853: whoever answers there passes questions on to the
    /// servers of any domain.
    DnsExit = "dns-exit", "name in --to the host that is meant (NAME:PORT): airgap looks it up itself";
}

impl Risk {
    /// Bit of this risk in a set.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The set of those that exceptions alone have.
    pub const OF_EXITS: u64 = Self::HostExit.bit()
        | Self::WideException.bit()
        | Self::EndlessLease.bit()
        | Self::DnsExit.bit();

    /// The set of these.
    pub fn set(risks: &[Self]) -> u64 {
        risks.iter().fold(0, |set, risk| set | risk.bit())
    }

    /// Those of a set.
    pub fn of_set(set: u64) -> Vec<Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|risk| set & risk.bit() != 0).collect()
    }

    /// One that labels may be allowed to accept.
    ///
    /// # Errors
    /// If it is none, or one that nobody but the operator accepts.
    pub fn by_label(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Self::ExistingConnections => {
                Err("no label can accept it: nothing tells who opened those connections".into())
            }
            risk => Ok(risk),
        }
    }

    /// Whether a set of what was accepted has others in the same network namespace.
    pub const fn share_network(set: u64) -> bool {
        set & Self::of_the_network() != 0
    }

    /// Whether others in its network namespace are what it is about: what they send is not
    /// told from its own.
    pub const fn is_of_the_network(self) -> bool {
        matches!(self, Self::HostNetwork | Self::SharedNetwork)
    }

    /// Those, one bit each.
    pub const fn of_the_network() -> u64 {
        Self::HostNetwork.bit() | Self::SharedNetwork.bit()
    }

    /// Names of the risks in a set.
    pub fn names(set: u64) -> Vec<&'static str> {
        Self::ALL
            .iter()
            .filter(|r| set & r.bit() != 0)
            .map(|r| r.name())
            .collect()
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Risk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|r| r.name() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|r| r.name()).collect();
                format!("'{text}' is no known risk; there are {}", known.join(", "))
            })
    }
}

/// A risk that was found, and in what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub risk: Risk,
    /// What it was found in.
    pub what: String,
    /// What mends it, where that depends on what was found.
    pub mend: Option<&'static str>,
}

impl Finding {
    /// What mends it.
    pub fn mend(&self) -> &'static str {
        self.mend.unwrap_or(self.risk.mend())
    }
}

/// Somebody else who lives in the network namespace.
fn shared_network(other: &str) -> Finding {
    let in_pod = through_pod(other);
    Finding {
        mend: in_pod.then_some(
            "the containers of a pod share one network: seal them as one (airgap attach pod:NAME; podman pod ps has its name)",
        ),
        ..finding(Risk::SharedNetwork, other.to_owned())
    }
}

const fn finding(risk: Risk, what: String) -> Finding {
    Finding {
        risk,
        what,
        mend: None,
    }
}

/// Capabilities with which a container reaches beyond its network namespace,
/// or rearranges it under the gate (NET_ADMIN).
pub const CAPABILITIES: [(u32, &str); 7] = [
    (12, "NET_ADMIN"),
    (16, "SYS_MODULE"),
    (17, "SYS_RAWIO"),
    (21, "SYS_ADMIN"),
    (38, "PERFMON"),
    (39, "BPF"),
    (2, "DAC_READ_SEARCH"),
];

/// `CAP_NET_RAW`.
pub const NET_RAW: u32 = 13;
const SYS_PTRACE: u32 = 19;

/// Judges the facts. Pure.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |risk, what: String| found.push(finding(risk, what));
    if facts.privileged {
        find(Risk::Privileged, "it runs with --privileged".into());
    }
    let has = |bit: u32| {
        facts
            .capabilities
            .iter()
            .find(|grant| grant.set & (1 << bit) != 0)
    };
    for (bit, name) in CAPABILITIES {
        if let Some(grant) = has(bit).filter(|_| !facts.privileged) {
            find(Risk::Capability, format!("{} has CAP_{name}", grant.who));
        }
    }
    if let (Some(grant), Some(sees)) = (has(SYS_PTRACE), &facts.host_pid) {
        find(
            Risk::Capability,
            format!("{} has CAP_SYS_PTRACE, and {sees}", grant.who),
        );
    }
    match &facts.host_network {
        Some(who) => find(Risk::HostNetwork, who.clone()),
        None => found.extend(facts.network_sharers.iter().map(|o| shared_network(o))),
    }
    let mut find = |risk, what: String| found.push(finding(risk, what));
    if let Some(who) = &facts.host_pid {
        find(Risk::HostPid, who.clone());
    }
    for other in &facts.pid_sharers {
        find(Risk::HostPid, other.clone());
    }
    // With --privileged these go without saying.
    for why in facts.unfiltered.iter().filter(|_| !facts.privileged) {
        find(Risk::Seccomp, why.clone());
    }
    for path in facts.settings.iter().filter(|_| !facts.privileged) {
        find(Risk::HostSettings, format!("it can write to {path}"));
    }
    for why in &facts.user_namespaces {
        find(Risk::UserNamespaces, why.clone());
    }
    for why in &facts.proxied {
        find(Risk::ProxiedClients, why.clone());
    }
    found.extend(facts.udp_clients.iter().cloned());
    found.extend(facts.exits.iter().cloned());
    found.extend(facts.subtree.iter().cloned());
    let mut find = |risk, what: String| found.push(finding(risk, what));
    for mount in &facts.mounts {
        if let Some((risk, why)) = mount.risk(facts.seccomp) {
            find(risk, format!("{why} is mounted at {}", mount.target));
        }
    }
    if let Some(driver) = facts.log_driver.as_deref().filter(|d| !stays_local(d)) {
        find(Risk::LogDriver, format!("its log driver is {driver}"));
    }
    for socket in &facts.foreign_sockets {
        find(Risk::ForeignSocket, socket.clone());
    }
    for device in facts.devices.iter().filter(|_| !facts.privileged) {
        find(Risk::Device, format!("it has {device}"));
    }
    if let Some(what) = bad_runtime(facts) {
        find(Risk::Runtime, what);
    }
    found
}

/// A runtime of which nothing tells that it runs a container's code in the cgroup, in words.
fn bad_runtime(facts: &Facts) -> Option<String> {
    let runtime = facts.runtime.as_deref();
    let runtime = runtime.filter(|runtime| !is_usual_runtime(runtime))?;
    match facts.runtime_binary.as_deref() {
        Some(binary) if runs_in_the_cgroup(binary) => None,
        Some(binary) => Some(format!("its runtime is {runtime} ({binary})")),
        None => Some(format!("its runtime is {runtime}")),
    }
}

/// Whether what a log driver writes stays on this host.
fn stays_local(driver: &str) -> bool {
    let local = [
        "json-file",
        "local",
        "journald",
        "none",
        "k8s-file",
        "passthrough",
        "",
    ];
    local.contains(&driver)
}

/// Whether a runtime runs a container's code as tasks of the host in a cgroup of the
/// container: these do, whatever they are called.
fn runs_in_the_cgroup(binary: &str) -> bool {
    const KNOWN: [&str; 6] = [
        "runc",
        "crun",
        "youki",
        "nvidia-container-runtime",
        "nvidia-container-runtime.cdi",
        "nvidia-container-runtime.legacy",
    ];
    let real = std::fs::canonicalize(binary);
    let name = real
        .as_deref()
        .unwrap_or_else(|_| std::path::Path::new(binary))
        .file_name();
    name.and_then(|name| name.to_str())
        .is_some_and(|name| KNOWN.contains(&name))
}

#[cfg(test)]
mod tests;
