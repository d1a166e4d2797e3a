//! `airgap doctor`: what this host can do, and how to mend what it cannot.

mod host;
mod recorded;

use airgap_common::map::Stat;
use anyhow::Result;

use clap::Args;

use self::host::{ceiling, configuration};

use crate::{
    config::Config,
    container::{Engine, Engines, Hosts},
    failure::exit,
    gate::{
        FrameLayer, Gate, KernelVersion, Lock, Security, btf::Btf, cgroup_mount, likely_security,
    },
    host::{installed, procfs, udev::Arrivals, units::Boot},
    output,
    seal::{BOOT, Check, HOOKS},
    state::State,
};

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub(crate) async fn run(
    hosts: &Hosts,
    state: &State,
    config: Result<&Config>,
    args: &Doctor,
) -> Result<u8> {
    let mut checks = vec![
        configuration(&config),
        ceiling(config.ok(), state),
        kernel(),
        frames(),
        hooks(),
        btf(),
        cgroup(),
        bpffs(),
        net_cls(),
    ];
    checks.extend(engines(hosts).await);
    checks.extend([
        sip_helper(),
        gate(),
        recorded::seals(state),
        boot(),
        arrivals(),
    ]);
    output::doctor(&checks, args.json)?;
    let any = |state: &str| checks.iter().any(|c| c.state == state);
    Ok(if any("open") {
        exit::NOT_SEALED
    } else if any("failed") {
        exit::FAILED
    } else {
        exit::OK
    })
}

