//! The hosts file of a container: names that it may reach, as its DNS is refused.
//!
//! Written is only the file that the engine names, below directories that are root's, and
//! only while it is what the container has at /etc/hosts; never by a path through the
//! container. In place and by one write, as the engine's own mount is of this very file.

mod text;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    net::IpAddr,
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use self::text::{first_of_others, rewritten};
use super::Container;
use crate::host::procfs;

/// Largest file that is read.
const MOST: u64 = 1 << 20;
/// So often it is written when the engine writes meanwhile.
const TRIES: u32 = 5;
/// Where a container has it.
const INSIDE: &str = "/etc/hosts";

/// A name, and its addresses now.
pub(super) type Name = (String, Vec<IpAddr>);

/// Has a running container's hosts file give these names these addresses, and no others any
/// by us; says of which an earlier line of somebody else's gives another.
///
/// # Errors
/// If the container has another file there, somebody beside root could exchange it, or it
/// cannot be written.
pub fn write_hosts(container: &Container, names: &[(String, Vec<IpAddr>)]) -> Result<Vec<String>> {
    let Some(pid) = container.pid else {
        return Ok(Vec::new());
    };
    let path = path_of(container)?;
    let file = open(&path)?;
    check(&file, &path, pid)?;
    let mut before = read(&file)?;
    for _ in 0..TRIES {
        let wanted = rewritten(&before, names);
        if wanted != before {
            put(&file, &before, &wanted)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        // The engine may have written at the same time.
        let after = read(&file)?;
        if after == wanted {
            return Ok(first_of_others(&after, names));
        }
        before = after;
    }
    bail!(
        "{} is written by somebody else all the time",
        path.display()
    )
}

/// The engine's own file for it. Where something is mounted there, Docker names that as
/// `HostsPath`, which is somebody's own.
fn path_of(container: &Container) -> Result<PathBuf> {
    let path = container.inspect.hosts_path.as_deref().unwrap_or_default();
    if path.is_empty() {
        bail!("the engine keeps no hosts file for it");
    }
    let mounts = container.inspect.mounts.iter().flatten();
    let own = mounts.filter_map(|mount| mount.destination.as_deref());
    if own.into_iter().any(|at| Path::new(at) == Path::new(INSIDE)) {
        bail!("its {INSIDE} is a mount of its own");
    }
    let path = PathBuf::from(path);
    if !path
        .components()
        .any(|part| part.as_os_str() == container.id.as_str())
    {
        bail!(
            "{} is no file of its own engine's for it alone",
            path.display()
        );
    }
    Ok(path)
}

/// Opens it where nobody but root could have put another in its place.
fn open(path: &Path) -> Result<File> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("{} is no path of a file", path.display());
    };
    let dir = fs::canonicalize(dir).with_context(|| format!("cannot find {}", dir.display()))?;
    for above in dir.ancestors() {
        let about = fs::symlink_metadata(above)
            .with_context(|| format!("cannot look at {}", above.display()))?;
        if about.uid() != 0 || about.mode() & 0o022 != 0 {
            bail!(
                "others than root can change {}, where its hosts file is",
                above.display()
            );
        }
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(dir.join(name))
        .with_context(|| format!("cannot open {}", path.display()))?;
    let about = file.metadata()?;
    if !about.is_file() || about.nlink() != 1 {
        bail!("{} is no file of one name", path.display());
    }
    Ok(file)
}

/// Whether it is the file that the container has at /etc/hosts: by the file system and the
/// place in it that both mounts are of.
fn check(file: &File, path: &Path, pid: u32) -> Result<()> {
    let info = procfs::text(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let mount = mount.context("the kernel tells no mount of it")?.trim();
    let own = procfs::text("/proc/self/mountinfo").context("cannot read the host's mounts")?;
    let real = fs::canonicalize(path)?;
    let expected = place(&own, mount, &real);
    let theirs = procfs::text(format!("/proc/{pid}/mountinfo"));
    let theirs = theirs.context("cannot read the container's mounts")?;
    let found = mounted_at(&theirs, INSIDE);
    if expected.is_none() || expected != found {
        bail!("its {INSIDE} is another file than its engine's");
    }
    Ok(())
}

/// Device of a file system, and a path in it.
type Place = (String, String);

/// Where a path of this mount is in its file system (proc_pid_mountinfo(5)). Pure.
fn place(mountinfo: &str, id: &str, path: &Path) -> Option<Place> {
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').next() == Some(id))?;
    let mut fields = line.split(' ').skip(2);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    let below = path.strip_prefix(point).ok()?;
    let place = Path::new(root).join(below);
    Some((device.to_owned(), place.to_str()?.to_owned()))
}

/// What is mounted at a path, the last one if there are several. Pure.
fn mounted_at(mountinfo: &str, path: &str) -> Option<Place> {
    mountinfo.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
        (point == path).then(|| (device.to_owned(), root.to_owned()))
    })
}

