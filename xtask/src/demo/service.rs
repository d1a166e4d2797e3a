//! The document service in its container, and a client of it.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::plan::Plan;
use super::{pdf, wait};
use crate::command;
use crate::undo::Undo;

/// The port of the service, airgap's default.
pub(super) const PORT: u16 = 5060;

/// A running service.
pub(super) struct Service {
    address4: IpAddr,
    address6: IpAddr,
    assets: PathBuf,
}

impl Service {
    /// Makes the network, starts the container and waits until it answers.
    ///
    /// # Errors
    /// When Docker refuses, or the service does not come up.
    pub(super) fn start(plan: &Plan, image: &str, assets: &Path, undo: &mut Undo) -> Result<Self> {
        let Plan { name, .. } = plan;
        let known = "docker inspect >/dev/null 2>&1 --type";
        undo.later(&format!(
            "{known} network {name} && docker network rm {name}"
        ))?;
        docker(&format!(
            "network create --ipv6 --subnet {} --subnet {} \
             --opt com.docker.network.bridge.name={} {name}",
            plan.net4, plan.net6, plan.bridge
        ))?;
        undo.later(&format!(
            "{known} container {name} && docker rm --force {name}"
        ))?;
        docker(&format!(
            "create --name {name} --hostname documents --network {name} --dns {dns} \
             --env TELEMETRY_FALLBACK4={dns} --env TELEMETRY_FALLBACK6={} \
             --init --workdir /srv {image} python3 service.py",
            plan.outside6,
            dns = plan.outside4,
        ))?;
        for file in ["service.py", "analytics.py"] {
            let from = assets.join(file);
            docker(&format!("cp {} {name}:/srv/{file}", from.display()))?;
        }
        docker(&format!("start {name}"))?;
        let address = |field: &str| -> Result<IpAddr> {
            let format =
                format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}");
            command::output(Command::new("docker").args(["inspect", "--format", &format, name]))?
                .parse()
                .with_context(|| format!("container {name} has no {field}"))
        };
        let service = Self {
            address4: address("IPAddress")?,
            address6: address("GlobalIPv6Address")?,
            assets: assets.to_path_buf(),
        };
        for address in service.addresses() {
            let url = url(address, "health");
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--fail", "--max-time", "1", &url]);
            wait::until(&format!("{url} to answer"), Duration::from_secs(20), || {
                Ok(command::succeeds(&mut curl).then_some(()))
            })?;
        }
        Ok(service)
    }

    /// IPv4 and IPv6.
    pub(super) fn addresses(&self) -> [IpAddr; 2] {
        [self.address4, self.address6]
    }

    /// Posts the document over both families and prints what comes back.
    ///
    /// # Errors
    /// When there is no answer, or not the right one.
    pub(super) fn analyze(&self) -> Result<()> {
        for address in self.addresses() {
            let mut curl = Command::new("curl");
            curl.current_dir(&self.assets)
                .args(["-sSf", "-m", "20", "--data-binary", "@document.pdf"])
                .arg(url(address, "analyze"));
            println!("      $ {}", command::line(&curl));
            let start = Instant::now();
            let answer = command::output(&mut curl)?;
            let elapsed = start.elapsed().as_millis();
            for line in self.summary(&answer)?.lines() {
                println!("      {line}");
            }
            println!(
                "      answered in {elapsed} ms, {} bytes of JSON",
                answer.len()
            );
        }
        Ok(())
    }

    fn summary(&self, answer: &str) -> Result<String> {
        let mut python = Command::new("python3");
        python
            .arg(self.assets.join("summary.py"))
            .args([&pdf::PAGES.len().to_string(), pdf::PAGES[0][0]])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = python
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::line(&python)))?;
        let mut pipe = child.stdin.take().context("no pipe to python3")?;
        pipe.write_all(answer.as_bytes())
            .context("cannot hand the answer to python3")?;
        drop(pipe);
        let output = child
            .wait_with_output()
            .context("cannot wait for python3")?;
        if !output.status.success() {
            bail!("the service gave a wrong answer: {answer}");
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn url(address: IpAddr, path: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("http://{address}:{PORT}/{path}"),
        IpAddr::V6(address) => format!("http://[{address}]:{PORT}/{path}"),
    }
}

fn docker(arguments: &str) -> Result<String> {
    command::output(Command::new("docker").args(arguments.split_whitespace()))
}