fn version() -> Option<KernelVersion> {
    KernelVersion::current().ok()
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn kernel() -> Check {
    match version() {
        Some(v) if v >= KernelVersion::new(5, 8, 0) => Check::ok("kernel", release()),
        _ => Check::failed("kernel", release(), "boot Linux 5.8 or newer"),
    }
}

/// Tried, on an interface of airgap's own: what is a module may be missing.
fn frames() -> Check {
    const NAME: &str = "frame layer (tcx, or clsact before Linux 6.6)";
    match FrameLayer::attempt() {
        Ok(layer) => Check::ok(NAME, format!("{}, on {}", layer.name(), release())),
        Err(error) => Check::limited(
            NAME,
            format!(
                "every seal is OPENED here for hand-made frames, multicast announcements and answers to probes: {error:#}"
            ),
            "load the modules sch_ingress and cls_bpf, boot Linux 6.6 or newer, or run containers with --cap-drop NET_RAW",
        ),
    }
}

fn hooks() -> Check {
    let standing = super::standing().ok().flatten();
    let security = match &standing {
        Some(gate) => Ok(gate.security()),
        None => likely_security(),
    };
    match security {
        Ok(Security::InForce(mechanism)) => Check::ok(
            HOOKS,
            match standing {
                Some(_) => format!(
                    "attached by {}, and a refusal was seen now",
                    mechanism.name()
                ),
                None => format!(
                    "a program loads by {}; attach asks for a refusal",
                    mechanism.name()
                ),
            },
        ),
        Ok(Security::Skipped(mechanism)) => Check::skipped_hooks(mechanism),
        Ok(Security::Silent(silence)) => Check::silent_hooks(silence, standing.is_some()),
        Ok(Security::Absent) => Check::without_hooks("the gate stands without them"),
        // Of root, too: no right is missing.
        Err(error) => Check::without_hooks(&format!(
            "this kernel loads no such program for root: {error:#}"
        )),
    }
}

fn btf() -> Check {
    match Btf::of_kernel().and_then(|b| b.offset("cgroup", "kn")) {
        Ok(_) => Check::ok("kernel BTF", "/sys/kernel/btf/vmlinux"),
        Err(e) => Check::failed(
            "kernel BTF",
            format!("{e:#}"),
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

fn cgroup() -> Check {
    match cgroup_mount() {
        Ok(path) => Check::ok("cgroup v2", path.display().to_string()),
        Err(e) => Check::failed(
            "cgroup v2",
            format!("{e:#}"),
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

fn bpffs() -> Check {
    let mounts = procfs::text("/proc/self/mountinfo").unwrap_or_default();
    if mounts
        .lines()
        .any(|l| l.contains(" /sys/fs/bpf ") && l.contains(" - bpf "))
    {
        Check::ok("bpffs", "/sys/fs/bpf")
    } else {
        Check::ok("bpffs", "not mounted; attach mounts it at /sys/fs/bpf")
    }
}

/// Before 5.15 a v1 net_cls or net_prio group hides a socket's v2 cgroup.
fn net_cls() -> Check {
    const NAME: &str = "cgroup v1 net_cls and net_prio";
    let mounts = procfs::text("/proc/self/mountinfo").unwrap_or_default();
    let used = mounts
        .lines()
        .filter_map(|l| l.split_once(" - cgroup ").map(|(_, right)| right))
        .any(|right| right.contains("net_cls") || right.contains("net_prio"));
    if used && version().is_none_or(|v| v < KernelVersion::new(5, 15, 0)) {
        return Check::failed(
            NAME,
            format!(
                "mounted, on {}: sockets may lose their v2 cgroup",
                release()
            ),
            "boot with cgroup_no_v1=net_cls,net_prio, or Linux 5.15 or newer",
        );
    }
    Check::ok(
        NAME,
        if used {
            "mounted, harmless since 5.15"
        } else {
            "not mounted"
        },
    )
}

async fn engines(hosts: &Hosts) -> Vec<Check> {
    const NAME: &str = "container engine";
    let engines = Engines::connect(hosts).await;
    let answers = |engine: &Engine| {
        Check::ok(
            NAME,
            format!("answers at {}, on this kernel", engine.host()),
        )
    };
    // One that nobody named may have been here once.
    let check = match hosts.named().is_empty() && !engines.is_empty() {
        true => Check::limited,
        false => Check::failed,
    };
    let silent = |error: &anyhow::Error| {
        check(
            NAME,
            format!("{error:#}"),
            "start it, or name the sockets of those that are: --host, or engine in the configuration",
        )
    };
    let there = engines.iter().map(answers);
    there.chain(engines.why_silent().map(silent)).collect()
}

/// The SIP helper watches port 5060 and may rewrite what it takes for SIP.
fn sip_helper() -> Check {
    const NAME: &str = "netfilter SIP helper";
    let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    if modules.lines().any(|l| l.starts_with("nf_conntrack_sip ")) {
        return Check::limited(
            NAME,
            "nf_conntrack_sip is loaded and may mangle what is served on port 5060",
            "modprobe -r nf_conntrack_sip, or serve on another port",
        );
    }
    Check::ok(NAME, "not loaded, so nothing rewrites port 5060")
}

fn gate() -> Check {
    match super::standing() {
        Ok(None) => Check::ok("gate", "none yet, as no container is sealed"),
        Ok(Some(gate)) => match gate.broken_links().as_slice() {
            [] if gate.stat(Stat::Overflowed) > 0 => Check::limited(
                "gate",
                format!(
                    "{} cgroups of sealed containers could not be recorded: those were denied everything, or not started",
                    gate.stat(Stat::Overflowed)
                ),
                "detach containers that are gone; the count ends with the last seal",
            ),
            [] if gate.unguarded().is_ok_and(|found| !found.is_empty()) => Check::limited(
                "gate",
                "a sealed container was started where the hooks are not attached, and gets no network socket",
                "airgap attach that container again (airgap list), or run airgap watch, which does it by itself",
            ),
            [] => match settled(&gate) {
                Ok(true) => Check::ok("gate", stands(&gate)),
                Ok(false) => Check::limited(
                    "gate",
                    "a change of policy was cut short: until the next one each packet is judged in full, which is slower",
                    "airgap attach any sealed container again, or airgap restore",
                ),
                Err(e) => Check::failed("gate", format!("{e:#}"), "airgap restore"),
            },
            broken => Check::failed(
                "gate",
                broken.join("; "),
                "airgap attach any sealed container again: it mends the gate",
            ),
        },
        Err(e) => Check::failed(
            "gate",
            format!("{e:#}"),
            "airgap restore builds another gate beside it, then ends it",
        ),
    }
}

fn stands(gate: &Gate) -> String {
    let links = gate.link_count();
    match gate.attached_below() {
        Ok(at) if at.is_empty() => format!("stands, {links} links alive"),
        Ok(at) => format!(
            "stands, {links} links alive; packets are looked at in {} alone",
            at.join(" and ")
        ),
        Err(error) => format!("stands, {links} links alive ({error:#})"),
    }
}

/// While another airgap is at work a policy may well be in the middle of a change.
fn settled(gate: &Gate) -> Result<bool> {
    if gate.is_settled()? {
        return Ok(true);
    }
    match Lock::try_take()? {
        Some(_lock) => gate.is_settled(),
        None => Ok(true),
    }
}

fn boot() -> Check {
    match installed::boot() {
        Boot::Ready => Check::ok(BOOT, "airgap-restore.service runs before the engines start"),
        Boot::Unordered(engine) => Check::limited(
            BOOT,
            format!(
                "{engine} is here, and no unit is known that starts it: it may start although a restore has failed"
            ),
            "Requires=airgap-restore.service and After=airgap-restore.service in its unit",
        ),
        Boot::Missing => Check::no_restore(),
        Boot::Disabled => Check::limited(
            BOOT,
            "airgap-restore.service is there, and nothing starts it",
            "systemctl enable airgap-restore.service",
        ),
        Boot::Unbound(units) => Check::limited(
            BOOT,
            format!(
                "these start containers although a restore has failed: {}",
                units.join(", ")
            ),
            "airgap install",
        ),
    }
}

/// A veth that comes up is guarded by nobody but those who look after it.
fn arrivals() -> Check {
    const NAME: &str = "new veths";
    const OPEN: &str = "a restart lets a container's kernel answer pings and knocks at closed ports, until its new veth is guarded";
    match installed::arrivals() {
        Arrivals::Guarded => {
            let gate = super::standing().ok().flatten();
            let count = |stat| gate.as_ref().map_or(0, |gate| gate.stat(stat));
            let (all, late) = (count(Stat::Guarded), count(Stat::GuardedLate));
            let seen = format!(
                "udev has each guarded as it comes up; so far {all} of sealed containers, {late} of them when a program may have run already"
            );
            match late {
                0 => Check::ok(NAME, seen),
                _ => Check::limited(
                    NAME,
                    seen,
                    "this host is slow to guard new veths: until it does, a container's kernel answers pings and knocks at closed ports",
                ),
            }
        }
        Arrivals::Unguarded => Check::limited(NAME, OPEN, "airgap install"),
        Arrivals::NoUdev => Check::limited(
            NAME,
            format!("{OPEN}; no udev runs here that could do so"),
            "keep airgap watch running, or attach again after a restart",
        ),
    }
}
