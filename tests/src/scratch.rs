//! A gate of one test's own: pins, cgroups and processes that nobody else has.

use ::airgap::{
    container::Cgroup,
    gate::{Gate, Lock, Place, Sealing, cgroup_mount, mount_bpffs},
    policy::{Errno, Rules},
    technique::Report,
};
use std::fs;
use std::io::Write as _;
use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A gate at the root of the cgroup tree whose pins are nobody else's; all goes with it.
pub struct Scratch {
    /// `None` once the test took it down itself.
    pub gate: Option<Gate>,
    pub place: Place,
    dirs: Vec<PathBuf>,
    seals: Vec<u64>,
}

/// Which network namespace a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// One of its own, with lo up and no routes.
    Own,
    /// The test's: abstract unix names are shared.
    Shared,
}

impl Scratch {
    /// # Panics
    /// When the gate cannot stand here.
    #[must_use]
    pub fn new(name: &str, max_cgroups: Option<u32>) -> Self {
        Self::sized(name, max_cgroups, 0)
    }

    /// As [`Scratch::new`], with room for so many seals.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn sized(name: &str, max_cgroups: Option<u32>, seals: usize) -> Self {
        mount_bpffs().expect("bpffs");
        let place = Place {
            pins: PathBuf::from(format!(
                "/sys/fs/bpf/airgap-test-{name}-{}/v1",
                std::process::id()
            )),
            cgroup: cgroup_mount().expect("cgroup v2"),
            max_cgroups,
            seals,
        };
        let gate = Gate::arm(&place, &Lock::take().expect("lock")).expect("arm the gate");
        Self {
            gate: Some(gate),
            place,
            dirs: Vec::new(),
            seals: Vec::new(),
        }
    }

    /// # Panics
    /// When the test took it down.
    pub fn gate(&mut self) -> &mut Gate {
        self.gate.as_mut().expect("the gate stands")
    }

    /// Seals a container id, port 5060, any client.
    ///
    /// # Panics
    /// When it cannot be sealed.
    pub fn seal(&mut self, id: &str) -> u64 {
        self.put(id, false).expect("seal")
    }

    /// As [`Scratch::seal`].
    ///
    /// # Errors
    /// What the gate says.
    pub fn try_seal(&mut self, id: &str) -> anyhow::Result<u64> {
        self.put(id, false)
    }

    /// Puts an id under audit.
    ///
    /// # Panics
    /// As [`Scratch::seal`].
    pub fn audit(&mut self, id: &str) -> u64 {
        self.put(id, true).expect("seal")
    }

    fn put(&mut self, id: &str, audit: bool) -> anyhow::Result<u64> {
        let sealing = Sealing {
            id: id.as_bytes().try_into().expect("64 digits"),
            name: "scratch",
            // By ENETUNREACH nobody could tell it from a network without routes.
            policy: Rules::new(vec![], vec![])
                .expect("rules")
                .failing_with(Some(Errno::Eperm))
                .audited(audit)
                .compile(),
            clients: &[],
            exits: &[],
            accepted: 0,
            since: 0,
        };
        let lock = Lock::take().expect("lock");
        let number = self.gate().seal_id(&sealing, &lock)?.number;
        self.seals.push(number);
        Ok(number)
    }

    /// Makes a cgroup below the root and remembers to remove it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn mkdir(&mut self, relative: &str) -> Cgroup {
        let path = self.place.cgroup.join(relative);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        self.dirs.push(path.clone());
        Cgroup {
            id: fs::metadata(&path).expect("stat").ino(),
            level: Path::new(relative).components().count() as u32,
            path,
        }
    }

    /// A directory that somebody else makes, to be removed.
    pub fn remember(&mut self, dir: PathBuf) {
        self.dirs.push(dir);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for dir in self.dirs.iter().rev() {
            let _ = fs::remove_dir(dir);
        }
        let (Some(mut gate), Ok(lock)) = (self.gate.take(), Lock::take()) else {
            return;
        };
        for seal in self.seals.drain(..) {
            // Whatever a test has lifted itself is no seal any more.
            let _ = gate.unseal(&[seal], &lock);
        }
        let _ = gate.disarm_if_idle(&lock);
    }
}

