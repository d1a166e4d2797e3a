//! The gate in the kernel: loaded once a host, pinned, and read back.
//!
//! Sealing is a few map writes (`seal`); `arm` loads and attaches the
//! programs, [`health`] asks the kernel what is in force right now.

mod arm;
mod aside;
mod attached;
mod attempts;
pub mod btf;
mod clients;
mod epoch;
mod exits;
mod frames;
pub mod health;
mod hints;
mod host;
mod links;
mod lock;
mod object;
mod older;
mod paths;
mod quarantine;
pub mod rings;
mod seal;
mod security;
mod sizes;
mod sys;
mod tables;
mod unseal;
mod verifier;

use std::path::{Path, PathBuf};

use airgap_common::{
    ABI_VERSION,
    map::{
        Client, Counters, Follower, Gate as GateInfo, ID_LEN, Member, PATH_LEN, Policy, Seal,
        SealNumber, Veth, name,
    },
};
use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData};

pub use self::{
    arm::{Reading, has_set_retval},
    attached::{Next, Placing},
    attempts::Attempts,
    exits::{Exit, ExitsView},
    frames::{Arrival, FrameGuard, FrameLayer, Trial},
    host::{cgroup_mount, mount_bpffs},
    lock::{KeeperLock, LeaseLock, Lock, UnderWay},
    older::{Fate, OlderConnection},
    seal::{Sealed, Sealing, Standing},
    security::{Mechanism, Security, Silence, likely as likely_security},
    sys::LinkState,
    unseal::Unsealed,
};
/// Of the running kernel, and those that it is compared with.
pub use aya::util::KernelVersion;

/// Where the gate lives; tests use places of their own.
#[derive(Clone, Debug)]
pub struct Place {
    /// Directory of the pins, on the host's bpffs.
    pub pins: PathBuf,
    /// The cgroup v2 directory the programs hang on: the root.
    pub cgroup: PathBuf,
    /// Capacity of `CGROUPS`, if not the usual one.
    pub max_cgroups: Option<u32>,
    /// How many seals are known to come, for the size of a gate that is made here.
    pub seals: usize,
}

impl Place {
    /// The one place of a host: `/sys/fs/bpf/airgap/v<ABI>` and the cgroup v2 root.
    ///
    /// # Errors
    /// If no cgroup v2 is mounted.
    pub fn host() -> Result<Self> {
        Ok(Self {
            pins: PathBuf::from(format!("/sys/fs/bpf/airgap/v{ABI_VERSION}")),
            cgroup: cgroup_mount()?,
            max_cgroups: None,
            seals: 0,
        })
    }

    fn map(&self, name: &str) -> PathBuf {
        self.pins.join("maps").join(name)
    }

    fn link(&self, name: &str) -> PathBuf {
        self.pins.join("links").join(name)
    }
}

