//! Whether this kernel may take the processor away in the middle of a hook's program.
//!
//! A tracing program that is under way on a processor is not entered there again: the
//! kernel takes the second call for recursion and goes on as if there were no program
//! (`__bpf_prog_enter_recur`, kernel/bpf/trampoline.c, Linux 5.12). Where kernel code is
//! preempted, such a hook is no cover. BPF LSM programs are spared that since 6.2.

use std::{
    ffi::CStr,
    fs::{self, File},
    io::{self, Read as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Whether kernel code is preempted now. What cannot be told counts as yes.
pub(super) fn is_preemptible() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    judge(&Told {
        version: &read("/proc/sys/kernel/version"),
        modes: debugfs(c"sched/preempt").ok().as_deref(),
        arguments: &read("/proc/cmdline"),
        config: &read(&format!("/boot/config-{}", release.trim())),
    })
}

/// What a kernel says of itself.
struct Told<'a> {
    /// As `uname -v` prints it.
    version: &'a str,
    /// `sched/preempt` of debugfs, which kernel lockdown hides.
    modes: Option<&'a str>,
    /// The kernel's command line.
    arguments: &'a str,
    /// What it was built with; empty where nobody knows.
    config: &'a str,
}

fn judge(told: &Told<'_>) -> bool {
    // `PREEMPT`, `PREEMPT_RT`, or chosen at boot and later; without any, by itself only.
    if !told.version.contains("PREEMPT") {
        return false;
    }
    if !told.version.contains("PREEMPT_DYNAMIC") {
        return true;
    }
    let is_calm = |mode: &str| ["none", "voluntary"].contains(&mode);
    if let Some(mode) = told.modes.and_then(chosen) {
        return !is_calm(mode);
    }
    let mut asked = told.arguments.split_whitespace();
    if let Some(mode) = asked.rfind(|word| word.starts_with("preempt=")) {
        return !is_calm(&mode["preempt=".len()..]);
    }
    const CALM: [&str; 2] = ["CONFIG_PREEMPT_NONE=y", "CONFIG_PREEMPT_VOLUNTARY=y"];
    !told.config.lines().any(|line| CALM.contains(&line.trim()))
}

/// `voluntary` of `none (voluntary) full`.
fn chosen(modes: &str) -> Option<&str> {
    modes
        .split_once('(')?
        .1
        .split_once(')')
        .map(|(mode, _)| mode)
}

/// Reads a file of debugfs through a mount that nobody else sees (Linux 5.2).
fn debugfs(path: &CStr) -> io::Result<String> {
    const FSCONFIG_CMD_CREATE: libc::c_long = 6;
    let opened = |fd: libc::c_long| {
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    };
    // SAFETY: strings that end with a zero byte, and open descriptors.
    unsafe {
        let context = opened(libc::syscall(libc::SYS_fsopen, c"debugfs".as_ptr(), 1))?;
        let fd = libc::c_long::from(context.as_raw_fd());
        if libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mount = opened(libc::syscall(libc::SYS_fsmount, fd, 1, 0))?;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        let file = libc::openat(mount.as_raw_fd(), path.as_ptr(), flags);
        let mut text = String::new();
        File::from(opened(file.into())?).read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Told, chosen, judge};

    const DYNAMIC: Told<'_> = Told {
        version: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1",
        modes: None,
        arguments: "quiet root=/dev/sda1",
        config: "CONFIG_PREEMPT_VOLUNTARY=y\nCONFIG_PREEMPT_DYNAMIC=y\n",
    };

    fn with_modes(modes: &'static str) -> bool {
        judge(&Told {
            modes: Some(modes),
            ..DYNAMIC
        })
    }

    #[test]
    fn a_kernel_that_chooses_says_what_it_chose() {
        assert!(!with_modes("none (voluntary) full\n"));
        assert!(!with_modes("(none) voluntary full lazy\n"));
        assert!(with_modes("none voluntary (full)\n"));
        assert!(with_modes("full (lazy)\n"));
        assert_eq!(chosen("none voluntary full"), None);
    }

    #[test]
    fn behind_a_lockdown_it_is_as_it_was_booted() {
        assert!(!judge(&DYNAMIC));
        let asked = |arguments| {
            judge(&Told {
                arguments,
                ..DYNAMIC
            })
        };
        assert!(asked("preempt=none quiet preempt=full"));
        assert!(!asked("preempt=full preempt=voluntary"));
        for config in [
            "",
            "CONFIG_PREEMPT_LAZY=y",
            "# CONFIG_PREEMPT_NONE is not set",
        ] {
            assert!(judge(&Told { config, ..DYNAMIC }), "{config}");
        }
    }

    #[test]
    fn others_are_as_they_were_built() {
        let built = |version| judge(&Told { version, ..DYNAMIC });
        assert!(!built("#1 SMP Debian 5.10.262-1"));
        assert!(built("#1 SMP PREEMPT Debian 7.0"));
        assert!(built("#1 SMP PREEMPT_RT Debian 6.1"));
    }
}
