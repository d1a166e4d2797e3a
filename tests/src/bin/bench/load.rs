//! Clients in the outside's namespace, and the container that serves them.

use airgap_tests::{Container, Outside, cmd, wait};
use serde_json::Value;

/// HTTP and iperf3, both service ports of the seal.
pub(crate) const HTTP: u16 = 5060;
const BULK: u16 = 5061;

/// Processors: the server has the first.
pub(crate) const SERVER: &str = "0";
const CLIENT: &str = "1";

/// A worker, a small answer from memory, connections that last.
const NGINX: &str = "worker_processes 1; \
    events { worker_connections 12000; } \
    http { access_log off; keepalive_requests 100000000; \
    server { listen 5060 backlog=16384 default_server; location / { return 200 \"ok\\n\"; } } }";

/// Room for ten thousand connections from one address: what a client keeps of ended ones makes it
/// search for a free port, and that is not what is measured.
fn many_ports(outside: &Outside) {
    outside.netns.run(|| {
        for (name, value) in [
            ("ip_local_port_range", "1024 65000"),
            ("tcp_max_tw_buckets", "0"),
        ] {
            let path = format!("/proc/sys/net/ipv4/{name}");
            std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
    });
}

/// nginx and iperf3 in one container of the image that `cargo xtask bench` made.
pub(crate) fn server(outside: &Outside, name: &str) -> Container {
    many_ports(outside);
    let image = std::env::var("AIRGAP_BENCH_IMAGE").expect("AIRGAP_BENCH_IMAGE; cargo xtask bench");
    let script = format!(
        "printf '%s' \"$CONFIGURATION\" > /etc/nginx/nginx.conf; nginx; exec iperf3 -s -p {BULK}"
    );
    let container = outside
        .container(name)
        .image(&image)
        // One processor each, in every run.
        .options(&[
            "--cpuset-cpus",
            SERVER,
            "--env",
            &format!("CONFIGURATION={NGINX}"),
        ])
        .command(&["sh", "-c", &script])
        .run();
    wait::until("nginx answers", wait::SOON, || {
        outside.get(container.ip4(), HTTP, "/").ok()
    });
    container
}

/// What wrk saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requests {
    /// A second.
    pub(crate) rate: f64,
    /// 99th percentile of the latency, milliseconds.
    pub(crate) p99: f64,
}

/// Requests for `seconds`; `fresh`: each on a connection of its own.
pub(crate) fn requests(
    outside: &Outside,
    server: &Container,
    seconds: u32,
    connections: usize,
    fresh: bool,
) -> Requests {
    let header = if fresh { "-H 'Connection: close'" } else { "" };
    let line = format!(
        "ulimit -n $(ulimit -Hn); exec taskset -c {CLIENT} wrk -t1 -c{connections} -d{seconds}s --timeout 10s --latency \
         {header} http://{}:{HTTP}/",
        server.ip4()
    );
    let args = ["netns", "exec", &outside.plan.name, "sh", "-c", &line];
    let out = cmd::run("ip", &args).expect_code(0);
    parse_wrk(&out.stdout).unwrap_or_else(|| panic!("{}", out.describe()))
}

fn parse_wrk(text: &str) -> Option<Requests> {
    let after = |head: &str| {
        let line = text.lines().find_map(|l| l.trim().strip_prefix(head))?;
        Some(line.trim().to_owned())
    };
    Some(Requests {
        rate: after("Requests/sec:")?.parse().ok()?,
        p99: milliseconds(&after("99%")?)?,
    })
}

/// `812.00us`, `1.20ms`, `1.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let number = |unit: &str| text.strip_suffix(unit)?.parse::<f64>().ok();
    let micros = number("us").map(|v| v / 1000.0);
    micros
        .or_else(|| number("ms"))
        .or_else(|| number("s").map(|v| v * 1000.0))
}

/// Gbit/s from the container to the client; `small`: written 128 bytes at a time, without delay.
pub(crate) fn bulk(outside: &Outside, server: &Container, seconds: u32, small: bool) -> f64 {
    let line = format!(
        "ip netns exec {} taskset -c {CLIENT} iperf3 -c {} -p {BULK} -R -J -t {seconds} {}",
        outside.plan.name,
        server.ip4(),
        if small { "-N -l 128" } else { "" }
    );
    let out = cmd::attempt(&line).expect_code(0);
    let json: Value = serde_json::from_str(&out.stdout).expect("iperf3 -J");
    let rate = json["end"]["sum_received"]["bits_per_second"].as_f64();
    rate.unwrap_or_else(|| panic!("{}", out.describe())) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_wrk() {
        let text = "  Latency Distribution\n     50%  812.00us\n     99%    1.20ms\n\
                    Requests/sec:  39012.33\nTransfer/sec:      6.10MB\n";
        let found = parse_wrk(text).expect("both figures");
        assert_eq!((found.rate, found.p99), (39012.33, 1.2));
        assert_eq!(milliseconds("1.50s"), Some(1500.0));
    }
}