/// Seals of ids that no container has, in the host's gate; lifted on drop.
pub struct Others(Vec<u64>);

/// # Panics
/// When no gate stands, or an id cannot be sealed.
#[must_use]
pub fn others(ids: impl Iterator<Item = String>) -> Others {
    let lock = Lock::take().expect("lock");
    let mut gate = standing();
    let policy = Rules::new(vec![], vec![]).expect("rules").compile();
    let seal = |id: String| {
        let sealing = Sealing {
            id: id.as_bytes().try_into().expect("64 digits"),
            name: "airgap-test-other",
            policy,
            clients: &[],
            exits: &[],
            accepted: 0,
            since: 0,
        };
        gate.seal_id(&sealing, &lock).expect("seal").number
    };
    Others(ids.map(seal).collect())
}

/// Makes the host's gate stand, if none does, with room for so many seals.
///
/// # Panics
/// When it cannot stand here.
pub fn standing_for(seals: usize) {
    mount_bpffs().expect("bpffs");
    let place = Place {
        seals,
        ..Place::host().expect("cgroup v2")
    };
    Gate::arm(&place, &Lock::take().expect("lock")).expect("arm the gate");
}

fn standing() -> Gate {
    let place = Place::host().expect("cgroup v2");
    Gate::open(&place)
        .expect("the gate")
        .expect("a gate stands")
}

impl Drop for Others {
    fn drop(&mut self) {
        let (mut gate, lock) = (standing(), Lock::take().expect("lock"));
        if let Err(error) = gate.unseal(&self.0, &lock) {
            eprintln!("{} seals stay: {error:#}", self.0.len());
        }
    }
}

/// A container id that no other test uses.
#[must_use]
pub fn id(n: u32) -> String {
    format!(
        "{:032x}{n:032x}",
        u64::from(std::process::id()) << 32 | 0xa1e
    )
}

/// The probe, in `cgroup` from its first instruction.
///
/// # Panics
/// Without `AIRGAP_PROBE`.
#[must_use]
pub fn probe_in(cgroup: &Cgroup, network: Network, args: &[&str]) -> Command {
    let procs = cgroup.path.join("cgroup.procs");
    let mut command = Command::new(std::env::var("AIRGAP_PROBE").expect("AIRGAP_PROBE is not set"));
    command.args(args);
    // SAFETY: only system calls between fork and exec: unshare, ioctl, open, write.
    unsafe {
        command.pre_exec(move || {
            if network == Network::Own {
                own_network()?;
            }
            fs::OpenOptions::new()
                .write(true)
                .open(&procs)?
                .write_all(b"0")
        });
    }
    command
}

fn own_network() -> std::io::Result<()> {
    // SAFETY: plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is whole and outlives the call; the descriptor is closed again.
    let done = unsafe {
        if libc::unshare(libc::CLONE_NEWNET) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let done = libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw const request);
        libc::close(fd);
        done
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The reports a probe printed; other lines are left out.
///
/// # Panics
/// When it cannot be run.
pub fn reports(command: &mut Command) -> Vec<Report> {
    let output = command.output().expect("run the probe");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// One technique, aimed at documentation addresses.
///
/// # Panics
/// When the probe reports nothing.
#[must_use]
pub fn try_in(cgroup: &Cgroup, network: Network, technique: &str, marker: &str) -> Report {
    let args = ["try", technique, "--marker", marker];
    let target = ["--v4", "198.51.100.1", "--v6", "2001:db8::1"];
    let args: Vec<_> = args.into_iter().chain(target).collect();
    let mut found = reports(&mut probe_in(cgroup, network, &args));
    found
        .pop()
        .unwrap_or_else(|| panic!("no report of {technique}"))
}
