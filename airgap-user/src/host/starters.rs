//! Which units of systemd start containers: an engine's own, and those that run one
//! command of an engine's. Read from unit files, as they are on disk (systemd.unit(5)).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Where units are, the more important first.
const DIRECTORIES: [&str; 11] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];

/// Programs that start containers, by file name.
const PROGRAMS: [&str; 10] = [
    "dockerd",
    "containerd",
    "podman",
    "crio",
    "k3s",
    "rke2",
    "k0s",
    "nerdctl",
    "docker",
    "docker-compose",
];

/// Units whose first process starts containers, by name, such as `docker.service`.
/// Templates are left out: their instances are units of their own.
pub fn starters(root: &Path) -> Vec<String> {
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    for dir in DIRECTORIES {
        for entry in fs::read_dir(root.join(dir)).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let stem = name.strip_suffix(".service").unwrap_or_default();
            if stem.is_empty() || stem.ends_with('@') || found.contains_key(&name) {
                continue;
            }
            // Masked: of the same name nothing else counts.
            if fs::read_link(entry.path()).is_ok_and(|to| to == Path::new("/dev/null")) {
                found.insert(name, false);
                continue;
            }
            // A link out of this root.
            let Ok(text) = fs::read_to_string(inside(root, &entry.path())) else {
                continue;
            };
            found.insert(name, starts_containers(&text));
        }
    }
    // Ours does not.
    found.remove(crate::host::units::WATCH_NAME);
    found.remove(crate::host::units::KEEP_NAME);
    let starters = found.into_iter().filter(|(_, starts)| *starts);
    starters.map(|(name, _)| name).collect()
}

/// Programs that run containers and are no mere clients of one that does.
const ENGINES: [&str; 7] = [
    "dockerd",
    "containerd",
    "podman",
    "crio",
    "k3s",
    "rke2",
    "k0s",
];
/// Where programs are.
const PROGRAM_DIRECTORIES: [&str; 7] = [
    "usr/local/sbin",
    "usr/local/bin",
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
    "snap/bin",
];
/// Where engines listen.
const SOCKETS: [&str; 3] = [
    "run/docker.sock",
    "run/podman/podman.sock",
    "run/containerd/containerd.sock",
];

/// A container engine that is below this root, by what shows of it: program, socket, or where
/// the root is the host's a process. `None`: there is none, as far as that shows.
pub fn engine(root: &Path) -> Option<String> {
    let programs = PROGRAM_DIRECTORIES
        .iter()
        .flat_map(|dir| ENGINES.iter().map(move |name| format!("{dir}/{name}")));
    let files = programs.chain(SOCKETS.map(str::to_owned));
    let mut there = files.filter(|path| root.join(path).exists());
    there.next().map(|path| format!("/{path}")).or_else(|| {
        let here = root == Path::new("/");
        here.then(running).flatten()
    })
}

/// An engine's process, by the name that the kernel has of it.
fn running() -> Option<String> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .find_map(|comm| {
            let name = ENGINES.iter().find(|name| comm.trim_end() == **name)?;
            Some(format!("a process '{name}'"))
        })
}

/// Where a link leads, if the root were `/`.
fn inside(root: &Path, path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(target) if target.is_absolute() => {
            root.join(target.strip_prefix("/").unwrap_or(&target))
        }
        Ok(target) => path.parent().unwrap_or(root).join(target),
        Err(_) => path.to_owned(),
    }
}

/// Whether a unit's text says that it starts containers. Pure.
fn starts_containers(text: &str) -> bool {
    let joined = text.replace("\\\n", " ");
    joined.lines().any(|line| {
        let line = line.trim_start();
        let Some(command) = line.strip_prefix("ExecStart=").or_else(|| {
            line.strip_prefix("ExecStart")
                .map(str::trim_start)
                .and_then(|rest| rest.strip_prefix('='))
        }) else {
            return false;
        };
        is_starter(command)
    })
}

/// Whether a command line starts an engine, or has one start a container.
fn is_starter(command: &str) -> bool {
    let mut words = command.split_ascii_whitespace().map(|word| {
        let word = word.trim_matches(['"', '\'']);
        // Prefixes of systemd's own (systemd.service(5)).
        let word = word.trim_start_matches(['-', '@', ':', '+', '!', '|']);
        word.rsplit('/').next().unwrap_or(word)
    });
    let Some(mut program) = words.next() else {
        return false;
    };
    // Programs that run another.
    while matches!(
        program,
        "env" | "sh" | "bash" | "nice" | "taskset" | "snap" | "run" | "exec"
    ) || program.contains('=')
        || program.starts_with('c') && program.len() == 1
    {
        match words.next() {
            Some(next) => program = next,
            None => return false,
        }
    }
    // A snap names its program `docker.dockerd`.
    let name = program.rsplit('.').next().unwrap_or(program);
    let known = |wanted: &str| PROGRAMS.contains(&wanted);
    let quiet = |word: &str| matches!(word, "prune" | "pull" | "auto-update" | "clean" | "gc");
    (known(program) || known(name)) && !words.any(quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_starts_containers() {
        for (line, starts) in [
            (
                "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock",
                true,
            ),
            ("/usr/bin/containerd", true),
            (
                "-/usr/bin/podman $LOGGING start --all --filter restart-policy=always",
                true,
            ),
            (
                "/usr/bin/podman run --name=web --replace --rm --cgroups=split image",
                true,
            ),
            ("/usr/bin/snap run docker.dockerd", true),
            ("/usr/local/bin/k3s server", true),
            ("/usr/bin/env FOO=1 /opt/x/dockerd", true),
            ("/usr/bin/docker compose -f /srv/app.yml up", true),
            ("/usr/bin/podman auto-update", false),
            ("/usr/bin/docker system prune -f", false),
            ("/usr/sbin/nginx -g 'daemon on;'", false),
            ("/usr/bin/dockerd-exporter", false),
            ("", false),
            ("env", false),
        ] {
            assert_eq!(is_starter(line), starts, "{line}");
        }
        assert!(starts_containers(
            "[Service]\nExecStart = \\\n  /usr/bin/dockerd\n"
        ));
        assert!(!starts_containers(
            "[Service]\n#ExecStart=/usr/bin/dockerd\nExecStop=/usr/bin/dockerd\n"
        ));
    }

    #[test]
    fn reads_units_below_a_root() {
        let root = std::env::temp_dir().join(format!("airgap-starters-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let engine = "[Service]\nExecStart=/usr/bin/dockerd\n";
        put("usr/lib/systemd/system/docker.service", engine);
        put("usr/lib/systemd/system/x@.service", engine);
        put("etc/systemd/system/own.service", engine);
        put("usr/lib/systemd/system/mine.service", engine);
        // Replaced by one that starts nothing.
        put(
            "etc/systemd/system/mine.service",
            "[Service]\nExecStart=/bin/true\n",
        );
        put(
            "run/systemd/generator/web.service",
            "[Service]\nExecStart=/usr/bin/podman run web\n",
        );
        std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system/masked.service"))
            .unwrap();
        // What systemd.mask= of the kernel's command line becomes.
        put("usr/lib/systemd/system/early.service", engine);
        fs::create_dir_all(root.join("run/systemd/generator.early")).unwrap();
        let early = root.join("run/systemd/generator.early/early.service");
        std::os::unix::fs::symlink("/dev/null", early).unwrap();
        assert_eq!(
            starters(&root),
            ["docker.service", "own.service", "web.service"]
        );
        fs::remove_dir_all(&root).unwrap();
    }
}
