//! Debian's kernel packages: which there are, and which one a name means.

use anyhow::{Context, Result, bail};

/// What `--kernel` may say besides a series.
pub(super) const NEWEST: &str = "newest";

/// Ends the name of a kernel that is booted without BPF LSM.
const WITHOUT_LSM: &str = "-nolsm";

/// Ends the name of a kernel that is booted without what its frame layer needs.
const WITHOUT_FRAMES: &str = "-noframes";

/// Ends the release of every kernel that is looked at.
const FLAVOUR: &str = "-cloud-amd64";

/// Since then the frame layer is no module.
const TCX: (u32, u32) = (6, 6);

/// A kernel, and how it is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boot<'a> {
    /// As it was asked for.
    pub(super) name: &'a str,
    /// A series, or [`NEWEST`].
    pub(super) series: &'a str,
    /// `bpf` is taken out of `lsm=`.
    without_lsm: bool,
    /// Modules of the frame layer are not loaded.
    pub(super) without_frames: bool,
}

impl<'a> Boot<'a> {
    /// # Errors
    /// When the name means no kernel.
    pub(super) fn new(name: &'a str) -> Result<Self> {
        let without = |name: &'a str, what| match name.strip_suffix(what) {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let (rest, without_frames) = without(name, WITHOUT_FRAMES);
        let (series, without_lsm) = without(rest, WITHOUT_LSM);
        if without_frames && parse(series)?.is_none_or(|series| series >= TCX) {
            bail!("{name:?} means no kernel: since 6.6 the frame layer is built in");
        }
        parse(series)?;
        Ok(Self {
            name,
            series,
            without_lsm,
            without_frames,
        })
    }

    /// Its series; `None` for the newest of all.
    pub(super) fn number(&self) -> Option<(u32, u32)> {
        parse(self.series).ok().flatten()
    }

    /// What is added to the kernel's command line, which hands what it does not know to its first
    /// process: `AIRGAP_HOOKS` and `AIRGAP_FRAMES` tell the tests by what the security hooks must
    /// refuse, and what else must be there. Debian has `bpf` in `lsm=` since 6.1.
    pub(super) fn arguments(&self) -> String {
        let since = |first| self.number().is_none_or(|series| series >= first);
        let word = |is: bool| if is { "required" } else { "absent" };
        let hooks = if since((6, 1)) && !self.without_lsm {
            "lsm"
        } else {
            "fmod_ret"
        };
        let list = if self.without_lsm {
            " lsm=lockdown,capability,landlock,yama,apparmor"
        } else {
            ""
        };
        format!(
            "AIRGAP_HOOKS={} AIRGAP_FRAMES={}{list}",
            hooks,
            word(!self.without_frames)
        )
    }
}

/// A package with a bootable kernel in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Package name.
    pub(super) package: String,
    /// Package version.
    pub(super) version: String,
    /// What `uname -r` says, without the flavour: `6.12.117+deb12`.
    pub(super) release: String,
}

impl Kernel {
    /// The package with its modules: the same, until they were split.
    pub(super) fn modules(&self) -> String {
        self.package.replacen("linux-binary-", "linux-modules-", 1)
    }

    /// What `uname -r` says: `6.12.117+deb12-cloud-amd64`.
    pub(super) fn full_release(&self) -> String {
        format!("{}{FLAVOUR}", self.release)
    }

    /// `6.12` of `6.12.117+deb12`.
    fn series(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Whether its frame layer is in modules.
    pub(super) fn needs_frame_modules(&self) -> bool {
        self.series().is_some_and(|series| series < TCX)
    }

    /// Sorts versions; of the same upstream and revision, a rebuild for an older suite (`~`) is
    /// the lesser, as for dpkg.
    fn order(&self) -> (Vec<u32>, bool) {
        let (own, rebuilt) = match self.version.split_once('~') {
            Some((own, _)) => (own, true),
            None => (self.version.as_str(), false),
        };
        let numbers = own
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        (numbers, !rebuilt)
    }
}

/// The cloud kernels in an index, as `apt-cache dumpavail` prints it.
pub(super) fn kernels(index: &str) -> Vec<Kernel> {
    index.split("\n\n").filter_map(kernel).collect()
}

fn kernel(stanza: &str) -> Option<Kernel> {
    let field = |name: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let package = field("Package")?;
    // Since 6.19 the image package is empty and depends on one that has the kernel.
    let name = package
        .strip_prefix("linux-image-")
        .or_else(|| package.strip_prefix("linux-binary-"))?;
    let release = name.strip_suffix(FLAVOUR)?;
    let empty = package.starts_with("linux-image-")
        && field("Depends").is_some_and(|depends| depends.contains("linux-binary-"));
    // Meta packages are named after a series or nothing: two numbers at most.
    let full = release.split('.').count() > 2;
    (full && !empty).then(|| Kernel {
        package: package.to_owned(),
        version: field("Version").unwrap_or_default().to_owned(),
        release: release.to_owned(),
    })
}

/// The newest kernel of the series `name`, or of all.
///
/// # Errors
/// When `name` is no series, or has no kernel.
pub(super) fn choose<'a>(kernels: &'a [Kernel], name: &str) -> Result<&'a Kernel> {
    let series = parse(name)?;
    kernels
        .iter()
        .filter(|kernel| series.is_none() || kernel.series() == series)
        .max_by_key(|kernel| kernel.order())
        .with_context(|| format!("no suite that was looked at has a {name} kernel"))
}

