//! Running code inside another namespace.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read as _},
    os::fd::AsRawFd as _,
    os::fd::RawFd,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow};

/// An open network namespace; it lives at least as long as this.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// The one of a process.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self(file))
    }

    /// The one that a file stands for: of a thread in `/proc`, or one that an engine
    /// keeps.
    ///
    /// # Errors
    /// If the file cannot be opened or is no network namespace.
    pub fn at(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if kind(&file) == Some(libc::CLONE_NEWNET) {
            return Ok(Self(file));
        }
        Err(io::Error::other("it is no network namespace"))
    }

    /// The one that airgap runs in: the host's.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn own() -> io::Result<Self> {
        Self::at(Path::new("/proc/self/ns/net"))
    }

    /// Inode: namespaces are the same if this is.
    ///
    /// # Errors
    /// Whatever `fstat` says.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.ino())
    }

    /// Inode of the user namespace that owns it.
    ///
    /// # Errors
    /// If that is none of airgap's own or below it.
    pub fn owner(&self) -> io::Result<u64> {
        owner(&self.0)
    }

    /// A number that no other network namespace has or had since the boot
    /// (`SO_NETNS_COOKIE`, Linux 5.14).
    ///
    /// # Errors
    /// If the kernel is older.
    pub fn cookie(&self) -> Result<u64> {
        const SO_NETNS_COOKIE: libc::c_int = 71;
        self.run(|| {
            let socket = std::os::unix::net::UnixDatagram::unbound()?;
            let mut cookie = 0_u64;
            let mut len = size_of::<u64>() as libc::socklen_t;
            // SAFETY: an open socket, and a number with its length.
            let rc = unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    SO_NETNS_COOKIE,
                    (&raw mut cookie).cast(),
                    &raw mut len,
                )
            };
            if rc != 0 {
                return Err(io::Error::last_os_error())
                    .context("the kernel tells no cookie of a network namespace");
            }
            Ok(cookie)
        })
    }

    /// A new one, empty but for lo, that nothing but this process holds.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn fresh() -> Result<Self> {
        let make = || {
            // SAFETY: takes no pointers and acts on this thread only.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            File::open("/proc/thread-self/ns/net")
        };
        let file = thread::spawn(make).join();
        let file = file.map_err(|_panic| anyhow!("cannot make a network namespace"))?;
        Ok(Self(file.context("cannot make a network namespace")?))
    }

    /// The descriptor, for netlink.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Runs `job` on a thread inside; sockets it returns stay there, and so
    /// does what it reads below `/proc/thread-self/net` and `/proc/sys/net`.
    ///
    /// # Errors
    /// If the namespace cannot be entered, and the job's own.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let inside = || {
            // SAFETY: takes an open descriptor and acts on this thread only.
            if unsafe { libc::setns(self.fd(), libc::CLONE_NEWNET) } != 0 {
                let error = io::Error::last_os_error();
                return Err(error).context("cannot enter a network namespace");
            }
            job()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_panic| anyhow!("a look into a network namespace failed"))?
    }
}

/// Network namespaces that something keeps by mounting them where airgap sees it:
/// inode and place of each.
///
/// # Errors
/// If `/proc` is not mounted.
pub fn kept() -> Result<Vec<(u64, PathBuf)>> {
    let text = std::fs::read("/proc/self/mountinfo").context("cannot read what is mounted")?;
    Ok(mounted(&text))
}

/// As proc_pid_mountinfo(5) lists them. Pure.
fn mounted(mountinfo: &[u8]) -> Vec<(u64, PathBuf)> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ').skip(3);
            let (root, place) = (fields.next()?, fields.next()?);
            let inode = root.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
            let inode = std::str::from_utf8(inode).ok()?.parse().ok()?;
            let place = std::ffi::OsString::from_vec(unescaped(place));
            Some((inode, PathBuf::from(place)))
        })
        .collect()
}

/// Spaces and the like are written in octal: `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(code);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Inode of the user namespace that owns a namespace (`NS_GET_USERNS`, ioctl_ns(2),
/// Linux 4.9).
///
/// # Errors
/// If the file is no namespace, or its owner is not visible from airgap's.
pub fn owner(namespace: &File) -> io::Result<u64> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    if kind(namespace).is_none() {
        return Err(io::Error::other("it is no namespace"));
    }
    // SAFETY: takes no argument; the new descriptor is owned at once.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS as _) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    Ok(file.metadata()?.ino())
}

