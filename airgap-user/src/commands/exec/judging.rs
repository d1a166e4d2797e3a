//! What a command is refused for before anything changes: its user, its directories, its
//! streams, and where its exceptions lead.

use std::{
    env, fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{User, held_by},
    failure::Failure,
    host::procfs,
    policy::Rules,
    preflight::{Finding, Risk, Surroundings, judge_exits, wide_udp},
    seal::attach::refusing::refuse_findings,
};

/// What is refused before anything changes.
pub(super) fn judge(accept: &[Risk], rules: &Rules, user: &User) -> Result<()> {
    let mut found = judge_exits(&rules.exits, &Surroundings::of_host());
    found.extend(wide_udp(&rules.ports, &rules.clients));
    let mut find = |risk, what| {
        found.push(Finding {
            risk,
            what,
            mend: None,
        });
    };
    if user.uid == 0 {
        let what = "it would run as root, whose files others run, root's cron first of all";
        find(Risk::RootUser, what.to_owned());
    }
    let mountinfo = procfs::text("/proc/self/mountinfo").context("cannot read mountinfo")?;
    let here = env::current_dir().context("the current directory is not there")?;
    let home = user.home.as_ref().map(|(home, _)| Path::new(home));
    let paths = [Some(Path::new("/")), Some(&*here), home];
    let paths: Vec<&Path> = paths.into_iter().flatten().collect();
    if let Some(held) = held_by(&mountinfo, &paths) {
        let what = format!(
            "a file system of type {} is mounted at {}",
            held.kind,
            held.target.display()
        );
        find(Risk::NetworkFs, what);
    }
    for (stream, fd) in [("stdin", 0), ("stdout", 1), ("stderr", 2)] {
        let Ok(about) = fs::metadata(format!("/proc/self/fd/{fd}")) else {
            continue;
        };
        if about.file_type().is_socket() {
            let what = format!("its {stream} is a socket, which others made");
            find(Risk::ForeignSocket, what);
        } else if !is_stream(&about) {
            return Err(Failure::new(
                format!("its {stream} is no file, pipe or terminal: it could lead past what the command may see"),
                "give it a file, a pipe or a terminal (< /dev/null)",
            )
            .into());
        }
    }
    found.retain(|finding| !accept.contains(&finding.risk));
    refuse_findings(
        "the command could leave around its seal",
        &found,
        of_command,
    )
}

/// Files, pipes, terminals and the null family; not what leads on: directories, devices of
/// any other kind, descriptors of the kernel's own making.
fn is_stream(about: &fs::Metadata) -> bool {
    let kind = about.file_type();
    let (major, minor) = (libc::major(about.rdev()), libc::minor(about.rdev()));
    // Documentation/admin-guide/devices.txt.
    let is_plain = matches!(
        (major, minor),
        (1, 3 | 5 | 7 | 8 | 9) | (4 | 5 | 136..=143, _)
    );
    kind.is_file() || kind.is_fifo() || kind.is_char_device() && is_plain
}

/// What mends a finding of a command.
fn of_command(finding: &Finding) -> &'static str {
    match finding.risk {
        Risk::NetworkFs => "run it in a directory of a local file system",
        Risk::ForeignSocket => "give it a pipe or a file (command | cat)",
        _ => finding.mend(),
    }
}
