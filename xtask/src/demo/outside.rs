//! The outside world: a network namespace with documentation addresses and a home server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::plan::Plan;
use super::wait;
use crate::command;
use crate::undo::Undo;

/// A running home server and the file it writes to.
pub(super) struct Outside {
    record: PathBuf,
}

impl Outside {
    /// Builds the namespace, its link, routes and filters, and starts the home server.
    ///
    /// # Errors
    /// When a piece cannot be made; the undo lines of the earlier ones are registered by then.
    pub(super) fn open(plan: &Plan, assets: &Path, undo: &mut Undo) -> Result<Self> {
        link(plan, undo)?;
        pen(plan, undo)?;
        forwarding(undo)?;
        let record = assets.join("record");
        let file =
            File::create(&record).with_context(|| format!("cannot create {}", record.display()))?;
        let mut home = Command::new("ip");
        home.args(["netns", "exec", &plan.name, "python3"])
            .arg(assets.join("home.py"))
            .args([plan.outside4.to_string(), plan.outside6.to_string()])
            .stdin(Stdio::null())
            .stdout(file);
        undo.later(&format!(
            "ip netns pids {} 2>/dev/null | xargs --no-run-if-empty kill",
            plan.name
        ))?;
        let mut server = home
            .spawn()
            .with_context(|| format!("cannot start `{}`", command::line(&home)))?;
        let outside = Self { record };
        wait::until("the home server to listen", Duration::from_secs(10), || {
            if let Some(status) = server
                .try_wait()
                .context("cannot look at the home server")?
            {
                bail!("`{}` ended: {status}", command::line(&home));
            }
            Ok(outside.record()?.first().map(drop))
        })?;
        Ok(outside)
    }

    /// Everything that has arrived so far, one line each; the first is `ready`.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(super) fn record(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.record)
            .with_context(|| format!("cannot read {}", self.record.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

fn link(plan: &Plan, undo: &mut Undo) -> Result<()> {
    let Plan {
        name,
        uplink,
        host4,
        host6,
        outside4,
        outside6,
        net6,
        ..
    } = plan;
    // No packet to a documentation address may ever follow the machine's default route.
    for (family, range) in [("-4", "198.51.100.0/24"), ("-6", "2001:db8::/32")] {
        let route = format!("{family} route add unreachable {range} metric 4294967294");
        if command::succeeds(Command::new("ip").args(route.split(' '))) {
            undo.later(&format!("ip {}", route.replace(" add ", " del ")))?;
        }
    }
    undo.later(&format!(
        "[ ! -e /run/netns/{name} ] || ip netns del {name}"
    ))?;
    ip(&format!("netns add {name}"))?;
    // The kernel destroys a namespace some time after its deletion; this goes at once.
    undo.later(&format!(
        "[ ! -e /sys/class/net/{uplink} ] || ip link del {uplink}"
    ))?;
    ip(&format!(
        "link add {uplink} type veth peer name out0 netns {name}"
    ))?;
    ip(&format!("address add {host4}/27 dev {uplink}"))?;
    ip(&format!("address add {host6}/64 dev {uplink} nodad"))?;
    ip(&format!("link set {uplink} up"))?;
    ip(&format!("-n {name} link set lo up"))?;
    ip(&format!("-n {name} address add {outside4}/27 dev out0"))?;
    ip(&format!(
        "-n {name} address add {outside6}/64 dev out0 nodad"
    ))?;
    ip(&format!("-n {name} link set out0 up"))?;
    // IPv4 is masqueraded by Docker; IPv6 is routed.
    ip(&format!("-n {name} route add {net6} via {host6}"))
}

/// Lets the two devices talk to each other and to the host, never to another device.
fn pen(plan: &Plan, undo: &mut Undo) -> Result<()> {
    let Plan { bridge, uplink, .. } = plan;
    for (table, chain) in [("iptables", "DOCKER-USER"), ("ip6tables", "FORWARD")] {
        // Each goes to the top, so the last one here is asked first.
        for rule in [
            format!("-i {bridge} -j DROP"),
            format!("-i {uplink} -j DROP"),
            format!("-i {bridge} -o {bridge} -j ACCEPT"),
            format!("-i {bridge} -o {uplink} -j ACCEPT"),
            format!("-i {uplink} -o {bridge} -j ACCEPT"),
        ] {
            let insert = format!("-w -I {chain} {rule}");
            command::run(Command::new(table).args(insert.split(' ')))?;
            undo.later(&format!("{table} -w -D {chain} {rule}"))?;
        }
    }
    Ok(())
}

fn forwarding(undo: &mut Undo) -> Result<()> {
    for path in [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ] {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        if before.trim() == "0" {
            // Docker may have come to need it for another network in the meantime.
            undo.later(&format!(
                "docker network inspect $(docker network ls --quiet) --format '{{{{.EnableIPv6}}}}' \
                 | grep --quiet true || echo 0 > {path}"
            ))?;
            fs::write(path, "1").with_context(|| format!("cannot write {path}"))?;
        }
    }
    Ok(())
}

fn ip(arguments: &str) -> Result<()> {
    command::run(Command::new("ip").args(arguments.split(' ')))
}