/// What kind of program a hook takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SockAddr,
    Sock,
    Skb,
    /// On interfaces, not on cgroups.
    Frame,
    Tracepoint(&'static str),
    /// Of this name, by whichever mechanism this kernel has.
    Security(&'static str),
}

/// One program of the gate and the link that holds it.
#[derive(Clone, Copy, Debug)]
struct Hook {
    /// Program name in the object.
    program: &'static str,
    /// Name of the link's pin.
    link: &'static str,
    kind: Kind,
    /// `enum bpf_attach_type`, for cgroup hooks.
    attach_type: u32,
}

/// In the order of arming: a cgroup that is marked is judged from the start.
const HOOKS: [Hook; 12] = {
    const fn hook(program: &'static str, link: &'static str, kind: Kind, attach_type: u32) -> Hook {
        Hook {
            program,
            link,
            kind,
            attach_type,
        }
    }
    [
        hook("airgap_egress", "egress", Kind::Skb, 1),
        hook("airgap_ingress", "ingress", Kind::Skb, 0),
        hook("airgap_socket", "sock_create", Kind::Sock, 2),
        hook("airgap_bind4", "post_bind4", Kind::Sock, 12),
        hook("airgap_bind6", "post_bind6", Kind::Sock, 13),
        hook("airgap_connect4", "connect4", Kind::SockAddr, 10),
        hook("airgap_connect6", "connect6", Kind::SockAddr, 11),
        hook("airgap_sendmsg4", "sendmsg4", Kind::SockAddr, 14),
        hook("airgap_sendmsg6", "sendmsg6", Kind::SockAddr, 15),
        hook(
            "airgap_release",
            "cgroup_release",
            Kind::Tracepoint("cgroup_release"),
            0,
        ),
        hook(
            "airgap_rmdir",
            "cgroup_rmdir",
            Kind::Tracepoint("cgroup_rmdir"),
            0,
        ),
        hook(
            "airgap_mkdir",
            "cgroup_mkdir",
            Kind::Tracepoint("cgroup_mkdir"),
            0,
        ),
    ]
};

/// A gate that stands: handles to its pinned maps.
pub struct Gate {
    place: Place,
    ids: HashMap<MapData, [u8; ID_LEN], SealNumber>,
    paths: HashMap<MapData, [u8; PATH_LEN], SealNumber>,
    cgroups: HashMap<MapData, u64, Member>,
    levels: MapData,
    epoch: Array<MapData, u32>,
    overflow: Array<MapData, u64>,
    policies: HashMap<MapData, SealNumber, Policy>,
    clients: LpmTrie<MapData, Client, u8>,
    exits: exits::Maps,
    counters: HashMap<MapData, SealNumber, Counters>,
    seals: HashMap<MapData, SealNumber, Seal>,
    info: Array<MapData, GateInfo>,
    followers: Array<MapData, Follower>,
    stats: Array<MapData, u64>,
    switches: Array<MapData, u32>,
    veths: HashMap<MapData, u32, Veth>,
    early: frames::Early,
}

impl Gate {
    /// Opens the gate if it stands; `None` if nothing of it is there.
    ///
    /// # Errors
    /// If some of it is there but cannot be used.
    pub fn open(place: &Place) -> Result<Option<Self>> {
        aside::refuse_damage(place)?;
        if !place.map(name::GATE).exists() {
            return Ok(None);
        }
        let gate = Self {
            ids: hash(place, name::IDS)?,
            paths: hash(place, name::PATHS)?,
            cgroups: hash(place, name::CGROUPS)?,
            levels: map(place, name::LEVELS)?,
            epoch: array(place, name::EPOCH)?,
            overflow: array(place, name::OVERFLOW)?,
            policies: hash(place, name::POLICIES)?,
            clients: LpmTrie::try_from(
                Map::from_map_data(map(place, name::CLIENTS)?)
                    .context("cannot use the map CLIENTS")?,
            )
            .context("cannot use the map CLIENTS")?,
            exits: exits::Maps::open(place)?,
            counters: hash(place, name::COUNTERS)?,
            seals: hash(place, name::SEALS)?,
            info: array(place, name::GATE)?,
            followers: array(place, name::FOLLOWERS)?,
            stats: array(place, name::STATS)?,
            switches: array(place, name::SWITCHES)?,
            veths: hash(place, name::VETHS)?,
            early: frames::Early::default(),
            place: place.clone(),
        };
        Ok(Some(gate))
    }

    /// Where this gate lives.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// All seals by number, sorted.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn seals(&self) -> Result<Vec<(SealNumber, Seal)>> {
        let mut seals = self
            .seals
            .iter()
            .collect::<Result<Vec<_>, _>>()
            .context("cannot read the map SEALS")?;
        seals.sort_by_key(|(number, _)| *number);
        Ok(seals)
    }

    /// Whether there is any seal.
    pub fn seals_any(&self) -> bool {
        self.seals.keys().next().is_some()
    }

    /// One seal.
    ///
    /// # Errors
    /// If there is none of this number.
    pub fn seal(&self, number: SealNumber) -> Result<Seal> {
        self.seals
            .get(&number, 0)
            .context("cannot read the map SEALS")
    }

    /// Denials so far, and the policy in force; `None` if there is no such seal.
    pub fn state(&self, seal: SealNumber) -> Option<(Policy, Counters)> {
        let policy = self.policies.get(&seal, 0).ok()?;
        Some((policy, self.counters.get(&seal, 0).ok()?))
    }

    /// Whether nothing is refused under this number: it is no seal.
    pub fn is_audit(&self, seal: SealNumber) -> bool {
        let policy = self.policies.get(&seal, 0);
        policy.is_ok_and(|policy| policy.flags & Policy::AUDIT != 0)
    }

    /// Cgroup ids that belong to a seal now.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn cgroups_of(&self, seal: SealNumber) -> Result<Vec<u64>> {
        let mut ids = Vec::new();
        for entry in self.cgroups.iter() {
            let (cgroup, member) = entry.context("cannot read the map CGROUPS")?;
            if member.of == seal {
                ids.push(cgroup);
            }
        }
        Ok(ids)
    }
}

fn map(place: &Place, name: &str) -> Result<MapData> {
    let path = place.map(name);
    MapData::from_pin(&path)
        .with_context(|| format!("cannot open the pinned map {}", path.display()))
}

fn hash<K: aya::Pod, V: aya::Pod>(place: &Place, name: &str) -> Result<HashMap<MapData, K, V>> {
    let wrong = || format!("the pinned map {name} has another layout");
    HashMap::try_from(Map::from_map_data(map(place, name)?).with_context(wrong)?)
        .with_context(wrong)
}

fn array<V: aya::Pod>(place: &Place, name: &str) -> Result<Array<MapData, V>> {
    let wrong = || format!("the pinned map {name} has another layout");
    Array::try_from(Map::from_map_data(map(place, name)?).with_context(wrong)?).with_context(wrong)
}

/// The container name kept in a seal.
pub fn seal_name(seal: &Seal) -> String {
    let end = seal
        .name
        .iter()
        .position(|b| *b == 0)
        .unwrap_or(seal.name.len());
    String::from_utf8_lossy(&seal.name[..end]).into_owned()
}

/// The container id kept in a seal.
pub fn seal_id(seal: &Seal) -> String {
    String::from_utf8_lossy(&seal.id).into_owned()
}

/// Level of the kernel side's own debug lines, by `AIRGAP_BPF_LOG` (`error` to
/// `trace`) when the gate is loaded. 0, off, unless asked for: the verifier then
/// removes them from the programs. Denials are records and no part of this.
pub fn bpf_log_level() -> u8 {
    match std::env::var("AIRGAP_BPF_LOG").as_deref() {
        Ok("error") => 1,
        Ok("warn") => 2,
        Ok("info") => 3,
        Ok("debug") => 4,
        Ok("trace") => 5,
        _ => 0,
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
