//! The gate without Docker: real BPF on scratch cgroups, with pins and limits of its own.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use airgap::{
    container::Cgroup,
    gate::{Gate, Lock, Place, Sealing, cgroup_mount, mount_bpffs},
    policy::Rules,
};
use airgap_common::map::Stat;

const EPERM: i64 = 1;
const ENETUNREACH: i64 = 101;

/// A gate at the root of the cgroup tree whose pins are nobody else's.
struct Scratch {
    gate: Option<Gate>,
    place: Place,
    dirs: Vec<PathBuf>,
    seals: Vec<u64>,
}

impl Scratch {
    fn new(name: &str, max_cgroups: Option<u32>) -> Self {
        mount_bpffs().expect("bpffs");
        let place = Place {
            pins: PathBuf::from(format!(
                "/sys/fs/bpf/airgap-test-{name}-{}/v1",
                std::process::id()
            )),
            cgroup: cgroup_mount().expect("cgroup v2"),
            max_cgroups,
        };
        let gate = Gate::arm(&place, &Lock::take().expect("lock")).expect("arm the gate");
        Self {
            gate: Some(gate),
            place,
            dirs: Vec::new(),
            seals: Vec::new(),
        }
    }

    fn gate(&mut self) -> &mut Gate {
        self.gate.as_mut().expect("the gate stands")
    }

    fn seal(&mut self, id: &str) -> u64 {
        let sealing = Sealing {
            id: id.as_bytes().try_into().expect("64 digits"),
            name: "scratch",
            policy: Rules::new(vec![], vec![]).expect("rules").compile(),
            clients: &[],
            accepted: 0,
        };
        let lock = Lock::take().expect("lock");
        let number = self.gate().seal_id(&sealing, &lock).expect("seal").number;
        self.seals.push(number);
        number
    }

    /// Makes a cgroup below the root and remembers to remove it.
    fn mkdir(&mut self, relative: &str) -> Cgroup {
        let path = self.place.cgroup.join(relative);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        self.dirs.push(path.clone());
        Cgroup {
            id: fs::metadata(&path).expect("stat").ino(),
            level: Path::new(relative).components().count() as u32,
            path,
        }
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
            let _ = gate.unseal(seal, &lock);
        }
        let _ = gate.disarm_if_idle(&lock);
    }
}

/// A container id that no other test uses.
fn id(n: u32) -> String {
    format!(
        "{:032x}{n:032x}",
        u64::from(std::process::id()) << 32 | 0xa1e
    )
}