fn read(mut file: &File) -> Result<Vec<u8>> {
    use io::Seek as _;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        bail!("its hosts file has more than {MOST} bytes");
    }
    Ok(bytes)
}

/// One write, from where they differ: who reads meanwhile finds all that stays.
fn put(file: &File, before: &[u8], wanted: &[u8]) -> io::Result<()> {
    let same = before
        .iter()
        .zip(wanted)
        .take_while(|(a, b)| a == b)
        .count();
    file.write_all_at(&wanted[same..], same as u64)?;
    if wanted.len() < before.len() {
        file.set_len(wanted.len() as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::docker::tests::container_of, *};

    const HOST: &str = "\
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 21 0:26 / /run rw - tmpfs tmpfs rw
44 21 254:9 /srv /var/lib/docker rw - ext4 /dev/vdb rw
";

    #[test]
    fn the_file_is_known_by_its_place_in_its_file_system() {
        let file = Path::new("/var/lib/docker/containers/a/hosts");
        let some = |device: &str, path: &str| Some((device.to_owned(), path.to_owned()));
        assert_eq!(
            place(HOST, "44", file),
            some("254:9", "/srv/containers/a/hosts")
        );
        assert_eq!(
            place(HOST, "21", file),
            some("254:1", "/var/lib/docker/containers/a/hosts")
        );
        assert_eq!(place(HOST, "30", file), None);
        assert_eq!(place(HOST, "4", file), None);
        let inside = "\
500 1 0:50 / / rw - overlay overlay rw
501 500 254:9 /srv/containers/a/hosts /etc/hosts rw - ext4 /dev/vdb rw
";
        assert_eq!(mounted_at(inside, INSIDE), place(HOST, "44", file));
        // Something over it is what the container sees.
        let over = format!("{inside}502 501 0:51 /hosts /etc/hosts rw - tmpfs tmpfs rw\n");
        assert_eq!(mounted_at(&over, INSIDE), some("0:51", "/hosts"));
        let gone = inside.replace("a/hosts /etc", "a/hosts//deleted /etc");
        assert_ne!(mounted_at(&gone, INSIDE), place(HOST, "44", file));
        assert_eq!(mounted_at(HOST, INSIDE), None);
    }

    #[test]
    fn only_the_engines_own_file_is_taken() {
        let path = |hosts: &str, mounts: &str| {
            let id = "5ea1".repeat(16);
            let hosts = hosts.replace("ID", &id);
            path_of(&container_of(&format!(
                "{{\"Id\":\"{id}\",\"Name\":\"/web\",\"HostsPath\":\"{hosts}\",\"Mounts\":[{mounts}]}}"
            )))
        };
        let own = "/var/lib/docker/containers/ID/hosts";
        assert!(path(own, "").is_ok());
        assert!(path(own, r#"{"Source":"/a","Destination":"/b"}"#).is_ok());
        assert!(
            path(
                "/run/containers/storage/overlay-containers/ID/userdata/hosts",
                ""
            )
            .is_ok()
        );
        for (hosts, mounts) in [
            ("", ""),
            ("/etc/hostname", ""),
            ("/var/lib/docker/containers/IDx/hosts", ""),
            (own, r#"{"Source":"/a","Destination":"/etc/hosts"}"#),
            (own, r#"{"Source":"/a","Destination":"/etc/hosts/"}"#),
        ] {
            assert!(path(hosts, mounts).is_err(), "{hosts} {mounts}");
        }
    }

    #[test]
    fn a_directory_of_others_is_none_to_write_in() {
        // /tmp is everybody's, whoever owns the file.
        let path = std::env::temp_dir().join(format!("airgap-hosts-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("others than root can change"), "{error}");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn one_write_changes_what_differs() {
        let path = std::env::temp_dir().join(format!("airgap-put-{}", std::process::id()));
        for (before, wanted) in [("", "ab"), ("abc", "abd"), ("abcdef", "abx"), ("a", "a")] {
            fs::write(&path, before).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path);
            let file = file.unwrap();
            put(&file, before.as_bytes(), wanted.as_bytes()).unwrap();
            assert_eq!(read(&file).unwrap(), wanted.as_bytes());
        }
        fs::remove_file(&path).unwrap();
    }
}
