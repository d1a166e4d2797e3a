//! What was measured on.

use std::fs;

use airgap_tests::cmd;

/// One line each.
pub(crate) fn lines() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kilobytes = memory.split_whitespace().nth(1);
    let gigabytes = kilobytes
        .and_then(|kb| kb.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e6;
    let system = read("/etc/os-release");
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    vec![
        format!(
            "{cores} cores of {}, {gigabytes:.0} GB{}",
            cpu.map_or("an unknown processor", |c| c
                .trim_start_matches([' ', '\t', ':'])),
            if cpu_flags_say_guest() {
                ", a virtual machine"
            } else {
                ""
            }
        ),
        format!(
            "Linux {}, {}",
            read("/proc/sys/kernel/osrelease").trim(),
            system.map_or("unknown system", |s| s.trim_matches('"'))
        ),
        format!(
            "Docker {}",
            cmd::ok("docker version -f {{.Server.Version}}")
        ),
        format!(
            "load average at the end: {}",
            read("/proc/loadavg").split(' ').next().unwrap_or_default()
        ),
    ]
}

fn cpu_flags_say_guest() -> bool {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpu.split_whitespace().any(|word| word == "hypervisor")
}