/// Errno of a UDP send from inside `cgroup`, in a network namespace without routes: EPERM where
/// it is sealed, ENETUNREACH where nothing stands in the way.
fn udp_errno(cgroup: &Cgroup) -> i64 {
    let procs = cgroup.path.join("cgroup.procs");
    let mut command = Command::new(std::env::var("AIRGAP_PROBE").expect("AIRGAP_PROBE is not set"));
    command.args(["try", "udp4", "--v4", "198.51.100.1", "--v6", "2001:db8::1"]);
    // SAFETY: only system calls between fork and exec: open, write, unshare.
    unsafe {
        command.pre_exec(move || {
            fs::OpenOptions::new()
                .write(true)
                .open(&procs)?
                .write_all(b"0")?;
            match libc::unshare(libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let output = command.output().expect("run the probe");
    let line: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)));
    line["errno"].as_i64().expect("errno")
}

#[test]
fn a_cgroup_with_a_sealed_id_is_born_sealed() {
    let mut scratch = Scratch::new("born", None);
    let number = scratch.seal(&id(1));
    let name = |n: u32| id(n);
    for (dir, errno) in [
        (name(1), EPERM),
        (format!("docker-{}.scope", name(1)), EPERM),
        (format!("libpod-{}.scope", name(1)), EPERM),
        (name(2), ENETUNREACH),
        (format!("{}-x", name(1)), ENETUNREACH),
        (format!("docker-{}.slice", name(1)), ENETUNREACH),
        ("airgap-test-plain".to_owned(), ENETUNREACH),
    ] {
        let cgroup = scratch.mkdir(&dir);
        assert_eq!(udp_errno(&cgroup), errno, "{dir}");
        let marked = scratch
            .gate()
            .is_marked(cgroup.id, 1, number)
            .expect("read");
        assert_eq!(marked, errno == EPERM, "{dir}");
    }
}

#[test]
fn what_is_nested_is_covered_and_fills_no_map() {
    let mut scratch = Scratch::new("nested", None);
    let number = scratch.seal(&id(3));
    let top = scratch.mkdir(&id(3));
    let mut path = id(3);
    let mut deepest = top.clone();
    // Deeper than the levels the gate looks at, and with the container's own id as a name.
    for _ in 0..14 {
        path = format!("{path}/{}", id(3));
        deepest = scratch.mkdir(&path);
    }
    assert_eq!(udp_errno(&deepest), EPERM);
    assert_eq!(scratch.gate().cgroups_of(number).expect("read"), [top.id]);
}

#[test]
fn a_full_map_denies_the_container_and_nobody_else() {
    let mut scratch = Scratch::new("full", Some(2));
    let ids: Vec<_> = (10..14).map(id).collect();
    for id in &ids {
        scratch.seal(id);
    }
    let cgroups: Vec<_> = ids.iter().map(|id| scratch.mkdir(id)).collect();
    let bystander = scratch.mkdir("airgap-test-bystander");
    let overflowed = scratch.gate().stat(Stat::Overflowed);
    assert!(
        overflowed >= 1,
        "four sealed cgroups fitted into a map for two"
    );
    for cgroup in &cgroups {
        assert_eq!(udp_errno(cgroup), EPERM, "{}", cgroup.path.display());
    }
    assert_eq!(udp_errno(&bystander), ENETUNREACH);
}

#[test]
fn a_cgroup_too_deep_to_guard_gets_no_process() {
    let mut scratch = Scratch::new("deep", None);
    scratch.seal(&id(20));
    let mut path = String::from("airgap-test-deep");
    scratch.mkdir(&path);
    for level in 2..=12 {
        path = format!("{path}/{level}");
        scratch.mkdir(&path);
    }
    let dir = scratch.place.cgroup.join(&path).join(id(20));
    let status = Command::new("mkdir").arg(&dir).status().expect("run mkdir");
    scratch.dirs.push(dir);
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
}

#[test]
fn lifting_the_seal_opens_the_live_cgroup_and_leaves_nothing() {
    let mut scratch = Scratch::new("lift", None);
    let number = scratch.seal(&id(30));
    let cgroup = scratch.mkdir(&id(30));
    assert_eq!(udp_errno(&cgroup), EPERM);
    let lock = Lock::take().expect("lock");
    let lifted = scratch.gate().unseal(number, &lock).expect("unseal");
    assert_eq!((lifted.cgroups, lifted.denials), (1, 1));
    assert_eq!(udp_errno(&cgroup), ENETUNREACH);
    let again = scratch.mkdir(&format!("docker-{}.scope", id(30)));
    assert_eq!(udp_errno(&again), ENETUNREACH);
    let gate = scratch.gate.take().expect("the gate stands");
    assert!(gate.disarm_if_idle(&lock).expect("disarm"));
    assert!(!scratch.place.pins.parent().expect("parent").exists());
}

#[test]
fn a_missing_link_is_noticed_and_mended() {
    let mut scratch = Scratch::new("mend", None);
    scratch.seal(&id(40));
    let cgroup = scratch.mkdir(&id(40));
    fs::remove_file(scratch.place.pins.join("links/sendmsg4")).expect("remove the pin");
    let broken = scratch.gate().broken_links();
    assert_eq!(broken, ["sendmsg4: its pin is gone"]);
    assert_eq!(
        scratch.gate().missing_hooks(&cgroup.path).expect("query"),
        ["sendmsg4"]
    );
    // Egress still stands in the way.
    scratch.gate = Some(Gate::arm(&scratch.place, &Lock::take().expect("lock")).expect("arm"));
    assert!(scratch.gate().broken_links().is_empty());
    assert!(
        scratch
            .gate()
            .missing_hooks(&cgroup.path)
            .expect("query")
            .is_empty()
    );
    assert_eq!(udp_errno(&cgroup), EPERM, "the seal outlives the mending");
}