/// The series a name means, `None` for the newest of all.
///
/// # Errors
/// When it is neither.
pub(super) fn parse(name: &str) -> Result<Option<(u32, u32)>> {
    if name == NEWEST {
        return Ok(None);
    }
    let series = name
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if series.is_none() {
        bail!(
            "{name:?} is no kernel series\nhint: say 6.12, for example, 6.12{WITHOUT_LSM}, or {NEWEST}"
        );
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
Package: linux-image-6.1.0-50-cloud-amd64\nVersion: 6.1.176-1\nDepends: kmod\n\n\
Package: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-2\n\n\
Package: linux-image-6.1.0-0.deb11.52-cloud-amd64\nVersion: 6.1.192-2~deb11u1\n\n\
Package: linux-image-6.12.95+deb12-cloud-amd64\nVersion: 6.12.95-1~deb12u1\n\n\
Package: linux-image-6.12.117+deb12-cloud-amd64\nVersion: 6.12.117-1~deb12u1\n\n\
Package: linux-image-6.12-cloud-amd64\nVersion: 6.12.117-1\n\n\
Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n\n\
Package: linux-image-6.12.117+deb12-cloud-amd64-dbg\nVersion: 6.12.117-1\n\n\
Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1\nDepends: a, linux-binary-7.3.4+deb13-cloud-amd64 (= 7)\n\n\
Package: linux-binary-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1~bpo13+1\n";

    fn release(name: &str) -> String {
        let kernels = kernels(INDEX);
        choose(&kernels, name).expect(name).package.clone()
    }

    #[test]
    fn a_series_means_its_newest_kernel() {
        assert_eq!(release("6.1"), "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(release("6.12"), "linux-image-6.12.117+deb12-cloud-amd64");
        assert_eq!(release("newest"), "linux-binary-7.3.4+deb13-cloud-amd64");
    }

    #[test]
    fn a_name_says_how_to_boot() {
        let arguments = |name| Boot::new(name).expect(name).arguments();
        assert_eq!(
            arguments("5.10"),
            "AIRGAP_HOOKS=fmod_ret AIRGAP_FRAMES=required"
        );
        assert_eq!(
            arguments("5.10-noframes"),
            "AIRGAP_HOOKS=fmod_ret AIRGAP_FRAMES=absent"
        );
        assert_eq!(
            arguments("newest"),
            "AIRGAP_HOOKS=lsm AIRGAP_FRAMES=required"
        );
        let boot = Boot::new("6.12-nolsm").expect("a name");
        assert_eq!((boot.series, boot.name), ("6.12", "6.12-nolsm"));
        assert!(
            boot.arguments()
                .starts_with("AIRGAP_HOOKS=fmod_ret AIRGAP_FRAMES=required lsm=lockdown,")
        );
        assert!(Boot::new("-nolsm").is_err());
        assert!(Boot::new("6.12-noframes").is_err());
    }

    #[test]
    fn modules_may_be_in_a_package_of_their_own() {
        let kernels = kernels(INDEX);
        let modules = |name| choose(&kernels, name).expect(name).modules();
        assert_eq!(modules("6.1"), "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(modules("newest"), "linux-modules-7.3.4+deb13-cloud-amd64");
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        let kernels = kernels(INDEX);
        assert!(choose(&kernels, "6.6").is_err());
        assert!(choose(&kernels, "latest").is_err());
        assert_eq!(kernels.len(), 6);
    }
}