/// What kind of namespace a file is (`NS_GET_NSTYPE`, ioctl_ns(2), Linux 4.11), as a
/// `CLONE_NEW…` number; `None` for any other file.
fn kind(file: &File) -> Option<i32> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // Namespaces are files of one file system; other files have ioctls of their own.
    let known = std::fs::metadata("/proc/self/ns/net").ok()?.dev();
    if file.metadata().ok()?.dev() != known {
        return None;
    }
    // SAFETY: takes no argument.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    (kind >= 0).then_some(kind)
}

/// What is mounted in a mount namespace (proc_pid_mountinfo(5)), all of it: a task that
/// has changed its root shows only a part. At most `most` bytes.
///
/// # Errors
/// If the namespace cannot be entered, or more is mounted.
pub fn mountinfo(namespace: &File, most: usize) -> Result<Vec<u8>> {
    let proc = File::open("/proc").context("cannot open /proc")?;
    let read = || {
        // By the host's own /proc: what is mounted there is the container's making.
        let file = open_at(&proc, c"thread-self/mountinfo", 0)?;
        let mut text = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut text)?;
        if text.len() > most {
            return Err(io::Error::other("it is longer than airgap reads"));
        }
        Ok(text)
    };
    among_mounts(namespace, read).context("cannot read what is mounted")
}

/// A directory at the root of a mount namespace, whatever root its tasks have; no link is
/// followed.
///
/// # Errors
/// If the namespace cannot be entered, or there is no such directory.
pub fn directory(namespace: &File, name: &CStr) -> io::Result<File> {
    among_mounts(namespace, || {
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        open_at(&File::open("/")?, name, flags)
    })
}

/// Runs `job` on a thread whose root is that of a mount namespace.
fn among_mounts<T: Send>(
    namespace: &File,
    job: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let inside = || {
        // SAFETY: acts on this thread only; a thread that shares its root with others
        // may not change its mount namespace.
        if unsafe { libc::unshare(libc::CLONE_FS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: takes an open descriptor and acts on this thread only.
        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        job()
    };
    thread::scope(|scope| scope.spawn(inside).join())
        .map_err(|_panic| io::Error::other("a look into a mount namespace failed"))?
}

/// A file below an open directory, for reading.
fn open_at(dir: &File, name: &CStr, flags: i32) -> io::Result<File> {
    let flags = flags | libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: an open directory and a string that ends with a zero byte.
    let fd = unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_namespaces_that_are_mounted() {
        let text =
            b"22 1 0:4 net:[4026532500] /run/docker/netns/a\\040b rw shared:9 - nsfs nsfs rw\n\
            23 1 0:4 mnt:[4026532501] /run/x rw - nsfs nsfs rw\n\
            24 1 8:1 / / rw - ext4 /dev/vda rw\n25 1 0:4 net:[x] /y rw\n";
        let expected = [(4026532500, PathBuf::from("/run/docker/netns/a b"))];
        assert_eq!(mounted(text), expected);
        assert_eq!(unescaped(b"a\\134\\9\\04"), b"a\\\\9\\04");
    }

    #[test]
    fn a_namespace_has_one_cookie() {
        let (own, fresh) = (Netns::own().unwrap(), Netns::fresh().unwrap());
        assert_eq!(own.cookie().unwrap(), own.cookie().unwrap());
        assert_ne!(own.cookie().unwrap(), fresh.cookie().unwrap());
    }

    #[test]
    fn knows_who_owns_a_namespace() {
        let own = std::fs::metadata("/proc/self/ns/user").unwrap().ino();
        assert_eq!(Netns::own().unwrap().owner().unwrap(), own);
        assert!(owner(&File::open("/proc/self/stat").unwrap()).is_err());
    }

    #[test]
    fn knows_namespaces_from_files() {
        let own = Netns::own().unwrap();
        let same = Netns::at(Path::new("/proc/thread-self/ns/net")).unwrap();
        assert_eq!(own.inode().unwrap(), same.inode().unwrap());
        for other in ["/proc/self/ns/mnt", "/proc/self/stat", "/", "/none"] {
            assert!(Netns::at(Path::new(other)).is_err(), "{other}");
        }
    }
}
