//! The arguments of `docker run`, taken apart for `docker create` and `docker
//! start`. Pure.

use std::ffi::{OsStr, OsString};

/// Which arguments go where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// For `docker create`: options, image, command.
    pub create: Vec<OsString>,
    /// For `docker start`.
    pub start: Vec<OsString>,
}

/// Options of run and create without a value, Docker's and Podman's; all others have one.
const SWITCHES: [&str; 25] = [
    "detach",
    "disable-content-trust",
    "env-host",
    "help",
    "init",
    "http-proxy",
    "interactive",
    "no-healthcheck",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "passwd",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "rootfs",
    "sig-proxy",
    "tls-verify",
    "tty",
    "use-api-socket",
];
/// The same, one letter each.
const SHORT_SWITCHES: [char; 5] = ['d', 'i', 't', 'P', 'q'];

/// Takes them apart: what only `docker run` knows is left out of `create`, and
/// becomes what `docker start` has for it.
///
/// # Errors
/// If an option lacks its value, or there is no image.
pub fn split(args: &[OsString]) -> Result<Split, String> {
    let mut split = Split::default();
    let (mut detach, mut interactive) = (false, false);
    let mut passed = Vec::new();
    let mut rest = args.iter();
    let mut image = None;
    while let Some(arg) = rest.next() {
        let bytes = arg.as_encoded_bytes();
        let Some(text) = arg.to_str().filter(|t| t.starts_with('-') && t.len() > 1) else {
            // Options have names in ASCII, values may be any bytes.
            if bytes.starts_with(b"-") && bytes.len() > 1 {
                split.create.push(arg.clone());
                continue;
            }
            image = Some(arg);
            break;
        };
        if text == "--" {
            image = rest.next();
            break;
        }
        let Some(long) = text.strip_prefix("--") else {
            let (kept, value) = short(text, &mut detach, &mut interactive);
            split.create.extend(kept.map(OsString::from));
            if value {
                split.create.push(value_of(arg, rest.next())?);
            }
            continue;
        };
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(n, v)| (n, Some(v)));
        let on = value.is_none_or(|v| matches!(v, "1" | "t" | "T" | "true" | "TRUE" | "True"));
        match name {
            "detach" => detach = on,
            "sig-proxy" => passed.push(OsString::from(format!("--sig-proxy={on}"))),
            "detach-keys" => {
                let value = match value {
                    Some(value) => OsString::from(value),
                    None => value_of(arg, rest.next())?,
                };
                passed.extend([OsString::from("--detach-keys"), value]);
            }
            _ => {
                interactive |= name == "interactive" && on;
                split.create.push(arg.clone());
                if value.is_none() && !SWITCHES.contains(&name) {
                    split.create.push(value_of(arg, rest.next())?);
                }
            }
        }
    }
    split.create.push(
        image
            .ok_or("there is no image in the arguments of docker run")?
            .clone(),
    );
    split.create.extend(rest.cloned());
    if !detach {
        split.start.push("--attach".into());
        split
            .start
            .extend(interactive.then(|| "--interactive".into()));
        split.start.extend(passed);
    }
    Ok(split)
}

fn value_of(option: &OsStr, value: Option<&OsString>) -> Result<OsString, String> {
    value
        .cloned()
        .ok_or_else(|| format!("docker's option {} has no value", option.display()))
}

/// A cluster of one-letter options: what of it is left for create, and whether
/// its value is the next argument.
fn short(text: &str, detach: &mut bool, interactive: &mut bool) -> (Option<String>, bool) {
    let mut kept = String::from("-");
    let mut letters = text.strip_prefix('-').unwrap_or(text).chars();
    while let Some(letter) = letters.next() {
        match letter {
            'd' => *detach = true,
            letter => {
                *interactive |= letter == 'i';
                kept.push(letter);
            }
        }
        if !SHORT_SWITCHES.contains(&letter) {
            // The rest of it is the value, if there is a rest.
            let value = letters.as_str();
            kept += value;
            return (Some(kept), value.is_empty());
        }
    }
    ((kept.len() > 1).then_some(kept), false)
}

#[cfg(test)]
mod tests {
    use super::{Split, split};
    use std::ffi::OsString;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn takes_apart_what_docker_run_takes() {
        for (line, create, start) in [
            ("web", "web", "--attach"),
            ("-d web", "web", ""),
            ("-itd --rm web sh -d", "-it --rm web sh -d", ""),
            (
                "-it web sh -c x",
                "-it web sh -c x",
                "--attach --interactive",
            ),
            ("--detach=false -i web", "-i web", "--attach --interactive"),
            ("--detach=true web -d", "web -d", ""),
            ("-e d -p 80:80 -d web", "-e d -p 80:80 web", ""),
            ("-ed -dp80:80 web", "-ed -p80:80 web", ""),
            ("-de X=1 --name n web", "-e X=1 --name n web", ""),
            (
                "--replace --no-hosts --name n -d web",
                "--replace --no-hosts --name n web",
                "",
            ),
            ("--name=-d web", "--name=-d web", "--attach"),
            ("--label -d web", "--label -d web", "--attach"),
            (
                "--sig-proxy=false --detach-keys ctrl-x web",
                "web",
                "--attach --sig-proxy=false --detach-keys ctrl-x",
            ),
            ("--detach-keys=a -d web", "web", ""),
            (
                "--read-only --init -- web --rm",
                "--read-only --init web --rm",
                "--attach",
            ),
        ] {
            let expected = Split {
                create: words(create),
                start: words(start),
            };
            assert_eq!(split(&words(line)), Ok(expected), "{line}");
        }
    }

    #[test]
    fn refuses_what_has_no_image() {
        for bad in ["", "-d", "--name web", "--rm -e", "-it --", "--detach-keys"] {
            assert!(split(&words(bad)).is_err(), "{bad}");
        }
    }
}
