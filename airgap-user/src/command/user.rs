//! As whom a command runs.

use std::{
    env,
    ffi::{CStr, CString, OsString},
    mem::MaybeUninit,
    os::unix::ffi::OsStringExt as _,
    ptr,
};

use anyhow::Result;

use crate::failure::{Failure, exit};

/// A user, with the groups that a login would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name; the number where it has none.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups, `gid` among them.
    pub groups: Vec<u32>,
    /// Home and shell, if this host knows the user.
    pub home: Option<(OsString, OsString)>,
}

impl User {
    /// Whom `--user` names; else whoever called `sudo`.
    ///
    /// # Errors
    /// If there is no such user, or nobody is named and nobody called `sudo`.
    pub fn choose(named: Option<&str>) -> Result<Self> {
        if let Some(named) = named {
            let known = match named.parse::<u32>() {
                Ok(uid) => by_uid(uid).or_else(|| Some(Self::unknown(uid, uid))),
                Err(_) => CString::new(named).ok().and_then(|name| by_name(&name)),
            };
            return known.ok_or_else(|| {
                let hint = "name a user of /etc/passwd, or a number";
                let what = format!("this host knows no user '{named}'");
                Failure::new(what, hint).with_code(exit::USAGE).into()
            });
        }
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse().ok());
        match (number("SUDO_UID"), number("SUDO_GID")) {
            (Some(uid), Some(gid)) => Ok(by_uid(uid).unwrap_or_else(|| Self::unknown(uid, gid))),
            _ => Err(Failure::new(
                "as which user the command is to run is not known: SUDO_UID is not set",
                "call it with sudo, or name the user: --user NAME",
            )
            .with_code(exit::USAGE)
            .into()),
        }
    }

    fn unknown(uid: u32, gid: u32) -> Self {
        Self {
            name: uid.to_string(),
            uid,
            gid,
            groups: vec![gid],
            home: None,
        }
    }
}

/// Room for what the two calls below return.
const ROOM: usize = 16 * 1024;

fn by_uid(uid: u32) -> Option<User> {
    look_up(|entry, buffer, found| {
        // SAFETY: a place for the entry, a buffer with its length, a place for the answer.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found) }
    })
}

fn by_name(name: &CStr) -> Option<User> {
    look_up(|entry, buffer, found| {
        let (at, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: a NUL-terminated name, and as above.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, at, len, found) }
    })
}

fn look_up(
    ask: impl Fn(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> i32,
) -> Option<User> {
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut buffer = vec![0_u8; ROOM];
    let mut found = ptr::null_mut();
    if ask(entry.as_mut_ptr(), &mut buffer, &raw mut found) != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call has filled it; its strings are in the buffer.
    let entry = unsafe { entry.assume_init() };
    let text = |at: *const libc::c_char| {
        // SAFETY: NUL-terminated, in the buffer that still lives.
        OsString::from_vec(unsafe { CStr::from_ptr(at) }.to_bytes().to_vec())
    };
    Some(User {
        name: text(entry.pw_name).to_string_lossy().into_owned(),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        // SAFETY: as above.
        groups: groups(unsafe { CStr::from_ptr(entry.pw_name) }, entry.pw_gid),
        home: Some((text(entry.pw_dir), text(entry.pw_shell))),
    })
}

fn groups(name: &CStr, gid: u32) -> Vec<u32> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut count = groups.len() as i32;
        // SAFETY: a NUL-terminated name, and as many numbers as said.
        let rc =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let wanted = usize::try_from(count).unwrap_or(0);
        if rc >= 0 {
            groups.truncate(wanted);
            return groups;
        }
        if wanted <= groups.len() || wanted > 65_536 {
            return vec![gid];
        }
        groups.resize(wanted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{User, by_uid};

    #[test]
    fn knows_root_and_numbers() {
        let root = by_uid(0).unwrap();
        assert_eq!((root.uid, root.name.as_str()), (0, "root"));
        assert!(root.groups.contains(&0), "{root:?}");
        assert_eq!(User::choose(Some("root")).unwrap(), root);
        assert_eq!(User::choose(Some("0")).unwrap(), root);
        let nobody = User::choose(Some("4000000000")).unwrap();
        assert_eq!((nobody.uid, nobody.home), (4_000_000_000, None));
        assert!(User::choose(Some("no such user")).is_err());
        assert!(User::choose(Some("")).is_err());
    }
}
