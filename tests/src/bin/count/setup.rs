//! What stands between the container and its clients.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use airgap_tests::allow::Allowing;
use airgap_tests::engine::{Described, Engine};
use airgap_tests::{SERVICE_PORT, cmd};

use super::operation::Operation;
use super::world::World;

/// Parent of the containers, and another one.
const PARENT: &str = "docker";
const ELSEWHERE: &str = "other";

/// One set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    Unsealed,
    /// Programs that do nothing, on the hooks that packets pass.
    Allowing,
    Sealed,
    /// Sealed, for clients of one prefix of each family.
    From,
    /// Another container below the same parent is sealed.
    Beside,
    /// Another container elsewhere is sealed.
    Elsewhere,
    /// Replies, and requests of the service port, by conntrack.
    Iptables,
    Nftables,
}

impl Setup {
    pub(crate) const ALL: [Self; 8] = [
        Self::Unsealed,
        Self::Allowing,
        Self::Sealed,
        Self::From,
        Self::Beside,
        Self::Elsewhere,
        Self::Iptables,
        Self::Nftables,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unsealed => "unsealed",
            Self::Allowing => "allowing",
            Self::Sealed => "sealed",
            Self::From => "from",
            Self::Beside => "beside",
            Self::Elsewhere => "elsewhere",
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Parents of the measured container and of the other one.
    pub(crate) const fn parents(self) -> [&'static str; 2] {
        match self {
            Self::Elsewhere => [PARENT, ELSEWHERE],
            _ => [PARENT, PARENT],
        }
    }

    /// Whether such an operation ends there: seals serve no datagrams, and rules that drop
    /// leave whoever connects waiting.
    pub(crate) const fn allows(self, operation: Operation) -> bool {
        match self {
            Self::Sealed | Self::From => !matches!(operation, Operation::Udp),
            Self::Iptables | Self::Nftables => !matches!(
                operation,
                Operation::Udp | Operation::Connect | Operation::Send
            ),
            _ => true,
        }
    }

    pub(crate) fn raise(self, world: &World) -> Raised {
        match self {
            Self::Unsealed => Raised::Nothing,
            Self::Allowing => Raised::Allowing(Allowing::start()),
            Self::Sealed => Raised::seal(&world.measured.described, &[]),
            Self::From => {
                let clients = [4, 6].map(World::clients);
                Raised::seal(
                    &world.measured.described,
                    &["--from", &clients[0], "--from", &clients[1]],
                )
            }
            Self::Beside | Self::Elsewhere => Raised::seal(&world.other.described, &[]),
            Self::Iptables => {
                for (program, family) in IPTABLES {
                    for rule in iptables(World::server(family)) {
                        cmd::ok(&format!("{program} -A FORWARD {rule}"));
                    }
                }
                Raised::Iptables
            }
            Self::Nftables => {
                nft(&nftables());
                Raised::Nftables
            }
        }
    }
}

/// Lowered when dropped.
pub(crate) enum Raised {
    Nothing,
    Allowing(#[expect(dead_code, reason = "it is there for as long as this is")] Allowing),
    Seal(Engine),
    Iptables,
    Nftables,
}

impl Raised {
    fn seal(container: &Described, more: &[&str]) -> Self {
        let engine = Engine::start(container.clone());
        let mut args = vec!["attach", "-d", container.name.as_str()];
        args.extend(more);
        airgap(&engine, &args);
        Self::Seal(engine)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        match self {
            Self::Nothing | Self::Allowing(_) => {}
            Self::Seal(engine) => airgap(engine, &["detach", "--all"]),
            Self::Iptables => IPTABLES
                .iter()
                .for_each(|(program, _)| drop(cmd::ok(&format!("{program} -F FORWARD")))),
            Self::Nftables => nft("flush ruleset\n"),
        }
    }
}

/// What stays open on this kernel is said elsewhere.
fn airgap(engine: &Engine, args: &[&str]) {
    let out = Command::new("airgap")
        .args(["--host", &engine.host()])
        .args(args)
        .output()
        .expect("run airgap");
    assert!(
        matches!(out.status.code(), Some(0 | 4)),
        "airgap {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

const IPTABLES: [(&str, u8); 2] = [("iptables", 4), ("ip6tables", 6)];

fn iptables(server: IpAddr) -> [String; 3] {
    [
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT".to_owned(),
        format!("-d {server} -p tcp --dport {SERVICE_PORT} -m conntrack --ctstate NEW -j ACCEPT"),
        format!("-s {server} -j DROP"),
    ]
}

/// The same rules, for both families.
fn nftables() -> String {
    let rules = [("ip", 4), ("ip6", 6)].map(|(ip, family)| {
        let server = World::server(family);
        format!("  {ip} daddr {server} tcp dport {SERVICE_PORT} ct state new accept\n  {ip} saddr {server} drop\n")
    });
    format!(
        "table inet t {{\n chain f {{\n  type filter hook forward priority filter; policy accept;\n  \
         ct state established,related accept\n{} }}\n}}\n",
        rules.concat()
    )
}

fn nft(rules: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start nft");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin
        .write_all(rules.as_bytes())
        .expect("hand it the rules");
    drop(stdin);
    assert!(child.wait().expect("wait for nft").success(), "{rules}");
}
